"""What a way of judging is to the rest of the road: passes over a block's pairs, and how answers become verdicts.

A pass is a set of requests that rests on the answers to the passes before it. `generate` asks pass after pass, `plan`
walks the same ones with stand-ins for answers that are not there, and neither knows which mode it has. The last pass
is always the stage "judge": its books are those of the verdicts. A mode is that of one judge over pairs it is given;
which judges there are, and which pairs, is decided above it (`judges.py`, `hearing.py`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from rlaif.constitution import Principle
from rlaif.feedback.ask import Asking, Value
from rlaif.feedback.plan_record import StageName
from rlaif.records import Judgment, Outcome, PrincipleVerdict, Prompt, Response, ResponsePair, Score
from rlaif.settings import LabelSettings
from rlaif.templates import Template

Values = Mapping[str, Value]
Unit = tuple[ResponsePair, Principle]  # what one verdict is about
Ended = tuple[Outcome, str]  # how a request ended, and the reason where it gave nothing


@dataclass(frozen=True, slots=True)
class About:
    """What a request is about. `responses` are those it shows, in that order."""

    prompt: Prompt
    principle: Principle
    responses: tuple[Response, ...]


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over some pairs. `places` is what the mode itself knows of each key; `rests_on` names, by key, the
    request of the pass before whose answer is part of it."""

    stage: StageName
    asking: Asking
    template: Template
    about: Callable[[str], About]
    places: Mapping[str, Any]
    rests_on: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What the answers to all passes amount to. `judgments` by pair; `scores` by (response, principle)."""

    judgments: Mapping[str, list[Judgment]] = field(default_factory=dict)
    scores: Mapping[tuple[str, str], Score] = field(default_factory=dict)

    def ended(self) -> Iterable[Ended]:
        """How every request for a verdict ended."""
        yield from ((one.outcome, one.reason) for own in self.judgments.values() for one in own)
        yield from ((one.outcome, one.reason) for one in self.scores.values())


class Mode(Protocol):
    """A way of judging under one constitution, with one judge."""

    @property
    def stages(self) -> tuple[StageName, ...]:
        """The name of every pass, in order."""
        ...

    def plan_pass(self, pairs: Sequence[ResponsePair], earlier: Sequence[Values]) -> Pass:
        """The pass after those whose answers are `earlier`."""
        ...

    def planned(self, pairs: Sequence[ResponsePair]) -> int:
        """How many requests each pass needs, counted without making them. A pass that rests on another makes none
        where that one gave nothing: those end as the earlier ones did."""
        ...

    def planned_about(self, units: Sequence[Unit]) -> int:
        """The same where only these principles of these pairs are asked about."""
        ...

    def hear(self, passes: Sequence[Pass], values: Sequence[Values]) -> Heard:
        """What the answers to all passes of some pairs say; what has no answer yet is left out."""
        ...

    def verdicts(self, pair: ResponsePair, heard: Heard, settings: LabelSettings) -> list[PrincipleVerdict]:
        """The verdicts of a pair's judged principles."""
        ...

    def stand_in(self, key: str) -> Value:
        """In the place of an answer to an earlier pass that is not there yet, for a plan."""
        ...
