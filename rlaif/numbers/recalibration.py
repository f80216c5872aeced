"""Probabilities mended: what people's votes say that a judge's 0.8 is worth. Isotonic or Platt, fitted out of fold.

A map fitted and applied on the same rows looks better than it is, and so does one fitted on other pairs of the same
prompt. `out_of_fold` therefore gives each row the map learnt on the other folds, folds being made of whole clusters.

A preference has two sides, and P(a over b) + P(b over a) must stay 1: `is_symmetric` fits the pair and its mirror
image, so that the map is odd about one half. It is what to use for soft labels; without it, a tendency of the *first*
answers to win would be learnt as well.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from rlaif.numbers.figures import BoolArray, FloatArray, IntArray, NotDefined

Fit = Callable[[FloatArray, FloatArray, bool], "Recalibration"]
FLOOR = 1e-6  # a judge's 0 and 1 on the scale of log-odds


@dataclass(frozen=True, slots=True, eq=False)
class Isotonic:
    """A rising step function with straight lines between `said` (M,) and `came` (M,), flat beyond both ends."""

    said: FloatArray
    came: FloatArray

    def __call__(self, probabilities: FloatArray) -> FloatArray:
        return np.interp(probabilities, self.said, self.came)


@dataclass(frozen=True, slots=True)
class Platt:
    """sigmoid(slope · log-odds + shift). Slope below 1: the judge is too sure of itself."""

    slope: float
    shift: float

    def __call__(self, probabilities: FloatArray) -> FloatArray:
        odds = special.logit(np.clip(probabilities, FLOOR, 1 - FLOOR))
        return np.asarray(special.expit(self.slope * odds + self.shift))


Recalibration = Isotonic | Platt


def fit_isotonic(probabilities: FloatArray, outcomes: FloatArray, is_symmetric: bool = True) -> Isotonic:
    """Least squares among rising functions (pool adjacent violators), equal probabilities pooled first.

    probabilities, outcomes (N,) without NaN. A block's value stands at both its ends, as in scikit-learn.
    """
    p, y = mirrored(probabilities, outcomes) if is_symmetric else (probabilities, outcomes)
    said, codes, counts = np.unique(np.round(p, 12), return_inverse=True, return_counts=True)
    means = np.bincount(codes.reshape(-1), weights=y) / counts
    return Isotonic(said, np.asarray(optimize.isotonic_regression(means, weights=counts).x))


def fit_platt(probabilities: FloatArray, outcomes: FloatArray, is_symmetric: bool = True) -> Platt:
    """Maximum likelihood of slope and shift; outcomes may be shares. With symmetry the shift is 0 (Platt 1999).

    A tiny pull of the slope towards 0 (1e-6 per row) keeps it finite where people always agree with the judge.
    """
    odds = special.logit(np.clip(probabilities, FLOOR, 1 - FLOOR))

    def loss_and_slope(parameters: FloatArray) -> tuple[float, FloatArray]:
        slope, shift = parameters[0], 0.0 if is_symmetric else parameters[1]
        linear = slope * odds + shift
        error = special.expit(linear) - outcomes
        loss = float((np.logaddexp(0, linear) - outcomes * linear).mean() + 5e-7 * slope**2)
        gradient = np.array([(error * odds).mean() + 1e-6 * slope, error.mean()])
        return loss, gradient[: len(parameters)]

    found = optimize.minimize(loss_and_slope, [1.0] if is_symmetric else [1.0, 0.0], jac=True, method="BFGS")
    return Platt(float(found.x[0]), 0.0 if is_symmetric else float(found.x[1]))


def mirrored(probabilities: FloatArray, outcomes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Each pair and the same pair seen from the other side: (2N,) twice."""
    return np.concatenate([probabilities, 1 - probabilities]), np.concatenate([outcomes, 1 - outcomes])


def cluster_folds(clusters: ArrayLike, num_folds: int, seed: int) -> IntArray:
    """A fold 0 … num_folds − 1 for each row (N,), whole clusters together, folds of nearly as many clusters."""
    names, codes = np.unique(np.asarray(clusters), return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    return np.asarray((order % num_folds)[codes.reshape(-1)])


def out_of_fold(
    probabilities: FloatArray,
    outcomes: FloatArray,
    clusters: ArrayLike,
    *,
    fit: Fit = fit_isotonic,
    num_folds: int = 5,
    seed: int = 0,
    is_symmetric: bool = True,
) -> FloatArray | NotDefined:
    """Every row's probability (N,) under the map learnt from the other folds. Rows without an outcome get one too.

    A row whose probability is NaN stays NaN.
    """
    known = np.isfinite(probabilities) & np.isfinite(outcomes)
    _, codes = np.unique(np.asarray(clusters), return_inverse=True)
    labelled = len(np.unique(codes.reshape(-1)[known]))
    if num_folds < 2 or labelled < num_folds:
        return NotDefined(
            f"{labelled} labelled clusters (prompts) cannot be cut into {num_folds} folds", int(known.sum())
        )
    folds = _folds_of_labelled(codes.reshape(-1), known, num_folds, seed)
    mended = np.full(len(probabilities), np.nan)
    for fold in range(num_folds):
        learn = known & (folds != fold)
        mended[folds == fold] = fit(probabilities[learn], outcomes[learn], is_symmetric)(probabilities[folds == fold])
    return mended


def _folds_of_labelled(codes: IntArray, known: BoolArray, num_folds: int, seed: int) -> IntArray:
    """Folds that share the labelled clusters out evenly, and then the rest."""
    labelled = np.isin(codes, codes[known])
    folds = np.empty(len(codes), dtype=np.int64)
    for part in (labelled, ~labelled):
        folds[part] = cluster_folds(codes[part], num_folds, seed)
    return folds
