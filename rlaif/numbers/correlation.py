"""Pearson's correlation as a function of sums, so that it has a clustered interval like every other figure."""

import numpy as np

from rlaif.numbers.figures import FloatArray
from rlaif.numbers.intervals import Measure, Statistic

CONSTANT = "one of the two is the same in every row"


def correlation_measure(x: FloatArray, y: FloatArray) -> Measure:
    """Of x (N,) and y (N,); rows with a NaN in either do not count."""
    known = np.isfinite(x) & np.isfinite(y)
    first, second = np.where(known, x, 0.0), np.where(known, y, 0.0)
    if known.any():  # centred, so that sums of squares keep their digits
        first, second = first - known * x[known].mean(), second - known * y[known].mean()
    columns = np.stack([known.astype(float), first, second, first**2, second**2, first * second], axis=1)
    return Measure(columns, Statistic(correlation, CONSTANT))


def correlation(sums: FloatArray) -> FloatArray:
    """Sums (..., 6) of 1, x, y, x², y², x y to r (...); NaN where x or y does not vary."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = (n * xx - x**2) * (n * yy - y**2)
        found = (n * xy - x * y) / np.sqrt(spread)
    return np.where(spread > 1e-12 * (n * xx) * (n * yy), np.clip(found, -1.0, 1.0), np.nan)
