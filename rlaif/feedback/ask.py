"""The one place where a stage meets a model: look up what is known, ask for the rest, keep each answer as it comes."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from rlaif.engines.base import Completion, Engine, Failure, ModelIdentity, Request
from rlaif.engines.order import prefix_order
from rlaif.feedback.progress import Progress
from rlaif.records import Outcome
from rlaif.store import Kind, Store

Value = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Model:
    """A model as a stage needs it: who it is, known without loading it, and how to open it when it must answer."""

    name: str
    identity: ModelIdentity
    open: Callable[[], AbstractContextManager[Engine]]


class Session:
    """A model that is loaded when it must answer for the first time, and let go when the session ends.

    Stages that share a session share one load; a session whose stages find everything in the store loads nothing.
    `wanted` gathers the store's keys that the stages rest on, by kind: what `rlaif store gc` must keep for this run.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.wanted: dict[Kind, list[str]] = {}
        self._held = ExitStack()
        self._engine: Engine | None = None

    def engine(self, progress: Progress) -> Engine:
        if self._engine is None:
            progress.note(f"loading {self.model.name}")
            self._engine = self._held.enter_context(self.model.open())
        return self._engine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine = None
        self._held.__exit__(kind, error, trace)


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


def ask(asking: Asking, *, session: Session, store: Store, progress: Progress) -> dict[str, Value]:
    """The value of every request, by key: from the store where it is there, from the model where not.

    Failures are returned and counted but not kept: a failure says nothing about the question, and the next run
    should ask again. Everything else is kept at once, so an interruption loses only what was in flight.
    """
    session.wanted.setdefault(asking.kind, []).extend(place for key in asking.requests for place in asking.places(key))
    values = stored(asking, store)
    missing = [request for key, request in asking.requests.items() if key not in values]
    with progress.stage(asking.name, total=len(asking.requests), reused=len(values)) as stage:
        for value in values.values():
            stage.advance(asking.outcome(value))
        if missing:
            for answer in session.engine(progress).complete(prefix_order(missing)):
                value = asking.read(answer)
                if isinstance(answer, Completion):
                    store.append(asking.kind, asking.place(answer.request_id, value), value)
                values[answer.request_id] = value
                stage.advance(asking.outcome(value))
    return values


def stored(asking: Asking, store: Store) -> dict[str, Value]:
    """The values that are there already, in the order of the requests."""
    places = {key: asking.places(key) for key in asking.requests}
    known = store.get(asking.kind, (place for all_of_one in places.values() for place in all_of_one))
    values = {}
    for key, all_of_one in places.items():
        valid = [known[place] for place in all_of_one if place in known and asking.is_valid(known[place])]
        if valid:
            values[key] = valid[0]
    return values
