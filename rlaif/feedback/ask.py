"""The one place where a stage meets a model: look up what is known, ask for the rest, keep each answer as it comes."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from rlaif.engines.base import Completion, Engine, Failure, ModelIdentity, Request
from rlaif.engines.counting import PromptCounter, rough_tokens
from rlaif.engines.order import prefix_order
from rlaif.feedback.budget import Budget
from rlaif.feedback.progress import Progress
from rlaif.records import Outcome
from rlaif.store import Kind, Store

Value = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Model:
    """A model as a stage needs it: who it is, known without loading it, and how to open it when it must answer.

    `counter` tells what a prompt is in its tokens, also without loading it: what a plan needs.
    """

    name: str
    identity: ModelIdentity
    open: Callable[[], AbstractContextManager[Engine]]
    counter: Callable[[], PromptCounter] = lambda: PromptCounter(rough_tokens, is_exact=False)


class Session:
    """A model that is loaded when it must answer for the first time, and let go when the session ends.

    Stages that share a session share one load; a session whose stages find everything in the store loads nothing.
    `wanted` gathers the store's keys that the stages rest on, by kind: what `rlaif store gc` must keep for this run.
    """

    def __init__(self, model: Model, budget: Budget | None = None) -> None:
        self.model = model
        self.budget = budget or Budget()
        self.wanted: dict[Kind, list[str]] = {}
        self._held = ExitStack()
        self._engine: Engine | None = None

    def engine(self, progress: Progress) -> Engine:
        if self._engine is None:
            progress.note(f"loading {self.model.name}")
            begun = time.monotonic()
            self._engine = self._held.enter_context(self.model.open())
            if self._engine.max_model_len:  # known once the model is loaded, so that loading is told from answering
                progress.loaded(self.model.name, time.monotonic() - begun)
        return self._engine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine = None
        self._held.__exit__(kind, error, trace)


@dataclass(frozen=True, eq=False)
class Requests(Mapping[str, Request]):
    """A stage's requests by key, each made when it is looked at: one whose answer is stored is never rendered."""

    places: Mapping[str, Any]
    build: Callable[[str, Any], Request]

    def __getitem__(self, key: str) -> Request:
        return self.build(key, self.places[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


@dataclass(frozen=True, slots=True)
class Asking:
    """One stage's requests. `read` turns what came back into the value to keep; `outcome` counts a value.

    `is_valid` decides whether a stored value answers the request (one longer than is allowed now does not). A value
    may lie under any of the request's `places`, its own key by default; `place` says under which one to keep it.
    """

    name: str
    kind: Kind
    requests: Mapping[str, Request]
    read: Callable[[Completion | Failure], Value]
    outcome: Callable[[Value], Outcome]
    is_valid: Callable[[Value], bool] = lambda _value: True
    places: Callable[[str], tuple[str, ...]] = lambda key: (key,)
    place: Callable[[str, Value], str] = lambda key, _value: key


class Known(Protocol):
    """Where results are looked up: the store, or in its place nothing at all."""

    def get(self, kind: Kind, keys: Iterable[str]) -> Mapping[str, Value]: ...


@dataclass(frozen=True, slots=True)
class Lookup:
    """A stage's requests against what is known. `outdated` are stored values that do not answer a missing request."""

    values: dict[str, Value]
    missing: list[Request]
    outdated: dict[str, Value]


def look_up(asking: Asking, known: Known) -> Lookup:
    """The one way from requests to stored results, for planning and for asking alike."""
    places = {key: asking.places(key) for key in asking.requests}
    stored = known.get(asking.kind, (place for all_of_one in places.values() for place in all_of_one))
    values: dict[str, Value] = {}
    outdated: dict[str, Value] = {}
    for key, all_of_one in places.items():
        found = [stored[place] for place in all_of_one if place in stored]
        valid = [value for value in found if asking.is_valid(value)]
        if valid:
            values[key] = valid[0]
        elif found:
            outdated[key] = found[0]
    missing = [asking.requests[key] for key in places if key not in values]
    return Lookup(values=values, missing=missing, outdated=outdated)


def ask(asking: Asking, *, session: Session, store: Store, progress: Progress) -> dict[str, Value]:
    """The value of every request, by key: from the store where it is there, from the model where not.

    Failures are returned and counted but not kept: a failure says nothing about the question, and the next run
    should ask again. Everything else is kept at once, so an interruption loses only what was in flight. Raises
    BudgetReached when the session's budget ends before the requests do.
    """
    session.wanted.setdefault(asking.kind, []).extend(place for key in asking.requests for place in asking.places(key))
    lookup = look_up(asking, store)
    values = lookup.values
    with progress.stage(asking.name, total=len(asking.requests), reused=len(values)) as stage:
        for value in values.values():
            stage.advance(asking.outcome(value))
        if lookup.missing:
            session.budget.check()
            engine = session.engine(progress)
            for answer in engine.complete(session.budget.allowed(prefix_order(lookup.missing))):
                value = asking.read(answer)
                if isinstance(answer, Completion):
                    store.append(asking.kind, asking.place(answer.request_id, value), value)
                values[answer.request_id] = value
                stage.advance(asking.outcome(value))
                session.budget.spend(answer)
            if len(values) < len(asking.requests):
                session.budget.check()
    return values
