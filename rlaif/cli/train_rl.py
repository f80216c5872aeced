"""`rlaif train ppo | grpo | online-dpo`: a policy learns from answers that it samples itself."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlaif.cli.train_options import (
    AnewOption,
    ConfigOption,
    HubOption,
    ModelOption,
    OutputOption,
    SetOption,
    as_sets,
    base_of,
    check_installed,
    is_speaker,
    read_document,
)

if TYPE_CHECKING:  # loaded inside the command, so that `rlaif --help` stays fast
    from rlaif.train.loading import Method
    from rlaif.train.rl.run import RlResult

PromptsOption = Annotated[
    list[str] | None, typer.Option("--prompts", "-p", help="A .jsonl, .parquet or .csv file, or a dataset's name.")
]
RewardOption = Annotated[
    str | None, typer.Option("--reward-model", "-r", help="A folder that `rlaif train reward` wrote.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print prompts and figures as JSON.")]
STOPPED = (
    "That folder holds these weights. Look at answers and reward first (docs/reward-hacking.md); to train on all the "
    "same, raise the limit or set watch.stop: false, and begin with --anew."
)
EPILOG = (
    "Example:  rlaif train {0} --model tiny-policy --reward-model outputs/models/reward --prompts prompts.jsonl "
    "--output outputs/models/{0}  ·  the same command continues a training that was interrupted"
)


def ppo(
    config: ConfigOption = None,
    model: ModelOption = None,
    reward_model: RewardOption = None,
    prompts: PromptsOption = None,
    output: OutputOption = None,
    sets: SetOption = None,
    push_to_hub: HubOption = None,
    begin_anew: AnewOption = False,
    as_json: JsonOption = False,
) -> None:
    """PPO with a value model and a KL penalty, on a reward model, checks, or both (docs/rl.md)."""
    flags = [*as_sets(model, None, output, push_to_hub), *_rl_sets(reward_model, prompts)]
    train_rl("ppo", config, flags, sets, begin_anew, as_json)


def grpo(
    config: ConfigOption = None,
    model: ModelOption = None,
    reward_model: RewardOption = None,
    prompts: PromptsOption = None,
    output: OutputOption = None,
    sets: SetOption = None,
    push_to_hub: HubOption = None,
    begin_anew: AnewOption = False,
    as_json: JsonOption = False,
) -> None:
    """GRPO, Dr. GRPO or RLOO (--set advantage=rloo): several answers per prompt in place of a value model."""
    flags = [*as_sets(model, None, output, push_to_hub), *_rl_sets(reward_model, prompts)]
    train_rl("grpo", config, flags, sets, begin_anew, as_json)


def online_dpo(
    config: ConfigOption = None,
    model: ModelOption = None,
    reward_model: RewardOption = None,
    prompts: PromptsOption = None,
    output: OutputOption = None,
    sets: SetOption = None,
    push_to_hub: HubOption = None,
    begin_anew: AnewOption = False,
    as_json: JsonOption = False,
) -> None:
    """DPO on pairs that the policy samples itself, named by the judge, a reward model or a check."""
    flags = [*as_sets(model, None, output, push_to_hub), *_rl_sets(reward_model, prompts)]
    train_rl("online-dpo", config, flags, sets, begin_anew, as_json)


def train_rl(
    method: "Method",
    config: Path | None,
    flags: list[str],
    sets: list[str] | None,
    begin_anew: bool,
    as_json: bool,
) -> None:
    from rich.console import Console

    from rlaif.cli.train_view import RlProgress, figures_table, prompts_line
    from rlaif.documents import validate
    from rlaif.errors import SettingsError, TrainingStopped

    check_installed()
    document = read_document(config, [*flags, *(sets or [])], needed=("model", "prompts", "output"))
    console = Console(stderr=True, quiet=not is_speaker())
    from rlaif.experiment.judged import Judges
    from rlaif.train.rl.phases import as_line
    from rlaif.train.rl.run import SETTINGS, run_rl  # after the settings file was read: this imports torch

    settings = validate(document, SETTINGS[method], SettingsError)
    base = base_of(config)
    with Judges(base) as judges, RlProgress(console) as progress:
        result = run_rl(
            method,
            settings,
            base=base,
            begin_anew=begin_anew,
            above=judges.above(settings),
            show_prompts=lambda counts: console.print(prompts_line(counts)),
            say=progress.say,
            watch=progress.watch,
        )
    if not is_speaker():
        return
    report = result.report
    if as_json:
        typer.echo(json.dumps(as_json_dict(result)))
    else:
        is_back = report.returned_to is not None
        title = f"Iteration {report.returned_to}" if is_back else "Last iteration, and the trained policy (final)"
        Console().print(figures_table(result.figures, title=title))
        if report.seconds:
            typer.echo(f"Where the time went: {as_line(report.seconds)}")
        typer.echo(f"Model: {result.folder}\nEvery iteration: {result.folder}/training/metrics.jsonl")
        if result.alarms:
            typer.echo(f"Alarms: {result.folder}/training/alarms.jsonl")
        if result.address:
            typer.echo(f"On the hub: {result.address}")
    if report.stopped:
        raise TrainingStopped(report.stopped, where=str(result.folder), do=STOPPED)


def as_json_dict(result: "RlResult") -> dict[str, Any]:
    """What `--json` prints."""
    report, prompts = result.report, result.prompts
    return {
        "output": str(result.folder),
        "iterations": report.iterations,
        "resumed_at": report.resumed_at,
        "stopped": report.stopped,
        "returned_to": report.returned_to,
        "alarms": [asdict(one) for one in result.alarms],
        "figures": result.figures,
        "seconds": report.seconds,
        "address": result.address,
        "prompts": {"rows": prompts.rows, "kept": prompts.kept, "refused": prompts.refused},
    }


def _rl_sets(reward_model: str | None, prompts: list[str] | None) -> list[str]:
    """The flags as `--set` texts; a reward model takes the place of the file's reward."""
    found = []
    if reward_model:
        path = str(Path(reward_model).absolute()) if Path(reward_model).exists() else reward_model
        found.append(f"reward={json.dumps([{'kind': 'model', 'path': path}])}")
    if prompts:
        paths = [{"path": str(Path(one).absolute()) if Path(one).exists() else one} for one in prompts]
        found.append(f"prompts={json.dumps(paths)}")
    return found
