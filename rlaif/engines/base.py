"""The one protocol between this project and models: requests in, completions out, in any order.

Everything above this floor is blind to which engine it has. A request that fails is a value (`Failure`), never an
exception; `EngineError` is raised only when the engine itself cannot go on, and then everything it had answered has
already been yielded. Retrying, batching and ordering are the engine's business; deciding what a failure means is not.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Protocol, Self, runtime_checkable

from rlaif.records import Message

FinishReason = Literal["stop", "length"]
FailureKind = Literal["too_long", "refused", "failed"]
ChoiceMethod = Literal["first_token", "continuation", "top_logprobs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a completion is drawn. `temperature` 0 is greedy; `seed` follows from the request's id."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A chat to be completed. With `choices`, no text is drawn: the log-probability of each choice is wanted instead.

    `choices` are read at the first position after the model's own chat template with its generation prompt. All
    single-token spellings of a choice are summed (`rlaif/engines/choices.py`).

    With a `prefill`, the assistant's turn has already begun with that text, and text or choices come right after it:
    so is a verdict read behind the judge's own reasons. It has no white space at its ends, where templates differ in
    what they keep, and where " A" would lose its own space.
    """

    id: str
    messages: tuple[Message, ...]
    sampling: Sampling
    choices: tuple[str, ...] = ()
    json_schema: dict[str, Any] | None = None
    prefill: str = ""

    def __post_init__(self) -> None:
        if self.prefill != self.prefill.strip():
            raise ValueError(f"a prefill has no white space at its ends: {self.prefill[-40:]!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """An answer. `choice_logprobs` are natural logs over the full vocabulary, in the order of `Request.choices`.

    `uncovered` is 1 - the sum of their exponentials. `cached_tokens` counts prompt tokens that were not computed
    again (None where the engine does not say). `choice_method` says how the choices were read: `first_token` (exact,
    every single-token spelling summed), `continuation` (exact, for a tokenizer that spells a choice in several tokens)
    or `top_logprobs` (a server that names only its most likely tokens: a choice it did not name has -inf, and its mass
    is part of `uncovered`).

    `thinking` is what a reasoning model wrote before its answer, by its own markers, and no part of `text`;
    `is_thinking_open` says that it never came to the answer (`rlaif/engines/thinking.py`).
    """

    request_id: str
    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int | None = None
    choice_logprobs: tuple[float, ...] | None = None
    uncovered: float | None = None
    choice_method: ChoiceMethod | None = None
    thinking: str = ""
    is_thinking_open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A request that has no answer. `too_long`: it does not fit the model's context; `refused`: the server would not
    take it (bad parameter); `failed`: tried as often as allowed. `reason` is one line for a person."""

    request_id: str
    kind: FailureKind
    reason: str
    prompt_tokens: int = 0


Answer = Completion | Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """Which model answers, as far as it can change an answer: part of every key in the store.

    `weights` is a content digest for a local folder, or `name@revision` for a hub name or a server's model.
    `chat_template` is the digest of the template in use, with the settings it is given (`chat_template_kwargs`).
    """

    name: str
    weights: str
    chat_template: str
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCounters:
    """Totals since the engine started. `computed_tokens` is None where the engine does not count."""

    requests: int = 0
    prompt_tokens: int = 0
    computed_tokens: int | None = None
    output_tokens: int = 0
    extra: dict[str, float] = field(default_factory=dict)


class Closing:
    """Makes an engine a context manager: leaving it closes it, however it is left."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@runtime_checkable
class Engine(Protocol):
    """What every engine offers. Use it as a context manager; leaving it frees the model's memory."""

    @property
    def identity(self) -> ModelIdentity: ...

    @property
    def max_model_len(self) -> int: ...

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion | Failure]:
        """Answer every request exactly once, in any order, as answers come."""
        ...

    def counters(self) -> EngineCounters: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
