"""How a run looks while it works: a line per stage with done/total, rate, time left and the outcome counts.

On a terminal the lines are live bars; elsewhere (a log, CI) a plain line is printed every ten seconds and at the end
of each stage. Both go to stderr, so stdout stays for what a script reads.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import track as rich_track

from rlaif.feedback.progress import Row, Work
from rlaif.feedback.rates import Timed
from rlaif.records import Outcome

T = TypeVar("T")

_PLAIN_EVERY_S = 10.0
_REUSED_PER_LOOK = 1000


@dataclass
class StageLine:
    """One stage's counts, shown by whoever made it."""

    name: str
    console: Console
    bars: Progress | None = None
    started: float = field(default_factory=time.monotonic)
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    total: int = 0
    reused: int = 0
    asked: int = 0
    first_answer: float | None = None
    task: TaskID | None = None
    work: Work | None = None
    printed: float = field(default_factory=time.monotonic)

    def expect(self, total: int) -> None:
        self.total = total

    def reuse(self, outcome: Outcome) -> None:
        self.outcomes[outcome] += 1
        self.reused += 1
        if self.reused % _REUSED_PER_LOOK == 0:
            self._show()

    def advance(self, outcome: Outcome) -> None:
        self.outcomes[outcome] += 1
        self.asked += 1
        if self.first_answer is None:
            self.first_answer = self.printed = time.monotonic()
        self._show()

    def worked(self, work: Work) -> None:
        self.work = work

    def _show(self) -> None:
        if self.bars is not None:
            if self.task is None:
                self.task = self.bars.add_task(self.name, total=None, pace="", counts="")
            done = self.reused + self.asked
            self.bars.update(self.task, total=self.total, completed=done, pace=self.pace(), counts=self.counts())
        elif time.monotonic() - self.printed > _PLAIN_EVERY_S:
            self.printed = time.monotonic()
            self.console.print(self.plain(), soft_wrap=True, markup=False)

    def counts(self) -> str:
        parts = [f"{count:,} {outcome}" for outcome, count in self.outcomes.most_common()]
        if self.reused:
            parts.append(f"{self.reused:,} from the store")
        return ", ".join(parts)

    def pace(self) -> str:
        """Answers per second since the first, so that loading a model does not blur it; and the time left at that."""
        working = time.monotonic() - (self.first_answer or time.monotonic())
        if not self.asked or working <= 0:
            return ""
        rate, left = self.asked / working, self.total - self.reused - self.asked
        return f"{rate:,.0f}/s" + (f", {timedelta(seconds=round(left / rate))} left" if left > 0 else "")

    def plain(self) -> str:
        """The line in words."""
        parts = [f"{self.reused + self.asked:,}/{self.total:,}"]
        if self.asked:
            parts += [part for part in (self.pace(), f"{time.monotonic() - self.started:,.1f} s") if part]
        nothing = "no answer yet" if self.total else "nothing to do"
        return f"{self.name}: {', '.join(parts)} ({self.counts() or nothing})"


class ConsoleProgress:
    """The progress of a run on a console. `timed` holds what each stage's model did and how long that took, `loading`
    how long each model took to load (a stage's seconds are without it)."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.timed: dict[str, Timed] = {}
        self.loading: dict[str, float] = {}
        self._loaded_in_stage = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[StageLine]:
        line = StageLine(name, self.console)
        self._loaded_in_stage = 0.0
        try:
            if self.console.is_terminal:
                with self._bars() as line.bars:
                    yield line
            else:
                yield line
        finally:
            if line.work is not None:
                seconds = time.monotonic() - line.started - self._loaded_in_stage
                self.timed[name] = Timed(round(seconds, 3), line.work)
            self.console.print(line.plain(), soft_wrap=True, markup=False, highlight=False)

    def track(self, blocks: Row[T], name: str) -> Iterator[T]:
        """A bar on a terminal, else a line now and then; neither for what is done in a moment."""
        started = printed = time.monotonic()
        is_plain = len(blocks) == 1 or not self.console.is_terminal
        bar = rich_track(blocks, name, total=len(blocks), console=self.console, transient=True, disable=is_plain)
        for done, block in enumerate(bar, start=1):
            yield block
            if is_plain and time.monotonic() - printed > _PLAIN_EVERY_S:
                printed = time.monotonic()
                self.note(f"{name}: {done:,}/{len(blocks):,} blocks, {printed - started:,.0f} s")

    def _bars(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
            TextColumn("{task.fields[counts]}"),
            console=self.console,
            transient=True,
        )

    def note(self, text: str) -> None:
        self.console.print(text, soft_wrap=True, markup=False, highlight=False, style="dim")

    def loaded(self, model: str, seconds: float) -> None:
        self.loading[model] = round(seconds, 3)
        self._loaded_in_stage = seconds
