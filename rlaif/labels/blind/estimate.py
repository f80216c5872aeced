"""What the labels of a draw say about all pairs it was made from: weighted by the chances, beside what they say as they
stand. A pair's value is the mean over its raters; a tie with the judge's favourite is one half right.

Each rater's order is a random one, so what was labelled until now is a random part of the draw: its chances are those
of the draw times that part. Pairs that everybody skipped have no value, and the means are of the others.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlaif.labels.blind.candidates import candidates_of
from rlaif.labels.blind.design import Design, Drawn
from rlaif.labels.blind.said import SHARES, agreement, choice_x
from rlaif.labels.label import Vote
from rlaif.numbers.figures import Figure, FloatArray, NotDefined
from rlaif.numbers.weighted_means import as_share, hajek, hajek_beyond, horvitz_thompson, worth_rows

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
        values = {"agreement": lambda row: agreement(SHARES[choice_x(row)], favourite.get(row["pair_id"])), **values}
    there = [one for one in design.drawn if one.pair_id in by_pair]
    part = len(there) / len(design.drawn)
    said = {
        name: np.array([_mean(by_pair[one.pair_id], value) for one in there], dtype=np.float64)
        for name, value in values.items()
    }
    prompts = [by_pair[one.pair_id][0]["prompt_id"] for one in there]
    return Estimates(
        population=design.population,
        drawn=len(design.drawn),
        labelled=len(there),
        worth=worth_rows(np.array([one.chance for one in design.drawn])),
        means={name: _estimated(column, there, part, design.population, prompts) for name, column in said.items()},
    )


def _mean(rows: Iterable[Row], value: Callable[[Row], float]) -> float:
    said = [number for row in rows if row["choice"] != "skipped" and np.isfinite(number := value(row))]
    return float(np.mean(said)) if said else np.nan


def _estimated(
    values: FloatArray, there: Sequence[Drawn], part: float, population: int, prompts: Sequence[str]
) -> Estimated:
    chances = np.array([one.chance for one in there]) * part
    strata = [one.stratum for one in there]
    skipped = int(np.isnan(values).sum())
    total: Figure = (
        NotDefined(f"{skipped:,} of the pairs were skipped", len(values) - skipped)
        if skipped
        else horvitz_thompson(values, chances, population, strata=strata)
    )
    return Estimated(
        beyond=as_share(hajek_beyond(values, chances, prompts)),
        of_all=as_share(hajek(values, chances, strata=strata)),
        horvitz_thompson=total,
        as_drawn=as_share(hajek_beyond(values, np.ones(len(values)), prompts)),
    )
