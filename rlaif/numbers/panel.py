"""Any number of raters, not all of whom saw every pair: Fleiss' κ, Gwet's AC1 and AC2, Krippendorff's α.

From shares (N, R, C). A pair counts from two votes on (for Fleiss and Gwet, a single vote still tells of habits). Each
pair's part is computed once, as columns; the statistics are functions of their sums, so that intervals cost a matrix
product. "Pairs of votes" below always means two different raters on one pair of answers.
"""

from typing import Literal

import numpy as np

from rlaif.numbers.agreement import Weights, linear_weights, quadratic_weights
from rlaif.numbers.figures import FloatArray, ratio
from rlaif.numbers.intervals import Measure, Statistic

Level = Literal["nominal", "ordinal", "interval"]
NO_TWO_VOTES = "no pair has votes of two raters"
ONE_CLASS = "every vote is the same answer (or no pair has two votes), so nothing but chance is left"


def _concordance(votes: FloatArray) -> FloatArray:
    """How often two of a pair's votes are (c, d): shares (N, R, C) to (N, C, C), adding up to 1, or to 0 below two
    votes.

    (Σ_r v_rc)(Σ_r v_rd) − Σ_r v_rc v_rd, over m (m − 1): all ordered pairs of raters but those of a rater with itself.
    """
    if votes.ndim != 3:
        raise ValueError(f"shares have shape {votes.shape}; expected (N, R, C)")
    given = votes.sum(axis=(1, 2))
    together = votes.sum(axis=1)
    pairs = together[:, :, None] * together[:, None, :] - np.einsum("nrc,nrd->ncd", votes, votes)
    possible = given * (given - 1)
    share = np.where(possible > 0, 1 / np.where(possible > 0, possible, 1.0), 0.0)
    return np.asarray(share[:, None, None] * pairs)


def gwet_columns(votes: FloatArray, weights: Weights | None = None) -> FloatArray:
    """Shares (N, R, C) to (N, 3 + C): agreement, pairs with two votes, pairs with any, and the answers' shares."""
    concordance = _concordance(votes)
    valued = concordance * (np.eye(votes.shape[2]) if weights is None else weights)
    given = votes.sum(axis=(1, 2))
    habits = votes.sum(axis=1) / np.maximum(given, 1)[:, None]
    return np.column_stack([valued.sum(axis=(1, 2)), concordance.sum(axis=(1, 2)), given > 0, habits])


def _chance_corrected(sums: FloatArray, chance: FloatArray) -> FloatArray:
    observed, room = ratio(sums[..., 0], sums[..., 1]), 1 - chance
    return ratio(observed - chance, np.where(room > 1e-12, room, 0.0))


def mean_agreement(sums: FloatArray) -> FloatArray:
    """Of sums of `gwet_columns`: the probability that two raters, drawn for a pair drawn, answer alike."""
    return ratio(sums[..., 0], sums[..., 1])


def fleiss_kappa(sums: FloatArray) -> FloatArray:
    """Fleiss 1971, of sums of `gwet_columns`; with missing votes as generalised by Gwet 2014, §2."""
    habits = ratio(sums[..., 3:], sums[..., 2:3])
    return _chance_corrected(sums, (habits**2).sum(axis=-1))


def gwet_ac(sums: FloatArray, weights: Weights | None = None) -> FloatArray:
    """Gwet's AC1, or AC2 with the same `weights` as the columns (Gwet 2008; 2014, §5)."""
    habits = ratio(sums[..., 3:], sums[..., 2:3])
    classes = habits.shape[-1]
    total = classes if weights is None else weights.sum()
    return _chance_corrected(sums, total / (classes * (classes - 1)) * (habits * (1 - habits)).sum(axis=-1))


def coincidence_columns(votes: FloatArray) -> FloatArray:
    """Shares (N, R, C) to Krippendorff's coincidences (N, C * C): pairs of votes over (m − 1), so that rows weigh m."""
    given = votes.sum(axis=(1, 2))
    return np.asarray((_concordance(votes) * given[:, None, None]).reshape(len(votes), -1))


def krippendorff_alpha(sums: FloatArray, level: Level = "nominal") -> FloatArray:
    """1 − observed / expected disagreement (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"), of sums
    of `coincidence_columns`. Ordinal distances come from the answers' own frequencies, so they too are resampled.
    """
    classes = round(sums.shape[-1] ** 0.5)
    coincidences = sums.reshape(*sums.shape[:-1], classes, classes)
    frequency = coincidences.sum(axis=-1)
    total = frequency.sum(axis=-1)
    distance = _squared_distance(frequency, level)
    observed = (coincidences * distance).sum(axis=(-2, -1))
    expected = np.einsum("...c,...cd,...d->...", frequency, distance, frequency)
    return 1 - ratio((total - 1) * observed, np.where(expected > 1e-12, expected, 0.0))


def _squared_distance(frequency: FloatArray, level: Level) -> FloatArray:
    """δ² between classes, (..., C, C). Ordinal: the votes that lie between two classes, each end counted half."""
    classes = frequency.shape[-1]
    if level == "nominal":
        return np.broadcast_to(1 - np.eye(classes), (*frequency.shape, classes))
    places = np.broadcast_to(np.arange(classes, dtype=np.float64), frequency.shape)
    if level == "ordinal":
        places = np.cumsum(frequency, axis=-1) - frequency / 2
    return (places[..., :, None] - places[..., None, :]) ** 2


def panel_measures(votes: FloatArray) -> dict[str, Measure]:
    """Everything about a panel's shares (N, R, C), by name. What needs an order only from three classes on."""
    gwet, coincidences = gwet_columns(votes), coincidence_columns(votes)
    classes = votes.shape[2]
    measures = {
        "agreement": Measure(_two_votes(gwet), Statistic(mean_agreement, NO_TWO_VOTES)),
        "fleiss_kappa": Measure(gwet, Statistic(fleiss_kappa, ONE_CLASS)),
        "gwet_ac1": Measure(gwet, Statistic(gwet_ac, NO_TWO_VOTES)),
        "krippendorff_alpha": Measure(coincidences, Statistic(krippendorff_alpha, ONE_CLASS)),
    }
    if classes > 2:
        measures["krippendorff_alpha_ordinal"] = Measure(
            coincidences, Statistic(lambda sums: krippendorff_alpha(sums, "ordinal"), ONE_CLASS)
        )
        for name, weights in (("linear", linear_weights(classes)), ("quadratic", quadratic_weights(classes))):
            measures[f"gwet_ac2_{name}"] = ac2_measure(votes, weights)
    return measures


def ac2_measure(votes: FloatArray, weights: Weights) -> Measure:
    """Gwet's AC2 under `weights` (C, C)."""
    return Measure(gwet_columns(votes, weights), Statistic(lambda sums: gwet_ac(sums, weights), NO_TWO_VOTES))


def _two_votes(columns: FloatArray) -> FloatArray:
    """`gwet_columns` without the rows of a single vote, which have no part in plain agreement."""
    return columns * (columns[:, 1:2] > 0)
