"""What each of many columns (principles) weighs in a rater's votes, and which of them the votes need at all.

Which are needed, an L1 penalty says, chosen on folds of whole prompts (`sparse_logistic.py`). But its coefficients are
shrunk, and errors computed for the ones that it keeps are too small, because it kept them for being large. So weights
and errors are those of all columns together without a penalty (`logistic.py`, clustered by prompt), kept or not:
nothing was selected before they were computed. Where the votes are foretold perfectly there is no such fit, and the
shrunken weights stand alone, without an interval.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rlaif.numbers.coefficients import Coefficients, Rows, rows_of
from rlaif.numbers.figures import BoolArray, Estimate, Figure, FloatArray, NotDefined
from rlaif.numbers.logistic import fit_logistic
from rlaif.numbers.sparse_logistic import PenaltyChoice, choose_penalty, fit_l1_logistic

MAX_ROWS = 20_000  # to choose the penalty on: the weights themselves are computed on all
SHRUNK = "no interval: the votes are foretold too well, so this is what the L1 penalty leaves of a weight without end"


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """`shrunk` (K,): under the penalty, 0 for a column that is not needed. `fit`: without it."""

    names: tuple[str, ...]
    shrunk: FloatArray
    penalty: float
    fit: Coefficients | NotDefined

    def is_kept(self, name: str) -> bool:
        return bool(self.shrunk[self.names.index(name)])

    def weight(self, name: str) -> Figure:
        """Log-odds per unit of the column, the others held."""
        if isinstance(self.fit, Coefficients):
            return self.fit.estimate(name)
        return Estimate(float(self.shrunk[self.names.index(name)]), None, None, self.fit.n, 0, SHRUNK)


def weigh_columns(
    columns: dict[str, FloatArray], outcomes: FloatArray, clusters: ArrayLike, *, seed: int = 0
) -> Weighed | NotDefined:
    """Outcomes (N,) in [0, 1], columns (N,) each, of a like scale; rows with a NaN do not count. No intercept: which of
    two answers is the first is an accident."""
    rows = rows_of(columns, outcomes, clusters)
    if rows.because:
        return NotDefined(rows.because, len(rows.outcomes))
    some = _some(rows, seed)
    chosen = choose_penalty(rows.design[some], rows.outcomes[some], rows.codes[some], seed=seed)
    if isinstance(chosen, NotDefined):
        return chosen
    penalty = _simplest(chosen)
    shrunk = fit_l1_logistic(rows.design[some], rows.outcomes[some], penalty, start=chosen.coefficients)
    return Weighed(rows.names, shrunk, penalty, fit_logistic(columns, outcomes, clusters))


def _some(rows: Rows, seed: int) -> BoolArray:
    """Whole clusters with about so many rows as are enough to choose a penalty on."""
    share = min(1.0, MAX_ROWS / len(rows.outcomes))
    return np.asarray(np.random.default_rng(seed).permutation(rows.groups)[rows.codes] < max(share * rows.groups, 1))


def _simplest(chosen: PenaltyChoice) -> float:
    """The largest penalty whose held-out loss is within a standard error of the least: the least loss itself keeps
    nearly everything (Hastie, Tibshirani and Friedman 2009, "The Elements of Statistical Learning", §7.10)."""
    best = int(chosen.losses.argmin())
    near = chosen.losses <= chosen.losses[best] + chosen.errors[best]
    return float(chosen.penalties[near].max())
