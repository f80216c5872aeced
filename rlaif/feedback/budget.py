"""Limits on what a run may ask of models: calls, tokens, time. A run that reaches one stops, and can be continued.

No request is begun once a limit is reached; the few that are in flight then are still answered and kept. So calls are
kept to exactly, and tokens and time up to what was in flight.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from rlaif.engines.base import Answer, Completion, Request
from rlaif.errors import BudgetReached


@dataclass
class Budget:
    """What may still be asked; None is no limit. `tokens` are prompt and output tokens together."""

    calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    clock: Callable[[], float] = time.monotonic
    calls_begun: int = 0
    tokens_used: int = 0
    is_refusing: bool = False
    begun: float = field(init=False)

    def __post_init__(self) -> None:
        self.begun = self.clock()

    def allowed(self, requests: Iterable[Request]) -> Iterator[Request]:
        """The requests, for as long as nothing is used up."""
        for request in requests:
            if self._used_up():
                self.is_refusing = True
                return
            self.calls_begun += 1
            yield request

    def spend(self, answer: Answer) -> None:
        output = answer.output_tokens if isinstance(answer, Completion) else 0
        self.tokens_used += answer.prompt_tokens + output

    def check(self) -> None:
        """Raise BudgetReached where a limit is reached."""
        limit = self._used_up()
        if limit:
            raise BudgetReached(
                f"stopped at the limit of {limit}, after {self.calls_begun:,} model calls.",
                do="What was answered is kept: the same command continues from here, with a fresh limit.",
            )

    def check_refused(self) -> None:
        """Raise BudgetReached where a request was held back."""
        if self.is_refusing:
            self.check()

    def _used_up(self) -> str:
        """The limit that is reached, in words; empty where none is."""
        if self.calls is not None and self.calls_begun >= self.calls:
            return f"{self.calls:,} calls (--budget-calls)"
        if self.tokens is not None and self.tokens_used >= self.tokens:
            return f"{self.tokens:,} tokens (--budget-tokens)"
        if self.seconds is not None and self.clock() - self.begun >= self.seconds:
            return f"{self.seconds / 60:g} minutes (--max-minutes)"
        return ""
