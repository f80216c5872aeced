"""`rlaif plan`: what `rlaif generate` would ask of models, why, and what it costs, before any model is loaded."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlaif.cli.project import ConfigOption, SetOption, open_project

if TYPE_CHECKING:  # loaded inside the commands, so that `rlaif --help` stays fast
    from rich.console import RenderableType

    from rlaif.feedback.plan_record import Group, Plan
    from rlaif.prompt_sets import PromptSet

app = typer.Typer()

FINDINGS_SHOWN = 10
NOTHING = "Nothing to ask: everything this run wants is in the store."


@app.command(epilog="Examples:  rlaif plan  ·  rlaif plan --config quickstart.yaml --json  ·  rlaif plan --fresh")
def plan(
    config: ConfigOption = Path("rlaif.yaml"),
    sets: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
    is_fresh: Annotated[bool, typer.Option("--fresh", help="Plan as if the store were empty.")] = False,
) -> None:
    """Say what a run wants, what is there, what is missing and why, and what asking for it costs. No model is loaded.

    Where a judge call depends on an answer that is still to be drawn, the count is an estimate, and is marked so.
    """
    from rich.console import Console

    from rlaif.cli.progress import ConsoleProgress
    from rlaif.feedback.run import plan as plan_run
    from rlaif.feedback.run import read_inputs

    project = open_project(config, sets)
    inputs = read_inputs(project.settings, project.base)
    progress = ConsoleProgress(Console(stderr=True))
    found = plan_run(project.settings, inputs, base=project.base, is_fresh=is_fresh, progress=progress)
    if as_json:
        prompts = inputs.prompts.figures() | {"findings": [asdict(one) for one in inputs.prompts.findings]}
        typer.echo(json.dumps(found.as_json() | {"prompts": prompts}, ensure_ascii=False))
    else:
        Console().print(plan_view(found), cleaning_view(inputs.prompts, found), soft_wrap=True)


def plan_view(plan: "Plan") -> "RenderableType":
    """The plan as a table, its reasons, and what of it is a guess."""
    from rich.console import Group as Lines
    from rich.text import Text

    if not plan.total_calls:
        wanted = sum(step.wanted for step in plan.steps)
        return Text(f"{NOTHING} ({wanted:,} answers, verdicts and critiques)")
    lines = ["Why:"]
    lines += [f"  {one.reason}: {calls_text(one.calls, one.stage)}{_to_whom(plan, one)}" for one in plan.groups]
    lines += [f"Note: {note}." for note in plan.notes()]
    return Lines(_table(plan), Text("\n".join(lines)))


def cleaning_view(prompts: "PromptSet", plan: "Plan") -> "RenderableType":
    """What repeats itself or stands in a benchmark: how much of it, what becomes of it, and the first findings."""
    from rlaif.cli.run_view import safe

    lines = [f"Prompts left out: {count:,} × {reason}" for reason, count in prompts.drop_counts.items()]
    lines += [f"Prompts found and kept: {count:,} × {reason}" for reason, count in prompts.kept_counts.items()]
    lines += [f"  {one}" for one in prompts.findings[:FINDINGS_SHOWN]]
    if len(prompts.findings) > FINDINGS_SHOWN:
        lines.append(f"  … {len(prompts.findings):,} in all; --json has every one")
    lines += [f"Answers left out: {count:,} × {reason}" for reason, count in plan.left_out.items()]
    lines += [f"Answers found and kept: {count:,} × {reason}" for reason, count in plan.found_and_kept.items()]
    if prompts.kept_counts or plan.found_and_kept:
        lines.append("To leave out what is found and kept: the settings under `cleaning`.")
    return safe("\n".join(lines))


def short_view(plan: "Plan") -> str:
    """The plan in a line or two, for `rlaif generate`."""
    if not plan.total_calls:
        return NOTHING
    counts = ", ".join(
        f"{'about ' if plan.is_estimated(stage) else ''}{calls_text(plan.calls(stage), stage)}"
        for stage in plan.stages
        if plan.calls(stage)
    )
    took = "" if plan.seconds is None else f", {duration(plan.seconds)}"
    priced = "" if plan.money is None else f", price {plan.money:,.2f}"
    return f"plan: {counts}{took}{priced}\n" + "\n".join(f"  {one}{_to_whom(plan, one)}" for one in plan.groups)


def _to_whom(plan: "Plan", group: "Group") -> str:
    """The model of a group, where several are asked in its stage."""
    several = len({step.bill.model for step in plan.steps if step.stage == group.stage}) > 1
    return f" to {group.model}" if several else ""


def calls_text(calls: int, stage: str) -> str:
    return f"{calls:,} {stage} call{'s' * (calls != 1)}"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def _table(plan: "Plan") -> "RenderableType":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    has_price = plan.money is not None
    table.add_column("stage", overflow="fold")
    for name in ("wanted", "there", "to ask", "tokens in", "shared", "out", "time", *(["price"] * has_price)):
        table.add_column(name, justify="right", no_wrap=True)
    for step in plan.steps:
        bill = step.bill
        numbers = (step.wanted, step.wanted - bill.calls, bill.calls)
        tokens = (bill.prompt_tokens, bill.shared_tokens, bill.output_tokens)
        table.add_row(
            f"{bill.stage} ({bill.model})",
            *(f"{number:,}" for number in (*numbers, *tokens)),
            "–" if bill.seconds is None else duration(bill.seconds).removeprefix("about "),
            *([f"{bill.money or 0.0:,.2f}"] * has_price),
        )
    return table
