"""`rlaif revise`: answers criticised and rewritten under the constitution, then judged against what they were."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlaif.cli.generate import LARGE
from rlaif.cli.project import ConfigOption, SetOption, open_project

if TYPE_CHECKING:  # loaded inside the command, so that `rlaif --help` stays fast
    from rich.console import RenderableType

    from rlaif.cli.progress import ConsoleProgress
    from rlaif.feedback.plan_record import Plan

app = typer.Typer()

_DROPS_SHOWN = 10


@app.command(
    epilog="Examples:  rlaif revise --plan  ·  rlaif revise  ·  rlaif revise --set revision.rounds=2  ·"
    "  rlaif revise --set revision.model=Qwen/Qwen2.5-14B-Instruct --max-minutes 60"
)
def revise(
    config: ConfigOption = Path("rlaif.yaml"),
    sets: SetOption = None,
    is_plan: Annotated[bool, typer.Option("--plan", help="Say what would be asked, and ask nothing.")] = False,
    is_fresh: Annotated[bool, typer.Option("--fresh", help="With --plan: as if the store were empty.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures, or the plan, as JSON.")] = False,
    is_confirmed: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a large run.")] = False,
    calls: Annotated[int | None, typer.Option("--budget-calls", min=1, help="Stop after N model calls.")] = None,
    tokens: Annotated[
        int | None, typer.Option("--budget-tokens", min=1, help="Stop after N prompt and output tokens.")
    ] = None,
    minutes: Annotated[float | None, typer.Option("--max-minutes", min=0.0, help="Stop after M minutes.")] = None,
) -> None:
    """Take each policy's first answers; criticise and rewrite them, round after round; judge every revision again.

    Ends in examples to fine-tune on (prompt → last revision) and in pairs of revision and original, in
    outputs/runs/NAME-revisions. A revision is never taken to be better: how often the judge prefers it is printed.
    Whatever is in the store already is not asked again.
    """
    from rich.console import Console

    from rlaif.cli.plan import plan_view
    from rlaif.cli.progress import ConsoleProgress
    from rlaif.feedback.budget import Budget
    from rlaif.feedback.rates import write_timings
    from rlaif.feedback.revision.run import plan, read_revision_inputs, revision_folder, run

    project = open_project(config, sets)
    settings, base = project.settings, project.base
    inputs = read_revision_inputs(settings, base)
    progress = ConsoleProgress(Console(stderr=True))
    found = plan(settings, inputs, base=base, is_fresh=is_fresh and is_plan, progress=progress)
    if is_plan:
        if as_json:
            typer.echo(json.dumps(found.as_json(), ensure_ascii=False))
        else:
            Console().print(plan_view(found))
        return
    for drop in inputs.main.prompts.drops[:_DROPS_SHOWN]:
        progress.note(f"{drop.where}: left out, {drop.reason}")
    _agree(found, progress, is_confirmed)
    budget = Budget(calls=calls, tokens=tokens, seconds=None if minutes is None else minutes * 60)
    folder = revision_folder(settings, base)
    try:
        summary = run(settings, inputs, base=base, progress=progress, budget=budget)
    finally:
        if folder.is_dir():
            write_timings(folder, settings, stages=progress.timed, loading=progress.loading)
    if as_json:
        typer.echo(json.dumps(summary, ensure_ascii=False))
    else:
        Console().print(figures_view(summary, folder))


def _agree(plan: "Plan", progress: "ConsoleProgress", is_confirmed: bool) -> None:
    """Tell what will be asked, and let a person agree to a large run. Raises SettingsError where nobody can be."""
    from rlaif.cli.plan import NOTHING
    from rlaif.errors import SettingsError

    steps = [step for step in plan.steps if step.bill.calls]
    told = [f"{'about ' * step.is_estimated}{step.bill.calls:,} {step.stage}" for step in steps]
    progress.note(f"plan: {', '.join(told)} calls" if told else NOTHING)
    if is_confirmed or plan.total_calls <= LARGE:
        return
    if not sys.stdin.isatty():
        raise SettingsError(
            f"this run wants {plan.total_calls:,} model calls, and there is no terminal to ask whether it should.",
            do="Add --yes if it should; `rlaif revise --plan` shows why, and --budget-calls N stops after N.",
        )
    typer.confirm(f"This is large: {plan.total_calls:,} model calls. Go on?", abort=True, err=True)


def figures_view(summary: dict[str, Any], folder: Path) -> "RenderableType":
    """How every request and answer ended, and how often the judge prefers a revision."""
    from rich.console import Group
    from rich.text import Text

    lines = [f"{name}: {stage['planned']:,} planned = {_counts(stage['outcomes'])}" for name, stage in _stages(summary)]
    lines += [
        f"round {row['round']}: {row['answers']:,} answers = {_counts(row['endings'])}" for row in summary["rounds"]
    ]
    lines += [f"left out: {count:,} × {reason}" for reason, count in summary["left_out"].items()]
    files = [
        f"To fine-tune on: {folder}/sft ({summary['examples']:,} prompts with their last revision)",
        f"Pairs: {folder}/pairs ({summary['pairs']:,}, the revision chosen in"
        f" {summary['pairs_with_revision_chosen']:,})",
    ]
    return Group(
        Text(f"Run {summary['name']}: how every request and every answer ended", "bold"),
        Text("\n".join(lines)),
        Text("How often the judge prefers the revision to the original [95 % interval]", "bold"),
        _preferences(summary),
        Text("\n".join(files)),
    )


def _stages(summary: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return list(summary["stages"].items())


def _counts(counted: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counted.items() if count) or "none"


def _preferences(summary: dict[str, Any]) -> "RenderableType":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from rlaif.feedback.revision.cards import share_text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("round", no_wrap=True)
    table.add_column("principle drawn", no_wrap=True)
    for name in ("pairs", "by the label", "by that principle"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in summary["preferences"]:
        shares = [share_text(row["by_label"]), share_text(row["by_drawn_principle"])]
        table.add_row(str(row["round"]), row["principle"] or "all", f"{row['by_label']['pairs']:,}", *shares)
    return table
