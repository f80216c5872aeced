"""Mode `verdict`: the judge names the better of two answers at once, and the probability of that word is read.

One pass; 2 requests per pair and principle, each with a single token of output. See `rlaif/feedback/judge.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rlaif.constitution import Constitution
from rlaif.engines.base import ModelIdentity
from rlaif.feedback.aggregate import compared
from rlaif.feedback.ask import Value
from rlaif.feedback.judge import Comparison, JudgeStage, count_judgments, judge_stage
from rlaif.feedback.mode import About, Heard, Pass, Unit, Values
from rlaif.feedback.plan_record import StageName
from rlaif.records import PrincipleVerdict, ResponsePair
from rlaif.settings import JudgeSettings, LabelSettings
from rlaif.templates import Template


@dataclass(frozen=True, slots=True)
class VerdictMode:
    constitution: Constitution
    settings: JudgeSettings
    template: Template
    identity: ModelIdentity

    @property
    def stages(self) -> tuple[StageName, ...]:
        return ("judge",)

    def plan_pass(self, pairs: Sequence[ResponsePair], earlier: Sequence[Values]) -> Pass:
        stage = judge_stage(pairs, self.constitution, self.settings, template=self.template, identity=self.identity)
        return Pass("judge", stage.asking, self.template, lambda key: about_comparison(stage.places[key]), stage.places)

    def planned(self, pairs: Sequence[ResponsePair]) -> int:
        return count_judgments(pairs, self.constitution, self.settings)

    def planned_about(self, units: Sequence[Unit]) -> int:
        return 2 * len(units)

    def hear(self, passes: Sequence[Pass], values: Sequence[Values]) -> Heard:
        stage = JudgeStage(passes[0].asking, passes[0].places, self.settings.min_covered)
        return Heard(judgments=stage.judgments(values[0]))

    def verdicts(self, pair: ResponsePair, heard: Heard, settings: LabelSettings) -> list[PrincipleVerdict]:
        return compared(pair, heard.judgments.get(pair.id, ()), self.constitution)

    def stand_in(self, key: str) -> Value:
        raise AssertionError("nothing rests on a verdict")


def about_comparison(place: Comparison) -> About:
    pair, principle, first, second = place
    return About(pair.prompt, principle, (first, second))
