"""A run on the terminal: its figures as tables, one pair with its answers, verdicts and critique.

What a model wrote is shown as plain text: no markup is read in it, and control characters (a terminal's escape
sequences among them) become visible marks.
"""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

_KEPT = {"\n": "\n", "\t": "    "}


def safe(text: str) -> Text:
    """A model's text for the terminal: what is not printable becomes U+FFFD, markup stays as it is written."""
    return Text("".join(_KEPT.get(c, c if c.isprintable() else "\N{REPLACEMENT CHARACTER}") for c in text))


def figures(summary: dict[str, Any]) -> RenderableType:
    """The run at a glance: how every request ended, what became of the pairs, and each principle's part."""
    return Group(
        Text(f"Run {summary['name']}: how every request ended", style="bold"),
        stages_table(summary),
        Text("Principles: where answers were alike or their order decided, and part in labels", "bold"),
        _principles(summary),
        _pairs(summary),
    )


def stages_table(summary: dict[str, Any]) -> Table:
    """Every stage's requests by how they ended."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("stage", no_wrap=True)
    table.add_column("planned", justify="right")
    outcomes = list(summary["stages"]["judge"]["outcomes"])
    used = [name for name in outcomes if any(stage["outcomes"][name] for stage in summary["stages"].values())]
    for name in used:
        table.add_column(name, justify="right")
    for name, stage in summary["stages"].items():
        table.add_row(name, f"{stage['planned']:,}", *(f"{stage['outcomes'][outcome]:,}" for outcome in used))
    return table


def _principles(summary: dict[str, Any]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("principle", no_wrap=True)
    for name in ("weight", "judged", "alike", "order decided", "leads", "against"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in summary["principles"]:
        shares = [row["near_tie_share"], row["order_decided_share"]]
        table.add_row(
            row["id"],
            f"{row['weight']:g}",
            f"{row['judged_pairs']:,}",
            *("–" if share is None else f"{share:.1%}" for share in shares),
            f"{row['leads_pairs']:,}",
            f"{row['against_pairs']:,}",
        )
    return table


def _pairs(summary: dict[str, Any]) -> Text:
    lines = [f"{summary['labelled_pairs']:,} pairs of answers judged, {summary['pairs']:,} in the dataset."]
    lines += [f"  left out: {count:,} × {reason}" for reason, count in summary["left_out"].items()]
    lines += [f"  found and kept: {count:,} × {reason}" for reason, count in summary.get("found_and_kept", {}).items()]
    if summary["scored_by_continuation"]:
        lines.append(
            f"  {summary['scored_by_continuation']:,} verdicts were scored by whole continuations: the judge's"
            " tokenizer has no single token for a choice."
        )
    if summary["unanswered"]:
        lines.append(f"  {len(summary['unanswered'])} samples were refused or failed; run.json names their prompts.")
    return Text("\n".join(lines))


def pair_view(row: dict[str, Any]) -> RenderableType:
    """One pair of the dataset: conversation, the two answers, each principle's verdict in both orders, the critique."""
    is_tie = " (a tie)" if row["is_tie"] else ""
    title = f"pair {row['pair_id'][:12]}   P(chosen is better) = {row['probability']:.3f}{is_tie}"
    parts: list[RenderableType] = []
    for message in row["prompt"]:
        parts.append(Text.assemble((f"{message['role']}: ", "bold"), safe(message["content"])))
    letters = _letters(row)
    for name, style in (("chosen", "bold green"), ("rejected", "bold red")):
        letter = f" ({letters[name]} in the critique)" if letters else ""
        parts += [Text(""), Text.assemble((f"{name}{letter}: ", style), safe(row[name][0]["content"]))]
    parts += [Text(""), _verdicts(row["principles"], "chosen")]
    if row["critique"]:
        heading = (f"critique by “{row['critique_principle']}”: ", "bold")
        parts.append(Text.assemble(heading, safe(row["critique"])))
    return Panel(Group(*parts), title=title, title_align="left")


def _letters(row: dict[str, Any]) -> dict[str, str]:
    """Which letter the critique calls each response by."""
    if not row["critique"]:
        return {}
    return (
        {"chosen": "A", "rejected": "B"}
        if row["critique_shows_first"] == "chosen"
        else {"chosen": "B", "rejected": "A"}
    )


def label_view(row: dict[str, Any]) -> RenderableType:
    """A judged pair that is not in the dataset: its two answers as x and y, and P(x is better)."""
    shown = "no verdict" if row["probability_x"] is None else f"P(x is better) = {row['probability_x']:.3f}"
    parts: list[RenderableType] = []
    for message in row["prompt"]:
        parts.append(Text.assemble((f"{message['role']}: ", "bold"), safe(message["content"])))
    for name in ("x", "y"):
        parts += [Text(""), Text.assemble((f"{name}: ", "bold"), safe(row[f"response_{name}"]))]
    parts += [Text(""), _verdicts(row["principles"], "x")]
    return Panel(Group(*parts), title=f"pair {row['pair_id'][:12]}   {shown}   not in the dataset", title_align="left")


def _verdicts(principles: list[dict[str, Any]], side: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("principle", no_wrap=True)
    for name in (f"P({side})", "first", "second", "weight", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in principles:
        numbers = [row["probability"], row["shown_first"], row["shown_second"]]
        shown = ["–" if number is None else f"{number:.3f}" for number in numbers]
        share = "–" if row["share"] is None else f"{row['share']:+.3f}"
        outcome = "" if row["outcome"] in ("ok", "tie") else f" ({row['outcome']})"
        table.add_row(row["id"] + outcome, *shown, f"{row['weight']:g}", share)
    return table
