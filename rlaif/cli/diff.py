"""`rlaif diff`: what became of the labels between two runs, and which principle did it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlaif.cli.show import find_run

if TYPE_CHECKING:  # loaded inside the command, so that `rlaif --help` stays fast
    from rich.console import RenderableType

app = typer.Typer()


@app.command(
    epilog="Examples:  rlaif diff before after --examples 3  ·  rlaif diff outputs/runs/a outputs/runs/b --json"
)
def diff(
    before: Annotated[str, typer.Argument(metavar="RUN_A", help="The earlier run's name, or its folder.")],
    after: Annotated[str, typer.Argument(metavar="RUN_B", help="The later one.")],
    output: Annotated[Path, typer.Option(help="The folder that holds runs/.")] = Path("outputs"),
    examples: Annotated[int, typer.Option(min=0, max=20, help="Show the N flips with the largest change.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON with all flips and 20 examples.")] = False,
) -> None:
    """Which labels flipped, appeared and went; how many each principle turned; and the most telling flips.

    A flip counts for a principle when it would not have happened without that principle's change. Contributions are
    changes of log-odds and add up to the change of the label's. No model is asked.
    """
    from rich.console import Console

    from rlaif.constitution import load_constitution
    from rlaif.feedback.difference import as_json as difference_json
    from rlaif.feedback.difference import compare_labels, renames
    from rlaif.pair_dataset import read_rows

    old, new = find_run(before, output), find_run(after, output)
    was, now = (load_constitution(folder / "constitution.yaml") for folder in (old, new))
    labels_before, labels_after = (read_rows(folder / "labels.parquet") for folder in (old, new))
    found = difference_json(compare_labels(labels_before, labels_after, renames(was, now)))
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        Console().print(difference_view(found, f"{before} → {after}", examples))


def difference_view(found: dict[str, Any], title: str, examples: int) -> "RenderableType":
    """Counts, principles, and some flips."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    counts = found["counts"]
    shown = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in counts.items())
    parts: list[RenderableType] = [Text(f"Labels {title}: {shown}", style="bold")]
    if found["renamed"]:
        parts.append(Text("renamed: " + ", ".join(f"{old} → {new}" for old, new in found["renamed"].items())))
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("principle", no_wrap=True)
    table.add_column("labels it turned", justify="right")
    table.add_column("mean |change| of log-odds", justify="right")
    for row in found["principles"]:
        table.add_row(row["id"], f"{row['turned']:,}", f"{row['mean_change']:.3f}")
    parts.append(table)
    parts += [_example(example) for example in found["examples"][:examples]]
    return Group(*parts)


def _example(example: dict[str, Any]) -> "RenderableType":
    """A flip: the conversation, the two answers side by side, and what each principle's change did."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    from rlaif.cli.run_view import safe

    was, now = example["probability_x_before"], example["probability_x_after"]
    answers = Table.grid(padding=(0, 2), expand=True)
    for name in ("x", "y"):
        answers.add_column(name, ratio=1)
    answers.add_row(*(Text.assemble((f"{name}: ", "bold"), safe(example[f"response_{name}"])) for name in ("x", "y")))
    parts: list[RenderableType] = [
        Text.assemble((f"{one['role']}: ", "bold"), safe(one["content"])) for one in example["prompt"]
    ]
    ranked = sorted(example["contributions"].items(), key=lambda item: -abs(item[1]))
    moved = Text("change of log-odds: " + ", ".join(f"{name} {change:+.3f}" for name, change in ranked if change))
    title = f"pair {example['pair_id'][:12]}   P(x is better) {was:.3f} → {now:.3f}"
    return Panel(Group(*parts, answers, moved), title=title, title_align="left")
