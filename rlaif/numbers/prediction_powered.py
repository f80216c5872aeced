"""What the judge's labels add to a few human ones: PPI++ for means and win rates.

The judge labels everything, people label some. The mean of the judge's labels everywhere, corrected by how far the
judge is off where people labelled too, is unbiased whatever the judge's faults, and has a smaller error than the
people's mean alone if the judge is any good (Angelopoulos et al. 2023, arXiv:2301.09633; power tuning, so that a poor
judge does no harm: Angelopoulos, Duchi and Zrnic 2023, arXiv:2311.01453, §6). It holds for pairs that people labelled
*at random*.

Departure: pairs share prompts, and a prompt may have both kinds of pairs. Every prompt's influence on the estimate is
linear in λ, u_g = a_g + λ b_g, so the clustered variance is G / (G − 1) Σ u_g², and λ = −Σ a b / Σ b² makes it least.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from rlaif.numbers.figures import Estimate, FloatArray, IntArray, NotDefined


@dataclass(frozen=True, slots=True)
class PredictionPowered:
    """`together` people and judge, `people` alone; `power` λ, 0 where the judge is ignored.

    `worth_labels` is how many human labels would have given the same error without a judge.
    """

    together: Estimate
    people: Estimate
    power: float
    num_human: int
    num_judge_only: int
    worth_labels: float


def prediction_powered_mean(
    human: FloatArray, judge: FloatArray, clusters: ArrayLike, *, level: float = 0.95, power: float | None = None
) -> PredictionPowered | NotDefined:
    """The mean of what people would say. human (N,) NaN where nobody was asked, judge (N,), NaN rows left out.

    For a win rate both are the share of the first answer, ties one half. `power` fixes λ, otherwise tuned within [0,
    1]. Intervals from Student's t with (clusters with human labels − 1) degrees.
    """
    known = np.isfinite(judge)
    y, f = human[known], judge[known]
    labelled = np.isfinite(y)
    _, codes = np.unique(np.asarray(clusters)[known], return_inverse=True)
    codes = codes.reshape(-1).astype(np.int64)
    own, groups = len(np.unique(codes[labelled])), int(codes.max(initial=-1)) + 1
    n, others = int(labelled.sum()), int((~labelled).sum())
    if own < 2:
        return NotDefined(f"people's labels are of {own} cluster(s) (prompts); at least 2 are needed", n)
    own_part, judge_part = np.zeros(len(y)), np.zeros(len(y))
    own_part[labelled] = (y[labelled] - y[labelled].mean()) / n
    judge_part[labelled] = -(f[labelled] - f[labelled].mean()) / n
    if others:
        judge_part[~labelled] = (f[~labelled] - f[~labelled].mean()) / others
    a, b = _summed(own_part, codes), _summed(judge_part, codes)
    chosen = power if power is not None else _least_variance(a, b, has_others=others > 0)
    shift = float(f[~labelled].mean() - f[labelled].mean()) if others else 0.0
    value = float(y[labelled].mean())
    alone = _interval(value, a, own, n, own, level)
    both = _interval(value + chosen * shift, a + chosen * b, own, n + others, groups, level)
    if alone.low is None or both.low is None:
        return NotDefined("all human labels are equal, so their error cannot be told", n)
    gain = (a**2).sum() / ((a + chosen * b) ** 2).sum()
    return PredictionPowered(both, alone, chosen, n, others, float(n * gain))


def _summed(values: FloatArray, codes: IntArray) -> FloatArray:
    return np.asarray(np.bincount(codes, weights=values), dtype=np.float64)


def _least_variance(a: FloatArray, b: FloatArray, *, has_others: bool) -> float:
    if not has_others or not b.any():
        return 0.0
    return float(np.clip(-(a @ b) / (b @ b), 0.0, 1.0))


def _interval(value: float, influence: FloatArray, own: int, n: int, clusters: int, level: float) -> Estimate:
    error = np.sqrt(own / (own - 1) * (influence**2).sum())
    half = float(stats.t.ppf((1 + level) / 2, own - 1) * error)
    if half == 0:
        return Estimate(value, None, None, n, clusters, "no interval: the labels do not differ")
    return Estimate(value, value - half, value + half, n, clusters)
