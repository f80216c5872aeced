"""What a run would ask of models, why, and what it costs. Decisions only: no model is loaded and nothing is written.

The plan walks the run's own road: the same functions say what each stage asks, and the same lookup says what is there
(`rlaif/feedback/ask.py`). Where the road needs an answer that is still missing, a stand-in takes its place
(`rlaif/feedback/stand_ins.py`); what is asked about stand-ins is counted, and marked as estimated.

    plan = plan_feedback(settings, constitution, prompts, models=…, templates=…, known=store, …)
    print(plan.calls("judge"), *plan.groups)
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from rlaif.constitution import Constitution
from rlaif.engines.counting import PromptCounter
from rlaif.feedback.aggregate import label_pair
from rlaif.feedback.ask import Asking, Known, Lookup, Model, look_up
from rlaif.feedback.choose import choose_pairs
from rlaif.feedback.cost import Output, Prices, Rates, bill
from rlaif.feedback.critique import critique_stage
from rlaif.feedback.generate import Models, Templates
from rlaif.feedback.judge import JudgeStage, judge_stage
from rlaif.feedback.keys import cut_key
from rlaif.feedback.pairing import pair_up
from rlaif.feedback.plan_record import Group, Missing, Plan, StageName, Step
from rlaif.feedback.previous import Previous
from rlaif.feedback.reasons import (
    NEVER_RUN,
    NEW_ANSWERS,
    NOT_YET,
    why_critiqued,
    why_judged,
    why_outdated,
    why_sampled,
)
from rlaif.feedback.sample import Sample, SampleStage, sample_stage
from rlaif.feedback.stand_ins import expected_answers, fill_in, likely_label
from rlaif.records import Pair, Prompt, ResponsePair
from rlaif.settings import JudgeSettings, PolicySettings, Settings


def plan_feedback(
    settings: Settings,
    constitution: Constitution,
    prompts: Sequence[Prompt],
    *,
    models: Models,
    templates: Templates,
    known: Known,
    previous: Previous | None,
    rates: Rates,
) -> Plan:
    """Plan the run that `rlaif.feedback.generate.generate` carries out with the same arguments."""
    walk = _Walk(settings, constitution, models, templates, known, previous, rates)
    samples, stand_ins = walk.sample(prompts)
    pairs = pair_up(samples).pairs
    stage = judge_stage(pairs, constitution, settings.judge, template=templates.judge, identity=models.judge.identity)
    lookup = look_up(stage.asking, known)
    walk.judge(stage, lookup, stand_ins)
    if settings.pairs.critiques == "dataset":
        walk.critique(walk.likely_pairs(pairs, stage, lookup), _open_prompts(stage, lookup))
    return Plan(
        steps=tuple(walk.steps),
        loading_s=_loading(walk.steps, models, rates),
        is_token_count_exact=all(counter.is_exact for counter in walk.counters.values()),
    )


def _loading(steps: Sequence[Step], models: Models, rates: Rates) -> float | None:
    """Each policy that answers is loaded once, and so is the judge."""
    names = [step.bill.model for step in steps if step.stage == "sample" and step.bill.calls]
    names += [models.judge.name] if any(step.bill.calls for step in steps if step.stage != "sample") else []
    if any(name not in rates.loading_s for name in names):
        return None
    return sum(rates.loading_s[name] for name in names)


def _open_prompts(stage: JudgeStage, lookup: Lookup) -> frozenset[str]:
    """The prompts whose labels are not all known yet."""
    return frozenset(stage.places[request.id][0].prompt.id for request in lookup.missing)


def _critique_output(lookup: Lookup, settings: JudgeSettings) -> Output:
    written = [value["output_tokens"] for value in lookup.values.values() if "output_tokens" in value]
    return Output(fmean(written), True) if written else Output(settings.critique_max_tokens / 2, False)


def _prices(settings: PolicySettings | JudgeSettings) -> Prices:
    return Prices(prompt=settings.price_per_million_prompt_tokens, output=settings.price_per_million_output_tokens)


def grouped(stage: StageName, model: str, missing: Sequence[Missing]) -> tuple[Group, ...]:
    """One group per reason, in the order the reasons first appear."""
    by_why: dict[str, list[Missing]] = defaultdict(list)
    for one in missing:
        by_why[one.why].append(one)
    return tuple(
        Group(
            stage=stage,
            model=model,
            reason=why.replace("{prompts}", f"{len({one.prompt_id for one in own}):,}").replace(
                "{calls}", f"{len(own):,}"
            ),
            calls=len(own),
            estimated_calls=sum(one.is_estimated for one in own),
        )
        for why, own in by_why.items()
    )


@dataclass
class _Walk:
    """The road so far: each method walks one stage and adds its step."""

    settings: Settings
    constitution: Constitution
    models: Models
    templates: Templates
    known: Known
    previous: Previous | None
    rates: Rates
    steps: list[Step] = field(default_factory=list)
    counters: dict[str, PromptCounter] = field(default_factory=dict)

    def sample(self, prompts: Sequence[Prompt]) -> tuple[list[Sample], dict[str, str]]:
        """All samples, stand-ins among them, and why each stand-in is one, by the id of its response."""
        samples: list[Sample] = []
        stand_ins: dict[str, str] = {}
        for policy, model in zip(self.settings.policies, self.models.policies, strict=True):
            stage = sample_stage(prompts, policy, model.identity)
            lookup = self._with_cut_elsewhere(stage, look_up(stage.asking, self.known), model)
            why = self._why_sampled(stage, lookup, model)
            expected = expected_answers(stage, lookup.values)
            missing = [
                Missing(request=request, prompt_id=stage.places[request.id][0].id, why=why[request.id])
                for request in lookup.missing
            ]
            self._add("sample", model, policy, stage.asking, missing, expected.any_answer)
            for key, sample in fill_in(stage, lookup.values, expected).items():
                samples.append(sample)
                if key in why and sample.response:
                    stand_ins[sample.response.id] = why[key]
        return samples, stand_ins

    @property
    def has_open_answers(self) -> bool:
        """Whether an answer is still to be drawn: then what is judged and chosen is not known."""
        return any(step.bill.calls for step in self.steps if step.stage == "sample")

    def _with_cut_elsewhere(self, stage: SampleStage, lookup: Lookup, model: Model) -> Lookup:
        """The same, with the answers that were cut at last time's limit among the outdated: they lie under its key."""
        before = self.previous.policy(model.identity) if self.previous else None
        if before is None or before.sampling.max_tokens == stage.policy.sampling.max_tokens or not lookup.missing:
            return lookup
        keys = [request.id for request in lookup.missing if request.id not in lookup.outdated]
        places = {cut_key(key, before.sampling.max_tokens): key for key in keys}
        cut = {places[place]: value for place, value in self.known.get(stage.asking.kind, places).items()}
        return replace(lookup, outdated=lookup.outdated | cut)

    def _why_sampled(self, stage: SampleStage, lookup: Lookup, model: Model) -> dict[str, str]:
        """The reason of every missing key. A prompt that has answers in the store is not new."""
        answered = {stage.places[key][0].id for key in (*lookup.values, *lookup.outdated)}
        previous = self.previous
        if previous:
            previous = replace(previous, asked_prompts=previous.asked_prompts | answered)
        why = {}
        for request in lookup.missing:
            prompt, index = stage.places[request.id]
            if request.id in lookup.outdated:
                why[request.id] = why_outdated(lookup.outdated[request.id], stage.policy)
            else:
                said = why_sampled(prompt, index, stage.policy, model.identity, previous)
                why[request.id] = NOT_YET if said == NEVER_RUN and answered else said
        return why

    def judge(self, stage: JudgeStage, lookup: Lookup, stand_ins: Mapping[str, str]) -> None:
        model, settings, template = self.models.judge, self.settings.judge, self.templates.judge
        missing = []
        for request in lookup.missing:
            pair, principle, _, _ = stage.places[request.id]
            waits = [stand_ins[response.id] for response in (pair.x, pair.y) if response.id in stand_ins]
            if waits:
                why = NEW_ANSWERS if "{calls}" in waits[0] else waits[0]
            else:
                why = why_judged(pair, principle, model.identity, template, self.previous)
                why = NOT_YET if why == NEVER_RUN and lookup.values else why
            missing.append(Missing(request=request, prompt_id=pair.prompt.id, why=why, is_estimated=bool(waits)))
        self._add("judge", model, settings, stage.asking, missing, Output(1.0, is_measured=True), self.has_open_answers)

    def likely_pairs(self, pairs: Sequence[ResponsePair], stage: JudgeStage, lookup: Lookup) -> tuple[Pair, ...]:
        """The pairs of the dataset; where verdicts are missing, as those that are there would have it."""
        judgments = stage.judgments(lookup.values)
        waiting = {stage.places[request.id][0].id for request in lookup.missing}
        floor = self.settings.pairs.probability_floor
        labelled = []
        for pair in pairs:
            label = label_pair(pair, judgments.get(pair.id, ()), self.constitution, probability_floor=floor)
            labelled.append(likely_label(label, self.constitution) if pair.id in waiting else label)
        return choose_pairs(labelled, self.settings.pairs, judge=self.settings.judge.model).pairs

    def critique(self, pairs: Sequence[Pair], open_prompts: frozenset[str]) -> None:
        model, settings, template = self.models.judge, self.settings.judge, self.templates.critique
        stage = critique_stage(pairs, self.constitution, settings, template=template, identity=model.identity)
        lookup = look_up(stage.asking, self.known)
        prompts = {stage.places[pair.id][0]: pair.prompt for pair in pairs}
        missing = []
        for request in lookup.missing:
            prompt = prompts[request.id]
            why = why_critiqued(prompt, settings, model.identity, template, self.previous)
            why = NOT_YET if why == NEVER_RUN and lookup.values else why
            is_estimated = prompt.id in open_prompts
            missing.append(Missing(request=request, prompt_id=prompt.id, why=why, is_estimated=is_estimated))
        is_open = bool(open_prompts) or self.has_open_answers
        self._add("critique", model, settings, stage.asking, missing, _critique_output(lookup, settings), is_open)

    def _add(
        self,
        stage: StageName,
        model: Model,
        settings: PolicySettings | JudgeSettings,
        asking: Asking,
        missing: Sequence[Missing],
        expected: Output,
        is_estimated: bool = False,
    ) -> None:
        if missing and model.name not in self.counters:
            self.counters[model.name] = model.counter()
        cost = bill(
            stage,
            model.name,
            [one.request for one in missing],
            counter=self.counters.get(model.name),
            expected=expected,
            name=asking.name,
            rates=self.rates,
            prices=_prices(settings),
        )
        self.steps.append(
            Step(
                stage=stage,
                wanted=len(asking.requests),
                is_estimated=is_estimated,
                groups=grouped(stage, model.name, missing),
                bill=cost,
            )
        )
