"""How good a judge is: figures over verdicts whose truth is known. Pure functions on arrays; models are elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlaif.tiny.critiques import Critique, winner_of
from rlaif.train.tiny.judge_data import Comparison

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Both orders of (comparison, wording) pairs. `first` is P(A) as drawn, `second` is P(A) after the swap."""

    first: Floats
    second: Floats
    truth: Floats  # 1 A is better, 0 B is better, 0.5 a tie

    @property
    def averaged(self) -> Floats:
        """P(the answer drawn first is better), both orders averaged."""
        return (self.first + 1.0 - self.second) / 2.0

    @property
    def decisive(self) -> NDArray[np.bool_]:
        return np.not_equal(self.truth, 0.5)

    def chosen(self, rows: NDArray[np.bool_]) -> "Verdicts":
        return Verdicts(self.first[rows], self.second[rows], self.truth[rows])


def truth_of(comparisons: Sequence[Comparison]) -> Floats:
    """The targets, one per (comparison, wording), in order."""
    share = {"A": 1.0, "B": 0.0, "tie": 0.5}
    return np.array(
        [
            share[winner_of(w.property in one.a.properties, w.property in one.b.properties, w.direction)]
            for one in comparisons
            for w in one.wordings
        ]
    )


def true_critique(one: Comparison) -> Critique:
    """What is to be said of a comparison under its first principle."""
    wording = one.wordings[0]
    a_has, b_has = wording.property in one.a.properties, wording.property in one.b.properties
    return Critique(wording.property, a_has, b_has, winner_of(a_has, b_has, wording.direction))


def accuracy(v: Verdicts) -> float:
    """Share of decisive comparisons whose averaged probability is on the right side."""
    rows = v.decisive
    return float(np.mean((v.averaged[rows] > 0.5) == (v.truth[rows] > 0.5)))


def accuracy_one_order(v: Verdicts) -> float:
    """The same before averaging."""
    rows = v.decisive
    right = v.truth[rows] > 0.5
    return float(np.mean(np.concatenate(((v.first[rows] > 0.5) == right, (v.second[rows] < 0.5) == right))))


def same_after_swap(v: Verdicts) -> float:
    """Share of decisive comparisons where both orders name the same answer."""
    rows = v.decisive
    return float(np.mean((v.first[rows] > 0.5) == (v.second[rows] < 0.5)))


def calibration_error(probability: Floats, truth: Floats, bins: int = 10) -> float:
    """Expected calibration error in equal-width bins; a tie counts as half a win.

    For one verdict at a time (not averaged over orders): that is what a reader of log-probabilities gets.
    """
    place = np.minimum((probability * bins).astype(int), bins - 1)
    gaps = [
        abs(probability[place == b].mean() - truth[place == b].mean()) * np.mean(place == b)
        for b in range(bins)
        if np.any(place == b)
    ]
    return float(np.sum(gaps))


def verdict_calibration(v: Verdicts, *, decisive_only: bool = False) -> float:
    """`calibration_error` over both orders as separate verdicts."""
    rows = v.decisive if decisive_only else np.ones(len(v.truth), dtype=bool)
    probability = np.concatenate((v.first[rows], v.second[rows]))
    return calibration_error(probability, np.concatenate((v.truth[rows], 1.0 - v.truth[rows])))
