"""`rlaif generate`: the main job, from the settings to the dataset."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer()

_DROPS_SHOWN = 10


@app.command(
    epilog="Examples:  rlaif generate  ·  rlaif generate --config quickstart.yaml  ·"
    "  rlaif generate --set judge.model=Qwen/Qwen2.5-14B-Instruct"
)
def generate(
    config: Annotated[Path, typer.Option("--config", "-c", help="The settings file.")] = Path("rlaif.yaml"),
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: judge.model=tiny-judge.")
    ] = None,
    examples: Annotated[int, typer.Option(help="Show the first N pairs when done.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run's figures as JSON.")] = False,
) -> None:
    """Sample answers, judge every pair under every principle in both orders, and write the preference dataset.

    Whatever is in the store already is not asked again: an interrupted run continues, and a changed constitution or
    setting costs only what it changed.
    """
    from rich.console import Console

    from rlaif.cli.progress import ConsoleProgress
    from rlaif.documents import apply_sets, read_yaml, validate
    from rlaif.errors import SettingsError
    from rlaif.feedback.run import read_inputs, run, run_folder
    from rlaif.pair_dataset import write_text
    from rlaif.settings import Settings

    settings = validate(apply_sets(read_yaml(config, SettingsError), sets or []), Settings, SettingsError)
    base = config.resolve().parent
    inputs = read_inputs(settings, base)
    progress = ConsoleProgress(Console(stderr=True))
    for drop in inputs.prompts.drops[:_DROPS_SHOWN]:
        progress.note(f"{drop.where}: left out, {drop.reason}")
    if len(inputs.prompts.drops) > _DROPS_SHOWN:
        progress.note(f"… {len(inputs.prompts.drops)} rows left out in all: {inputs.prompts.drop_counts}")
    folder = run_folder(settings, base)
    try:
        summary = run(settings, inputs, base=base, progress=progress)
    finally:
        if folder.is_dir():
            timings = {"seconds": progress.seconds, "asked": progress.asked}
            write_text(folder / "timings.json", json.dumps(timings, indent=2) + "\n")
    if as_json:
        typer.echo(json.dumps(summary, ensure_ascii=False))
    else:
        _print(summary, folder, config, base / settings.constitution, examples)


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
        Text(_next_steps(summary["name"], _short(folder), _short(config), _short(constitution))),
        soft_wrap=True,
        highlight=False,
    )


def _short(path: Path) -> Path:
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
