"""Logistic regression whose standard errors know that rows share prompts (CR1), for effects on a preference.

What makes a rater prefer the longer answer, the one shown first, the one with lists? Regress its choices, or its
probabilities, on those differences. Coefficients are log-odds per unit; of `standardised` columns, per standard
deviation, which makes them comparable. Side effects of symmetry: with differences (first − second) as columns and pairs
in an order that means nothing, no intercept belongs in the model, and the intercept, where answers are in the order
shown, *is* the position effect.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from rlaif.numbers.figures import Estimate, FloatArray, NotDefined

MAX_STEPS = 50
CLOSE = 1e-9  # log-odds: a step that moves no row by more has arrived


@dataclass(frozen=True, slots=True, eq=False)
class LogisticFit:
    """Coefficients (K,), their CR1 covariance (K, K), rows and clusters."""

    names: tuple[str, ...]
    coefficients: FloatArray
    covariance: FloatArray
    n: int
    clusters: int

    def estimate(self, name: str, level: float = 0.95) -> Estimate:
        """One coefficient with its interval, from Student's t with G − 1 degrees of freedom."""
        place = self.names.index(name)
        value, error = float(self.coefficients[place]), float(np.sqrt(self.covariance[place, place]))
        half = float(stats.t.ppf((1 + level) / 2, self.clusters - 1)) * error
        return Estimate(value, value - half, value + half, self.n, self.clusters)

    def p_value(self, name: str) -> float:
        """Two-sided, of the coefficient being 0."""
        place = self.names.index(name)
        score = abs(self.coefficients[place]) / np.sqrt(self.covariance[place, place])
        return float(2 * stats.t.sf(score, self.clusters - 1))


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
) -> LogisticFit | NotDefined:
    """Maximum likelihood by Newton's method; outcomes (N,) in [0, 1] may be shares or probabilities, columns (N,) each.

    Rows with a NaN anywhere do not count. An intercept is a column of ones, if the caller wants one. Weights (N,) are
    frequencies. Errors: the sandwich A⁻¹ (Σ_g s_g s_gᵀ) A⁻¹ over clusters, times G / (G − 1) · (N − 1) / (N − K)
    (CR1; Cameron and Miller 2015, "A Practitioner's Guide to Cluster-Robust Inference", eq. 11).
    """
    names = tuple(columns)
    design = np.column_stack([columns[name] for name in names]).astype(np.float64)
    known = np.isfinite(design).all(axis=1) & np.isfinite(outcomes)
    design, targets = design[known], outcomes[known]
    counts = np.ones(len(targets)) if weights is None else weights[known]
    _, codes = np.unique(np.asarray(clusters)[known], return_inverse=True)
    groups = int(codes.max(initial=-1)) + 1
    because = _unfit(design, targets, names, groups)
    if because:
        return NotDefined(because, len(targets))
    coefficients = _newton(design, targets, counts)
    if coefficients is None:
        return NotDefined(
            "the columns foretell the outcomes (almost) perfectly, so the coefficients have no end", len(targets)
        )
    fitted = special.expit(design @ coefficients)
    scores = design * (counts * (targets - fitted))[:, None]
    within = np.stack([np.bincount(codes.reshape(-1), weights=column) for column in scores.T], axis=1)
    bread = np.linalg.inv(_information(design, fitted, counts))
    rows, width = float(counts.sum()), design.shape[1]
    small = groups / (groups - 1) * (rows - 1) / (rows - width)
    return LogisticFit(names, coefficients, small * bread @ within.T @ within @ bread, len(targets), groups)


def _unfit(design: FloatArray, targets: FloatArray, names: tuple[str, ...], groups: int) -> str:
    """Why nothing can be fitted, or ''."""
    if len(targets) and ((targets < 0) | (targets > 1)).any():
        raise ValueError("outcomes of a logistic regression lie in [0, 1]")
    if groups <= len(names):
        return f"{groups} clusters (prompts) are too few for {len(names)} coefficients"
    for place, name in enumerate(names):
        if not design[:, place].any():
            return f"{name!r} is 0 in every row"
    if np.linalg.matrix_rank(design) < len(names):
        return f"the columns {', '.join(names)} are not independent of each other"
    if np.ptp(targets) == 0 and targets[0] in (0.0, 1.0):
        return "every outcome is the same"
    return ""


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
