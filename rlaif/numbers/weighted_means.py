"""Means of all rows from those that were drawn with known chances: Horvitz-Thompson and Hájek, with intervals.

Whoever labels mostly pairs on which the judge is unsure finds that people seldom agree with it. Each drawn row stands
for 1/π rows (π its chance of being drawn), and weighted so the mean is that of all rows again.

Two questions have two intervals. `hajek` and `horvitz_thompson` speak of the rows that were drawn from, and of nothing
else: drawing all of them leaves no doubt. `hajek_beyond` speaks of clusters (prompts) like these: the rows drawn from
are themselves a sample, and rows of one prompt go together.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from rlaif.numbers.figures import Estimate, Figure, FloatArray, IntArray, NotDefined


def horvitz_thompson(
    values: FloatArray, chances: FloatArray, population: int, *, strata: ArrayLike | None = None, level: float = 0.95
) -> Figure:
    """Σ y/π / N: exactly unbiased (Horvitz and Thompson 1952, JASA 47, 663-685). values (n,), NaN not allowed."""
    if not len(values):
        return NotDefined("nothing was drawn", 0)
    parts = values / (chances * population)
    return _of_these(float(parts.sum()), parts, chances, strata, level)


def hajek(values: FloatArray, chances: FloatArray, *, strata: ArrayLike | None = None, level: float = 0.95) -> Figure:
    """Σ y/π / Σ 1/π: unbiased up to order 1/n, and steadier where values do not grow with their chances (Hájek 1971).

    values (n,) with NaN where a drawn row has none (skipped): the mean is then that of rows which would have one.
    """
    found = _weighted(values, chances)
    if isinstance(found, NotDefined):
        return found
    return _of_these(*found, chances, strata, level, known=int(np.isfinite(values).sum()))


def hajek_beyond(values: FloatArray, chances: FloatArray, clusters: ArrayLike, *, level: float = 0.95) -> Figure:
    """The same mean, for clusters like these: variance G / (G − 1) Σ_g (Σ_{i in g} w_i (y_i − mean) / Σ w)².

    Strata are not used: their gain concerns the rows drawn from, so the interval may be wide under them, never narrow.
    """
    found = _weighted(values, chances)
    if isinstance(found, NotDefined):
        return found
    value, parts = found
    known = np.isfinite(values)
    _, codes = np.unique(np.asarray(clusters)[known], return_inverse=True)
    sums = np.bincount(codes.reshape(-1), weights=parts[known])
    groups = len(sums)
    if groups < 2:
        return NotDefined(f"the rows are of {groups} cluster(s) (prompts); at least 2 are needed", int(known.sum()))
    variance = groups / (groups - 1) * float((sums**2).sum())
    return _figure(value, variance, groups - 1, level, int(known.sum()), groups)


def as_share(figure: Figure) -> Figure:
    """The mean of shares with Wilson's interval instead, which stays within 0 and 1 and holds better near them: with
    k = half² / (p (1 − p)) in the place of z² / n, (p + k/2 ± √(k (p (1 − p) + k/4))) / (1 + k)."""
    if not isinstance(figure, Estimate) or figure.low is None or figure.high is None or not 0 < figure.value < 1:
        return figure
    share, spread = figure.value, figure.value * (1 - figure.value)
    k = ((figure.high - figure.low) / 2) ** 2 / spread
    half = float(np.sqrt(k * (spread + k / 4)))
    return replace(figure, low=(share + k / 2 - half) / (1 + k), high=(share + k / 2 + half) / (1 + k))


def worth_rows(chances: FloatArray) -> float:
    """How many rows drawn with even chances these are worth, for a figure that has nothing to do with the chances: (Σ
    w)² / Σ w² (Kish 1965, §11.7)."""
    weights = 1 / chances
    return float(weights.sum() ** 2 / (weights**2).sum())


def _weighted(values: FloatArray, chances: FloatArray) -> tuple[float, FloatArray] | NotDefined:
    """The mean, and what each row adds to its error; 0 for rows without a value."""
    known = np.isfinite(values)
    if not known.any():
        return NotDefined("no row that was drawn has a value", 0)
    weights = np.where(known, 1 / chances, 0.0)
    mean = float((weights * np.where(known, values, 0.0)).sum() / weights.sum())
    return mean, weights * np.where(known, values - mean, 0.0) / weights.sum()


def _of_these(
    value: float,
    parts: FloatArray,
    chances: FloatArray,
    strata: ArrayLike | None,
    level: float,
    known: int | None = None,
) -> Figure:
    """Variance of a draw of fixed size: Σ_h n_h/(n_h − 1) Σ (1 − π)(z − B_h)², B_h the mean of z weighted by 1 − π
    (Deville 1999, "Variance estimation for complex statistics", Survey Methodology 25, §6.2)."""
    codes = np.zeros(len(parts), dtype=np.int64) if strata is None else _codes(strata)
    doubt = 1 - chances
    rows = len(parts) if known is None else known
    if not (doubt > 1e-12).any():
        return Estimate(value, value, value, rows, rows)
    variance, degrees = 0.0, 0
    for stratum in range(int(codes.max()) + 1):
        mine = (codes == stratum) & (doubt > 1e-12)
        drawn = int(mine.sum())
        if drawn == 0:
            continue
        if drawn == 1:
            return Estimate(
                value, None, None, rows, rows, "no interval: a stratum has one row that was drawn by chance"
            )
        middle = (doubt[mine] * parts[mine]).sum() / doubt[mine].sum()
        variance += drawn / (drawn - 1) * float((doubt[mine] * (parts[mine] - middle) ** 2).sum())
        degrees += drawn - 1
    return _figure(value, variance, degrees, level, rows, rows)


def _codes(strata: ArrayLike) -> IntArray:
    return np.asarray(np.unique(np.asarray(strata), return_inverse=True)[1], dtype=np.int64).reshape(-1)


def _figure(value: float, variance: float, degrees: int, level: float, n: int, clusters: int) -> Figure:
    half = float(stats.t.ppf((1 + level) / 2, degrees) * np.sqrt(variance))
    if half < 1e-12:
        return Estimate(value, None, None, n, clusters, "no interval: the values do not differ")
    return Estimate(value, value - half, value + half, n, clusters)
