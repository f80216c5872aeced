"""Least squares with errors clustered by prompt: effects on a scale where effects add, such as log-odds.

A logistic coefficient shrinks with everything that the columns leave out (worth that nobody measured), because odds
ratios do not average: it says how far *verdicts* go with a column over these pairs. The mean of log-odds has no such
shrinkage. Where a judge gives probabilities, both can be had.
"""

import numpy as np
from numpy.typing import ArrayLike

from rlaif.numbers.coefficients import Coefficients, clustered_covariance, rows_of
from rlaif.numbers.figures import FloatArray, NotDefined


def fit_linear(columns: dict[str, FloatArray], outcomes: FloatArray, clusters: ArrayLike) -> Coefficients | NotDefined:
    """Outcomes (N,), columns (N,) each; rows with a NaN do not count. No intercept unless it is a column. CR1 errors
    (`rlaif/numbers/coefficients.py`)."""
    rows = rows_of(columns, outcomes, clusters)
    if rows.because:
        return NotDefined(rows.because, len(rows.outcomes))
    bread: FloatArray = np.linalg.inv(rows.design.T @ rows.design).astype(np.float64)
    found = bread @ rows.design.T @ rows.outcomes
    scores = rows.design * (rows.outcomes - rows.design @ found)[:, None]
    covariance = clustered_covariance(bread, scores, rows, float(len(rows.outcomes)))
    return Coefficients(rows.names, found, covariance, len(rows.outcomes), rows.groups)
