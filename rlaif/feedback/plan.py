"""What a run would ask of models, why, and what it costs. Decisions only: no model is loaded and nothing is written.

The plan walks the run's own road: the same functions say what each stage asks, and the same lookup says what is there
(`rlaif/feedback/road.py`, `ask.py`). Where the road needs an answer that is still missing, a stand-in takes its place
(`rlaif/feedback/stand_ins.py`); what is asked about stand-ins is counted, and marked as estimated.

    plan = plan_feedback(road, prompts, known=store, previous=None, rates=rates)
    print(plan.calls("judge"), *plan.groups)
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from rlaif.engines.counting import PromptCounter
from rlaif.feedback.ask import Known, Model, Value
from rlaif.feedback.cost import Output, Prices, Rates
from rlaif.feedback.pairing import NEAR_DUPLICATE
from rlaif.feedback.plan_block import PlanBlock
from rlaif.feedback.plan_record import Plan, StageName, Step
from rlaif.feedback.plan_tally import StageTally
from rlaif.feedback.previous import Previous
from rlaif.feedback.progress import Progress, Quiet
from rlaif.feedback.road import Blocks, Road
from rlaif.feedback.stand_ins import Answered
from rlaif.feedback.still_open import PassedOn
from rlaif.records import Prompt
from rlaif.settings import JudgeSettings, PolicySettings


def plan_feedback(
    road: Road,
    prompts: Sequence[Prompt],
    *,
    known: Known,
    previous: Previous | None,
    rates: Rates,
    progress: Progress | None = None,
) -> Plan:
    """Plan the run that `rlaif.feedback.generate.ask_models` carries out over the same road and prompts."""
    walk = _Walk(road, prompts, known, previous, rates, progress or Quiet())
    steps = walk.plan_samples()
    steps += walk.plan_judges(is_open=any(step.bill.calls for step in steps))
    return Plan(
        steps=tuple(steps),
        left_out=+walk.left_out,
        found_and_kept=+walk.found_and_kept,
        loading_s=_loading(steps, road, rates),
        is_token_count_exact=all(counter.is_exact for counter in walk.counters.values()),
    )


class _Walk:
    """Goes down the road block after block, once for what policies are asked and once for what the judge is."""

    def __init__(
        self,
        road: Road,
        prompts: Sequence[Prompt],
        known: Known,
        previous: Previous | None,
        rates: Rates,
        progress: Progress,
    ) -> None:
        self.road, self.rates, self.progress = road, rates, progress
        self.answered = [Answered(policy.sampling.max_tokens) for policy in road.settings.policies]
        passed_on = PassedOn()
        self.blocks = Blocks(
            road, prompts, lambda part: PlanBlock(road, part, known, previous, self.answered, passed_on)
        )
        self.counters: dict[str, PromptCounter] = {}
        self.left_out: Counter[str] = Counter()
        self.found_and_kept: Counter[str] = Counter()

    def plan_samples(self) -> list[Step]:
        """A step per policy. What the stored answers are like is gathered on the way: stand-ins resemble them."""
        policies = zip(self.road.settings.policies, self.road.models.policies, strict=True)
        tallies = [self._tally("sample", model, policy) for policy, model in policies]
        for block in self.progress.track(self.blocks, "planning: answers"):
            for number, stage in enumerate(block.sampling):
                lookup = block.sample_lookups[number]
                self.answered[number].add(stage, lookup.values)
                found = len(lookup.values) + len(lookup.outdated)
                tallies[number].add(stage.asking, found, list(block.missing_samples(number)))
        answers = [own.expected().any_answer for own in self.answered]
        return [tally.step(own, is_estimated=False) for tally, own in zip(tallies, answers, strict=True)]

    def plan_judges(self, *, is_open: bool) -> list[Step]:
        """Every pass of every judge's mode over all its rounds, then critiques. `is_open`: answers are still to be
        drawn, so what is judged and chosen is not known."""
        judges, settings = self.road.judges, self.road.settings.judge
        has_critiques = self.road.settings.pairs.critiques == "dataset"
        passes = {
            (judge, part): self._tally(stage, self.road.models.judges[judge], member.settings, member.name)
            for judge, member in enumerate(judges.members)
            for part, stage in enumerate(member.mode.stages)
        }
        critique = self._tally("critique", self.road.models.judge, settings, judges.members[-1].name)
        reasons: dict[tuple[int, int], list[int]] = {at: [] for at in passes}
        written: list[int] = []
        for block in self.progress.track(self.blocks, "planning: verdicts"):
            self.left_out[NEAR_DUPLICATE] += block.pairing.left_out.get(NEAR_DUPLICATE, 0)
            self.found_and_kept.update(block.found_and_kept)
            for number, sitting in enumerate(judges.sittings):
                at, values = (sitting.judge, sitting.part), block.judge_lookup(number).values
                passes[at].add(block.judging(number).asking, len(values), list(block.missing_judgments(number)))
                if not sitting.is_last_part:
                    reasons[at] += _written(values)
            if has_critiques:
                values = block.critique_lookup.values
                critique.add(block.critiquing.asking, len(values), list(block.missing_critiques()))
                written += _written(values)
        steps: list[Step] = []
        for (judge, part), tally in passes.items():
            member = judges.members[judge]
            is_last = part == len(member.mode.stages) - 1
            limit = member.settings.reasoning_max_tokens
            expected = Output(1.0, is_measured=True) if is_last else _expected(reasons[judge, part], limit)
            before = [one for (other, _), one in zip(passes, steps, strict=False) if other == judge or self._depends]
            is_estimated = is_open or tally.has_estimates or any(one.bill.calls for one in before)
            steps.append(tally.step(expected, is_estimated=is_estimated))
        if has_critiques:
            is_open = is_open or any(step.bill.calls for step in steps)
            expected = _expected(written, settings.critique_max_tokens)
            steps.append(critique.step(expected, is_estimated=is_open))
        return steps

    @property
    def _depends(self) -> bool:
        """Whether what a judge is asked depends on what those before it said."""
        return self.road.judges.is_cascade or self.road.settings.schedule.kind == "swiss"

    def _tally(
        self, stage: StageName, model: Model, settings: PolicySettings | JudgeSettings, name: str = ""
    ) -> StageTally:
        return StageTally(
            stage,
            name or model.name,
            lambda: self._counter(model),
            num_blocks=len(self.blocks),
            rates=self.rates,
            prices=prices_of(settings),
        )

    def _counter(self, model: Model) -> PromptCounter:
        """The model's token counter, opened when its first prompt is counted."""
        if model.name not in self.counters:
            self.counters[model.name] = model.counter()
        return self.counters[model.name]


def _written(values: Mapping[str, Value]) -> list[int]:
    return [value["output_tokens"] for value in values.values() if "output_tokens" in value]


def _expected(written: Sequence[int], limit: int) -> Output:
    """As the texts there are; half the limit where there are none."""
    words = sum(written) / len(written) if written else limit / 2
    return Output(words, is_measured=bool(written))


def prices_of(settings: PolicySettings | JudgeSettings) -> Prices:
    return Prices(prompt=settings.price_per_million_prompt_tokens, output=settings.price_per_million_output_tokens)


def _loading(steps: Sequence[Step], road: Road, rates: Rates) -> float | None:
    """Each policy that answers is loaded once, and so is each judge."""
    names = [step.bill.model for step in steps if step.stage == "sample" and step.bill.calls]
    asked = {step.bill.model for step in steps if step.stage != "sample" and step.bill.calls}
    judges = zip(road.judges.members, road.models.judges, strict=True)
    names += [model.name for member, model in judges if member.name in asked]
    if any(name not in rates.loading_s for name in names):
        return None
    return sum(rates.loading_s[name] for name in names)
