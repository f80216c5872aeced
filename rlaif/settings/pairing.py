"""Which answers are compared, how verdicts become labels, and which pairs enter the dataset."""

from typing import Literal

from pydantic import Field, field_validator

from rlaif.settings.strict import PositiveInt, Share, Strict


class ScheduleSettings(Strict):
    """Which of a prompt's answers are compared with which: what comparing n answers costs."""

    kind: Literal["all", "ring", "random", "swiss"] = Field(
        "all",
        description="all: n (n - 1) / 2 pairs; ring: n; random: each answer against `opponents` others; swiss: rounds "
        "of answers of like strength, `comparisons` in all.",
    )
    opponents: PositiveInt = Field(4, description="random: opponents of each answer. Usual: 2 to 6.")
    comparisons: PositiveInt | None = Field(
        None, description="swiss: pairs per prompt. Usual: null, half of all, rounded up."
    )


class LabelSettings(Strict):
    """How verdicts become a label. Changing any of these asks no model anything."""

    kind: Literal["soft", "hard", "majority"] = Field(
        "soft",
        description="soft: the pooled probability; hard: its side, 0 or 1, a tie stays 0.5; majority: the side that "
        "more principles are on, by weight.",
    )
    reasoned_range: tuple[Share, Share] | None = Field(
        (0.4, 0.6),
        description="The range verdicts behind one reasoning are kept in; null: as they are. Usual: [0.4, 0.6].",
    )

    @field_validator("reasoned_range")
    @classmethod
    def _holds_a_half(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not value[0] <= 0.5 <= value[1]:
            raise ValueError("the range has to hold 0.5")
        return value


class PairSettings(Strict):
    """Which comparisons become pairs of the dataset. Changing any of these asks no model anything."""

    rule: Literal["best_worst", "best_random", "adjacent", "all"] = Field(
        "best_worst",
        description="Strongest against weakest answer, or against a drawn one; each against the next weaker one; or "
        "every pair of answers.",
    )
    rank_by: Literal["mean_log_odds", "bradley_terry"] = Field(
        "mean_log_odds",
        description="How strong an answer is: the mean over its comparisons, or a Bradley-Terry fit, which is fair "
        "also where answers met different opponents.",
    )
    max_pairs_per_prompt: PositiveInt | None = Field(
        None, description="At most so many pairs of one prompt, those with the largest margins. Usual: null, all."
    )
    probability_floor: float = Field(
        0.01,
        gt=0.0,
        lt=0.5,
        description="Principles' probabilities are kept in [floor, 1 - floor] in labels.",
    )
    min_margin: float = Field(0.1, ge=0.0, le=1.0, description="Least |2p - 1| of a pair that enters. Usual: 0 to 0.4.")
    keep_ties: bool = Field(False, description="Let pairs with p = 0.5 exactly, or under the margin, enter as ties.")
    critiques: Literal["dataset", "none"] = Field("dataset", description="Write a critique for every pair that enters.")
