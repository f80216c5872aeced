"""A block of a road on which not every answer is there yet: what is missing of it, and why.

Stand-ins take the place of missing answers, so that what is asked about them can be foretold. Everything else is the
block's own: pairs, keys and labels come about as they do in a run.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from rlaif.engines.base import ModelIdentity
from rlaif.feedback.ask import Known, Lookup, look_up
from rlaif.feedback.critique import CritiqueStage
from rlaif.feedback.hearing import Hearing, Mark, mark_of, marks_of_unit
from rlaif.feedback.keys import cut_key
from rlaif.feedback.mode import About, Pass, Unit, Values
from rlaif.feedback.plan_record import Missing
from rlaif.feedback.previous import Previous
from rlaif.feedback.reasons import (
    NEW_ANSWERS,
    NOT_KEPT,
    why_critiqued,
    why_judged,
    why_new_pair,
    why_outdated,
    why_passed_on,
    why_sampled,
)
from rlaif.feedback.road import Block, Road
from rlaif.feedback.sample import Sample, SampleStage
from rlaif.feedback.stand_ins import Answered, fill_in, likely_label
from rlaif.identity import digest
from rlaif.records import Pair, Prompt, ResponsePair


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


class PlanBlock(Block):
    """`answered` tells, per policy, what its answers are like: complete before anything after sampling is read."""

    def __init__(
        self,
        road: Road,
        prompts: Sequence[Prompt],
        known: Known,
        previous: Previous | None,
        answered: Sequence[Answered],
        passed_on: PassedOn,
    ) -> None:
        super().__init__(road, prompts, known)
        self.previous, self.answered, self._passed_on = previous, answered, passed_on
        self._judge_lookups: dict[int, Lookup] = {}
        self._marks: dict[int, frozenset[Mark]] = {}
        self._open: dict[int, frozenset[str]] = {}

    # --- sampling

    @cached_property
    def sample_lookups(self) -> list[Lookup]:
        """Per policy, with the answers that were cut at last time's limit among the outdated."""
        asked = zip(self.sampling, self.road.models.policies, strict=True)
        return [self._look_up_samples(stage, model.identity) for stage, model in asked]

    def _look_up_samples(self, stage: SampleStage, identity: ModelIdentity) -> Lookup:
        lookup = look_up(stage.asking, self.known)
        before = self.previous.policy(identity) if self.previous else None
        if before is None or before.sampling.max_tokens == stage.policy.sampling.max_tokens or not lookup.missing:
            return lookup
        keys = [key for key in lookup.missing if key not in lookup.outdated]
        places = {cut_key(key, before.sampling.max_tokens): key for key in keys}
        cut = {places[place]: value for place, value in self.known.get(stage.asking.kind, places).items()}
        return replace(lookup, outdated=lookup.outdated | cut)

    @cached_property
    def _why_sampled(self) -> list[dict[str, str]]:
        """Per policy, the reason of every missing key."""
        return [self._reasons(number) for number in range(len(self.sampling))]

    def _reasons(self, number: int) -> dict[str, str]:
        stage, lookup = self.sampling[number], self.sample_lookups[number]
        answered = {stage.places[key][0].id for key in (*lookup.values, *lookup.outdated)}  # so they are not new
        previous, identity = self.previous, self.road.models.policies[number].identity
        if previous:
            previous = replace(previous, asked_prompts=previous.asked_prompts | answered)
        why = {}
        for key in lookup.missing:
            if key in lookup.outdated:
                why[key] = why_outdated(lookup.outdated[key], stage.policy)
            else:
                why[key] = why_sampled(*stage.places[key], stage.policy, identity, previous)
        return why

    def missing_samples(self, number: int) -> Iterator[Missing]:
        places = self.sampling[number].places
        for key, why in self._why_sampled[number].items():
            yield Missing(key=key, prompt_id=places[key][0].id, why=why)

    @cached_property
    def _filled(self) -> list[dict[str, Sample]]:
        """Per policy, all samples by key, stand-ins among them."""
        asked = zip(self.sampling, self.sample_lookups, self.answered, strict=True)
        return [fill_in(stage, lookup.values, own.expected()) for stage, lookup, own in asked]

    @cached_property
    def samples(self) -> list[Sample]:
        return [sample for own in self._filled for sample in own.values()]

    @cached_property
    def _stand_ins(self) -> Mapping[str, str]:
        """Why each stand-in is one, by the id of its response."""
        return {
            sample.response.id: reasons[key]
            for own, reasons in zip(self._filled, self._why_sampled, strict=True)
            for key, sample in own.items()
            if key in reasons and sample.response
        }

    # --- judging

    @cached_property
    def hearing(self) -> Hearing:
        return Hearing(self.road.judges, self.pairing.pairs, self.answers, unknown=self)

    def judge_lookup(self, number: int) -> Lookup:
        if number not in self._judge_lookups:
            self._judge_lookups[number] = look_up(self.judging(number).asking, self.known)
        return self._judge_lookups[number]

    def answers(self, number: int) -> Values:
        """What is known of a sitting; what the next pass of a mode rests on is stood in for where it is missing."""
        lookup, sitting = self.judge_lookup(number), self.road.judges.sittings[number]
        if sitting.is_last_part:
            return lookup.values
        mode = self.road.judges.members[sitting.judge].mode
        return lookup.values | {key: mode.stand_in(key) for key in lookup.missing}

    def waits(self, judge: int, unit: Unit) -> bool:
        """Whether a judge's verdict is still to be given: something that it rests on is missing."""
        return not self._missing_marks(judge).isdisjoint(marks_of_unit(unit))

    def guess(self, judge: int, waiting: Sequence[Unit], known: int, passed_on: int) -> Iterable[Unit]:
        """As large a share of the waiting as of the known; which of them, their ids decide."""
        share = self._passed_on.share(judge, known, passed_on)
        drawn = sorted(waiting, key=lambda unit: digest({"passed on": unit[0].id, "principle": unit[1].id}))
        return drawn[: round(share * len(drawn))]

    def _missing_marks(self, judge: int) -> frozenset[Mark]:
        if judge not in self._marks:
            numbers = self.road.judges.sittings_of(judge)
            missing = [(self.judging(n), key) for n in numbers for key in self.judge_lookup(n).missing]
            self._marks[judge] = frozenset(mark_of(asked.about(key)) for asked, key in missing)
        return self._marks[judge]

    def _open_prompts(self, number: int) -> frozenset[str]:
        """The prompts of which an earlier round misses something, so that who meets whom is not known yet. How many do
        is known: a prompt of which nothing else is stored is not open to the judge who plays."""
        if self.road.settings.schedule.kind != "swiss":
            return frozenset()
        if number not in self._open:
            sitting = self.road.judges.sittings[number]
            earlier = [n for n in self.road.judges.sittings_of(0) if sitting.judge or self._round(n) < sitting.round]
            waiting = {self.judging(n).about(key).prompt.id for n in earlier for key in self.judge_lookup(n).missing}
            self._open[number] = frozenset(waiting if sitting.judge else waiting & self._partly_stored)
        return self._open[number]

    def _round(self, number: int) -> int:
        return self.road.judges.sittings[number].round

    @cached_property
    def _partly_stored(self) -> frozenset[str]:
        """The prompts of which the first judge has judged more than the rounds up to the first unfinished one."""
        unfinished: set[str] = set()
        decided: set[Mark] = set()
        for number in self.road.judges.sittings_of(0):
            asked = self.judging(number)
            abouts = [asked.about(key) for key in asked.asking.requests]
            decided |= {mark_of(about) for about in abouts if about.prompt.id not in unfinished}
            if self.road.judges.sittings[number].is_last_part:
                unfinished |= {asked.about(key).prompt.id for key in self.judge_lookup(number).missing}
        mode = self.road.judges.members[0].mode
        asked = mode.plan_pass([pair for pair in self.pairing.pairs if pair.prompt.id in unfinished], [])
        stored = [asked.about(key) for key in look_up(asked.asking, self.known).values]
        return frozenset(about.prompt.id for about in stored if mark_of(about) not in decided)

    def missing_judgments(self, number: int) -> Iterator[Missing]:
        asked, judges = self.judging(number), self.road.judges
        judge = judges.sittings[number].judge
        for key in self.judge_lookup(number).missing:
            about, before = asked.about(key), asked.rests_on.get(key)
            is_estimated = (
                (before is not None and before not in self.judge_lookup(number - 1).values)
                or any(one.id in self._stand_ins for one in about.responses)
                or about.prompt.id in self._open_prompts(number)
                or (judges.is_cascade and any(mark_of(about) in self._missing_marks(one) for one in range(judge)))
            )
            why = self._why_judged(about, asked, judge)
            yield Missing(key=key, prompt_id=about.prompt.id, why=why, is_estimated=is_estimated)

    def _why_judged(self, about: About, asked: Pass, judge: int) -> str:
        waits = [self._stand_ins[one.id] for one in about.responses if one.id in self._stand_ins]
        if waits:
            return NEW_ANSWERS if "{calls}" in waits[0] else waits[0]
        member, previous, settings = self.road.judges.members[judge], self.previous, self.road.settings
        if previous is not None and settings.judges.others:
            known = previous.with_judge(member.identity, member.settings)
            if known is None and previous.judged_by(member.identity) is None:
                return f"judge is new: {member.name}"
            previous = known or previous
        why = why_judged(about, member.settings, member.identity, asked.template, previous)
        if self.previous is not None and why == NEW_ANSWERS:
            return why_new_pair(settings, self.previous.settings)
        if self.previous is not None and why == NOT_KEPT and judge and self.road.judges.is_cascade:
            return why_passed_on(settings, self.previous.settings)
        return why

    @cached_property
    def _waiting(self) -> frozenset[frozenset[str]]:
        """What still has no verdict: pairs by their two responses, or single responses."""
        judges = range(len(self.road.judges.members))
        return frozenset(frozenset(responses) for judge in judges for _, *responses in self._missing_marks(judge))

    def _is_waiting(self, pair: ResponsePair) -> bool:
        x, y = pair.x.id, pair.y.id
        return not self._waiting.isdisjoint((frozenset((x, y)), frozenset((x,)), frozenset((y,))))

    # --- critiques

    @cached_property
    def critiquing(self) -> CritiqueStage:
        return self.road.critiquing(self._likely_pairs())

    def _likely_pairs(self) -> tuple[Pair, ...]:
        """The pairs of the dataset; where verdicts are missing, as those that are there would have it."""
        labelled = []
        for pair in self.compared:
            label = self.road.label(pair, self.heard)
            labelled.append(likely_label(label, self.road.constitution) if self._is_waiting(pair) else label)
        return self.road.choose(labelled).pairs

    @cached_property
    def critique_lookup(self) -> Lookup:
        return look_up(self.critiquing.asking, self.known)

    def missing_critiques(self) -> Iterator[Missing]:
        """Those of prompts whose labels are not all known yet are estimated."""
        settings, identity = self.road.settings.judge, self.road.models.judge.identity
        open_prompts = {pair.prompt.id for pair in self.compared if self._is_waiting(pair)}
        for key in self.critique_lookup.missing:
            prompt = self.critiquing.places[key][0].prompt
            why = why_critiqued(prompt, settings, identity, self.road.templates.critique, self.previous)
            yield Missing(key=key, prompt_id=prompt.id, why=why, is_estimated=prompt.id in open_prompts)
