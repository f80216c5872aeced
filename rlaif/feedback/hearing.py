"""What the judges are asked about some pairs, sitting after sitting, and what they said.

A sitting may be looked at once those before it have answers. The first judge plays the rounds of the schedule; every
other one is asked about all pairs that were compared, or in a cascade about what the judge before it passes on.
`rlaif plan` walks the same sittings while answers are missing: it says what is (`Unknown`).
"""

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import replace
from functools import cached_property
from typing import Protocol

from rlaif.feedback.ask import Requests
from rlaif.feedback.judges import AS_GIVEN, Judges
from rlaif.feedback.mode import About, Heard, Pass, Unit, Values
from rlaif.feedback.principles_drawn import principles_asked
from rlaif.feedback.rounds import PromptPairs, by_prompt
from rlaif.feedback.schedule import Outcomes
from rlaif.numbers.pooling import pooled
from rlaif.records import Judgment, PrincipleVerdict, ResponsePair, Score

_STANDINGS_FLOOR = 0.01  # not the label's: who meets whom does not depend on how labels are made

Mark = tuple[str, ...]  # a principle, and the response or the two responses it is asked about


class Unknown(Protocol):
    """What of a judge's answers is still to come. In a run that is nothing."""

    def waits(self, judge: int, unit: Unit) -> bool: ...

    def guess(self, judge: int, waiting: Sequence[Unit], known: int, passed_on: int) -> Iterable[Unit]:
        """Those of the `waiting` units that this judge will pass on, given what became of the `known` ones."""
        ...


class NothingUnknown:
    def waits(self, judge: int, unit: Unit) -> bool:
        return False

    def guess(self, judge: int, waiting: Sequence[Unit], known: int, passed_on: int) -> Iterable[Unit]:
        return ()


class Hearing:
    """The judges before some pairs. `answers` gives what is known of a sitting's requests."""

    def __init__(
        self,
        judges: Judges,
        pairs: Sequence[ResponsePair],
        answers: Callable[[int], Values],
        unknown: Unknown | None = None,
    ) -> None:
        self.judges, self.pairs = judges, pairs
        self._answers, self._unknown = answers, unknown or NothingUnknown()
        self._passes: list[Pass] = []
        self._heard: dict[tuple[int, int], Heard] = {}
        self._units: dict[int, list[Unit]] = {}
        self._rounds: list[list[ResponsePair]] = []

    def judging(self, number: int) -> Pass:
        """What is asked in a sitting."""
        while len(self._passes) <= number:
            self._passes.append(self._plan(len(self._passes)))
        return self._passes[number]

    def _plan(self, number: int) -> Pass:
        sitting = self.judges.sittings[number]
        mode = self.judges.members[sitting.judge].mode
        earlier = [self._answers(one) for one in range(number - sitting.part, number)]
        if sitting.judge == 0:
            return mode.plan_pass(self.round_pairs(sitting.round), earlier)
        if not self.judges.is_cascade:
            return mode.plan_pass(self.compared, earlier)
        units = self.units(sitting.judge)
        asked = {pair.id for pair, _ in units}
        return _restricted(mode.plan_pass([one for one in self.compared if one.id in asked], earlier), units)

    # --- which pairs

    def round_pairs(self, number: int) -> list[ResponsePair]:
        """The pairs of a round of all prompts, prompt by prompt."""
        while len(self._rounds) <= number:
            self._rounds.append(self._next_round())
        return self._rounds[number]

    def _next_round(self) -> list[ResponsePair]:
        schedule = self.judges.schedule
        if schedule.settings.kind == "all":
            return [] if self._rounds else [*self.pairs]
        played = [self._outcomes(number) for number in range(len(self._rounds))]
        found: list[ResponsePair] = []
        for prompt in self._prompts:
            rounds = [own for outcomes in played if (own := outcomes.get(prompt.prompt_id))]
            found += schedule.next_round(prompt, rounds)
        return found

    @cached_property
    def _prompts(self) -> list[PromptPairs]:
        return by_prompt(self.pairs)

    def _outcomes(self, number: int) -> dict[str, Outcomes]:
        """By prompt, what a round came to: the first judge's mean log-odds over principles that all count alike."""
        found: dict[str, dict[tuple[str, str], float | None]] = {}
        heard, mode = self.heard_in(0, number), self.judges.members[0].mode
        for pair in self._rounds[number]:
            said = [one.probability for one in mode.verdicts(pair, heard, AS_GIVEN)]
            given = [one for one in said if one is not None]
            outcome = pooled(given, [1.0] * len(given), _STANDINGS_FLOOR)[0] if given else None
            found.setdefault(pair.prompt.id, {})[pair.x.id, pair.y.id] = outcome
        return dict(found)

    @cached_property
    def compared(self) -> list[ResponsePair]:
        """All pairs of all rounds, in their order."""
        schedule = self.judges.schedule
        rounds = [self.round_pairs(number) for number in range(schedule.num_rounds)]
        if schedule.settings.kind == "all":
            return rounds[0]
        if schedule.settings.kind == "swiss":
            assert not self.round_pairs(schedule.num_rounds), f"more than {schedule.num_rounds} rounds are wanted"
        asked = {pair.id for own in rounds for pair in own}
        return [pair for pair in self.pairs if pair.id in asked]

    # --- which principles of them

    def units(self, judge: int) -> list[Unit]:
        """What a judge of a cascade is asked about: everything, or what the one before it passes on."""
        if judge not in self._units:
            self._units[judge] = self._passed_on(judge - 1) if judge else self._all_units()
        return self._units[judge]

    def _all_units(self) -> list[Unit]:
        first = self.judges.members[0]
        constitution, settings = self.judges.constitution, first.settings
        return [(pair, one) for pair in self.compared for one in principles_asked(pair, constitution, settings)]

    def _passed_on(self, judge: int) -> list[Unit]:
        waiting: list[Unit] = []
        known: list[Unit] = []
        for unit in self.units(judge):
            (waiting if self._unknown.waits(judge, unit) else known).append(unit)
        said = self._said(judge, known)
        passed_on = [
            (pair, principle)
            for pair, principle in known
            if (verdict := said.get((pair.id, principle.id))) is None or self.judges.is_passed_on(verdict)
        ]
        guessed = self._unknown.guess(judge, waiting, len(known), len(passed_on))
        wanted = {(pair.id, principle.id) for pair, principle in (*passed_on, *guessed)}
        return [unit for unit in self.units(judge) if (unit[0].id, unit[1].id) in wanted]

    def _said(self, judge: int, units: Sequence[Unit]) -> dict[tuple[str, str], PrincipleVerdict]:
        heard, mode = self.heard(judge), self.judges.members[judge].mode
        pairs = {pair.id: pair for pair, _ in units}.values()
        return {(pair.id, one.principle_id): one for pair in pairs for one in mode.verdicts(pair, heard, AS_GIVEN)}

    # --- what was said

    def heard_in(self, judge: int, number: int) -> Heard:
        """What a judge said in a round."""
        if (judge, number) not in self._heard:
            sittings = [n for n in self.judges.sittings_of(judge) if self.judges.sittings[n].round == number]
            mode = self.judges.members[judge].mode
            self._heard[judge, number] = mode.hear(
                [self.judging(n) for n in sittings], [self._answers(n) for n in sittings]
            )
        return self._heard[judge, number]

    def heard(self, judge: int) -> Heard:
        """What a judge said in all its rounds."""
        num_rounds = self.judges.schedule.num_rounds if judge == 0 else 1
        if num_rounds == 1:
            return self.heard_in(judge, 0)
        judgments: dict[str, list[Judgment]] = {}
        scores: dict[tuple[str, str], Score] = {}
        for number in range(num_rounds):
            judgments |= self.heard_in(judge, number).judgments
            scores |= self.heard_in(judge, number).scores
        return Heard(judgments=judgments, scores=scores)

    def planned(self, judge: int) -> int:
        """How many requests each pass of a judge needs, counted without making them."""
        mode = self.judges.members[judge].mode
        if judge and self.judges.is_cascade:
            return mode.planned_about(self.units(judge))
        return mode.planned(self.compared)


def mark_of(about: About) -> Mark:
    """A request by its principle and the responses it shows, in whichever order."""
    return (about.principle.id, *sorted(one.id for one in about.responses))


def marks_of_unit(unit: Unit) -> list[Mark]:
    """What may be asked to give this verdict: about both responses, or about each alone."""
    pair, principle = unit
    return [(principle.id, pair.x.id, pair.y.id), (principle.id, pair.x.id), (principle.id, pair.y.id)]


def _restricted(asked: Pass, units: Sequence[Unit]) -> Pass:
    """The same pass where only these units are asked about."""
    wanted: Set[Mark] = {mark for unit in units for mark in marks_of_unit(unit)}
    places = {key: place for key, place in asked.places.items() if mark_of(asked.about(key)) in wanted}
    requests = asked.asking.requests
    assert isinstance(requests, Requests)
    return replace(asked, places=places, asking=replace(asked.asking, requests=Requests(places, requests.build)))
