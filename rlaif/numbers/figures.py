"""What a statistic answers: an `Estimate` with its interval and its n, or `NotDefined` with the reason.

A kappa of two raters who both always said "first" is 0/0. Inside this package such a value is NaN, because arrays of
thousands of resamples must flow through the same line; it never leaves. Whoever asks gets one of the two records here.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value, the ends of its interval, the rows (`n`) and clusters that it rests on.

    `low` or `high` is None where there is no such end; `because` then says why.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    clusters: int
    because: str = ""

    def __post_init__(self) -> None:
        ends = [end for end in (self.low, self.high) if end is not None]
        if not all(math.isfinite(number) for number in (self.value, *ends)):
            raise ValueError(f"an estimate holds finite numbers: {self.value}, {self.low}, {self.high}")
        if len(ends) < 2 and not self.because:
            raise ValueError("an estimate without an end of its interval says why")

    def as_dict(self) -> dict[str, Any]:
        """What a report writes: the same keys for every figure, `because` only where something is missing."""
        written: dict[str, Any] = {"value": self.value, "low": self.low, "high": self.high, "n": self.n}
        written["clusters"] = self.clusters
        return {**written, "because": self.because} if self.because else written


@dataclass(frozen=True, slots=True)
class NotDefined:
    """No number, because … `n` is how many rows there were."""

    because: str
    n: int

    def as_dict(self) -> dict[str, Any]:
        return {"value": None, "low": None, "high": None, "n": self.n, "because": self.because}


Figure = Estimate | NotDefined


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """numerator / denominator, NaN where the denominator is zero or negative. Shapes broadcast."""
    positive = denominator > 0
    return np.where(positive, numerator / np.where(positive, denominator, 1.0), np.nan)
