"""Coefficients of a regression with a covariance that knows that rows share prompts (CR1).

Errors: the sandwich A⁻¹ (Σ_g s_g s_gᵀ) A⁻¹ over clusters, times G / (G − 1) · (N − 1) / (N − K) (Cameron and Miller
2015, "A Practitioner's Guide to Cluster-Robust Inference", eq. 11).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from rlaif.numbers.figures import BoolArray, Estimate, FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Coefficients:
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


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What is regressed, rows with a NaN left out: design (N, K), outcomes (N,), clusters as 0 … groups − 1."""

    names: tuple[str, ...]
    design: FloatArray
    outcomes: FloatArray
    codes: IntArray
    groups: int
    known: BoolArray  # of the rows given, which are in

    @property
    def because(self) -> str:
        """Why no coefficients can be had of them, or ''."""
        if self.groups <= len(self.names):
            return f"{self.groups} clusters (prompts) are too few for {len(self.names)} coefficients"
        for place, name in enumerate(self.names):
            if not self.design[:, place].any():
                return f"{name!r} is 0 in every row"
        if np.linalg.matrix_rank(self.design) < len(self.names):
            return f"the columns {', '.join(self.names)} are not independent of each other"
        return ""


def rows_of(columns: Mapping[str, FloatArray], outcomes: FloatArray, clusters: ArrayLike) -> Rows:
    """Columns (N,) each, outcomes (N,), clusters (N,)."""
    design = np.column_stack(list(columns.values())).astype(np.float64)
    known = np.isfinite(design).all(axis=1) & np.isfinite(outcomes)
    _, codes = np.unique(np.asarray(clusters)[known], return_inverse=True)
    codes = codes.reshape(-1).astype(np.int64)
    groups = int(codes.max(initial=-1)) + 1
    return Rows(tuple(columns), design[known], outcomes[known], codes, groups, known)


def clustered_covariance(bread: FloatArray, scores: FloatArray, rows: Rows, num_rows: float) -> FloatArray:
    """bread (K, K) the inverse information, scores (N, K) each row's part of the gradient, num_rows N with weights."""
    within = np.stack([np.bincount(rows.codes, weights=column) for column in scores.T], axis=1)
    groups, width = rows.groups, len(rows.names)
    small = groups / (groups - 1) * (num_rows - 1) / (num_rows - width)
    return np.asarray(small * bread @ within.T @ within @ bread)
