"""`rlaif revise`: answers criticised and rewritten under the constitution, then judged against what they were."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from rlaif.cli.generate import agree, shortened, tell_of_prompts
from rlaif.cli.project import ConfigOption, SetOption, open_project

app = typer.Typer()


@app.command(
    epilog="Examples:  rlaif revise --plan  ·  rlaif revise  ·  rlaif revise --set revision.rounds=2  ·"
    "  rlaif revise --set revision.model=Qwen/Qwen2.5-14B-Instruct --max-minutes 60"
)
def revise(
    config: ConfigOption = Path("rlaif.yaml"),
    sets: SetOption = None,
    examples: Annotated[int, typer.Option(help="Show the first N pairs when done.")] = 1,
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
    tell_of_prompts(inputs.main.prompts, progress)
    agree(found, progress, is_confirmed, command="revise --plan")
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
        _print(summary, folder, shortened(config), examples)


def _print(summary: dict[str, Any], folder: Path, config: Path, examples: int) -> None:
    from rich.console import Console
    from rich.text import Text

    from rlaif.cli.revision_view import print_revisions, revision_pair_view
    from rlaif.cli.show import first_pairs

    console, short = Console(), shortened(folder)
    print_revisions(console, summary, short)
    for row in first_pairs(folder, examples):
        console.print(revision_pair_view(row))
    steps = _next_steps(folder.name, short, config, len(summary["rounds"]))
    console.print(Text(steps), soft_wrap=True, highlight=False)


def _next_steps(name: str, folder: Path, config: Path, rounds: int) -> str:
    return "\n".join(
        [
            "",
            "What next:",
            f"  rlaif show {name} --pairs 5      look at pairs; `rlaif explain` at the verdicts of one",
            f"  rlaif train sft --model MODEL --data {folder}/sft --output outputs/models/{name}",
            f"  rlaif train dpo --model MODEL --data {folder}/pairs --output outputs/models/{name}-dpo",
            f"  rlaif revise --config {config} --set revision.rounds={rounds + 1}",
            "                                  one round more; those that are there are not asked again",
        ]
    )
