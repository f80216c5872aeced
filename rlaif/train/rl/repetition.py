"""How much answers repeat themselves and each other, in tokens: what a policy that games its reward often ends in.

    found = measure_repetition(answers)      # token ids, one array per answer

- `repeated`: share of an answer's 4-grams that it has already said, mean over answers (seq-rep-4 of Welleck et al.,
  arXiv:1908.04319).
- `longest`: the longest stretch that an answer says at least twice, overlapping or not, as a share of its length.
- `alike`: 1 - distinct 4-grams / 4-grams over all answers together (distinct-n of Li et al., arXiv:1510.03055). It
  grows with the number of answers, so compare batches of one size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rlaif.train.packing import Ids

NGRAM = 4


@dataclass(frozen=True, slots=True)
class Repetition:
    """Shares, 0 to 1. Answers of fewer than 4 tokens have no 4-grams and repeat nothing."""

    repeated: float
    longest: float
    alike: float


def measure_repetition(answers: Sequence[Ids]) -> Repetition:
    """The figures of a batch of answers, none of them padded."""
    assert len(answers), "a batch has answers"
    grams = [ngrams(one) for one in answers]
    together = np.concatenate(grams)
    return Repetition(
        repeated=float(np.mean([share_repeated(own) for own in grams])),
        longest=float(np.mean([longest_repeat(one) / max(1, len(one)) for one in answers])),
        alike=share_repeated(together),
    )


def ngrams(ids: Ids, n: int = NGRAM) -> NDArray[np.int64]:
    """(len - n + 1, n), none where the answer is shorter."""
    if len(ids) < n:
        return np.zeros((0, n), dtype=np.int64)
    return np.lib.stride_tricks.sliding_window_view(np.asarray(ids, dtype=np.int64), n)


def share_repeated(grams: NDArray[np.int64]) -> float:
    """1 - distinct / all; 0 where there is none."""
    return 1.0 - len(np.unique(grams, axis=0)) / len(grams) if len(grams) else 0.0


def longest_repeat(ids: Ids) -> int:
    """Tokens of the longest stretch that begins at two places or more: neighbours in the sorted suffixes share it."""
    width = 4
    whole = np.asarray(ids, dtype=">u4").tobytes()  # big-endian, so that bytes sort as tokens do
    suffixes = sorted(whole[start:] for start in range(0, len(whole), width))
    return max((_shared(one, other) for one, other in pairwise(suffixes)), default=0) // width


def _shared(one: bytes, other: bytes) -> int:
    """Bytes that both begin with."""
    stop = min(len(one), len(other))
    differs = np.frombuffer(one, np.uint8, stop) != np.frombuffer(other, np.uint8, stop)
    return int(differs.argmax()) if differs.any() else stop
