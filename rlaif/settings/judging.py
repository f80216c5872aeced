"""Who compares answers, and in which mode: one judge, or several and how their verdicts become one."""

from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from rlaif.settings.engine import EngineSettings
from rlaif.settings.strict import PositiveInt, Price, Share, Strict

JudgeMode = Literal["verdict", "reasoned", "score"]


class JudgeSettings(Strict):
    """The model that compares answers, one principle at a time, always in both orders."""

    model: str = Field(description="A folder, a hub name, or the bundled tiny-judge.")
    template: str = Field("judge", description="Template of the comparison: a name in prompts/templates or a file.")
    mode: JudgeMode = Field(
        "verdict",
        description="verdict: the better of two answers, at once; reasoned: after reasons in words; score: each answer "
        "alone, on a scale.",
    )
    reason_template: str = Field("reason", description="reasoned: template of the reasons and their verdict.")
    reasonings: PositiveInt = Field(
        1, description="reasoned: so many reasonings of each comparison, averaged. Usual: 1 to 8."
    )
    reasoning_max_tokens: PositiveInt = Field(
        512, description="reasoned: longest reasons in tokens, thinking counted in. Usual: 200; thinking models 2048."
    )
    reasoning_temperature: float = Field(
        0.0, ge=0.0, le=5.0, description="reasoned: 0 is greedy. Usual: 0 for one reasoning, 0.7 for several."
    )
    score_template: str = Field("score", description="score: template of the question for a score.")
    score_levels: int = Field(10, ge=2, le=10, description="score: the scale goes from 1 to this. Usual: 5 or 10.")
    min_covered: Share = Field(
        0.2, description="Least probability on the choices; below it the judge abstained. Usual: 0.1 to 0.5."
    )
    principles_per_pair: PositiveInt | None = Field(
        None,
        description="Ask about so many principles of each pair only, drawn by the pair's id. Usual: null, all; 1 as in "
        "Constitutional AI.",
    )
    critique_template: str = Field("critique", description="Template of the critique in words.")
    critique_max_tokens: PositiveInt = Field(160, description="Longest critique in tokens. Usual: 100 to 400.")
    engine: EngineSettings | None = Field(None, description="Instead of the run's engine, for the judge.")
    price_per_million_prompt_tokens: Price | None = Field(
        None, description="What a plan counts for reading, in your currency. Usual: null, no price."
    )
    price_per_million_output_tokens: Price | None = Field(
        None, description="What a plan counts for writing, in your currency. Usual: null, no price."
    )

    @model_validator(mode="after")
    def _settings_of_a_mode_agree(self) -> "JudgeSettings":
        if self.mode == "reasoned" and self.reasonings > 1 and self.reasoning_temperature == 0:
            raise ValueError(
                f"{self.reasonings} reasonings at reasoning_temperature 0 are one and the same: set it, e.g. to 0.7"
            )
        if self.mode == "score" and self.principles_per_pair is not None:
            raise ValueError("principles_per_pair draws principles of comparisons, and mode 'score' makes none")
        return self

    @property
    def mode_template(self) -> str:
        """The template through which the judge reads in this mode."""
        return str(getattr(self, _TEMPLATE_OF[self.mode]))


_TEMPLATE_OF: dict[JudgeMode, str] = {
    "verdict": "template",
    "reasoned": "reason_template",
    "score": "score_template",
}


class OtherJudge(Strict):
    """A judge beside `judge`, asked about the same pairs under the same principles, and in all else as `judge` is."""

    model: str = Field(description="A folder, a hub name, or the bundled tiny-judge.")
    mode: JudgeMode | None = Field(None, description="Usual: null, that of `judge`.")
    template: str | None = Field(None, description="Template of its mode. Usual: null, that of `judge`.")
    min_covered: Share | None = Field(None, description="Usual: null, that of `judge`.")
    engine: EngineSettings | None = Field(None, description="Instead of the run's engine, for this judge.")
    price_per_million_prompt_tokens: Price | None = Field(
        None, description="What a plan counts for reading, in your currency. Usual: null, no price."
    )
    price_per_million_output_tokens: Price | None = Field(
        None, description="What a plan counts for writing, in your currency. Usual: null, no price."
    )

    def beside(self, judge: JudgeSettings) -> JudgeSettings:
        """All of this judge's settings, where `judge` gives what is not set here. ValueError where they conflict."""
        own = {name: value for name, value in dict(self).items() if name != "template"}
        for name in ("mode", "min_covered"):
            own[name] = getattr(judge, name) if own[name] is None else own[name]
        if self.template is not None:
            own[_TEMPLATE_OF[own["mode"]]] = self.template
        try:
            return JudgeSettings(**(dict(judge) | own))
        except ValidationError as error:
            raise ValueError(f"judge {self.model!r}: {error.errors()[0]['msg']}") from error


class JudgesSettings(Strict):
    """Several judges. How their verdicts become one is decided on what is stored, and asks nobody anything."""

    others: tuple[OtherJudge, ...] = Field(
        (),
        description="Judges beside `judge`, each with a `model` and, if wanted, mode, template, min_covered, engine "
        "and prices of its own. They are asked in this order, and `judge` is the last. Usual: [], `judge` alone.",
    )
    ask: Literal["panel", "cascade"] = Field(
        "panel",
        description="panel: every judge judges everything; cascade: each judges only what the one before it left "
        "unsure.",
    )
    threshold: float = Field(
        0.2,
        ge=0.0,
        le=0.5,
        description="cascade: unsure is |p - 0.5| up to this, and two orders that name different answers, and no "
        "verdict. Usual: 0.1 to 0.4; 0.5 asks every judge everything.",
    )
    pool: Literal["mean", "majority", "last"] = Field(
        "mean",
        description="One verdict of those that were asked: mean: of their log-odds; majority: the side that more of "
        "them are on; last: that of the last one asked.",
    )
    weights: tuple[Annotated[float, Field(gt=0.0)], ...] = Field(
        (),
        description="mean, majority: each judge's say, in the order they are asked. Usual: [], all alike.",
    )

    @model_validator(mode="after")
    def _settings_of_judges_agree(self) -> "JudgesSettings":
        count = len(self.others) + 1
        if self.weights and len(self.weights) != count:
            raise ValueError(f"{len(self.weights)} weights for {count} judges: the others in their order, then `judge`")
        if self.pool == "last" and self.ask == "panel" and self.others:
            raise ValueError(
                "in a panel all are asked, so pool 'last' is `judge` alone: drop the others, or ask: cascade"
            )
        return self
