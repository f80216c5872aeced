"""How the raters did: how far they agree with themselves, how many known answers they found, how long they took.

Read from the journals alone, so it can be had at any time, also while they vote. Shares are clustered by prompt.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlaif.labels.blind.journal import Entry, Read, votes_that_count
from rlaif.labels.blind.said import choice_x
from rlaif.labels.label import Choice
from rlaif.numbers.clustered_share import ClusteredShare
from rlaif.numbers.figures import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Sat:
    """One rater's figures. `first_shown` is the share of decided votes for the answer shown first."""

    rater: str
    labels: int
    repeats: int
    gold: int
    taken_back: int
    skipped: int
    consistent: Figure
    right: Figure
    first_shown: Figure
    seconds: tuple[float, float, float] | None  # 10th percentile, median, 90th
    damaged: int

    def as_json(self) -> dict[str, Any]:
        seconds = None if self.seconds is None else dict(zip(("p10", "median", "p90"), self.seconds, strict=True))
        counts = {name: getattr(self, name) for name in ("labels", "repeats", "gold", "taken_back", "skipped")}
        figures = {name: getattr(self, name).as_dict() for name in ("consistent", "right", "first_shown")}
        return {"rater": self.rater, **counts, **figures, "seconds": seconds, "damaged_lines": self.damaged}


def summaries(journals: Mapping[str, Read]) -> list[Sat]:
    """Every rater's figures, by name."""
    return [summary(rater, read) for rater, read in journals.items()]


def summary(rater: str, read: Read) -> Sat:
    """The figures of one journal."""
    kept = list(votes_that_count(read.entries).values())
    of_role = {role: [entry for entry in kept if entry.role == role] for role in ("pair", "repeat", "gold")}
    seconds = [entry.row["seconds"] for entry in kept if entry.row and entry.row["seconds"] is not None]
    return Sat(
        rater=rater,
        labels=len(of_role["pair"]),
        repeats=len(of_role["repeat"]),
        gold=sum(entry.known is not None for entry in kept),
        taken_back=sum(entry.row is not None for entry in read.entries) - len(kept),
        skipped=sum(entry.row is not None and entry.row["choice"] == "skipped" for entry in kept),
        consistent=_consistent(of_role["pair"], of_role["repeat"]),
        right=_share((entry, _choice(entry) == entry.known) for entry in kept if _says(entry) and entry.known),
        first_shown=_share(
            (entry, _choice(entry) == "first") for entry in kept if _choice(entry) in ("first", "second")
        ),
        seconds=_spread(seconds),
        damaged=len(read.damaged),
    )


def _consistent(once: Iterable[Entry], again: Iterable[Entry]) -> Figure:
    """The share of pairs asked twice that got the same verdict. Skipped is no verdict."""
    before = {_row(entry)["pair_id"]: choice_x(_row(entry)) for entry in once if _says(entry)}
    return _share(
        (entry, choice_x(_row(entry)) == before[_row(entry)["pair_id"]])
        for entry in again
        if _says(entry) and _row(entry)["pair_id"] in before
    )


def _share(told: Iterable[tuple[Entry, bool]]) -> Figure:
    by_prompt: dict[str, list[bool]] = defaultdict(list)
    for entry, is_so in told:
        by_prompt[_row(entry)["prompt_id"]].append(is_so)
    found = ClusteredShare()
    for answers in by_prompt.values():
        found.add(sum(answers), len(answers))
    return found.figure()


def _row(entry: Entry) -> Mapping[str, Any]:
    assert entry.row is not None  # only votes that count come here
    return entry.row


def _choice(entry: Entry) -> Choice:
    choice: Choice = _row(entry)["choice"]
    return choice


def _says(entry: Entry) -> bool:
    return _choice(entry) != "skipped"


def _spread(seconds: list[float]) -> tuple[float, float, float] | None:
    if not seconds:
        return None
    low, middle, high = np.percentile(seconds, [10, 50, 90])
    return float(low), float(middle), float(high)
