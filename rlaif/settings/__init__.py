"""The settings of a run, as `rlaif.yaml` holds them: frozen, strict, saved with the run exactly as used.

Each field says what it means, its unit and a usual range. Unknown keys are refused with the nearest known name (by
`rlaif.documents`), and a setting is never repaired behind the user's back: two that conflict stop the run before a
model is loaded. Secrets are never settings: `api_key_env` names the environment variable that holds one.

The blocks are in a file for each stage of a run; `Settings`, here, is the whole.
"""

from pathlib import Path

from pydantic import Field, model_validator

from rlaif.settings.answering import (
    CleaningSettings,
    PolicySettings,
    PromptSource,
    RevisionSettings,
    SamplingSettings,
)
from rlaif.settings.engine import EngineSettings
from rlaif.settings.judging import JudgeSettings, JudgesSettings
from rlaif.settings.pairing import LabelSettings, PairSettings, ScheduleSettings
from rlaif.settings.strict import PositiveInt, Share, Strict

__all__ = [
    "CleaningSettings",
    "EngineSettings",
    "JudgeSettings",
    "JudgesSettings",
    "LabelSettings",
    "PairSettings",
    "PolicySettings",
    "PositiveInt",
    "PromptSource",
    "RevisionSettings",
    "SamplingSettings",
    "ScheduleSettings",
    "Settings",
    "Share",
    "Strict",
]


class Settings(Strict):
    """One run of `rlaif generate` or `rlaif revise`."""

    name: str = Field(
        "default", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="The run's folder under outputs/runs."
    )
    constitution: str = Field(description="The constitution to judge by.")
    prompts: tuple[PromptSource, ...] = Field(min_length=1, description="Prompt sets, in order.")
    cleaning: CleaningSettings = Field(default_factory=lambda: CleaningSettings())
    policies: tuple[PolicySettings, ...] = Field(min_length=1, description="Who answers.")
    judge: JudgeSettings = Field(description="Who compares.")
    judges: JudgesSettings = Field(default_factory=lambda: JudgesSettings())
    schedule: ScheduleSettings = Field(default_factory=lambda: ScheduleSettings())
    engine: EngineSettings = Field(default_factory=lambda: EngineSettings(), description="What runs the models.")
    label: LabelSettings = Field(default_factory=lambda: LabelSettings())
    pairs: PairSettings = Field(default_factory=lambda: PairSettings())
    revision: RevisionSettings = Field(default_factory=lambda: RevisionSettings())
    output: str = Field("outputs", description="Folder of the store and the runs.")
    store: str | None = Field(
        None,
        description="Folder or URL of a store elsewhere, to share with other projects or machines, e.g."
        " s3://bucket/rlaif. Default: store in the output folder.",
    )
    max_no_verdict_share: Share = Field(
        0.05,
        description="End with an error when a larger share of judgments has no verdict. Usual: 0.01 to 0.1.",
    )

    @model_validator(mode="after")
    def _judges_and_schedule_agree(self) -> "Settings":
        modes = {judge.mode for judge in self.judges_in_order()}
        kind = self.schedule.kind
        if kind != "all" and "score" in modes:
            raise ValueError(f"schedule.kind {kind!r} spares comparisons, and mode 'score' makes none")
        if self.judges.ask == "cascade" and "score" in [judge.mode for judge in self.judges_in_order()[1:]]:
            raise ValueError(
                "a cascade passes pairs on, and mode 'score' judges single answers: it can only come first"
            )
        if kind != "all" and self.pairs.rule != "all" and self.pairs.rank_by == "mean_log_odds":
            raise ValueError(
                f"under schedule.kind {kind!r} answers meet different opponents, which rank_by 'mean_log_odds' holds "
                "against them: set pairs.rank_by to bradley_terry"
            )
        return self

    def judges_in_order(self) -> tuple[JudgeSettings, ...]:
        """All judges in the order they are asked, `judge` last."""
        return (*(other.beside(self.judge) for other in self.judges.others), self.judge)

    def store_place(self, base: Path) -> Path | str:
        """Where the results lie: a URL as it is written, or a folder. `base` is the folder of the settings file."""
        if self.store is not None and "://" in self.store:
            return self.store
        return base / self.output / "store" if self.store is None else base / self.store
