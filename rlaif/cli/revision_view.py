"""A run of `rlaif revise` on the terminal: how everything ended, how often the judge prefers a revision, and one pair
with the rounds that led to its revision."""

from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from rlaif.cli.run_view import pair_view, safe, stages_table
from rlaif.feedback.revision.cards import ends_text, share_text


def print_revisions(console: Console, summary: dict[str, Any], folder: Path) -> None:
    """How every request and answer ended, how often the judge prefers a revision, and where the data is."""
    console.print(_figures(summary))
    console.print(_places(summary, folder), soft_wrap=True)  # paths stay whole


def _figures(summary: dict[str, Any]) -> RenderableType:
    return Group(
        Text(f"Run {summary['name']}: how every request ended", "bold"),
        stages_table(summary),
        Text("How every answer ended", "bold"),
        Text("\n".join(_endings(summary))),
        Text(""),
        Text("How often the judge prefers the revision to the original [95 % interval]", "bold"),
        _preferences(summary),
    )


def _places(summary: dict[str, Any], folder: Path) -> Text:
    """Where the data is."""
    chosen = summary["pairs_with_revision_chosen"]
    lines = [
        f"To fine-tune on: {folder}/sft ({summary['examples']:,} prompts with their last revision)",
        f"Pairs: {folder}/pairs ({summary['pairs']:,}, the revision chosen in {chosen:,})",
    ]
    return Text("\n".join(lines))


def _endings(summary: dict[str, Any]) -> list[str]:
    rounds = [f"  round {row['round']}: {row['answers']:,} answers = {_counts(row)}" for row in summary["rounds"]]
    ends = f"  in the end: {summary['answers']:,} answers = {ends_text(summary)}"
    left_out = [f"  left out of the pairs: {count:,} × {reason}" for reason, count in summary["left_out"].items()]
    return [*rounds, ends, *left_out]


def _counts(row: dict[str, Any]) -> str:
    return ", ".join(f"{count:,} {ending}" for ending, count in row["endings"].items() if count) or "none"


def _preferences(summary: dict[str, Any]) -> RenderableType:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("round", no_wrap=True)
    table.add_column("principle drawn", no_wrap=True)
    for name in ("pairs", "by the label", "by that principle"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in summary["preferences"]:
        shares = [share_text(row["by_label"]), share_text(row["by_drawn_principle"])]
        table.add_row(str(row["round"]), row["principle"] or "all", f"{row['by_label']['pairs']:,}", *shares)
    return table


def revision_pair_view(row: dict[str, Any]) -> RenderableType:
    """A pair of the dataset, and what happened in each round."""
    which = "chosen" if row["is_revision_chosen"] else "rejected"
    parts: list[RenderableType] = [pair_view(row), Text(f"The {which} answer is the revision.", "bold")]
    for turn in row["lineage"]:
        heading = (f"round {turn['round']}, principle “{turn['principle']}”, {turn['ending']}: ", "bold")
        parts.append(Text.assemble(heading, safe(turn["critique"] or "no critique")))
    return Group(*parts)
