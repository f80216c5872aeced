"""Of many principles, those that carry a rater's labels, each with an interval that knows it was chosen among many.

An L1 penalty finds a sparse set of coefficients, shrunk to 0 (`sparse_logistic.py`); errors computed for the ones that
it keeps are too small, because it kept them for being large. One Newton step from there takes the shrinkage off again,
for kept and dropped alike:

    β̂ = β_L1 + I(β_L1)⁻¹ Xᵀ(y − σ(Xβ_L1)),   I(β) = Xᵀ diag(σ(1 − σ)) X

the de-sparsified estimator of van de Geer, Bühlmann, Ritov and Dezeure 2014 (Annals of Statistics 42(3), eq. 8) with
the exact inverse, for fewer columns than prompts. At penalty 0 it is maximum likelihood. Errors are the sandwich
clustered by prompt (CR1, `coefficients.py`), at β̂.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from rlaif.numbers.coefficients import Coefficients, clustered_covariance, rows_of
from rlaif.numbers.figures import FloatArray, NotDefined
from rlaif.numbers.sparse_logistic import choose_penalty, fit_l1_logistic

SEPARATED = "the columns foretell the outcomes perfectly, so the coefficients have no end"


@dataclass(frozen=True, slots=True, eq=False)
class SparseFit:
    """`fit` has the coefficients without shrinkage and their covariance; `shrunk` (K,) those under the penalty, 0 for
    what it drops."""

    fit: Coefficients
    shrunk: FloatArray
    penalty: float


def fit_debiased(
    columns: dict[str, FloatArray],
    outcomes: FloatArray,
    clusters: ArrayLike,
    *,
    penalty: float | None = None,
    seed: int = 0,
) -> SparseFit | NotDefined:
    """Outcomes (N,) in [0, 1], columns (N,) each, of a like scale; rows with a NaN do not count. Without a penalty it
    is chosen on folds of whole clusters. No intercept: which of two answers is the first is an accident."""
    rows = rows_of(columns, outcomes, clusters)
    size = len(rows.outcomes)
    if rows.because:
        return NotDefined(rows.because, size)
    if penalty is None:
        chosen = choose_penalty(rows.design, rows.outcomes, rows.codes, seed=seed)
        if isinstance(chosen, NotDefined):
            return chosen
        penalty, shrunk = chosen.penalty, chosen.coefficients
    else:
        shrunk = fit_l1_logistic(rows.design, rows.outcomes, penalty)
    linear = rows.design @ shrunk
    if _separates(linear, rows.outcomes):
        return NotDefined(SEPARATED, size)
    step = _inverse(rows.design, linear) @ (rows.design.T @ (rows.outcomes - special.expit(linear)))
    found = shrunk + step
    linear = rows.design @ found
    if _separates(linear, rows.outcomes):
        return NotDefined(SEPARATED, size)
    scores = rows.design * (rows.outcomes - special.expit(linear))[:, None]
    covariance = clustered_covariance(_inverse(rows.design, linear), scores, rows, float(size))
    return SparseFit(Coefficients(rows.names, found, covariance, size, rows.groups), shrunk, penalty)


def _separates(linear: FloatArray, outcomes: FloatArray) -> bool:
    """Whether every outcome is 0 or 1, and foretold."""
    decided = (outcomes == 0) | (outcomes == 1)
    return bool(decided.all() and ((linear > 0) == (outcomes > 0.5)).all() and (linear != 0).all())


def _inverse(design: FloatArray, linear: FloatArray) -> FloatArray:
    fitted = special.expit(linear)
    return np.asarray(np.linalg.inv((design * (fitted * (1 - fitted))[:, None]).T @ design))
