"""How the stages report: a stage begins with its name and total, and advances by one counted outcome at a time."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol, TypeVar

from rlaif.records import Outcome

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Row(Protocol[T_co]):
    """Things whose number is known, made one after the other."""

    def __iter__(self) -> Iterator[T_co]: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a stage's model did. `computed_tokens` are prompt tokens that no earlier prompt had in common; None where
    the engine does not count them."""

    calls: int
    prompt_tokens: int
    computed_tokens: int | None
    output_tokens: int


class Stage(Protocol):
    """One stage while it works. How many requests it has may become known bit by bit."""

    def expect(self, total: int) -> None: ...

    def reuse(self, outcome: Outcome) -> None: ...

    def advance(self, outcome: Outcome) -> None: ...

    def worked(self, work: Work) -> None:
        """Told once, when the model has answered all it was given."""
        ...


class Progress(Protocol):
    """What watches a run. A request is answered by a model (`advance`), or was in the store already (`reuse`)."""

    def stage(self, name: str) -> AbstractContextManager[Stage]: ...

    def track(self, blocks: Row[T], name: str) -> Iterator[T]:
        """The blocks one after the other, while no model works: planning, writing."""
        ...

    def note(self, text: str) -> None: ...

    def loaded(self, model: str, seconds: float) -> None: ...


class Quiet:
    """Reports nothing: for tests and for use as a library."""

    def stage(self, name: str) -> AbstractContextManager[Stage]:
        return nullcontext(self)

    def track(self, blocks: Row[T], name: str) -> Iterator[T]:
        return iter(blocks)

    def note(self, text: str) -> None:
        pass

    def loaded(self, model: str, seconds: float) -> None:
        pass

    def expect(self, total: int) -> None:
        pass

    def reuse(self, outcome: Outcome) -> None:
        pass

    def advance(self, outcome: Outcome) -> None:
        pass

    def worked(self, work: Work) -> None:
        pass
