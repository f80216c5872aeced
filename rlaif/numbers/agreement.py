"""Two raters: agreement, kappas and their kin, all functions of one table of counts.

The table `counts[a, b]` says how often the first rater gave class a where the second gave class b. Ties and missing
votes were decided before (`choices.py`); with half votes the counts are fractions, and everything below still holds.
Every function takes sums (..., C * C), the table laid out by rows, and returns (...), NaN where it is not defined.

Which to read: agreement is what users mean, and says nothing about chance. κ takes chance from both raters' habits and
so drops when one answer is rare; PABAK assumes that chance is 1/C; π pools the habits; AC1 is the steadiest when one
answer is rare. They differ because their models of chance do, not because one is right. Of two answers, though, which
is called "first" is an accident, and habits are then habits of an accident: agreement and PABAK stay the same when some
pairs are turned around, κ, π and AC1 move a little. Keep pairs in an order of their content's.
"""

import numpy as np

from rlaif.numbers.figures import FloatArray, ratio
from rlaif.numbers.intervals import Measure, Statistic

Weights = FloatArray  # (C, C): 1 on the diagonal, what two different answers are worth elsewhere


def confusion_columns(first: FloatArray, second: FloatArray) -> FloatArray:
    """Shares (N, C) of two raters to what each row adds to the table, (N, C * C). Zero where either gave no vote."""
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(f"two raters' shares have shapes {first.shape} and {second.shape}; expected (N, C) twice")
    return (first[:, :, None] * second[:, None, :]).reshape(len(first), -1)


def table_of(sums: FloatArray) -> FloatArray:
    """Sums (..., C * C) as a table (..., C, C) of proportions; NaN where nothing was counted."""
    classes = round(sums.shape[-1] ** 0.5)
    if classes * classes != sums.shape[-1]:
        raise ValueError(f"{sums.shape[-1]} sums are no square table")
    return ratio(sums, sums.sum(axis=-1, keepdims=True)).reshape(*sums.shape[:-1], classes, classes)


def linear_weights(classes: int) -> Weights:
    """1 − |a − b| / (C − 1): for ordered classes, half a step off is half right."""
    places = np.arange(classes)
    return 1 - np.abs(places[:, None] - places[None, :]) / max(classes - 1, 1)


def quadratic_weights(classes: int) -> Weights:
    """1 − (a − b)² / (C − 1)²."""
    return 1 - (1 - linear_weights(classes)) ** 2


def agreement(sums: FloatArray) -> FloatArray:
    """Share of pairs with equal answers: the table's diagonal."""
    return np.asarray(np.trace(table_of(sums), axis1=-2, axis2=-1))


def _beyond_chance(observed: FloatArray, chance: FloatArray) -> FloatArray:
    """(observed − chance) / (1 − chance). Rounding in `chance` must not turn 0/0 into a number."""
    room = 1 - chance
    return ratio(observed - chance, np.where(room > 1e-12, room, 0.0))


def cohen_kappa(sums: FloatArray) -> FloatArray:
    """Cohen 1960: chance is Σ_c p_c q_c, from each rater's own habits."""
    return weighted_kappa(sums, np.eye(round(sums.shape[-1] ** 0.5)))


def weighted_kappa(sums: FloatArray, weights: Weights) -> FloatArray:
    """Cohen 1968: observed and chance agreement are averages of `weights`. With the identity, Cohen's κ."""
    table = table_of(sums)
    rows, columns = table.sum(axis=-1), table.sum(axis=-2)
    observed = (table * weights).sum(axis=(-2, -1))
    return _beyond_chance(observed, np.einsum("...a,ab,...b->...", rows, weights, columns))


def linear_kappa(sums: FloatArray) -> FloatArray:
    return weighted_kappa(sums, linear_weights(round(sums.shape[-1] ** 0.5)))


def quadratic_kappa(sums: FloatArray) -> FloatArray:
    return weighted_kappa(sums, quadratic_weights(round(sums.shape[-1] ** 0.5)))


def pabak(sums: FloatArray) -> FloatArray:
    """Prevalence- and bias-adjusted κ (Byrt et al. 1993), chance 1/C; for two classes 2 · agreement − 1.

    Also Bennett's S, and the kappa that feedback-forensics reports.
    """
    classes = round(sums.shape[-1] ** 0.5)
    return np.asarray((classes * agreement(sums) - 1) / (classes - 1))


def scott_pi(sums: FloatArray) -> FloatArray:
    """Scott 1955: chance is Σ_c m_c², m the two raters' mean habits."""
    table = table_of(sums)
    habits = (table.sum(axis=-1) + table.sum(axis=-2)) / 2
    return _beyond_chance(np.trace(table, axis1=-2, axis2=-1), (habits**2).sum(axis=-1))


def gwet_ac1(sums: FloatArray) -> FloatArray:
    """Gwet 2008, eq. 6: chance is Σ_c m_c (1 − m_c) / (C − 1). C counts the classes that could be given."""
    return gwet_ac2(sums, np.eye(round(sums.shape[-1] ** 0.5)))


def gwet_ac2(sums: FloatArray, weights: Weights) -> FloatArray:
    """AC1 with weights (Gwet 2014, "Handbook of Inter-Rater Reliability", §5): chance is ΣW · Σ m (1 − m) / (C (C −
    1)).
    """
    table = table_of(sums)
    classes = table.shape[-1]
    habits = (table.sum(axis=-1) + table.sum(axis=-2)) / 2
    chance = weights.sum() / (classes * (classes - 1)) * (habits * (1 - habits)).sum(axis=-1)
    return _beyond_chance((table * weights).sum(axis=(-2, -1)), chance)


NO_PAIRS = "no pair has a vote of both raters"
ONE_CLASS = "both raters gave one and the same answer to every pair, so nothing but chance is left"
AGREEMENT = Statistic(agreement, NO_PAIRS)
COHEN_KAPPA = Statistic(cohen_kappa, ONE_CLASS)
LINEAR_KAPPA = Statistic(linear_kappa, ONE_CLASS)
QUADRATIC_KAPPA = Statistic(quadratic_kappa, ONE_CLASS)
PABAK = Statistic(pabak, NO_PAIRS)
SCOTT_PI = Statistic(scott_pi, ONE_CLASS)
GWET_AC1 = Statistic(gwet_ac1, NO_PAIRS)


def agreement_measures(first: FloatArray, second: FloatArray) -> dict[str, Measure]:
    """Everything about two raters' shares (N, C), by name. Linear and quadratic κ only from three classes on."""
    columns = confusion_columns(first, second)
    named = {
        "agreement": AGREEMENT,
        "cohen_kappa": COHEN_KAPPA,
        "pabak": PABAK,
        "scott_pi": SCOTT_PI,
        "gwet_ac1": GWET_AC1,
    }
    if first.shape[1] > 2:
        named |= {"linear_kappa": LINEAR_KAPPA, "quadratic_kappa": QUADRATIC_KAPPA}
    return {name: Measure(columns, statistic) for name, statistic in named.items()}
