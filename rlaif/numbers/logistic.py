"""Logistic regression whose standard errors know that rows share prompts (CR1), for effects on a preference.

What makes a rater prefer the longer answer, the one shown first, the one with lists? Regress its choices, or its
probabilities, on those differences. Coefficients are log-odds per unit; of `standardised` columns, per standard
deviation, which makes them comparable. Side effects of symmetry: with differences (first − second) as columns and pairs
in an order that means nothing, no intercept belongs in the model, and the intercept, where answers are in the order
shown, *is* the position effect.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from rlaif.numbers.coefficients import Coefficients, clustered_covariance, rows_of
from rlaif.numbers.figures import FloatArray, NotDefined

MAX_STEPS = 50
CLOSE = 1e-9  # log-odds: a step that moves no row by more has arrived


def standardised(values: FloatArray, *, is_centred: bool = True) -> FloatArray:
    """values (N,) over their standard deviation. Differences of two exchangeable answers are not to be centred: their
    zero means something, and their scale is the root of the mean square."""
    known = values[np.isfinite(values)]
    if not len(known):
        return values
    centre = known.mean() if is_centred else 0.0
    scale = np.sqrt(((known - centre) ** 2).mean())
    return np.asarray((values - centre) / (scale if scale > 0 else 1.0))


def fit_logistic(
    columns: dict[str, FloatArray], outcomes: FloatArray, clusters: ArrayLike, *, weights: FloatArray | None = None
) -> Coefficients | NotDefined:
    """Maximum likelihood by Newton's method; outcomes (N,) in [0, 1] may be shares or probabilities, columns (N,) each.

    Rows with a NaN anywhere do not count. An intercept is a column of ones, if the caller wants one. Weights (N,) are
    frequencies. Errors: CR1 (`rlaif/numbers/coefficients.py`).
    """
    rows = rows_of(columns, outcomes, clusters)
    design, targets = rows.design, rows.outcomes
    counts = np.ones(len(targets)) if weights is None else weights[rows.known]
    if len(targets) and ((targets < 0) | (targets > 1)).any():
        raise ValueError("outcomes of a logistic regression lie in [0, 1]")
    because = rows.because or _alike(targets)
    if because:
        return NotDefined(because, len(targets))
    coefficients = _newton(design, targets, counts)
    if coefficients is None:
        return NotDefined(
            "the columns foretell the outcomes (almost) perfectly, so the coefficients have no end", len(targets)
        )
    fitted = special.expit(design @ coefficients)
    scores = design * (counts * (targets - fitted))[:, None]
    bread: FloatArray = np.linalg.inv(_information(design, fitted, counts)).astype(np.float64)
    covariance = clustered_covariance(bread, scores, rows, float(counts.sum()))
    return Coefficients(rows.names, coefficients, covariance, len(targets), rows.groups)


def _alike(targets: FloatArray) -> str:
    return "every outcome is the same" if np.ptp(targets) == 0 and targets[0] in (0.0, 1.0) else ""


def _information(design: FloatArray, fitted: FloatArray, counts: FloatArray) -> FloatArray:
    return (design * (counts * fitted * (1 - fitted))[:, None]).T @ design


def _log_likelihood(linear: FloatArray, targets: FloatArray, counts: FloatArray) -> float:
    return float((counts * (targets * linear - np.logaddexp(0, linear))).sum())


def _newton(design: FloatArray, targets: FloatArray, counts: FloatArray) -> FloatArray | None:
    """The maximum, or None where there is none: with separated classes every step goes one log-odds further."""
    coefficients = np.zeros(design.shape[1])
    for _ in range(MAX_STEPS):
        fitted = special.expit(design @ coefficients)
        try:
            step = np.linalg.solve(_information(design, fitted, counts), design.T @ (counts * (targets - fitted)))
        except np.linalg.LinAlgError:
            return None
        if np.abs(design @ step).max() < CLOSE:
            return coefficients + step
        here = _log_likelihood(design @ coefficients, targets, counts)
        while _log_likelihood(design @ (coefficients + step), targets, counts) < here and np.abs(step).max() > CLOSE:
            step = step / 2
        coefficients = coefficients + step
    return None
