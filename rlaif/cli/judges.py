"""`rlaif judges`: what a cascade of a run's judges would keep of their joint labels, and spend, by threshold."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlaif.cli.project import StoreOption, store_of_run
from rlaif.cli.show import find_run

if TYPE_CHECKING:  # loaded inside the command, so that `rlaif --help` stays fast
    from rich.console import RenderableType

app = typer.Typer()


@app.command(
    epilog="Examples:  rlaif judges panel  ·  rlaif judges panel --at 0.1 --at 0.3  ·  rlaif judges panel --json"
)
def judges(
    run: Annotated[str, typer.Argument(help="The name of a run with several judges, or its folder.")],
    output: Annotated[Path, typer.Option(help="The folder that holds runs/.")] = Path("outputs"),
    store: StoreOption = None,
    at: Annotated[
        list[float] | None, typer.Option("--at", min=0.0, max=0.5, help="A threshold; several are given one by one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """How often a cascade's labels agree with those of all judges together, and what share of their tokens it spends.

    Judges pass on in the order of judges.others, `judge` last. Everything is told from stored verdicts, no model is
    asked: judge a few hundred pairs as a panel first, then choose the threshold of a cascade for the rest.
    """
    from rich.console import Console

    from rlaif.feedback.thresholds import THRESHOLDS, at_thresholds
    from rlaif.store import Store

    folder = find_run(run, output)
    with Store(store or store_of_run(folder)) as opened:
        found = at_thresholds(folder, opened, at or THRESHOLDS).as_json()
        for damage in opened.damage:
            typer.echo(f"unreadable: {damage}", err=True)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        Console().print(thresholds_view(found))


def thresholds_view(found: dict[str, Any]) -> "RenderableType":
    """A row per threshold, and what it is about."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    names = [judge["name"] for judge in found["judges"]]
    has_money = any(row["money_share"] is not None for row in found["thresholds"])
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("passed on", no_wrap=True)
    headers = ["same label [95 %]", "mean |ΔP|", "tokens", "calls", *(["price"] if has_money else [])]
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True)
    for name in names[1:]:
        table.add_column(f"to {name}", justify="right")
    for row in found["thresholds"]:
        spent = [row["tokens_share"], row["calls_share"], *([row["money_share"]] if has_money else [])]
        apart = row["mean_difference"]
        table.add_row(
            "nothing" if row["threshold"] is None else f"up to {row['threshold']:g}",
            _figure(row["agreement"]),
            "–" if apart is None else f"{apart:.4f}",
            *("–" if share is None else f"{share:.1%}" for share in (*spent, *row["asked_shares"][1:])),
        )
    return Group(
        Text(f"{' → '.join(names)}, pool: {found['pool']}", style="bold"), table, Text("\n".join(_notes(found)))
    )


def _figure(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return "–"
    ends = "" if figure["low"] is None or figure["high"] is None else f" [{figure['low']:.1%}, {figure['high']:.1%}]"
    return f"{figure['value']:.1%}{ends}"


def _notes(found: dict[str, Any]) -> list[str]:
    """What the figures rest on, and where they cannot be trusted."""
    told = [f"{own['name']} {own['tokens']:,} tokens in {own['calls']:,} calls" for own in found["judges"]]
    lines = [f"On {found['pairs']:,} pairs with every judge's verdicts in the store: {', '.join(told)}."]
    if found["incomplete_pairs"]:
        lines.append(
            f"{found['incomplete_pairs']:,} pairs lack verdicts of some judge and are left out. Where a cascade made"
            " this run, the pairs that are there are those it was unsure of, and say too little for the others."
        )
    if found["unlabelled_pairs"]:
        lines.append(f"{found['unlabelled_pairs']:,} pairs have no label at all: every judge was silent about them.")
    return lines
