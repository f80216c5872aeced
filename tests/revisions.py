"""Runs of revisions on the scripted engine, for tests that count what models were asked."""

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from rlaif.constitution import Principle
from rlaif.engines.scripted import Faults
from rlaif.feedback.cost import Rates
from rlaif.feedback.progress import Quiet
from rlaif.feedback.revision.block import RevisionRoad, RevisionTemplates, revision_settings
from rlaif.feedback.revision.plan import plan_revisions
from rlaif.feedback.revision.revise import ask_revisions
from rlaif.feedback.revision.run import write_revisions
from rlaif.feedback.road import Road as RunRoad
from rlaif.pair_dataset import read_rows
from rlaif.prompt_sets import PromptSet
from rlaif.settings import JudgeSettings, JudgesSettings, PolicySettings, RevisionSettings, Settings
from rlaif.store import Store
from rlaif.templates import load_template
from tests.roads import Road, constitution, follows_the_word, prompts, settings, shipped_templates

UNTIMED = Rates(by_stage={}, loading_s={})
STAGES = ("sample", "critique", "revise", "judge")


def half_of(request):
    """Which half of a round a request is, by what its prompt says; None for an answer, reasons or a verdict."""
    text = request.messages[-1].content
    if request.choices or "<response>" not in text:
        return None
    return "revise" if "<critique>" in text else "critique"


def stage_of(request):
    """Which stage a request is of, by what it asks."""
    if half := half_of(request):
        return half
    if request.choices:
        return "judge"
    return "reason" if "<response_a>" in request.messages[-1].content else "sample"


def between(text, tag):
    return text.split(f"<{tag}>\n")[1].split(f"\n</{tag}>")[0]


def writes(word):
    """A writer's rule: every revision is the answer with this word behind it."""

    def rule(request):
        if half_of(request) != "revise":
            return None
        return f"{between(request.messages[-1].content, 'response')} {word}"

    return rule


@dataclass
class Revisions:
    """Runs of revisions over one store. `asked` counts what models were asked in the last one."""

    folder: Path
    rounds: int = 2
    principles: tuple[Principle, ...] = ()
    rules: tuple = ()
    faults: Faults | None = None
    judge: JudgeSettings = field(default_factory=lambda: JudgeSettings(model="judge"))
    judges: JudgesSettings = field(default_factory=JudgesSettings)
    judge_rules: tuple = (follows_the_word,)
    policies: tuple[PolicySettings, ...] = settings().policies
    writer: str | None = None
    more: dict = field(default_factory=dict)
    requests: list = field(default_factory=list)

    def settings(self) -> Settings:
        revision = RevisionSettings(rounds=self.rounds, model=self.writer, **self.more)
        return settings(revision=revision, judge=self.judge, judges=self.judges, policies=self.policies)

    def revising(self) -> RevisionRoad:
        own = self.settings()
        self.roads = Road(
            self.folder / "store",
            judge_rules=self.judge_rules,
            policy_rules=self.rules,
            policy_faults=self.faults,
            judge_faults=self.faults,
            templates=self._templates(),
        )
        below = revision_settings(own)
        road = RunRoad(
            settings=below,
            constitution=constitution(*self.principles),
            models=self.roads._models(below),
            templates=self.roads.templates_for(below),
        )
        writer = self.roads._model(self.writer, self.rules, self.faults) if self.writer else None
        templates = RevisionTemplates(critique=load_template("critique_answer"), revise=load_template("revise"))
        return RevisionRoad(road=road, writer=writer, templates=templates)

    def _templates(self):
        mode = {"reasoned": "reason", "score": "score"}.get(self.judge.mode)
        return replace(shipped_templates(), mode=load_template(mode)) if mode else shipped_templates()

    def run(self, count=8, budget=None, name="run"):
        revising = self.revising()
        with Store(self.folder / "store") as store:
            try:
                blocks = ask_revisions(revising, prompts(count), store=store, progress=Quiet(), budget=budget)
            finally:
                self.requests = [one for own in self.roads.asked.values() for one in own]
            used = PromptSet(prompts(count), ())
            self.summary = write_revisions(self.folder / name, blocks, revising, self.settings(), used)
        return list(blocks)

    def plan(self, count=8):
        with Store(self.folder / "store") as store:
            return plan_revisions(self.revising(), prompts(count), known=store, rates=UNTIMED)

    def asked(self):
        return dict.fromkeys(STAGES, 0) | Counter(map(stage_of, self.requests))

    def rounds_of(self, name="run"):
        return list(read_rows(self.folder / name / "rounds.parquet"))

    def lines(self, file, name="run"):
        return [json.loads(line) for line in (self.folder / name / file).read_text().splitlines()]
