"""Pair by pair, what everybody said, with the texts: what one reads to understand a disagreement.

    for row in compared_rows(compared, judge, people_files, judge_files): ...

A row is JSON-able, sides in the order that the report counts in (`compared.py`):

    {"pair_id", "item", "prompt": [{"role", "content"}], "first", "second": the texts, "first_model", "second_model",
     "tags": [...], "source", "length_difference": doublings of characters, first less second,
     "judge": {"rater", "choice", "probability": P(first is better) or null, "confidence": max(p, 1 − p) or null,
               "comment", "critique", "critique_principle", "critique_shows_first": "first" or "second",
               "marks": [{"principle", "choice", "probability", "shown_first", "shown_second", "weight"}]},
     "people": [{"rater", "kind", "choice", "probability", "strength", "comment", "seconds", "marks": as the judge's}],
     "share": people's share for the first or null, "right": 1, 0, or between where people are split; null: no verdict}

`choice` is first, second, tie, both_bad or skipped. The most confident and wrong come by
`sorted(rows, key=lambda row: (row["right"], -row["judge"]["confidence"]))`.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlaif.evaluate.comparison.compared import Compared
from rlaif.evaluate.comparison.gathering import AS_JUDGE
from rlaif.evaluate.comparison.slices import right
from rlaif.labels.label import Label, Mark, Vote
from rlaif.labels.sources import votes_of
from rlaif.labels.votes import Found, found_of, swapped_found

Row = dict[str, Any]


def compared_rows(compared: Compared, judge: str, people: Sequence[Path], judges: Sequence[Path]) -> Iterator[Row]:
    """A row for every thing that this judge gave a label, in the report's order."""
    place = next(place for place in compared.judges if compared.raters[place].name == judge)
    told = _Told(compared, people, judges)
    hits = right(compared, place)
    for thing in np.unique(compared.ballots.thing[compared.ballots.rater == place]).tolist():
        yield told.row(thing, place, hits[thing])


def people_rows(compared: Compared, people: Sequence[Path]) -> Iterator[Row]:
    """A row for every thing, where people are compared with each other: `judge` and `right` are null."""
    told = _Told(compared, people, ())
    for thing in range(compared.num_things):
        yield told.row(thing, None, math.nan)


class _Told:
    """Every vote with its texts, by pair. It holds all of them: what is compared by hand fits into memory."""

    def __init__(self, compared: Compared, people: Sequence[Path], judges: Sequence[Path]) -> None:
        self.compared = compared
        self.votes = {"people": _by_pair(compared, people), "judges": _by_pair(compared, judges)}
        self.critiques = dict(_critiques(judges))
        order = np.argsort(compared.ballots.thing, kind="stable")
        self.raters = np.split(
            compared.ballots.rater[order],
            np.searchsorted(compared.ballots.thing[order], np.arange(1, compared.num_things)),
        )

    def row(self, thing: int, judge: int | None, right: float) -> Row:
        compared = self.compared
        pair_id, x_first = compared.pair_ids[thing], bool(compared.is_x_first[thing])
        found = _turned(self._vote(thing, int(self.raters[thing][0]) if judge is None else judge), x_first)
        share = float(compared.people_share[thing])
        first_model, second_model = compared.models[thing]
        return {
            "pair_id": pair_id,
            "item": compared.items[thing],
            "prompt": [message.as_dict() for message in found.prompt],
            "first": found.first,
            "second": found.second,
            "first_model": first_model,
            "second_model": second_model,
            "tags": list(compared.tags[thing]),
            "source": compared.sources[thing],
            "length_difference": float(compared.styles["length"][thing]),
            "judge": None if judge is None else self._judge(judge, found, pair_id, x_first),
            "people": [
                self._person(thing, place, x_first) for place in self.raters[thing].tolist() if place in compared.people
            ],
            "share": None if math.isnan(share) else share,
            "right": None if math.isnan(right) else right,
        }

    def _judge(self, judge: int, found: Found, pair_id: str, x_first: bool) -> Row:
        probability = found.probability
        critique = self.critiques.get(pair_id, ("", "", True))
        return {
            "rater": self.compared.raters[judge].name,
            "choice": choice_of(found, self.compared.terms.tie_width),
            "probability": probability,
            "confidence": None if probability is None else max(probability, 1.0 - probability),
            "comment": found.comment,
            "critique": critique[0],
            "critique_principle": critique[1],
            "critique_shows_first": "first" if critique[2] == x_first else "second",
            "marks": [_mark(mark) for mark in found.marks],
        }

    def _person(self, thing: int, place: int, x_first: bool) -> Row:
        found = _turned(self._vote(thing, place), x_first)
        return {
            "rater": self.compared.raters[place].name,
            "kind": self.compared.raters[place].kind,
            "choice": choice_of(found, self.compared.terms.tie_width),
            "probability": found.probability,
            "strength": found.strength,
            "comment": found.comment,
            "seconds": found.seconds,
            "marks": [_mark(mark) for mark in found.marks],
        }

    def _vote(self, thing: int, place: int) -> Vote:
        """The rater's vote on the thing: that on its item, or the only one on its pair."""
        compared, rater = self.compared, self.compared.raters[place]
        side = "judges" if rater.kind == "judge" else "people"
        name = rater.name.removesuffix(AS_JUDGE) if side == "judges" else rater.name
        votes = [one for one in self.votes[side][compared.pair_ids[thing]] if one.label.rater == name]
        return next((one for one in votes if one.label.item == compared.items[thing]), votes[0])


def _by_pair(compared: Compared, paths: Sequence[Path]) -> dict[str, list[Vote]]:
    wanted: dict[str, list[Vote]] = {pair_id: [] for pair_id in compared.pair_ids}
    for vote in votes_of(paths):
        if vote.pair.id in wanted:
            wanted[vote.pair.id].append(vote)
    return wanted


def _turned(vote: Vote, x_first: bool) -> Found:
    """The vote with the report's first answer first."""
    found = found_of(vote)
    return found if vote.is_turned != x_first else swapped_found(found)


def choice_of(found: Found | Label | Mark, tie_width: float) -> str | None:
    """A choice as it is, or what a probability comes to."""
    if found.probability is None:
        return found.choice
    if abs(found.probability - 0.5) <= tie_width:
        return "tie"
    return "first" if found.probability > 0.5 else "second"


def _mark(mark: Mark) -> Row:
    return {
        name: getattr(mark, name)
        for name in ("principle", "choice", "probability", "shown_first", "shown_second", "weight")
    }  # one row


def _critiques(paths: Sequence[Path]) -> Iterator[tuple[str, tuple[str, str, bool]]]:
    """Of runs among these: (text, principle, whether x is what it calls the first), by pair."""
    for folder in paths:
        lines = folder / "pairs.jsonl"
        if folder.is_dir() and lines.is_file():
            with lines.open(encoding="utf-8") as stream:
                yield from filter(None, map(_critique, stream))


def _critique(line: str) -> tuple[str, tuple[str, str, bool]] | None:
    row: Mapping[str, Any] = json.loads(line)
    if not row.get("critique"):
        return None
    shown = row[f"{row['critique_shows_first']}_id"] if row.get("critique_shows_first") else row["chosen_id"]
    is_x = shown == min(row["chosen_id"], row["rejected_id"])
    return row["pair_id"], (row["critique"], row.get("critique_principle") or "", is_x)
