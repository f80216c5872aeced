"""Two distributions over the scores 1, 2, … against each other."""

import math
from collections.abc import Sequence


def superiority(x: Sequence[float], y: Sequence[float]) -> float:
    """P(X > Y) + P(X = Y) / 2 for independent scores with these probabilities, each from the lowest score up.

    McGraw and Wong 1992, "A common language effect size statistic"; ties halved as by Vargha and Delaney 2000. Raises
    ValueError for scales of different lengths. Equal distributions give exactly 0.5.
    """
    if len(x) != len(y):
        raise ValueError(f"scores on scales of {len(x)} and {len(y)} levels cannot be compared")
    above = math.fsum(p * q for i, p in enumerate(x) for q in y[:i])
    below = math.fsum(p * q for i, q in enumerate(y) for p in x[:i])
    return 0.5 + (above - below) / 2.0


def mean_score(probabilities: Sequence[float]) -> float:
    """The expectation of a score, 1 for the first."""
    return math.fsum(level * p for level, p in enumerate(probabilities, start=1))
