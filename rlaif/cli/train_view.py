"""What `rlaif train` shows: the data card, the progress of the steps, and the figures at the end."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING

from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from rlaif.train.data_card import DataCard

if TYPE_CHECKING:  # its module loads torch
    from rlaif.train.rl.prompts import PromptCounts

_PLAIN_EVERY_S = 10.0
_EVALUATED = "eval_"
_BETWEEN = "  "
_SHOWN = ("loss", "accuracy", "reward_gap", "grad_norm")
_SHOWN_RL = ("reward", "kl", "entropy", "length", "ended_share", "clip_fraction")


def card_table(card: DataCard) -> Table:
    """Rows kept, cut and refused, by dataset and reason; who labelled them, where they say so."""
    table = Table(title=f"{card.num_rows} rows, {card.num_tokens} tokens", title_justify="left")
    for name in ("dataset", "read", "kept", "of these cut", "of these merged", "refused", "labelled by"):
        justify = "left" if name in ("dataset", "refused", "labelled by") else "right"
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]  # one of rich's own words
    for name, counts in card.sources.items():
        refused = ", ".join(f"{count} {reason}" for reason, count in counts.refused.items()) or "0"
        labellers = ", ".join(f"{count} {who}" for who, count in counts.labellers.items()) or "not said"
        numbers = (counts.read, counts.kept, counts.cut, counts.merged)
        table.add_row(name, *(str(number) for number in numbers), refused, labellers)
    return table


def figures_table(figures: Mapping[str, float], *, title: str = "Last step and evaluation") -> Table:
    """The last step's figures and the evaluation's."""
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in figures.items():
        table.add_row(name, f"{value:.6g}")
    return table


class _Bar(Progress):
    """A bar with the newest figures on lines of their own: beside it they are wider than most terminals."""

    figures = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        if self.figures:
            yield Columns(self.figures.split(_BETWEEN), padding=(0, len(_BETWEEN)))


class TrainingProgress:
    """Steps done, their rate, the time left and the newest figures: a bar on a terminal, elsewhere a line now and then.
    Quiet until the first step; an evaluation's figures get a line of their own."""

    unit = "steps"
    shown: tuple[str, ...] = _SHOWN

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self.console, self.is_live = console, console.is_terminal
        self.progress = _Bar(*columns, TextColumn("{task.fields[pace]}"), console=console, disable=not self.is_live)
        self.bar: TaskID | None = None
        self.pace: Pace | None = None
        self.printed = time.monotonic()

    def __enter__(self) -> "TrainingProgress":
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def say(self, text: str) -> None:
        self.progress.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def watch(self, done: int, total: int, figures: Mapping[str, float]) -> None:
        if evaluated := {name: value for name, value in figures.items() if name.startswith(_EVALUATED)}:
            return self.say(f"after step {done}: {_listed(evaluated, tuple(_EVALUATED + name for name in self.shown))}")
        if self.pace is None:
            self.pace = Pace(done, time.monotonic())
            self.bar = self.progress.add_task(self.unit, total=total, pace="")
        if not (shown := _listed(figures, self.shown)):
            return None
        pace = self.pace.told(done, total, time.monotonic(), self.unit)
        if self.bar is not None:
            self.progress.figures = shown
            self.progress.update(self.bar, completed=done, pace=pace)
        if not self.is_live and (done == total or time.monotonic() - self.printed > _PLAIN_EVERY_S):
            self.printed = time.monotonic()
            self.say(_BETWEEN.join(part for part in (f"{self.unit} {done}/{total}", pace, shown) if part))
        return None


@dataclass(frozen=True, slots=True)
class Pace:
    """Where and when counting began: after the first step of this call, which also warms up."""

    done: int
    at: float  # seconds

    def told(self, done: int, total: int, now: float, unit: str) -> str:
        """The rate since then, and the time that is left at it."""
        count, seconds = done - self.done, now - self.at
        if count <= 0 or seconds <= 0:
            return ""
        rate = f"{count / seconds:.1f} {unit}/s" if count > seconds else f"{seconds / count:.1f} s/{unit[:-1]}"
        left = timedelta(seconds=round(seconds / count * (total - done)))
        return f"{rate}, {left} left" if done < total else rate


def _listed(figures: Mapping[str, float], names: tuple[str, ...]) -> str:
    return _BETWEEN.join(f"{name} {figures[name]:.4g}" for name in names if name in figures)


class RlProgress(TrainingProgress):
    """The same for iterations of sampling and learning."""

    unit = "iterations"
    shown = _SHOWN_RL


def prompts_line(counts: "PromptCounts") -> str:
    """What became of the rows of prompts."""
    refused = ", ".join(f"{count} {reason}" for reason, count in counts.refused.items()) or "none"
    return f"{counts.rows} rows read, {counts.kept} prompts, left out: {refused}"
