"""The votes as arrays. A *thing* is a pair of answers that was judged, or each of several times that it was.

Votes are kept as a list of (thing, rater, what was said), for a crowd of a thousand people has each voted on little.
From it come one rater's column, and the people's *seats*: the votes of a thing side by side, whoever gave them, which
is all that a panel's figures need.

First and second are those of the listing, where people are known to have seen one order; else first is the response
whose id sorts first. Published coefficients depend on it a little (`rlaif/numbers/agreement.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rlaif.evaluate.comparison.terms import Terms
from rlaif.labels.label import RaterKind
from rlaif.numbers.bootstrap import ClusterBootstrap, cluster_bootstrap
from rlaif.numbers.ceiling import majority
from rlaif.numbers.choices import FIRST, MISSING, SECOND, TIE, shares
from rlaif.numbers.figures import BoolArray, FloatArray, IntArray

MAJORITY = "majority of people"
ALL_PEOPLE = "people"


@dataclass(frozen=True, slots=True)
class Rater:
    """`is_soft`: it gives probabilities, not choices."""

    name: str
    kind: RaterKind
    is_soft: bool


@dataclass(frozen=True, slots=True, eq=False)
class Ballots:
    """V votes, sorted by thing and rater. `share` is the vote for the first answer, 0 to 1, NaN where it names nothing;
    `code` the same as a choice (`rlaif/numbers/choices.py`); `place` 1 where the rater saw the first answer first, −1
    where second, NaN where that is not known or both were shown."""

    thing: IntArray
    rater: IntArray
    share: FloatArray
    code: IntArray
    place: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """A judge's verdicts by principle, (N, P) each, P(first is better), NaN for none: over both orders, and with the
    first answer shown first and second. `weight` (P,) is that of the constitution, NaN where it is not known."""

    principles: tuple[str, ...]
    probability: FloatArray
    shown_first: FloatArray
    shown_second: FloatArray
    weight: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Alone:
    """What a judge said of M things that no person labelled: its `share` for x, that for the longer answer, the
    prompts, and the `models` of x and of y."""

    prompts: tuple[str, ...]
    share: FloatArray
    longer: FloatArray
    models: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """N things that both sides voted on, in the order of their pairs' ids; people alone: things with two votes.

    `raters` are people and then judges, each sorted by name. `styles` (N,) each are first less second, in the units of
    `rlaif/style.py`. `is_x_first` (N,) says which of the pair's answers is called first.
    """

    terms: Terms
    raters: tuple[Rater, ...]
    ballots: Ballots
    pair_ids: tuple[str, ...]
    items: tuple[str, ...]
    prompt_ids: tuple[str, ...]
    is_x_first: BoolArray
    is_listed: BoolArray
    styles: Mapping[str, FloatArray]
    tags: tuple[tuple[str, ...], ...]
    sources: tuple[str, ...]
    models: tuple[tuple[str, str], ...]
    marks: Mapping[str, Marks]
    alone: Mapping[str, Alone]

    @property
    def num_things(self) -> int:
        return len(self.pair_ids)

    @cached_property
    def people(self) -> tuple[int, ...]:
        """Places in `raters`."""
        return tuple(place for place, rater in enumerate(self.raters) if rater.kind != "judge")

    @cached_property
    def judges(self) -> tuple[int, ...]:
        return tuple(place for place, rater in enumerate(self.raters) if rater.kind == "judge")

    @cached_property
    def prompts(self) -> IntArray:
        """The prompts as numbers, in the order of their ids."""
        return np.unique(np.asarray(self.prompt_ids), return_inverse=True)[1].reshape(-1).astype(np.int64)

    @cached_property
    def bootstrap(self) -> ClusterBootstrap:
        return cluster_bootstrap(self.prompts, num_resamples=self.terms.num_resamples, seed=self.terms.seed)

    def codes(self, rater: int) -> IntArray:
        """One rater's choices (N,)."""
        own = self.ballots.rater == rater
        column = np.full(self.num_things, MISSING, dtype=np.int64)
        column[self.ballots.thing[own]] = self.ballots.code[own]
        return column

    def share(self, rater: int) -> FloatArray:
        """One rater's votes for the first answer (N,), NaN for none."""
        return self._column(rater, self.ballots.share)

    def place(self, rater: int) -> FloatArray:
        """Where one rater saw the first answer (N,): 1 first, −1 second, NaN not known."""
        return self._column(rater, self.ballots.place)

    def _column(self, rater: int, values: FloatArray) -> FloatArray:
        own = self.ballots.rater == rater
        column = np.full(self.num_things, np.nan)
        column[self.ballots.thing[own]] = values[own]
        return column

    def votes(self, rater: int) -> FloatArray:
        """One rater's votes as shares of the answers (N, C)."""
        return shares(self.codes(rater), self.terms.ties)

    @cached_property
    def _seated(self) -> tuple[BoolArray, IntArray, int]:
        """Which ballots name something and are people's, the seat of each of these, and how many seats there are."""
        is_person = np.zeros(len(self.raters), dtype=bool)
        is_person[list(self.people)] = True
        counted = is_person[self.ballots.rater] & (self.ballots.code != MISSING)
        thing = self.ballots.thing[counted]
        starts = np.searchsorted(thing, thing, side="left")
        seats = np.arange(len(thing)) - starts
        return counted, seats.astype(np.int64), int(seats.max(initial=0)) + 1

    def seats(self, values: FloatArray, missing: float = np.nan) -> FloatArray:
        """Something of the ballots (V,) as people's seats: (N, S)."""
        counted, seats, num_seats = self._seated
        seated = np.full((self.num_things, num_seats), missing)
        seated[self.ballots.thing[counted], seats] = values[counted]
        return seated

    @cached_property
    def people_votes(self) -> FloatArray:
        """People's votes as shares of the answers, by seat: (N, S, C)."""
        codes = self.seats(self.ballots.code.astype(np.float64), MISSING)
        return shares(codes.astype(np.int64), self.terms.ties)

    @cached_property
    def majority(self) -> FloatArray:
        """The people's majority as shares of the answers (N, C), equal parts on a draw."""
        return majority(self.people_votes)

    @cached_property
    def people_share(self) -> FloatArray:
        """The mean of people's votes for the first answer (N,), NaN where nobody gave one."""
        seated = self.seats(self.ballots.share)
        given = np.isfinite(seated).sum(axis=1)
        return np.where(given > 0, np.nansum(seated, axis=1) / np.maximum(given, 1), np.nan)


def choice_name(code: int) -> str:
    return {FIRST: "first", TIE: "tie", SECOND: "second"}.get(code, "skipped")
