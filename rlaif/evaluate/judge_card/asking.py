"""Putting probes to a judge: planned, asked and kept as a run's comparisons are, and read as a run's rows are.

The same mode, templates and keys as in `rlaif generate`: a pair that a run judged already costs nothing here, and what
is asked here costs a run nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlaif.constitution import Constitution
from rlaif.evaluate.judge_card.probe_sets import Probe, ProbeSet
from rlaif.feedback.ask import Known, Session, ask, look_up
from rlaif.feedback.budget import Budget
from rlaif.feedback.cost import Output, Prices, Rates
from rlaif.feedback.mode import Heard, Pass, Values
from rlaif.feedback.plan_record import Missing, Plan, Step
from rlaif.feedback.plan_tally import StageTally
from rlaif.feedback.progress import Progress
from rlaif.feedback.reasons import NEVER_RUN
from rlaif.feedback.road import Models, Road
from rlaif.feedback.run import find_templates, judge_of
from rlaif.numbers.figures import FloatArray
from rlaif.pair_dataset import label_row
from rlaif.records import ResponsePair
from rlaif.settings import JudgesSettings, ScheduleSettings, Settings
from rlaif.store import Kind, Store
from rlaif.store.wanted import write_wanted


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """`rows` are those of the pairs as they are; `before` and `after` (P, probes) the judge's P(the answer that is
    changed is better), NaN for no verdict; `heard` is what it said about all of them."""

    rows: tuple[Mapping[str, Any], ...]
    heard: Heard
    probes: tuple[Probe, ...]
    before: FloatArray
    after: FloatArray


def judge_road(settings: Settings, constitution: Constitution, base: Path, log_file: Path) -> Road:
    """A road on which nobody but the judge is asked."""
    settings = settings.model_copy(update={"judges": JudgesSettings(), "schedule": ScheduleSettings()})  # `judge` alone
    models = Models(policies=(), judge=judge_of(settings, log_file))
    return Road(settings=settings, constitution=constitution, models=models, templates=find_templates(settings, base))


def pairs_to_ask(probes: ProbeSet) -> list[ResponsePair]:
    """Every pair once: as it is, and with its changed answers."""
    pairs = {pair.id: pair for pair in probes.pairs}
    for probe in probes.probes:
        pairs[probe.before.id] = probe.before
        pairs[probe.after.id] = probe.after
    return list(pairs.values())


def plan_asking(road: Road, pairs: Sequence[ResponsePair], *, known: Known, rates: Rates) -> Plan:
    """What `ask_judge` would ask: `rlaif plan` for a card."""
    mode, judge, settings = road.mode, road.models.judge, road.settings.judge
    prices = Prices(prompt=settings.price_per_million_prompt_tokens, output=settings.price_per_million_output_tokens)
    counter = judge.counter()
    steps: list[Step] = []
    values: list[Values] = []
    for number, stage in enumerate(mode.stages):
        asked = mode.plan_pass(pairs, values)
        lookup = look_up(asked.asking, known)
        tally = StageTally(stage, judge.name, lambda: counter, num_blocks=1, rates=rates, prices=prices)
        missing = [Missing(key=key, prompt_id=asked.about(key).prompt.id, why=NEVER_RUN) for key in lookup.missing]
        tally.add(asked.asking, len(lookup.values), missing)
        is_last = number == len(mode.stages) - 1
        expected = Output(1.0, is_measured=True) if is_last else Output(settings.reasoning_max_tokens / 2, False)
        steps.append(tally.step(expected, is_estimated=any(step.bill.calls for step in steps)))
        stand_ins = {} if is_last else {key: mode.stand_in(key) for key in lookup.missing}
        values.append(lookup.values | stand_ins)
    is_loaded = any(step.bill.calls for step in steps)
    loading = rates.loading_s.get(judge.name) if is_loaded else 0.0
    return Plan(steps=tuple(steps), loading_s=loading, is_token_count_exact=counter.is_exact)


def ask_judge(
    road: Road, probes: ProbeSet, *, store: Store, progress: Progress, wish: Path, budget: Budget | None = None
) -> Asked:
    """Ask whatever the store does not have. `wish` is the folder that says to `rlaif store gc` what the card rests on;
    it is written before each pass begins. Raises as `rlaif.feedback.generate.ask_models` does."""
    pairs, mode = pairs_to_ask(probes), road.mode
    passes: list[Pass] = []
    values: list[Values] = []
    wanted: dict[Kind, list[str]] = {}
    with Session(road.models.judge, budget) as session:
        for _ in mode.stages:
            asked = mode.plan_pass(pairs, values)
            wanted.setdefault(asked.asking.kind, []).extend(asked.asking.requests)
            write_wanted(wish, wanted)
            passes.append(asked)
            values.append(ask(asked.asking, session=session, store=store, progress=progress) if pairs else {})
    return _asked(road, probes, mode.hear(passes, values))


def _asked(road: Road, probes: ProbeSet, heard: Heard) -> Asked:
    said: dict[str, dict[str, float | None]] = {}
    rows = []
    base = {pair.id for pair in probes.pairs}
    for pair in pairs_to_ask(probes):
        row = label_row(road.label(pair, [heard]))
        said[pair.id] = {one["id"]: one["probability"] for one in row["principles"]}
        if pair.id in base:
            rows.append(row)
    names = judged_principles(road.constitution)
    before = [[_for(probe.plain.id, probe.before, said, name) for probe in probes.probes] for name in names]
    after = [[_for(probe.changed.id, probe.after, said, name) for probe in probes.probes] for name in names]
    shape = (len(names), len(probes.probes))
    return Asked(
        rows=tuple(rows),
        heard=heard,
        probes=probes.probes,
        before=np.array(before, dtype=np.float64).reshape(shape),
        after=np.array(after, dtype=np.float64).reshape(shape),
    )


def judged_principles(constitution: Constitution) -> tuple[str, ...]:
    """Those a judge is asked about: enabled, and without a check."""
    return tuple(principle.id for principle in constitution.enabled if principle.check is None)


def _for(response_id: str, pair: ResponsePair, said: Mapping[str, Mapping[str, float | None]], principle: str) -> float:
    """P(this response of the pair is better) under a principle."""
    probability = said[pair.id].get(principle)
    if probability is None:
        return np.nan
    return probability if pair.x.id == response_id else 1.0 - probability
