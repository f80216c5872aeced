"""Logistic regression with an L1 penalty: of many principles, those that carry the human labels.

Minimises mean log loss + penalty · Σ |β| (Tibshirani 1996); `unpenalised` columns, such as an intercept, are exempt.
Coefficients are shrunk, and errors computed after selecting are too small: for effects with intervals refit the chosen
columns with `logistic.py`, and say that they were chosen. The penalty is found on folds of whole clusters.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from rlaif.numbers.figures import BoolArray, FloatArray, NotDefined
from rlaif.numbers.recalibration import cluster_folds

MAX_STEPS = 5000


def fit_l1_logistic(
    design: FloatArray,
    outcomes: FloatArray,
    penalty: float,
    *,
    unpenalised: tuple[int, ...] = (),
    start: FloatArray | None = None,
    tolerance: float = 1e-9,
) -> FloatArray:
    """Coefficients (K,) of design (N, K), outcomes (N,) in [0, 1]. Columns are taken as scaled: standardise them first.

    Accelerated proximal gradient (FISTA, Beck and Teboulle 2009) with restarts; the step is 4 / the largest eigenvalue
    of XᵀX / N, the bound of the logistic loss's curvature.
    """
    rows, width = design.shape
    step = 4 / max(float(np.linalg.eigvalsh(design.T @ design / rows)[-1]), 1e-12)
    threshold = np.full(width, penalty * step)
    threshold[list(unpenalised)] = 0.0
    current = np.zeros(width) if start is None else start.copy()
    ahead, momentum = current, 1.0
    for _ in range(MAX_STEPS):
        gradient = design.T @ (special.expit(design @ ahead) - outcomes) / rows
        moved = ahead - step * gradient
        updated = np.sign(moved) * np.maximum(np.abs(moved) - threshold, 0.0)
        if (ahead - updated) @ (updated - current) > 0:  # overshot: forget the momentum
            momentum = 1.0
        grown = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = updated + (momentum - 1) / grown * (updated - current)
        change, current, momentum = np.abs(updated - current).max(), updated, grown
        if change < tolerance:
            break
    return current


def largest_penalty(design: FloatArray, outcomes: FloatArray) -> float:
    """The least penalty under which every coefficient is 0, where none is exempt: max |Xᵀ(1/2 − y)| / N."""
    return float(np.abs(design.T @ (0.5 - outcomes)).max() / len(outcomes))


@dataclass(frozen=True, slots=True, eq=False)
class PenaltyChoice:
    """Coefficients at the chosen penalty, and what the choice rests on: held-out log loss per penalty, with errors."""

    penalty: float
    coefficients: FloatArray
    penalties: FloatArray
    losses: FloatArray
    errors: FloatArray


def choose_penalty(
    design: FloatArray,
    outcomes: FloatArray,
    clusters: ArrayLike,
    *,
    num_folds: int = 5,
    num_penalties: int = 20,
    seed: int = 0,
) -> PenaltyChoice | NotDefined:
    """The penalty of the least held-out log loss among `num_penalties`, from the largest down to a thousandth of it."""
    _, codes = np.unique(np.asarray(clusters), return_inverse=True)
    groups = int(codes.max(initial=-1)) + 1
    if groups < num_folds:
        return NotDefined(f"{groups} clusters (prompts) cannot be cut into {num_folds} folds", len(outcomes))
    top = largest_penalty(design, outcomes)
    if top == 0:
        return NotDefined("no column has anything to do with the outcomes", len(outcomes))
    penalties = top * np.logspace(0, -3, num_penalties)
    folds = cluster_folds(codes.reshape(-1), num_folds, seed)
    held_out = np.stack([_held_out(design, outcomes, folds == fold, penalties) for fold in range(num_folds)])
    best = int(held_out.mean(axis=0).argmin())
    return PenaltyChoice(
        penalty=float(penalties[best]),
        coefficients=_path(design, outcomes, penalties[: best + 1])[-1],
        penalties=penalties,
        losses=held_out.mean(axis=0),
        errors=held_out.std(axis=0, ddof=1) / np.sqrt(num_folds),
    )


def _path(design: FloatArray, outcomes: FloatArray, penalties: FloatArray) -> list[FloatArray]:
    """Coefficients for falling penalties, each started from the one before."""
    found = [np.zeros(design.shape[1])]
    for penalty in penalties:
        found.append(fit_l1_logistic(design, outcomes, float(penalty), start=found[-1], tolerance=1e-7))
    return found[1:]


def _held_out(design: FloatArray, outcomes: FloatArray, out: BoolArray, penalties: FloatArray) -> FloatArray:
    linear = np.stack([design[out] @ found for found in _path(design[~out], outcomes[~out], penalties)])
    return np.asarray((np.logaddexp(0, linear) - outcomes[out] * linear).mean(axis=1))
