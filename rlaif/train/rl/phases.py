"""Where the time goes: seconds by phase, of an iteration and of the run. Shown, never written to the metrics log, which
two runs have in common to the byte."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

PHASES = ("rollout", "reward", "scoring", "learning", "saving")


@dataclass
class Phases:
    """`last` are the newest iteration's seconds, `total` the run's."""

    last: dict[str, float] = field(default_factory=dict)
    total: dict[str, float] = field(default_factory=dict)

    def begin_iteration(self) -> None:
        self.last = dict.fromkeys(PHASES, 0.0)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - began
            for seconds in (self.last, self.total):
                seconds[name] = seconds.get(name, 0.0) + spent


def as_line(seconds: Mapping[str, float]) -> str:
    """`rollout 12.1 s (40 %), …`, the phases in the order of the work."""
    whole = sum(seconds.values()) or 1.0
    return ", ".join(f"{name} {spent:.1f} s ({spent / whole:.0%})" for name, spent in seconds.items())
