"""Labels as numbers, and the three things one can do with a tie.

A choice is a code: FIRST, TIE, SECOND or MISSING, in the order of preference, so that weighted statistics can use it.
From it come *shares*, (N, R, C): how much of rater r's vote on pair n goes to class c. They add up to 1, or are all 0
where the rater gave no vote. Every agreement statistic here is a function of shares, and the ties are decided once:

- `class`: a tie is an answer of its own. C = 3.
- `half`:  half a vote for each side, what a fair coin would make of it on average. C = 2. Two ties agree by one half.
- `drop`:  the vote is left out, and only that vote. C = 2.

There is one alphabet. Labels that are not of it are refused, because published kappas have been wrong for mapping 1/2
to 0/1 by accident.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from rlaif.numbers.figures import FloatArray, IntArray

FIRST, TIE, SECOND, MISSING = 0, 1, 2, -1
Ties = Literal["class", "half", "drop"]

VOTES: dict[Ties, FloatArray] = {  # a row per code
    "class": np.eye(3),
    "half": np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]),
    "drop": np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]),
}


def one_hot(codes: ArrayLike, num_classes: int) -> FloatArray:
    """Codes 0 … num_classes − 1 of any shape (...) to shares (..., C); MISSING becomes zeros."""
    return _votes(codes, np.eye(num_classes))


def shares(codes: ArrayLike, ties: Ties) -> FloatArray:
    """Choices of any shape (...) to shares (..., C), C = 3 for `class`, else 2."""
    return _votes(codes, VOTES[ties])


def shares_of_probabilities(probabilities: ArrayLike) -> FloatArray:
    """P(first is better) of any shape (...) to shares (..., 2); NaN, no verdict, becomes zeros."""
    first = np.asarray(probabilities, dtype=np.float64)
    if ((first < 0) | (first > 1)).any():
        raise ValueError(f"probabilities lie outside [0, 1], for instance {first[(first < 0) | (first > 1)][0]}")
    return np.nan_to_num(np.stack([first, 1 - first], axis=-1))


def choices_of_probabilities(probabilities: ArrayLike, tie_width: float) -> IntArray:
    """P(first is better) to choices: a tie within `tie_width` of one half, MISSING where NaN."""
    first = np.asarray(probabilities, dtype=np.float64)
    decided = np.where(first > 0.5, FIRST, SECOND)
    chosen = np.where(np.abs(first - 0.5) <= tie_width, TIE, decided)
    return np.where(np.isnan(first), MISSING, chosen).astype(np.int64)


def _votes(codes: ArrayLike, table: FloatArray) -> FloatArray:
    given = np.asarray(codes)
    if given.size and not np.issubdtype(given.dtype, np.integer):
        raise ValueError(f"labels are codes of type int; these are {given.dtype}")
    wrong = (given < MISSING) | (given >= len(table))
    if wrong.any():
        found = sorted(set(given[wrong].tolist()))
        raise ValueError(f"labels outside 0 … {len(table) - 1} (and {MISSING} for missing): {found}")
    return np.asarray(np.concatenate([table, np.zeros((1, table.shape[1]))])[given])
