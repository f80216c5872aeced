"""`rlaif generate`: the main job, from the settings to the dataset."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlaif.cli.plan import short_view
from rlaif.cli.project import ConfigOption, SetOption, open_project

if TYPE_CHECKING:  # loaded inside the command, so that `rlaif --help` stays fast
    from rlaif.cli.progress import ConsoleProgress
    from rlaif.feedback.plan_record import Plan
    from rlaif.prompt_sets import PromptSet

app = typer.Typer()

LARGE = 100_000  # model calls; more are begun only when a person agrees, or --yes does
_DROPS_SHOWN = 10


@app.command(
    epilog="Examples:  rlaif generate  ·  rlaif generate --config quickstart.yaml  ·"
    "  rlaif generate --set judge.model=Qwen/Qwen2.5-14B-Instruct --set name=qwen  ·"
    "  rlaif generate --yes --max-minutes 60"
)
def generate(
    config: ConfigOption = Path("rlaif.yaml"),
    sets: SetOption = None,
    examples: Annotated[int, typer.Option(help="Show the first N pairs when done.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run's figures as JSON.")] = False,
    is_confirmed: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a large run.")] = False,
    calls: Annotated[int | None, typer.Option("--budget-calls", min=1, help="Stop after N model calls.")] = None,
    tokens: Annotated[
        int | None, typer.Option("--budget-tokens", min=1, help="Stop after N prompt and output tokens.")
    ] = None,
    minutes: Annotated[float | None, typer.Option("--max-minutes", min=0.0, help="Stop after M minutes.")] = None,
) -> None:
    """Sample answers, judge every pair under every principle in both orders, and write the preference dataset.

    Whatever is in the store already is not asked again: an interrupted run continues, and a changed constitution or
    setting costs only what it changed (`rlaif plan` says what). A run that reaches a limit keeps what was answered,
    exits with 6, and goes on when the command is typed again.
    """
    from rich.console import Console

    from rlaif.cli.progress import ConsoleProgress
    from rlaif.feedback.budget import Budget
    from rlaif.feedback.rates import write_timings
    from rlaif.feedback.run import plan, read_inputs, run, run_folder

    project = open_project(config, sets)
    settings, base = project.settings, project.base
    inputs = read_inputs(settings, base)
    progress = ConsoleProgress(Console(stderr=True))
    tell_of_prompts(inputs.prompts, progress)
    agree(plan(settings, inputs, base=base, progress=progress), progress, is_confirmed)
    budget = Budget(calls=calls, tokens=tokens, seconds=None if minutes is None else minutes * 60)
    folder = run_folder(settings, base)
    try:
        summary = run(settings, inputs, base=base, progress=progress, budget=budget)
    finally:
        if folder.is_dir():
            write_timings(folder, settings, stages=progress.timed, loading=progress.loading)
    if as_json:
        typer.echo(json.dumps(summary, ensure_ascii=False))
    else:
        _print(summary, folder, config, base / settings.constitution, examples)


def tell_of_prompts(prompts: "PromptSet", progress: "ConsoleProgress") -> None:
    """Note the first prompts that are left out and why, how many there are, and what was found in those that stay."""
    for drop in prompts.drops[:_DROPS_SHOWN]:
        progress.note(f"{drop.where}: left out, {drop.reason}")
    if len(prompts.drops) > _DROPS_SHOWN:
        progress.note(f"… {len(prompts.drops)} rows left out in all: {prompts.drop_counts}")
    for reason, count in prompts.kept_counts.items():
        progress.note(f"{count:,} prompts found and kept: {reason} (`rlaif plan` lists them)")


def agree(plan: "Plan", progress: "ConsoleProgress", is_confirmed: bool, *, command: str = "plan") -> None:
    """Show the plan, and let a person agree to a large one. Raises SettingsError where nobody can be asked."""
    from rlaif.errors import SettingsError

    progress.note(short_view(plan))
    if is_confirmed or plan.total_calls <= LARGE:
        return
    if not sys.stdin.isatty():
        raise SettingsError(
            f"this run wants {plan.total_calls:,} model calls, and there is no terminal to ask whether it should.",
            do=f"Add --yes if it should; `rlaif {command}` shows why so many, and --budget-calls N stops after N.",
        )
    typer.confirm(f"This is large: {plan.total_calls:,} model calls. Go on?", abort=True, err=True)


def _print(summary: dict[str, Any], folder: Path, config: Path, constitution: Path, examples: int) -> None:
    from rich.console import Console
    from rich.text import Text

    from rlaif.cli.run_view import figures, pair_view
    from rlaif.cli.show import first_pairs

    console = Console()
    console.print(figures(summary))
    for row in first_pairs(folder, examples):
        console.print(pair_view(row))
    console.print(
        Text(_next_steps(summary["name"], shortened(folder), shortened(config), shortened(constitution))),
        soft_wrap=True,
        highlight=False,
    )


def shortened(path: Path) -> Path:
    """The path from here, where it lies below here."""
    path = path.resolve()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _next_steps(name: str, folder: Path, config: Path, constitution: Path) -> str:
    dataset = f"datasets.load_dataset({str(folder / 'dataset')!r})"
    return "\n".join(
        [
            f"Dataset: {folder}/dataset",
            "",
            "What next:",
            f"  rlaif show {name} --pairs 5      look at pairs; with a pair's id, at all of its verdicts",
            f"  edit {constitution}, then rlaif generate --config {config}",
            "                                  only what the edit changed is judged again",
            f"  {dataset}",
            "                                  train on it: TRL's DPO and reward trainers take it as it is",
            "  rlaif generate --set judge.model=MODEL --set 'policies=[{model: MODEL}]' --set name=real",
            "                                  the same with real models; README.md names some",
        ]
    )
