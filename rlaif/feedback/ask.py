"""The one place where a stage meets a model: look up what is known, ask for the rest, keep each answer as it comes.

A stage of a large run comes in blocks, each an `Asking` of its own (`rlaif/feedback/road.py`). `ask_blocks` puts them
to the model as one stream and returns nothing: what was answered is in the store, and is read from there by whoever
wants it. So memory holds one block, not the run. `ask` is both for a single block.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import chain
from types import TracebackType
from typing import Any, Protocol, Self

from rlaif.engines.base import Completion, Engine, EngineCounters, Failure, ModelIdentity, Request
from rlaif.engines.counting import PromptCounter, rough_tokens
from rlaif.engines.order import prefix_order
from rlaif.feedback.budget import Budget
from rlaif.feedback.progress import Progress, Stage, Work
from rlaif.records import Outcome
from rlaif.store import Kind, Store

Value = dict[str, Any]
FAILED = ("failed", "refused")


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
    """

    def __init__(self, model: Model, budget: Budget | None = None) -> None:
        self.model = model
        self.budget = budget or Budget()
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


class Answers:
    """The store, and beside it what models failed to answer in this run.

    Failures are not kept: a failure says nothing about the question, and the next run should ask again. Within the
    run they are what became of their requests, and are counted.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._failed: dict[str, Value] = {}

    def get(self, kind: Kind, keys: Iterable[str]) -> Mapping[str, Value]:
        wanted = list(keys)
        failed = {key: self._failed[key] for key in wanted if key in self._failed} if self._failed else {}
        return failed | self.store.get(kind, wanted)

    def keep(self, asking: Asking, key: str, value: Value) -> None:
        """Keep an answer at once, so that an interruption loses only what was in flight."""
        if asking.outcome(value) in FAILED:
            self._failed[key] = value
        else:
            self.store.append(asking.kind, asking.place(key, value), value)


@dataclass(frozen=True, slots=True)
class Lookup:
    """A stage's requests against what is known: values by key, keys without one in their order, and of these the
    stored values that do not answer them (`outdated`)."""

    values: dict[str, Value]
    missing: list[str]
    outdated: dict[str, Value]


def look_up(asking: Asking, known: Known) -> Lookup:
    """The one way from requests to stored results, for planning and for asking alike."""
    places = {key: asking.places(key) for key in asking.requests}
    stored = known.get(asking.kind, (place for all_of_one in places.values() for place in all_of_one))
    values: dict[str, Value] = {}
    outdated: dict[str, Value] = {}
    for key, all_of_one in places.items():
        found = [stored[place] for place in all_of_one if place in stored]
        valid = [value for value in found if value.get("outcome") in FAILED or asking.is_valid(value)]
        if valid:
            values[key] = valid[0]
        elif found:
            outdated[key] = found[0]
    return Lookup(values=values, missing=[key for key in places if key not in values], outdated=outdated)


def ask(asking: Asking, *, session: Session, store: Store, progress: Progress) -> dict[str, Value]:
    """The value of every request, by key: from the store where it is there, from the model where not."""
    answers = Answers(store)
    ask_blocks([asking], num_blocks=1, session=session, answers=answers, progress=progress)
    return look_up(asking, answers).values


def ask_blocks(
    askings: Iterable[Asking], *, num_blocks: int, session: Session, answers: Answers, progress: Progress
) -> None:
    """Ask the session's model whatever these blocks of one stage want and `answers` does not have.

    A block is looked up when the model is ready for more, so the model works on one block's last requests while the
    next is prepared; requests of a block are handed over in prefix order. Raises BudgetReached when the session's
    budget ends before the requests do.
    """
    blocks = iter(askings)
    first_block = next(blocks)
    with progress.stage(first_block.name) as stage:
        wanted = _Wanted(num_blocks, answers, stage)
        requests = wanted.requests(chain([first_block], blocks))
        first = next(requests, None)
        if first is None:
            return
        session.budget.check()
        engine = session.engine(progress)
        before = engine.counters()
        for answer in engine.complete(session.budget.allowed(chain([first], requests))):
            asking = wanted.open.pop(answer.request_id)
            value = asking.read(answer)
            answers.keep(asking, answer.request_id, value)
            stage.advance(asking.outcome(value))
            session.budget.spend(answer)
        stage.worked(_work(before, engine.counters()))
        session.budget.check_refused()


def _work(before: EngineCounters, after: EngineCounters) -> Work:
    computed = after.computed_tokens
    return Work(
        calls=after.requests - before.requests,
        prompt_tokens=after.prompt_tokens - before.prompt_tokens,
        computed_tokens=None if computed is None else computed - (before.computed_tokens or 0),
        output_tokens=after.output_tokens - before.output_tokens,
    )


class _Wanted:
    """The requests of a stage that need a model, block after block; `open` are those handed over and not answered."""

    def __init__(self, num_blocks: int, answers: Answers, stage: Stage) -> None:
        self._num_blocks, self._answers, self._stage = num_blocks, answers, stage
        self.open: dict[str, Asking] = {}

    def requests(self, askings: Iterable[Asking]) -> Iterator[Request]:
        total = 0
        for number, asking in enumerate(askings, start=1):
            lookup = look_up(asking, self._answers)
            total += len(asking.requests)
            self._stage.expect(
                round(total * self._num_blocks / number)
            )  # blocks are about alike; the last says exactly
            for value in lookup.values.values():
                self._stage.reuse(asking.outcome(value))
            for request in prefix_order(asking.requests[key] for key in lookup.missing):
                self.open[request.id] = asking
                yield request
