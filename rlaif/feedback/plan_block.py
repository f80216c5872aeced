"""A block of a road on which not every answer is there yet: what is missing of it, and why.

Stand-ins take the place of missing answers, so that what is asked about them can be foretold. Everything else is the
block's own: pairs, keys and labels come about as they do in a run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from rlaif.engines.base import ModelIdentity
from rlaif.feedback.ask import Known, Lookup, look_up
from rlaif.feedback.critique import CritiqueStage
from rlaif.feedback.hearing import Hearing
from rlaif.feedback.keys import cut_key
from rlaif.feedback.mode import About, Pass, Values
from rlaif.feedback.pairing import Pairing
from rlaif.feedback.plan_record import Missing
from rlaif.feedback.previous import Previous
from rlaif.feedback.reasons import NEW_ANSWERS, why_critiqued, why_judged_by, why_outdated, why_sampled
from rlaif.feedback.road import Block, Road
from rlaif.feedback.sample import Sample, SampleStage
from rlaif.feedback.stand_ins import Answered, fill_in, likely_label
from rlaif.feedback.still_open import PassedOn, StillOpen
from rlaif.records import Pair, Prompt, ResponsePair


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
        self.previous, self.answered = previous, answered
        self._judge_lookups: dict[int, Lookup] = {}
        self._open = StillOpen(lambda: self.hearing, self.judge_lookup, known, passed_on)

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

    @cached_property
    def pairing(self) -> Pairing:
        return self.road.pair_up(self.prompts, self.samples, self._stand_ins)

    @property
    def found_and_kept(self) -> dict[str, int]:
        return self.road.found_and_kept(self.samples, self._stand_ins)

    # --- judging

    @cached_property
    def hearing(self) -> Hearing:
        return Hearing(self.road.judges, self.pairing.pairs, self.answers, unknown=self._open)

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

    def missing_judgments(self, number: int) -> Iterator[Missing]:
        asked, judge = self.judging(number), self.road.judges.sittings[number].judge
        for key in self.judge_lookup(number).missing:
            about, before = asked.about(key), asked.rests_on.get(key)
            is_estimated = (
                (before is not None and before not in self.judge_lookup(number - 1).values)
                or any(one.id in self._stand_ins for one in about.responses)
                or self._open.depends(number, about)
            )
            why = self._why_judged(about, asked, judge)
            yield Missing(key=key, prompt_id=about.prompt.id, why=why, is_estimated=is_estimated)

    def _why_judged(self, about: About, asked: Pass, judge: int) -> str:
        waits = [self._stand_ins[one.id] for one in about.responses if one.id in self._stand_ins]
        if waits:
            return NEW_ANSWERS if "{calls}" in waits[0] else waits[0]
        return why_judged_by(self.road, judge, about, asked.template, self.previous)

    @cached_property
    def _waiting(self) -> frozenset[frozenset[str]]:
        """What still has no verdict: pairs by their two responses, or single responses."""
        judges = range(len(self.road.judges.members))
        return frozenset(frozenset(responses) for judge in judges for _, *responses in self._open.missing(judge))

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
