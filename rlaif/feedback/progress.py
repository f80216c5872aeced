"""How the stages report: a stage begins with its name and total, and advances by one counted outcome at a time."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from rlaif.records import Outcome


class Stage(Protocol):
    def advance(self, outcome: Outcome) -> None: ...


class Progress(Protocol):
    """What watches a run. `reused` of the `total` were in the store already and are not asked for."""

    def stage(self, name: str, *, total: int, reused: int) -> AbstractContextManager[Stage]: ...

    def note(self, text: str) -> None: ...

    def loaded(self, model: str, seconds: float) -> None: ...


class Quiet:
    """Reports nothing: for tests and for use as a library."""

    def stage(self, name: str, *, total: int, reused: int) -> AbstractContextManager[Stage]:
        return nullcontext(self)

    def note(self, text: str) -> None:
        pass

    def loaded(self, model: str, seconds: float) -> None:
        pass

    def advance(self, outcome: Outcome) -> None:
        pass
