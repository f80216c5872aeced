"""Which model wins, and do two sources of labels put the models in the same order?

Win rates from shares, a tie as half a win, and the rank agreement (Kendall's τ-b, Spearman's ρ) of the rates under two
sources, with an interval: prompts are resampled and the models ranked anew each time. Win rates and not strengths:
strengths from an incomplete table of opponents are `bradley_terry.py`'s.
"""

import numpy as np
from scipy import stats

from rlaif.numbers.figures import BoolArray, FloatArray, IntArray, ratio
from rlaif.numbers.intervals import Measure, Statistic, mean_measure

TOO_FEW = "fewer than two models were compared, or all have the same win rate"


def win_rate_measures(
    first_model: IntArray, second_model: IntArray, first_share: FloatArray, num_models: int
) -> dict[int, Measure]:
    """Each model's win rate over all its comparisons. Models (N,) as codes, first_share (N,) P(first better), 1/2 a
    tie.
    """
    return {model: _rate(first_model == model, second_model == model, first_share) for model in range(num_models)}


def pair_win_rate(
    first_model: IntArray, second_model: IntArray, first_share: FloatArray, pair: tuple[int, int]
) -> Measure:
    """The first of `pair`'s win rate over the second, on either side."""
    model, other = pair
    shown_first = (first_model == model) & (second_model == other)
    return _rate(shown_first, (first_model == other) & (second_model == model), first_share)


def _rate(
    is_first: BoolArray,
    is_second: BoolArray,
    share: FloatArray,
) -> Measure:
    won = np.where(is_first, share, 1 - share)
    return mean_measure(np.where(is_first != is_second, won, np.nan), undefined="the model has no comparison")


def rank_agreement_measures(
    first_model: IntArray, second_model: IntArray, one: FloatArray, other: FloatArray, num_models: int
) -> dict[str, Measure]:
    """`kendall` (τ-b) and `spearman` between the models' win rates under two sources (N,) each, on pairs that both
    label.
    """
    known = np.isfinite(one) & np.isfinite(other)
    models = np.arange(num_models)
    is_first, is_second = (
        (first_model[:, None] == models) & known[:, None],
        (second_model[:, None] == models) & known[:, None],
    )
    columns = np.hstack([_won(is_first, is_second, one), _won(is_first, is_second, other), is_first | is_second])
    return {
        "kendall": Measure(columns, Statistic(lambda sums: kendall_tau(*_rates(sums)), TOO_FEW)),
        "spearman": Measure(columns, Statistic(lambda sums: spearman_rho(*_rates(sums)), TOO_FEW)),
    }


def _won(is_first: BoolArray, is_second: BoolArray, share: FloatArray) -> FloatArray:
    known = np.nan_to_num(share)[:, None]
    return np.asarray(is_first * known + is_second * (1 - known))


def _rates(sums: FloatArray) -> tuple[FloatArray, FloatArray]:
    one, other, played = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
    return ratio(one, played), ratio(other, played)


def kendall_tau(one: FloatArray, other: FloatArray) -> FloatArray:
    """Kendall's τ-b of (..., M) and (..., M) over the last axis; models with NaN in either are left out."""
    one, other = np.where(np.isnan(other), np.nan, one), np.where(np.isnan(one), np.nan, other)
    above = np.triu_indices(one.shape[-1], 1)
    left = np.sign(_settled(one[..., above[0]] - one[..., above[1]]))
    right = np.sign(_settled(other[..., above[0]] - other[..., above[1]]))
    untied = (left**2).sum(axis=-1) * (right**2).sum(axis=-1)
    return ratio((left * right).sum(axis=-1), np.sqrt(untied))


def _settled(differences: FloatArray) -> FloatArray:
    """Rounding is no difference, and an unknown rate makes none."""
    return np.where(np.isnan(differences) | (np.abs(differences) < 1e-12), 0.0, differences)


def spearman_rho(one: FloatArray, other: FloatArray) -> FloatArray:
    """Spearman's ρ of (..., M) and (..., M): Pearson's r of mid-ranks; not defined where a model has no rate."""
    known = np.isfinite(one).all(axis=-1) & np.isfinite(other).all(axis=-1)
    ranks = [stats.rankdata(np.round(np.nan_to_num(rates), 12), axis=-1) for rates in (one, other)]
    left, right = (rank - rank.mean(axis=-1, keepdims=True) for rank in ranks)
    spread = np.sqrt((left**2).sum(axis=-1) * (right**2).sum(axis=-1))
    return np.where(known, ratio((left * right).sum(axis=-1), spread), np.nan)
