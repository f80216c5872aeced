"""From token sequences to one batch in which nothing is padding and nothing shared is computed twice.

    family   the sequences of one row: (chosen, rejected), K ranked answers, or a single one
    Batch    what the model reads, and where in it every scored token and every sequence's end lies

The sequences of a family are laid out as their longest common prefix, once, and then what each adds to it. The prefix
is found in the token ids, not in the texts: a prompt whose last characters merge with an answer's first ones into one
token is shared up to that token and no further, so what is computed never depends on where a prompt is said to end.

    ids        p0 p1 p2 c0 c1 | r0 r1 r2 | next family …
    positions   0  1  2  3  4    3  4  5
    segments   [0, 5) causal     [5, 8) sees [0, 3) and itself, causally

`pad` lays the same families out as one padded row per sequence: for models whose attention cannot be packed, and as the
plain witness of the tests. What is learnt from a batch is not decided here; `Batch` knows neither labels nor losses.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class TokenSequence:
    """A whole sequence of token ids, and which of them are scored: the answer's, never the prompt's.

    `scored[0]` is False: nothing stands before the first token to predict it from.
    """

    ids: Ids
    scored: NDArray[np.bool_]

    def __post_init__(self) -> None:
        assert self.ids.shape == self.scored.shape, "one flag per token"
        assert len(self.ids), "a sequence has at least one token"
        assert not self.scored[0], "nothing predicts the first token"

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_scored(self) -> int:
        return int(self.scored.sum())

    def until_last_scored(self) -> "TokenSequence":
        """Without what follows the answer's last scored token (a template's white space)."""
        stop = int(np.flatnonzero(self.scored)[-1]) + 1
        return self if stop == len(self) else TokenSequence(self.ids[:stop], self.scored[:stop])


Family = tuple[TokenSequence, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens [start, stop) of a packed row. They see the tokens [seen_start, seen_stop) and, causally, themselves."""

    start: int
    stop: int
    seen_start: int = 0
    seen_stop: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """What a model reads. `rows`, `lasts` point into the flattened tokens; a row may occur twice (a shared prefix).

    ids, positions (R, N) int64; `segments` for a packed batch (R = 1), `attention_mask` (R, N) for a padded one.
    rows (S,)      where the hidden state lies that predicts each scored token
    targets (S,)   the scored tokens' ids, sequence after sequence
    lengths (Q,)   scored tokens of each sequence
    lasts (Q,)     the last token of each sequence
    """

    ids: Tensor
    positions: Tensor
    segments: tuple[Segment, ...]
    attention_mask: Tensor | None
    rows: Tensor
    targets: Tensor
    lengths: Tensor
    lasts: Tensor

    def to(self, device: torch.device | str) -> "Batch":
        tensors = ("ids", "positions", "attention_mask", "rows", "targets", "lengths", "lasts")
        moved = {name: getattr(self, name) for name in tensors}
        return replace(self, **{name: value.to(device) for name, value in moved.items() if value is not None})


def common_prefix(family: Family) -> int:
    """How many leading tokens all sequences of a family have in common."""
    shortest = min(len(one) for one in family)
    first = family[0].ids[:shortest]
    differs = np.zeros(shortest, dtype=bool)
    for other in family[1:]:
        differs |= first != other.ids[:shortest]
    return int(differs.argmax()) if differs.any() else shortest


def packed_size(family: Family, *, share_prefix: bool = True) -> int:
    """Tokens a family takes in a packed batch."""
    total = sum(len(one) for one in family)
    return total - (len(family) - 1) * common_prefix(family) if share_prefix else total


class _Layout:
    """Collects the parts of a batch, sequence by sequence."""

    def __init__(self) -> None:
        self.rows: list[Ids] = []
        self.targets: list[Ids] = []
        self.lengths: list[int] = []
        self.lasts: list[int] = []

    def add(self, sequence: TokenSequence, places: Ids) -> None:
        """`places` (len,) says where each token of the sequence lies in the flattened batch."""
        scored = np.flatnonzero(sequence.scored)
        self.rows.append(places[scored - 1])
        self.targets.append(sequence.ids[scored])
        self.lengths.append(len(scored))
        self.lasts.append(int(places[-1]))

    def batch(
        self, ids: Ids, positions: Ids, segments: Sequence[Segment] = (), mask: NDArray[np.int64] | None = None
    ) -> Batch:
        return Batch(
            ids=torch.from_numpy(ids),
            positions=torch.from_numpy(positions),
            segments=tuple(segments),
            attention_mask=None if mask is None else torch.from_numpy(mask),
            rows=torch.from_numpy(np.concatenate(self.rows)),
            targets=torch.from_numpy(np.concatenate(self.targets)),
            lengths=torch.tensor(self.lengths),
            lasts=torch.tensor(self.lasts),
        )


def pack(families: Sequence[Family], *, share_prefix: bool = True, multiple_of: int = 1) -> Batch:
    """All families in one row without padding. `multiple_of` rounds the row up with idle tokens nobody reads: matrix
    kernels for bfloat16 on a CPU are built per shape, and steady shapes are worth some idle tokens."""
    layout, segments = _Layout(), list[Segment]()
    ids: list[Ids] = []
    positions: list[Ids] = []
    end = 0
    groups = families if share_prefix else [(one,) for family in families for one in family]
    for family in groups:
        shared, start = common_prefix(family), end
        for number, sequence in enumerate(family):
            own = sequence.ids if number == 0 else sequence.ids[shared:]
            skipped = len(sequence) - len(own)
            if len(own):
                segments.append(Segment(end, end + len(own), start, start + skipped))
                ids.append(own)
                positions.append(np.arange(skipped, len(sequence)))
            places = np.arange(len(sequence)) + start
            places[skipped:] += end - start - skipped
            layout.add(sequence, places)
            end += len(own)
    if idle := -end % multiple_of:
        segments.append(Segment(end, end + idle))
        ids.append(np.zeros(idle, dtype=np.int64))
        positions.append(np.arange(idle))
    return layout.batch(np.concatenate(ids)[None], np.concatenate(positions)[None], segments)


def pad(families: Sequence[Family], *, side: Literal["left", "right"] = "right", to_length: int = 0) -> Batch:
    """One row per sequence, padded with token 0 to the longest one or to `to_length`. Positions count real tokens."""
    sequences = [one for family in families for one in family]
    width = max(to_length, *(len(one) for one in sequences))
    ids, positions, mask = (np.zeros((len(sequences), width), dtype=np.int64) for _ in range(3))
    layout = _Layout()
    for row, one in enumerate(sequences):
        start = width - len(one) if side == "left" else 0
        real = slice(start, start + len(one))
        ids[row, real], positions[row, real], mask[row, real] = one.ids, np.arange(len(one)), 1
        layout.add(one, np.arange(len(one)) + row * width + start)
    return layout.batch(ids, positions, mask=mask)
