"""What a run would ask of models, why, and what it costs. Decisions only: no model is loaded and nothing is written.

The plan walks the run's own road: the same functions say what each stage asks, and the same lookup says what is there
(`rlaif/feedback/road.py`, `ask.py`). Where the road needs an answer that is still missing, a stand-in takes its place
(`rlaif/feedback/stand_ins.py`); what is asked about stand-ins is counted, and marked as estimated.

    plan = plan_feedback(road, prompts, known=store, previous=None, rates=rates)
    print(plan.calls("judge"), *plan.groups)
"""

from collections.abc import Sequence

from rlaif.engines.counting import PromptCounter
from rlaif.feedback.ask import Known, Model
from rlaif.feedback.cost import Output, Prices, Rates
from rlaif.feedback.plan_block import PlanBlock
from rlaif.feedback.plan_record import Plan, StageName, Step
from rlaif.feedback.plan_tally import StageTally
from rlaif.feedback.previous import Previous
from rlaif.feedback.road import Blocks, Road
from rlaif.feedback.stand_ins import Answered
from rlaif.records import Prompt
from rlaif.settings import JudgeSettings, PolicySettings


def plan_feedback(
    road: Road, prompts: Sequence[Prompt], *, known: Known, previous: Previous | None, rates: Rates
) -> Plan:
    """Plan the run that `rlaif.feedback.generate.ask_models` carries out over the same road and prompts."""
    counters = _Counters()
    answered = [Answered(policy.sampling.max_tokens) for policy in road.settings.policies]
    blocks = Blocks(road, prompts, lambda part: PlanBlock(road, part, known, previous, answered))
    steps = _plan_samples(road, blocks, answered, counters, rates)
    is_open = any(step.bill.calls for step in steps)
    steps += _plan_judge(road, blocks, is_open, counters, rates)
    return Plan(
        steps=tuple(steps),
        loading_s=_loading(steps, road, rates),
        is_token_count_exact=all(counter.is_exact for counter in counters.opened.values()),
    )


class _Counters:
    """Each model's token counter, opened when its first prompt is counted."""

    def __init__(self) -> None:
        self.opened: dict[str, PromptCounter] = {}

    def of(self, model: Model) -> PromptCounter:
        if model.name not in self.opened:
            self.opened[model.name] = model.counter()
        return self.opened[model.name]


def _tally(
    stage: StageName, model: Model, blocks: Blocks[PlanBlock], counters: _Counters, rates: Rates, prices: Prices
) -> StageTally:
    return StageTally(stage, model.name, lambda: counters.of(model), num_blocks=len(blocks), rates=rates, prices=prices)


def _plan_samples(
    road: Road, blocks: Blocks[PlanBlock], answered: Sequence[Answered], counters: _Counters, rates: Rates
) -> list[Step]:
    """A step per policy. What the stored answers are like is gathered on the way: stand-ins resemble them."""
    policies = list(zip(road.settings.policies, road.models.policies, strict=True))
    tallies = [_tally("sample", model, blocks, counters, rates, _prices(policy)) for policy, model in policies]
    for block in blocks:
        for number, stage in enumerate(block.sampling):
            lookup = block.sample_lookups[number]
            answered[number].add(stage, lookup.values)
            found = len(lookup.values) + len(lookup.outdated)
            tallies[number].add(stage.asking, found, list(block.missing_samples(number)))
    return [
        tally.step(own.expected().any_answer, is_estimated=False) for tally, own in zip(tallies, answered, strict=True)
    ]


def _plan_judge(road: Road, blocks: Blocks[PlanBlock], is_open: bool, counters: _Counters, rates: Rates) -> list[Step]:
    """What the judge is asked: verdicts, then critiques. `is_open`: answers are still to be drawn, so what is judged
    and chosen is not known."""
    settings, model = road.settings.judge, road.models.judge
    prices = _prices(settings)
    judge = _tally("judge", model, blocks, counters, rates, prices)
    critique = _tally("critique", model, blocks, counters, rates, prices)
    written: list[int] = []
    for block in blocks:
        judge.add(block.judging.asking, len(block.judge_lookup.values), list(block.missing_judgments()))
        if road.settings.pairs.critiques == "dataset":
            values = block.critique_lookup.values
            critique.add(block.critiquing.asking, len(values), list(block.missing_critiques()))
            written += [value["output_tokens"] for value in values.values() if "output_tokens" in value]
    steps = [judge.step(Output(1.0, is_measured=True), is_estimated=is_open)]
    if road.settings.pairs.critiques == "dataset":
        words = (
            Output(sum(written) / len(written), True) if written else Output(settings.critique_max_tokens / 2, False)
        )
        steps.append(critique.step(words, is_estimated=is_open or bool(steps[0].bill.calls)))
    return steps


def _prices(settings: PolicySettings | JudgeSettings) -> Prices:
    return Prices(prompt=settings.price_per_million_prompt_tokens, output=settings.price_per_million_output_tokens)


def _loading(steps: Sequence[Step], road: Road, rates: Rates) -> float | None:
    """Each policy that answers is loaded once, and so is the judge."""
    names = [step.bill.model for step in steps if step.stage == "sample" and step.bill.calls]
    names += [road.models.judge.name] if any(step.bill.calls for step in steps if step.stage != "sample") else []
    if any(name not in rates.loading_s for name in names):
        return None
    return sum(rates.loading_s[name] for name in names)
