"""How the stages report: a stage begins with its name and total, and advances by one counted outcome at a time."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from rlaif.records import Outcome


class Stage(Protocol):
    """One stage while it works. How many requests it has may become known bit by bit."""

    def expect(self, total: int) -> None: ...

    def reuse(self, outcome: Outcome) -> None: ...

    def advance(self, outcome: Outcome) -> None: ...


class Progress(Protocol):
    """What watches a run. A request is answered by a model (`advance`), or was in the store already (`reuse`)."""

    def stage(self, name: str) -> AbstractContextManager[Stage]: ...

    def note(self, text: str) -> None: ...

    def loaded(self, model: str, seconds: float) -> None: ...


class Quiet:
    """Reports nothing: for tests and for use as a library."""

    def stage(self, name: str) -> AbstractContextManager[Stage]:
        return nullcontext(self)

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
