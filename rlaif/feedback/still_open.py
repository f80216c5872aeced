"""What of a block's judging is still open while answers are missing: which verdicts wait, how much a cascade will pass
on, and in which prompts it is not known yet who meets whom. For plans; in a run nothing is open.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from rlaif.feedback.ask import Known, Lookup, look_up
from rlaif.feedback.hearing import Hearing, Mark, mark_of, marks_of_unit
from rlaif.feedback.mode import About, Unit
from rlaif.identity import digest


@dataclass
class PassedOn:
    """How much each judge of a cascade passes on, added up block after block."""

    known: Counter[int] = field(default_factory=Counter)
    passed_on: Counter[int] = field(default_factory=Counter)

    def share(self, judge: int, known: int, passed_on: int) -> float:
        """With these added. Everything where nothing is known: the most it can be."""
        self.known[judge] += known
        self.passed_on[judge] += passed_on
        return self.passed_on[judge] / self.known[judge] if self.known[judge] else 1.0


class StillOpen:
    """Of one block. `lookup` gives a sitting's requests against what is known."""

    def __init__(
        self, hearing: Callable[[], Hearing], lookup: Callable[[int], Lookup], known: Known, passed_on: PassedOn
    ) -> None:
        self._hearing_of, self._lookup = hearing, lookup
        self._known, self._passed_on = known, passed_on
        self._marks: dict[int, frozenset[Mark]] = {}
        self._open_prompts: dict[int, frozenset[str]] = {}

    @cached_property
    def _hearing(self) -> Hearing:
        return self._hearing_of()

    def waits(self, judge: int, unit: Unit) -> bool:
        """Whether something is missing of a judge's verdict."""
        return not self.missing(judge).isdisjoint(marks_of_unit(unit))

    def guess(self, judge: int, waiting: Sequence[Unit], known: int, passed_on: int) -> Iterable[Unit]:
        """As large a share of the waiting as of the known; which of them, their ids decide."""
        share = self._passed_on.share(judge, known, passed_on)
        drawn = sorted(waiting, key=lambda unit: digest({"passed on": unit[0].id, "principle": unit[1].id}))
        return drawn[: round(share * len(drawn))]

    def missing(self, judge: int) -> frozenset[Mark]:
        """What a judge has still to be asked about."""
        if judge not in self._marks:
            numbers = self._hearing.judges.sittings_of(judge)
            missing = [(self._hearing.judging(n), key) for n in numbers for key in self._lookup(n).missing]
            self._marks[judge] = frozenset(mark_of(asked.about(key)) for asked, key in missing)
        return self._marks[judge]

    def depends(self, number: int, about: About) -> bool:
        """Whether earlier sittings have still to show that this will be asked, or only how much else in its place."""
        judges = self._hearing.judges
        judge = judges.sittings[number].judge
        if about.prompt.id in self._prompts(number):
            return True
        if not judge or not judges.is_cascade:
            return False
        x, y = sorted(one.id for one in about.responses)
        marks = [(about.principle.id, *ids) for ids in ((x, y), (x,), (y,))]
        return any(not self.missing(one).isdisjoint(marks) for one in range(judge))

    def _prompts(self, number: int) -> frozenset[str]:
        """The prompts of which an earlier round misses something, so that who meets whom is not known yet. How many do
        is known: a prompt of which nothing else is stored is not open to the judge who plays."""
        judges = self._hearing.judges
        if judges.schedule.settings.kind != "swiss":
            return frozenset()
        if number not in self._open_prompts:
            sitting = judges.sittings[number]
            earlier = [n for n in judges.sittings_of(0) if sitting.judge or judges.sittings[n].round < sitting.round]
            waiting = {
                self._hearing.judging(n).about(key).prompt.id for n in earlier for key in self._lookup(n).missing
            }
            self._open_prompts[number] = frozenset(waiting if sitting.judge else waiting & self._partly_stored)
        return self._open_prompts[number]

    @cached_property
    def _partly_stored(self) -> frozenset[str]:
        """The prompts of which the first judge has judged more than the rounds up to the first unfinished one."""
        judges = self._hearing.judges
        unfinished: set[str] = set()
        decided: set[Mark] = set()
        for number in judges.sittings_of(0):
            asked = self._hearing.judging(number)
            abouts = [asked.about(key) for key in asked.asking.requests]
            decided |= {mark_of(about) for about in abouts if about.prompt.id not in unfinished}
            if judges.sittings[number].is_last_part:
                unfinished |= {asked.about(key).prompt.id for key in self._lookup(number).missing}
        pairs = [pair for pair in self._hearing.pairs if pair.prompt.id in unfinished]
        asked = judges.members[0].mode.plan_pass(pairs, [])
        stored = [asked.about(key) for key in look_up(asked.asking, self._known).values]
        return frozenset(about.prompt.id for about in stored if mark_of(about) not in decided)
