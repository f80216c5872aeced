"""What the labels of a draw say about all pairs it was made from: weighted by the chances, beside what they say as they
stand. A pair's value is the mean over its raters; a tie with the judge's favourite is one half right.

Pairs nobody has labelled yet, or that were skipped, have no value. Each rater's order is a random one, so what was
labelled until now is a random part of the draw.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlaif.labels.blind.candidates import candidates_of
from rlaif.labels.blind.design import Design
from rlaif.labels.label import Choice, Vote, swapped_choice
from rlaif.numbers.figures import Estimate, Figure, FloatArray, NotDefined
from rlaif.numbers.weighted_means import hajek, hajek_beyond, horvitz_thompson, worth_rows

_SHARES: dict[Choice, float] = {"first": 1.0, "second": 0.0, "tie": 0.5, "both_bad": 0.5}
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimated:
    """One mean. `beyond` is of prompts like these, `of_all` and `horvitz_thompson` of the pairs drawn from, `as_drawn`
    that of the labels as they stand, which speaks of nothing but the draw."""

    beyond: Figure
    of_all: Figure
    horvitz_thompson: Figure
    as_drawn: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """Means by name: `tie`, `both_bad`, and `agreement` where a judge is given."""

    population: int
    drawn: int
    labelled: int
    worth: float
    means: dict[str, Estimated]

    def as_json(self) -> dict[str, Any]:
        kinds = ("beyond", "of_all", "horvitz_thompson", "as_drawn")
        figures = {name: {kind: getattr(one, kind).as_dict() for kind in kinds} for name, one in self.means.items()}
        counts = {name: getattr(self, name) for name in ("population", "drawn", "labelled")}
        return {**counts, "worth_pairs_drawn_evenly": self.worth, "means": figures}


def estimate_all(design: Design, rows: Iterable[Row], judge: Iterable[Vote] | None = None) -> Estimates:
    """The means of a draw's labels, as `VotesFolder.rows` gives them."""
    by_pair: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_pair[row["pair_id"]].append(row)
    values: dict[str, Callable[[Row], float]] = {
        "tie": lambda row: float(row["choice"] == "tie"),
        "both_bad": lambda row: float(row["choice"] == "both_bad"),
    }
    if judge is not None:
        favourite = {one.pair.id: one.probability for one in candidates_of(judge)}
        values = {"agreement": lambda row: _agrees(row, favourite.get(row["pair_id"])), **values}
    prompts = [by_pair[one.pair_id][0]["prompt_id"] if one.pair_id in by_pair else "" for one in design.drawn]
    means = {}
    for name, value in values.items():
        column = np.array([_mean(by_pair.get(one.pair_id, []), value) for one in design.drawn])
        means[name] = _estimated(column, design, prompts)
    chances = np.array([one.chance for one in design.drawn])
    labelled = sum(one.pair_id in by_pair for one in design.drawn)
    return Estimates(
        population=design.population,
        drawn=len(design.drawn),
        labelled=labelled,
        worth=worth_rows(chances),
        means=means,
    )


def _mean(rows: Iterable[Row], value: Callable[[Row], float]) -> float:
    said = [number for row in rows if row["choice"] != "skipped" and np.isfinite(number := value(row))]
    return float(np.mean(said)) if said else np.nan


def _agrees(row: Row, probability: float | None) -> float:
    """1, 0, or one half where either has no favourite; NaN without a verdict of the judge."""
    if probability is None:
        return np.nan
    choice: Choice = row["choice"] if row["first_id"] < row["second_id"] else swapped_choice(row["choice"])
    return 1.0 - abs(_SHARES[choice] - (0.5 + 0.5 * float(np.sign(probability - 0.5))))


def _estimated(values: FloatArray, design: Design, prompts: list[str]) -> Estimated:
    chances = np.array([one.chance for one in design.drawn])
    strata = [one.stratum for one in design.drawn]
    missing = int(np.isnan(values).sum())
    total: Figure = (
        NotDefined(f"{missing:,} of the pairs drawn have no label", len(values) - missing)
        if missing
        else horvitz_thompson(values, chances, design.population, strata=strata)
    )
    return Estimated(
        beyond=hajek_beyond(values, chances, prompts),
        of_all=_exact_when_all(hajek(values, chances, strata=strata), missing),
        horvitz_thompson=total,
        as_drawn=hajek_beyond(values, np.ones(len(values)), prompts),
    )


def _exact_when_all(figure: Figure, missing: int) -> Figure:
    """Where all pairs were drawn, but some have no label yet, the interval of no width would be a lie."""
    if missing and isinstance(figure, Estimate) and figure.low == figure.high and figure.low is not None:
        because = f"no interval: {missing:,} pairs have no label, and which is no matter of the draw"
        return Estimate(figure.value, None, None, figure.n, figure.clusters, because)
    return figure
