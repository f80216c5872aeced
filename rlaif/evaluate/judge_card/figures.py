"""The figures of one principle, or of all together: no answer, position, style. Every one clustered by prompt.

*Position* compares the two orders of one pair. *Style* is a regression of the verdicts on what the answers look like,
all styles at once, both orders as rows of their own with a column for the place. Two coefficients are given: the
standardised logistic one, which is what the literature reports, and the effect on the log-odds, which adds up and does
not shrink with what the columns leave out (`rlaif/numbers/linear.py`). Neither holds the answers' worth constant.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from rlaif.evaluate.judge_card.verdicts import Verdicts
from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.figures import BoolArray, Figure, FloatArray, IntArray, NotDefined
from rlaif.numbers.intervals import estimates, mean_measure
from rlaif.numbers.linear import fit_linear
from rlaif.numbers.logistic import fit_logistic, standardised
from rlaif.numbers.position import position_measures
from rlaif.numbers.proportions import with_exact_ends

FLOOR = 0.001  # of probabilities whose log-odds are taken: ± 6.9
OWN = "own"
NO_ORDERS = "each answer was scored alone, so there is no order"
_RANK_ROWS = 5000  # enough to see that a column is a combination of the others
_SHARES = ("swap_consistency", "same_position", "same_position_first", "clear", "same_position_clear")


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One style. `logistic` and `log_odds` are for one typical difference, which is `typical` in the style's own unit
    (`rlaif/style.py`); that of `own` for being of the judge's family against not."""

    logistic: Figure
    log_odds: Figure
    typical: float | None


@dataclass(frozen=True, kw_only=True)
class Group:
    """What is measured together: a principle's verdicts, or everything. Arrays are (N,), NaN for nothing.

    `silent` (N, 2) are the orders without a verdict, by reason, of those that were `asked`.
    """

    prompts: IntArray
    shown_first: FloatArray
    shown_second: FloatArray
    probability: FloatArray
    styles: Mapping[str, FloatArray]
    asked: BoolArray
    silent: Mapping[str, FloatArray]
    has_orders: bool = True


def group_of(verdicts: Verdicts, seat: int, own: FloatArray | None = None) -> Group:
    """One principle's. own (N,): 1 where x alone is of the judge's family, -1 where y alone is, 0 else."""
    return Group(
        prompts=verdicts.clusters,
        shown_first=verdicts.shown_first[:, seat],
        shown_second=verdicts.shown_second[:, seat],
        probability=verdicts.probability[:, seat],
        styles=dict(verdicts.styles) | ({} if own is None else {OWN: own}),
        asked=verdicts.asked[:, seat],
        silent=verdicts.reasons[seat],
        has_orders=verdicts.has_orders,
    )


def group_of_all(verdicts: Verdicts) -> Group:
    """All principles together: every principle's verdict on a pair is a row."""
    seats = range(len(verdicts.principles))
    reasons = sorted({why for own in verdicts.reasons for why in own})
    none = np.zeros((len(verdicts.pairs), 2))
    return Group(
        prompts=np.tile(verdicts.clusters, len(seats)),
        shown_first=verdicts.shown_first.T.reshape(-1),
        shown_second=verdicts.shown_second.T.reshape(-1),
        probability=verdicts.probability.T.reshape(-1),
        styles={},
        asked=verdicts.asked.T.reshape(-1),
        silent={why: np.concatenate([verdicts.reasons[seat].get(why, none) for seat in seats]) for why in reasons},
        has_orders=verdicts.has_orders,
    )


def silence_figures(group: Group, *, num_resamples: int = 2000) -> dict[str, Figure]:
    """The share of orders without a verdict, `all` first and then by reason. Every order is a row."""
    none = np.zeros((len(group.prompts), 2))
    counts = {"all": sum(group.silent.values(), none), **group.silent}
    measures = {
        why: mean_measure(
            np.where(group.asked[:, None], own, np.nan).reshape(-1), undefined="the judge was asked nothing"
        )
        for why, own in counts.items()
    }
    bootstrap = cluster_bootstrap(np.repeat(group.prompts, 2), num_resamples=num_resamples)
    return {why: with_exact_ends(one) for why, one in estimates(bootstrap, measures).items()}


def position_figures(group: Group, *, num_resamples: int = 2000) -> dict[str, Figure]:
    """What the two orders of each pair tell (`rlaif/numbers/position.py`)."""
    if not group.has_orders:
        return {name: NotDefined(NO_ORDERS, 0) for name in (*_SHARES, "first_slot_log_odds")}
    bootstrap = cluster_bootstrap(group.prompts, num_resamples=num_resamples)
    found = estimates(bootstrap, position_measures(group.shown_first, group.shown_second, FLOOR))
    return {name: with_exact_ends(one) if name in _SHARES else one for name, one in found.items()}


def style_figures(group: Group) -> dict[str, Effect]:
    """Every style's effect on the verdicts, the others held, and that of the judge's own family where it is known."""
    outcomes, columns, clusters = _stacked(group)
    counted = np.isfinite(outcomes)
    used, scales, unfit = _usable(columns, counted)
    logistic = fit_logistic(used, outcomes, clusters) if used else None
    odds = fit_linear(used, special.logit(np.clip(outcomes, FLOOR, 1 - FLOOR)), clusters) if used else None
    found: dict[str, Effect] = {}
    for name in columns:
        if name == "place":
            continue
        if name in unfit:
            missing = NotDefined(unfit[name], int(counted.sum()))
            found[name] = Effect(logistic=missing, log_odds=missing, typical=None)
        elif logistic is not None and odds is not None:
            logistic_one, odds_one = (
                fit if isinstance(fit, NotDefined) else fit.estimate(name) for fit in (logistic, odds)
            )
            typical = None if name == OWN else scales[name]
            found[name] = Effect(logistic=logistic_one, log_odds=odds_one, typical=typical)
    return found


def _stacked(group: Group) -> tuple[FloatArray, dict[str, FloatArray], IntArray]:
    """Both orders as rows of their own, with the place that x was shown in; or one row each, where nothing has one."""
    if not group.has_orders:
        return group.probability, dict(group.styles), group.prompts
    place = np.repeat([1.0, -1.0], len(group.prompts))
    columns = {"place": place} | {name: np.tile(column, 2) for name, column in group.styles.items()}
    return np.concatenate([group.shown_first, group.shown_second]), columns, np.tile(group.prompts, 2)


def _usable(
    columns: Mapping[str, FloatArray], counted: BoolArray
) -> tuple[dict[str, FloatArray], dict[str, float], dict[str, str]]:
    """(columns over their typical difference, that difference, why others cannot be used)."""
    used: dict[str, FloatArray] = {}
    scales: dict[str, float] = {}
    unfit: dict[str, str] = {}
    for name, column in columns.items():
        rows = counted & np.isfinite(column)
        if not rows.any():
            unfit[name] = "nothing is known of it for any verdict"
        elif not column[rows].any():
            unfit[name] = "the two answers of every pair are alike in it"
        elif not is_new(column, used, rows):
            unfit[name] = "it goes wholly with the other styles of these answers"
        else:
            scaled = (
                column if name in (OWN, "place") else standardised(np.where(counted, column, np.nan), is_centred=False)
            )
            scales[name] = float(np.sqrt((column[rows] ** 2).mean()))
            used[name] = scaled
    return used, scales, unfit


def is_new(column: FloatArray, used: Mapping[str, FloatArray], rows: BoolArray) -> bool:
    """Whether on these rows a column (N,) is no combination of those that are used already."""
    design = np.column_stack([np.nan_to_num(one[rows]) for one in (*used.values(), column)])[:_RANK_ROWS]
    return bool(np.linalg.matrix_rank(design) == design.shape[1])
