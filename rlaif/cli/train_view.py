"""What `rlaif train` shows: the data card, the progress of the steps, and the figures at the end."""

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from rlaif.train.data_card import DataCard

if TYPE_CHECKING:  # its module loads torch
    from rlaif.train.rl.prompts import PromptCounts

_SHOWN = ("loss", "accuracy", "reward_gap", "grad_norm")
_SHOWN_RL = ("reward", "kl", "entropy", "length", "ended_share", "clip_fraction")


def card_table(card: DataCard) -> Table:
    """Rows kept, cut and refused, by dataset and reason; who labelled them, where they say so."""
    table = Table(title=f"{card.num_rows} rows, {card.num_tokens} tokens", title_justify="left")
    for name in ("dataset", "read", "kept", "of these cut", "of these merged", "refused", "labelled by"):
        table.add_column(name, justify="left" if name in ("dataset", "refused", "labelled by") else "right")
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


class TrainingProgress:
    """A bar of steps with the newest figures. Quiet until the first step."""

    unit = "steps"
    shown: tuple[str, ...] = _SHOWN

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, TextColumn("{task.fields[figures]}"), console=console)
        self.bar: TaskID | None = None

    def __enter__(self) -> "TrainingProgress":
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def say(self, text: str) -> None:
        self.progress.console.print(text, soft_wrap=True, highlight=False)

    def watch(self, done: int, total: int, figures: Mapping[str, float]) -> None:
        if self.bar is None:
            self.bar = self.progress.add_task(self.unit, total=total, figures="")
        shown = "  ".join(f"{name} {figures[name]:.4g}" for name in self.shown if name in figures)
        if shown:
            self.progress.update(self.bar, completed=done, figures=shown)


class RlProgress(TrainingProgress):
    """The same for iterations of sampling and learning."""

    unit = "iterations"
    shown = _SHOWN_RL


def prompts_line(counts: "PromptCounts") -> str:
    """What became of the rows of prompts."""
    refused = ", ".join(f"{count} {reason}" for reason, count in counts.refused.items()) or "none"
    return f"{counts.rows} rows read, {counts.kept} prompts, left out: {refused}"
