"""What sways every rater, people included: the place, and how an answer looks. And what sways a judge beyond people.

Log-odds per typical difference, all styles at once (`rlaif/numbers/effects.py`). The place is held where it is known
for all of a rater's votes. A judge that was shown both orders has a row for each, its principles' verdicts weighed
as in the constitution. A judge's excess is against all people together, on the pairs that both labelled.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rlaif.evaluate.comparison.batch import Batch
from rlaif.evaluate.comparison.compared import Compared
from rlaif.evaluate.comparison.trust import prefers_longer
from rlaif.evaluate.judge_card.figures import is_new
from rlaif.numbers.coefficients import Coefficients
from rlaif.numbers.effects import effects_of, excess_effects
from rlaif.numbers.figures import BoolArray, FloatArray, IntArray, NotDefined
from rlaif.numbers.intervals import mean_measure
from rlaif.numbers.position import position_measures

POSITION = "position"
NO_PLACE = "the order in which the answers were shown is not known"
_POSITION_SHARES = ("swap_consistency", "same_position", "same_position_first", "clear", "same_position_clear")


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A rater's votes for the first answer (M,) of things `rows` (M,), and where the first answer stood, NaN where that
    is not known."""

    rows: IntArray
    share: FloatArray
    place: FloatArray


def add_sway(batch: Batch, compared: Compared) -> None:
    """How often each rater prefers the longer answer, under ("raters", NAME), and what a judge's two orders tell."""
    for place, rater in enumerate(compared.raters):
        longer = prefers_longer(compared, compared.share(place))
        measure = mean_measure(longer, undefined="no vote on two answers of different length")
        batch.add(("raters", rater.name), {"prefers_longer": measure}, shares=True)
    for judge in compared.judges:
        orders = both_orders(compared, judge)
        if orders is not None:
            measures = position_measures(*orders)
            batch.add(("judges", compared.raters[judge].name, "position"), measures, shares=_POSITION_SHARES)


def both_orders(compared: Compared, judge: int) -> tuple[FloatArray, FloatArray] | None:
    """P(first is better) with the first answer shown first, and shown second, (N,) each; None where no mark says."""
    marks = compared.marks.get(compared.raters[judge].name)
    if marks is None or not np.isfinite(marks.shown_first).any():
        return None
    weight = np.where(np.isfinite(marks.weight), marks.weight, 1.0)
    known = np.isfinite(marks.shown_first) & np.isfinite(marks.shown_second)
    total = (known * weight).sum(axis=1)

    def mean(values: FloatArray) -> FloatArray:
        weighed = np.where(known, values, 0.0) @ weight
        return np.where(total > 0, weighed / np.where(total > 0, total, 1.0), np.nan)

    return mean(marks.shown_first), mean(marks.shown_second)


def effects(compared: Compared, rater: int) -> dict[str, dict[str, Any]]:
    """`position` and each style: a figure in log-odds."""
    seen = seen_by(compared, rater)
    return _figures(compared, lambda styles, place: effects_of(
        seen.share, styles, compared.prompts[seen.rows], shown_first=place), seen)  # fmt: skip


def excess(compared: Compared, judge: int) -> dict[str, dict[str, Any]]:
    """The same of a judge, less people's."""
    own = seen_by(compared, judge)
    others = compared.seats(compared.ballots.share)[own.rows]
    places = compared.seats(compared.ballots.place)[own.rows]
    both = np.where(np.isfinite(others).any(axis=1) & np.isfinite(own.share), own.share, np.nan)
    places_known = np.where(np.isfinite(others), places, 0.0)
    seen = Seen(own.rows, both, np.where(np.isfinite(places_known).all(axis=1), own.place, np.nan))

    def fit(styles: dict[str, FloatArray], place: FloatArray | None) -> Coefficients | NotDefined:
        shown = None if place is None else (place, np.where(np.isfinite(places), places, 0.0))
        kept = both if place is None else np.where(np.isfinite(place), both, np.nan)
        return excess_effects(kept, others, styles, compared.prompts[own.rows], shown_first=shown)

    return _figures(compared, fit, seen, prefix="excess/")


def seen_by(compared: Compared, rater: int) -> Seen:
    """A rater's votes with the places; of a judge with both orders, a row for each."""
    rows = np.arange(compared.num_things)
    orders = both_orders(compared, rater) if compared.raters[rater].kind == "judge" else None
    if orders is None:
        return Seen(rows, compared.share(rater), compared.place(rater))
    place = np.repeat([1.0, -1.0], len(rows))
    return Seen(np.tile(rows, 2), np.concatenate(orders), place)


def _figures(compared: Compared, fit: Any, seen: Seen, prefix: str = "") -> dict[str, dict[str, Any]]:
    """One fit with the place where it is known for every vote; else the styles without it, and the place by itself."""
    counted = np.isfinite(seen.share)
    styles = {name: column[seen.rows] for name, column in compared.styles.items()}
    used = _usable(styles, counted)
    known = counted & np.isfinite(seen.place)
    with_place = fit(used, seen.place) if known.any() else NotDefined(NO_PLACE, 0)
    without = with_place if known[counted].all() and known.any() else (fit(used, None) if used else None)
    found = {POSITION: _figure(with_place, f"{prefix}{POSITION}")}
    for name, column in styles.items():
        if name in used and without is not None:
            found[name] = _figure(without, f"{prefix}{name}")
        else:
            why = (
                "it goes wholly with the other styles"
                if column[counted].any()
                else "the answers of every pair are alike"
            )
            found[name] = NotDefined(why, int(counted.sum())).as_dict()
    return found


def _usable(styles: dict[str, FloatArray], counted: BoolArray) -> dict[str, FloatArray]:
    """Those that differ somewhere, and not only as others do."""
    used: dict[str, FloatArray] = {}
    for name, column in styles.items():
        if column[counted].any() and is_new(column, used, counted):
            used[name] = column
    return used


def _figure(fit: Coefficients | NotDefined, name: str) -> dict[str, Any]:
    return fit.as_dict() if isinstance(fit, NotDefined) else fit.estimate(name).as_dict()
