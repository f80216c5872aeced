"""A plan as a record: its steps, the reasons of what is missing, its sums, and all of it as JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rlaif.feedback.cost import Bill

StageName = Literal["sample", "reason", "judge", "critique", "revise"]
STAGES: tuple[StageName, ...] = ("sample", "judge", "critique")  # of every run
_OF_REVISIONS: tuple[StageName, ...] = ("revise",)  # told as "revision" by every plan, where there is none as 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A request that is not in the store. `why` may hold {prompts} and {calls}, numbers of all that share it."""

    key: str
    prompt_id: str
    why: str
    is_estimated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """All missing requests of one stage and model that have one reason."""

    stage: StageName
    model: str
    reason: str
    calls: int
    estimated_calls: int

    def __str__(self) -> str:
        about = "about " if self.estimated_calls else ""
        return f"{self.reason} ({about}{self.calls:,} {self.stage} call{'s' * (self.calls != 1)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One stage of one model: how many requests it wants, why some are missing, and what those cost.

    `is_estimated`: what is wanted depends on answers that are not there yet.
    """

    stage: StageName
    wanted: int
    is_estimated: bool
    groups: tuple[Group, ...]
    bill: Bill


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The run's steps in their order. `loading_s` is None where a model that must load was never timed.

    `left_out` counts answers that are there and complete and will not be judged, `found_and_kept` those that will be
    although something speaks against it, both by reason.
    """

    steps: tuple[Step, ...]
    loading_s: float | None
    is_token_count_exact: bool
    left_out: Mapping[str, int] = field(default_factory=dict)
    found_and_kept: Mapping[str, int] = field(default_factory=dict)

    @property
    def stages(self) -> tuple[StageName, ...]:
        """The stages a plan tells of, in order."""
        return tuple(dict.fromkeys([*(step.stage for step in self.steps), *STAGES]))

    def calls(self, stage: StageName) -> int:
        return sum(step.bill.calls for step in self.steps if step.stage == stage)

    def wanted(self, stage: StageName) -> int:
        return sum(step.wanted for step in self.steps if step.stage == stage)

    def is_estimated(self, stage: StageName) -> bool:
        return any(step.is_estimated for step in self.steps if step.stage == stage)

    @property
    def total_calls(self) -> int:
        return sum(step.bill.calls for step in self.steps)

    @property
    def groups(self) -> tuple[Group, ...]:
        return tuple(group for step in self.steps for group in step.groups)

    @property
    def seconds(self) -> float | None:
        """Loading and answering; None where something that is asked was never timed."""
        parts = [self.loading_s, *(step.bill.seconds for step in self.steps)]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None

    @property
    def money(self) -> float | None:
        prices = [step.bill.money for step in self.steps if step.bill.money is not None]
        return sum(prices) if prices else None

    def notes(self) -> Iterator[str]:
        """What of the plan is a guess."""
        estimated = [stage for stage in self.stages if self.is_estimated(stage)]
        if estimated:
            yield f"calls of {' and '.join(estimated)} are estimated: they depend on answers that are not there yet"
        guessed = [step.bill for step in self.steps if step.bill.calls and not step.bill.is_output_measured]
        for bill in guessed:
            yield f"output tokens of {bill.stage} with {bill.model} are guessed: half of the limit, none was drawn yet"
        if not self.is_token_count_exact:
            yield "prompt tokens are guessed, four characters each: a model's tokenizer is not on this machine"
        if self.seconds is None:
            yield "no time is given: this machine has not run these models with these engine settings yet"

    def as_json(self) -> dict[str, Any]:
        bills = [step.bill for step in self.steps]
        told = {"revision" if stage == "revise" else stage: stage for stage in (*self.stages, *_OF_REVISIONS)}
        return {
            **{f"{name}_calls": self.calls(stage) for name, stage in told.items()},
            **{f"{name}_calls_are_estimated": self.is_estimated(told[name]) for name in told if name != "sample"},
            **{f"{name}_wanted": self.wanted(stage) for name, stage in told.items()},
            "prompt_tokens": sum(bill.prompt_tokens for bill in bills),
            "shared_tokens": sum(bill.shared_tokens for bill in bills),
            "output_tokens": sum(bill.output_tokens for bill in bills),
            "seconds": self.seconds,
            "money": self.money,
            "reasons": [str(group) for group in self.groups],
            "groups": [asdict(group) for group in self.groups],
            "bills": [asdict(bill) for bill in bills],
            "notes": list(self.notes()),
            "left_out": dict(self.left_out),
            "found_and_kept": dict(self.found_and_kept),
        }
