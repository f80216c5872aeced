"""What a run of revisions would ask of models, and what it costs. No model is loaded and nothing is written.

The plan walks the run's own blocks. Where an answer, critique or revision is not there yet, a made-up text of the
expected length takes its place, so that what follows can be counted; what is asked about such a text is marked as
estimated. Every revision is then taken to come and to differ: an estimate is the most a run can ask.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from rlaif.engines.counting import PromptCounter
from rlaif.feedback.ask import Asking, Known, Lookup, Model, Value, look_up
from rlaif.feedback.cost import Output, Prices, Rates
from rlaif.feedback.hearing import Hearing
from rlaif.feedback.plan_record import Missing, Plan, StageName, Step
from rlaif.feedback.plan_tally import StageTally
from rlaif.feedback.progress import Progress, Quiet
from rlaif.feedback.reasons import NEVER_RUN
from rlaif.feedback.revision.block import RevisionBlock, RevisionRoad, sizing_road
from rlaif.feedback.revision.rounds import Place, WritingStage
from rlaif.feedback.road import Blocks
from rlaif.feedback.still_open import PassedOn, StillOpen
from rlaif.records import Prompt
from rlaif.settings import JudgeSettings, PolicySettings

_WORD = " the"  # one token in nearly every vocabulary


class PlanRevisionBlock(RevisionBlock):
    """A block on which not every answer is there yet. `limits` are the limits on tokens by kind of result."""

    def __init__(
        self, revising: RevisionRoad, prompts: Sequence[Prompt], known: Known, limits: Mapping[str, int]
    ) -> None:
        super().__init__(revising, prompts, known)
        self._limits = limits
        self._made_up: set[str] = set()
        self._judge_lookups: dict[int, Lookup] = {}
        self._open = StillOpen(lambda: self.hearing, self.judge_lookup, known, PassedOn())

    def values(self, asking: Asking) -> Mapping[str, Value]:
        """What is known, and stand-ins for what is not."""
        lookup = look_up(asking, self.known)
        lengths = [value["output_tokens"] for value in lookup.values.values() if "output_tokens" in value]
        tokens = round(sum(lengths) / len(lengths)) if lengths else self._limits[asking.kind] // 2
        return {key: lookup.values.get(key) or self._stand_in(key, max(1, tokens)) for key in asking.requests}

    def _stand_in(self, key: str, tokens: int) -> Value:
        text = f"{key[:16]}{_WORD * (tokens - 1)}"
        self._made_up.add(text)
        counts = {"prompt_tokens": 0, "output_tokens": tokens, "max_tokens": tokens}
        return {"outcome": "ok", "reason": "", "text": text, "finish_reason": "stop", **counts}

    def is_made_up(self, *texts: str | None) -> bool:
        return not self._made_up.isdisjoint(texts)

    def missing_samples(self, policy: int) -> Iterator[Missing]:
        stage = self.sampling[policy]
        for key in look_up(stage.asking, self.known).missing:
            yield Missing(key=key, prompt_id=stage.places[key][0].id, why=NEVER_RUN)

    def missing_writing(self, stage: WritingStage, number: int) -> Iterator[Missing]:
        for key in look_up(stage.asking, self.known).missing:
            place: Place = stage.places[key]
            waits = self.is_made_up(place.response.text, place.critique)
            why = f"round {number}, principle {place.asked.principle.id}: not asked yet"
            why = f"round {number}: rests on texts that are not there yet" if waits else why
            yield Missing(key=key, prompt_id=place.prompt.id, why=why, is_estimated=waits)

    def judge_lookup(self, number: int) -> Lookup:
        if number not in self._judge_lookups:
            self._judge_lookups[number] = look_up(self.judging(number).asking, self.known)
        return self._judge_lookups[number]

    def answers(self, number: int) -> Mapping[str, Value]:
        """What is known of a judge's pass; what later passes rest on is stood in for where it is missing."""
        lookup, sitting = self.judge_lookup(number), self.road.judges.sittings[number]
        mode, missing = self.road.judges.members[sitting.judge].mode, lookup.missing
        return (
            lookup.values if sitting.is_last_part else {**lookup.values, **{key: mode.stand_in(key) for key in missing}}
        )

    @cached_property
    def hearing(self) -> Hearing:
        return Hearing(self.road.judges, self.pairing.pairs, self.answers, unknown=self._open)

    def missing_judgments(self, number: int) -> Iterator[Missing]:
        asked = self.judging(number)
        for key in self.judge_lookup(number).missing:
            about, before = asked.about(key), asked.rests_on.get(key)
            waits = self.is_made_up(*(one.text for one in about.responses))
            why = "revisions that are not there yet" if waits else "revisions not judged yet"
            waits = waits or (before is not None and before not in self.judge_lookup(number - 1).values)
            waits = waits or self._open.depends(number, about)
            yield Missing(key=key, prompt_id=about.prompt.id, why=why, is_estimated=waits)


@dataclass
class _Tally:
    """A step's tally, and the lengths of the texts there are."""

    tally: StageTally
    limit: int
    is_verdict: bool = False
    is_estimated: bool = False
    texts: int = 0
    tokens: int = 0

    def add(self, asking: Asking, known: Known, missing: list[Missing]) -> None:
        values = look_up(asking, known).values.values()
        lengths = [value["output_tokens"] for value in values if "output_tokens" in value]
        self.texts, self.tokens = self.texts + len(lengths), self.tokens + sum(lengths)
        self.is_estimated = self.is_estimated or any(one.is_estimated for one in missing)
        self.tally.add(asking, len(values), missing)

    def step(self) -> Step:
        expected = Output(self.limit / 2, is_measured=False)
        if self.is_verdict:
            expected = Output(1.0, is_measured=True)
        elif self.texts:
            expected = Output(self.tokens / self.texts, is_measured=True)
        return self.tally.step(expected, is_estimated=self.is_estimated)


def plan_revisions(
    revising: RevisionRoad,
    prompts: Sequence[Prompt],
    *,
    known: Known,
    rates: Rates,
    progress: Progress | None = None,
) -> Plan:
    """Plan the run that `ask_revisions` carries out over the same road and prompts."""
    walk = _Walk(revising, prompts, known, rates)
    for block in (progress or Quiet()).track(walk.blocks, "planning"):
        walk.add(block)
    steps = [one.step() for one in walk.tallies.values()]
    needed = {step.bill.model for step in steps if step.bill.calls}
    is_timed = all(name in rates.loading_s for name in needed)
    return Plan(
        steps=tuple(steps),
        loading_s=sum(rates.loading_s[name] for name in needed) if is_timed else None,
        is_token_count_exact=all(counter.is_exact for counter in walk.counters.values()),
    )


class _Walk:
    """The tallies of a plan in the order of the run's stages."""

    def __init__(self, revising: RevisionRoad, prompts: Sequence[Prompt], known: Known, rates: Rates) -> None:
        self.revising, self.known, self.rates = revising, known, rates
        settings = revising.road.settings
        limits = {
            "responses": max(policy.sampling.max_tokens for policy in settings.policies),
            "critiques_of_answers": settings.revision.critique_max_tokens,
            "revisions": settings.revision.revision_max_tokens,
        }
        self.blocks: Blocks[PlanRevisionBlock] = Blocks(
            sizing_road(revising), prompts, lambda part: PlanRevisionBlock(revising, part, known, limits)
        )
        self.counters: dict[str, PromptCounter] = {}
        self.tallies = self._tallies()

    def _tallies(self) -> dict[tuple[StageName, int, int], _Tally]:
        """By stage, policy and round; those of the judges by stage, judge and pass."""
        road, own = self.revising.road, self.revising.settings
        tallies: dict[tuple[StageName, int, int], _Tally] = {}
        for policy, (settings, model) in enumerate(zip(road.settings.policies, road.models.policies, strict=True)):
            tallies["sample", policy, 0] = self._tally("sample", model, settings, settings.sampling.max_tokens)
            writer, priced = self.revising.writer_of(policy), settings if self.revising.writer is None else None
            for number in range(1, own.rounds + 1):
                tallies["critique", policy, number] = self._tally("critique", writer, priced, own.critique_max_tokens)
                tallies["revise", policy, number] = self._tally("revise", writer, priced, own.revision_max_tokens)
        for number, sitting in enumerate(road.judges.sittings):
            model, judge = road.models.judges[sitting.judge], road.judges.members[sitting.judge].settings
            limit, is_verdict = judge.reasoning_max_tokens, sitting.is_last_part
            tallies[sitting.stage, sitting.judge, number] = self._tally(
                sitting.stage, model, judge, limit, is_verdict=is_verdict
            )
        return tallies

    def _tally(
        self,
        stage: StageName,
        model: Model,
        settings: PolicySettings | JudgeSettings | None,
        limit: int,
        *,
        is_verdict: bool = False,
    ) -> _Tally:
        prices = Prices(
            prompt=settings.price_per_million_prompt_tokens if settings else None,
            output=settings.price_per_million_output_tokens if settings else None,
        )
        tally = StageTally(
            stage,
            model.name,
            lambda: self._counter(model),
            num_blocks=len(self.blocks),
            rates=self.rates,
            prices=prices,
        )
        return _Tally(tally, limit, is_verdict)

    def _counter(self, model: Model) -> PromptCounter:
        """The model's token counter, opened when its first prompt is counted."""
        if model.name not in self.counters:
            self.counters[model.name] = model.counter()
        return self.counters[model.name]

    def add(self, block: PlanRevisionBlock) -> None:
        for (stage, policy, number), tally in self.tallies.items():
            if stage == "sample":
                asking, missing = block.sampling[policy].asking, block.missing_samples(policy)
            elif stage in ("critique", "revise"):
                half = block.critiques if stage == "critique" else block.revisions
                writing = half(policy, number)
                asking, missing = writing.asking, block.missing_writing(writing, number)
            else:
                asking, missing = block.judging(number).asking, block.missing_judgments(number)
            tally.add(asking, self.known, list(missing))
