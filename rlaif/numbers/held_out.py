"""Choosing among many and then saying how good the choice is, without being fooled by having chosen.

*Within* a question ("what to do about this principle?") the best of several answers looks better than it is on the rows
that chose it. So rows are cut into folds of whole clusters; each fold's rows are given the answer that the other folds
chose, and only there is it measured (`cross_fitted`; Stone 1974, "Cross-validatory choice"). *Between* questions, of
twenty intervals at 95 % one is wrong by chance. So all intervals of a set hold together with 95 % (`simultaneous`: the
maximum of the studentised statistics over the bootstrap, Romano and Wolf 2005, "Stepwise multiple testing", §4).
"""

from dataclasses import dataclass

import numpy as np

from rlaif.numbers.bootstrap import ClusterBootstrap
from rlaif.numbers.figures import BoolArray, Estimate, Figure, FloatArray, IntArray, NotDefined
from rlaif.numbers.intervals import MIN_CLUSTERS, expanded_quantile

NOTHING = -1  # the answer "leave it as it is", whose effect is 0


@dataclass(frozen=True, slots=True, eq=False)
class CrossFitted:
    """`effects` (N,): of the answer that the other folds chose. `chosen` (F,): which that was; `best`: which all rows
    choose. NOTHING where none does any good."""

    effects: FloatArray
    chosen: IntArray
    best: int


def cross_fitted(effects: FloatArray, folds: IntArray, num_folds: int) -> CrossFitted:
    """effects (A, N): what each of A answers would change in each row. Of equal ones the first is taken."""
    marks = np.zeros((len(folds), num_folds))
    marks[np.arange(len(folds)), folds] = 1.0
    within = effects @ marks  # (A, F)
    elsewhere = within.sum(axis=1, keepdims=True) - within
    chosen = _best(elsewhere)
    held = np.zeros(len(folds))
    for fold, answer in enumerate(chosen):
        if answer != NOTHING:
            held[folds == fold] = effects[answer, folds == fold]
    return CrossFitted(held, chosen, int(_best(within.sum(axis=1)[:, None])[0]))


def _best(totals: FloatArray) -> IntArray:
    """Of totals (A, M), the answer with the largest, or NOTHING where that does no good."""
    if not len(totals):
        return np.full(totals.shape[1], NOTHING)
    best = totals.argmax(axis=0)
    return np.where(totals.max(axis=0) > 1e-9, best, NOTHING)


@dataclass(frozen=True, slots=True)
class Together:
    """Intervals that all hold together. `reach`: their half-widths in standard deviations."""

    figures: tuple[Figure, ...]
    reach: float


def simultaneous(
    bootstrap: ClusterBootstrap,
    effects: FloatArray,
    counted: BoolArray,
    *,
    reach: float | None = None,
    level: float = 0.95,
) -> Together:
    """Means over the `counted` rows of effects (N, L), 0 elsewhere, with intervals that all hold together.

    Half-widths: c · s_l, s_l the bootstrap's standard deviation and c the quantile of max_l |θ*_l − θ_l| / s_l, widened
    as all of ours for few clusters; or c = `reach`, of a set that these belong to. A column that is 0 throughout is
    NotDefined, and no part of the maximum.
    """
    rows, clusters = int(counted.sum()), len(np.unique(bootstrap.codes[counted]))
    if clusters < MIN_CLUSTERS:
        why = f"{clusters} clusters (prompts) are too few for an interval, which needs {MIN_CLUSTERS}"
        return Together((NotDefined(why, rows),) * effects.shape[1], np.inf)
    totals = bootstrap.totals(np.column_stack([effects, counted]).astype(np.float64))
    whole, drawn = totals.sum(axis=0), bootstrap.resampled(totals)
    means = whole[:-1] / whole[-1]
    resampled = drawn[:, :-1] / drawn[:, -1:]
    spread = resampled.std(axis=0, ddof=1)
    moving = spread > 0
    if reach is None and moving.any():
        largest = (np.abs(resampled[:, moving] - means[moving]) / spread[moving]).max(axis=1)
        widened = expanded_quantile(level, clusters) / expanded_quantile(level, 10**6)
        reach = float(np.quantile(largest, level)) * widened
    figures = tuple(_figure(mean, reach, one, rows, clusters) for mean, one in zip(means, spread, strict=True))
    return Together(figures, np.inf if reach is None else reach)


def _figure(mean: float, reach: float | None, spread: float, rows: int, clusters: int) -> Figure:
    if reach is None or spread == 0:
        return NotDefined("nothing changes in any pair", rows)
    return Estimate(float(mean), float(mean - reach * spread), float(mean + reach * spread), rows, clusters)
