"""How a run looks while it works: a line per stage with done/total, rate, time left and the outcome counts.

On a terminal the lines are live bars; elsewhere (a log, CI) a plain line is printed every ten seconds and at the end
of each stage. Both go to stderr, so stdout stays for what a script reads.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from rlaif.records import Outcome

_PLAIN_EVERY_S = 10.0


class RateColumn(ProgressColumn):
    """Finished model answers per second; what came from the store does not count."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "–/s", style="progress.data.speed")


@dataclass
class StageLine:
    """One stage's counts, shown by whoever made it."""

    name: str
    total: int
    reused: int
    bars: Progress | None
    console: Console
    started: float = field(default_factory=time.monotonic)
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    done: int = 0
    first_answer: float | None = None
    task: TaskID | None = None
    printed: float = field(default_factory=time.monotonic)

    def advance(self, outcome: Outcome) -> None:
        self.outcomes[outcome] += 1
        self.done += 1
        if self.done > self.reused and self.first_answer is None:
            self.first_answer = self.printed = time.monotonic()
        if self.bars is not None and self.task is not None:
            self.bars.update(self.task, completed=max(0, self.done - self.reused), counts=self.counts())
        elif time.monotonic() - self.printed > _PLAIN_EVERY_S:
            self.printed = time.monotonic()
            self.console.print(self.plain(), soft_wrap=True, markup=False)

    def counts(self) -> str:
        parts = [f"{count:,} {outcome}" for outcome, count in self.outcomes.most_common()]
        if self.reused:
            parts.append(f"{self.reused:,} from the store")
        return ", ".join(parts)

    def plain(self) -> str:
        """The line in words. The rate counts from the first answer, so that loading a model does not blur it."""
        now = time.monotonic()
        asked, seconds = self.done - self.reused, now - self.started
        working = now - (self.first_answer or now)
        rate = asked / working if working > 0 else 0.0
        left = f", {(self.total - self.done) / rate:,.0f} s left" if rate and self.done < self.total else ""
        pace = f", {rate:,.0f}/s, {seconds:,.1f} s" if asked else ""
        return f"{self.name}: {self.done:,}/{self.total:,}{pace}{left} ({self.counts() or 'nothing to do'})"


class ConsoleProgress:
    """The progress of a run on a console. `seconds` holds how long each stage answered, `loading` how long each model
    took to load (a stage's seconds are without it)."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.seconds: dict[str, float] = {}
        self.asked: dict[str, int] = {}
        self.loading: dict[str, float] = {}
        self._loaded_in_stage = 0.0

    @contextmanager
    def stage(self, name: str, *, total: int, reused: int) -> Iterator[StageLine]:
        line = StageLine(name, total, reused, None, self.console)
        self._loaded_in_stage = 0.0
        try:
            if self.console.is_terminal and reused < total:
                with self._bars() as bars:
                    line.bars, line.task = bars, bars.add_task(name, total=total - reused, counts="")
                    yield line
            else:
                yield line
        finally:
            self.seconds[name] = round(time.monotonic() - line.started - self._loaded_in_stage, 3)
            self.asked[name] = line.done - reused
            self.console.print(line.plain(), soft_wrap=True, markup=False, highlight=False)

    def _bars(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            RateColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[counts]}"),
            console=self.console,
            transient=True,
        )

    def note(self, text: str) -> None:
        self.console.print(text, soft_wrap=True, markup=False, highlight=False, style="dim")

    def loaded(self, model: str, seconds: float) -> None:
        self.loading[model] = round(seconds, 3)
        self._loaded_in_stage = seconds
