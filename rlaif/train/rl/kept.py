"""Keys and values of rows of different lengths, kept from token to token.

A row's tokens lie from place 0 on, so a row has no padding before it, its positions are its places, and it can leave or
enter while others go on. Room for every row's last token is made once; nothing grows or is copied from step to step.

One query per row looks at all that its row keeps. Rows are taken in stretches of similar length, so that a few long
prompts do not make the short ones pay. Scores and shares are float32, also where what is kept was rounded to bfloat16
before: as in `rlaif.train.segment_attention`, so that sampling and training read the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_ROWS_OF_A_STRETCH = 8
_LEAST_SHARE = 0.8  # rows shorter than this share of a stretch's longest begin another one


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Rows [start, stop), of which the longest has `length` tokens. `hidden` (rows · G, 1, length) is 0 where a row
    has a token and -inf behind its last."""

    start: int
    stop: int
    length: int
    hidden: Tensor


class Kept:
    """Keys and values of `num_rows` rows of up to `length` tokens, for every layer: (layers, rows · G, length, D)."""

    def __init__(
        self, *, num_layers: int, num_rows: int, groups: int, length: int, width: int, like: Tensor, scale: float
    ) -> None:
        shape = (num_layers, num_rows * groups, length, width)
        self._keys, self._values = like.new_zeros(shape), like.new_zeros(shape)  # zeros: nobody's values are not NaN
        self._groups, self._scale = groups, scale
        self._room = length
        self.lengths = np.zeros(num_rows, dtype=np.int64)  # tokens kept of every row

    def write(self, layer: int, first: int, last: int, keys: Tensor, values: Tensor) -> None:
        """The first tokens, (G, L, D), of each of the rows [first, last)."""
        rows = slice(first * self._groups, last * self._groups)
        for kept, new in ((self._keys, keys), (self._values, values)):
            kept[layer, rows].view(last - first, self._groups, *kept.shape[2:])[:, :, : new.shape[1]] = new

    def begin_step(self, num_rows: int) -> NDArray[np.int64]:
        """One more token for each of the first rows; returns their positions."""
        positions = self.lengths[:num_rows].copy()
        by_group = np.arange(num_rows * self._groups).reshape(num_rows, -1)
        where = by_group * self._room + positions[:, None]
        self._where = torch.from_numpy(where.ravel()).to(self._keys.device)
        self._stretches = [self._stretch(start, stop, positions) for start, stop in _similar(positions)]
        self.lengths[:num_rows] += 1
        return positions

    def _stretch(self, start: int, stop: int, positions: NDArray[np.int64]) -> _Stretch:
        own = positions[start:stop]
        length = int(own.max()) + 1
        is_behind = np.arange(length) > own[:, None]
        hidden = np.where(is_behind, -np.inf, 0.0)[:, None].repeat(self._groups, axis=0).astype(np.float32)
        return _Stretch(start, stop, length, torch.from_numpy(hidden).to(self._keys))

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Keep k and v (G, R, D) of the rows' new tokens, and let q (H, R, D) look at its row: (R, H · D)."""
        width, groups = q.shape[2], self._groups
        for kept, new in ((self._keys, k), (self._values, v)):
            kept[layer].view(-1, width).index_copy_(0, self._where, new.transpose(0, 1).reshape(-1, width).to(kept))
        queries = q.transpose(0, 1).reshape(-1, len(q) // groups, width).to(self._keys)  # (R · G, H / G, D)
        seen = queries.new_empty(queries.shape)
        for one in self._stretches:
            at = slice(one.start * groups, one.stop * groups)
            keys, values = self._keys[layer, at, : one.length], self._values[layer, at, : one.length]
            scores = torch.baddbmm(one.hidden, queries[at], keys.transpose(1, 2), alpha=self._scale)
            torch.bmm(torch.softmax(scores, -1), values, out=seen[at])
        return seen.view(q.shape[1], -1)

    def keep(self, order: Sequence[int]) -> None:
        """From now on row i is what row order[i] was. A row moves towards the front or stays."""
        for row, before in enumerate(order):
            if row != before:
                to, of = (slice(one * self._groups, (one + 1) * self._groups) for one in (row, before))
                length = self.lengths[before]
                self._keys[:, to, :length] = self._keys[:, of, :length]
                self._values[:, to, :length] = self._values[:, of, :length]
        self.lengths[: len(order)] = self.lengths[list(order)]
        self.lengths[len(order) :] = 0


def _similar(positions: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The rows in stretches of eights, each no longer than what keeps its shortest eight from waste."""
    found: list[tuple[int, int]] = []
    longest = 0
    for start in range(0, len(positions), _ROWS_OF_A_STRETCH):
        stop = min(start + _ROWS_OF_A_STRETCH, len(positions))
        own = int(positions[start:stop].max()) + 1
        if found and _LEAST_SHARE * longest <= own <= longest:
            found[-1] = (found[-1][0], stop)
        else:
            found.append((start, stop))
            longest = own
    return found
