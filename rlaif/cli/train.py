"""`rlaif train sft | reward | dpo`: a model from preference data, whoever labelled them. `ppo`, `grpo` and
`online-dpo` are in `train_rl`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlaif.cli import train_rl
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
    from rlaif.train.settings import ModelSettings

app = typer.Typer(
    no_args_is_help=True, help="Train: SFT, reward model, DPO and its relatives on preference data; PPO and GRPO."
)

DataOption = Annotated[
    list[str] | None, typer.Option("--data", "-d", help="A .jsonl or .parquet file, a dataset's folder or name.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the data card and the figures as JSON.")]
_EPILOG = (
    "Example:  rlaif train {0} --model tiny-policy --data outputs/runs/quickstart/dataset --output outputs/models/{0}"
    "  ·  the same command continues a training that was interrupted"
)


@app.command(epilog=_EPILOG.format("sft"))
def sft(
    config: ConfigOption = None,
    model: ModelOption = None,
    data: DataOption = None,
    output: OutputOption = None,
    sets: SetOption = None,
    push_to_hub: HubOption = None,
    begin_anew: AnewOption = False,
    as_json: JsonOption = False,
) -> None:
    """Supervised fine-tuning: imitate completions, or the chosen answers of preference data."""
    _train("sft", config, as_sets(model, data, output, push_to_hub), sets, begin_anew, as_json)


@app.command(epilog=_EPILOG.format("reward"))
def reward(
    config: ConfigOption = None,
    model: ModelOption = None,
    data: DataOption = None,
    output: OutputOption = None,
    sets: SetOption = None,
    push_to_hub: HubOption = None,
    begin_anew: AnewOption = False,
    as_json: JsonOption = False,
) -> None:
    """A Bradley-Terry reward model; transformers loads it for sequence classification with one label."""
    _train("reward", config, as_sets(model, data, output, push_to_hub), sets, begin_anew, as_json)


@app.command(epilog=_EPILOG.format("dpo"))
def dpo(
    config: ConfigOption = None,
    model: ModelOption = None,
    data: DataOption = None,
    output: OutputOption = None,
    sets: SetOption = None,
    push_to_hub: HubOption = None,
    begin_anew: AnewOption = False,
    as_json: JsonOption = False,
) -> None:
    """DPO, or another loss of its family (--set loss=ipo; loss=kto for single answers); the reference is the model as
    it is at the start."""
    _train("dpo", config, as_sets(model, data, output, push_to_hub), sets, begin_anew, as_json)


app.command(epilog=train_rl.EPILOG.format("ppo"))(train_rl.ppo)
app.command(epilog=train_rl.EPILOG.format("grpo"))(train_rl.grpo)
app.command("online-dpo", epilog=train_rl.EPILOG.format("online-dpo"))(train_rl.online_dpo)


@app.command(epilog="Example:  rlaif train settings dpo > dpo.yaml  ·  then  rlaif train dpo --config dpo.yaml")
def settings(
    method: Annotated[str, typer.Argument(help="sft, reward, dpo, ppo, grpo or online-dpo.")],
) -> None:
    """All settings of a method with their defaults and meanings, as a file to begin with."""
    from rlaif.cli.settings_view import as_yaml
    from rlaif.errors import InputError, nearest

    check_installed()
    from rlaif.train.rl.run import SETTINGS as RL_SETTINGS
    from rlaif.train.run import SETTINGS

    known: dict[str, type[ModelSettings]] = {
        str(name): kind for name, kind in (*SETTINGS.items(), *RL_SETTINGS.items())
    }
    if method not in known:
        raise InputError(
            f"there is no method {method!r}{nearest(method, known)}.", do=f"It is one of {', '.join(known)}."
        )
    typer.echo(as_yaml(known[method]), nl=False)


@app.command(epilog="Example:  rlaif train score --model outputs/models/reward --data pairs.jsonl")
def score(
    model: Annotated[Path, typer.Option("--model", "-m", help="A folder that `rlaif train reward` wrote.")],
    data: Annotated[list[str], typer.Option("--data", "-d", help="Pairs or rankings: a file, a folder or a name.")],
    max_length: Annotated[int, typer.Option(help="Longest prompt + answer in tokens; longer rows are refused.")] = 1024,
) -> None:
    """A reward model's judgment of every row, one JSON object a line: rewards with mean 0 and deviation 1 on the rows
    its figures come from, each principle's reward, and how far its heads disagree."""
    from rich.console import Console

    from rlaif.cli.train_view import card_table
    from rlaif.train.examples import DataEntry, Limits, read_rankings
    from rlaif.train.scoring import RewardScorer, as_line, share_ranked_right
    from rlaif.train.tokenise import Tokeniser

    check_installed()
    scorer = RewardScorer.load(model)
    entries = [DataEntry(path=one, name=one) for one in data]
    rows, card = read_rankings(entries, Tokeniser(scorer.tokenizer), Limits(max_length=max_length))
    console = Console(stderr=True)
    console.print(card_table(card))
    card.check(allow_uneven=True, purpose="score")
    scores = scorer.score([row.family for row in rows])
    for place, one in zip(card.places, scores, strict=True):
        typer.echo(as_line(place, one))
    share, count = share_ranked_right(rows, scores)
    console.print(f"ranked as labelled: {share:.1%} of {count:g} comparisons" if count else "all rows are ties")


def _train(
    method: "Method",
    config: Path | None,
    flags: list[str],
    sets: list[str] | None,
    begin_anew: bool,
    as_json: bool,
) -> None:
    from rich.console import Console

    from rlaif.cli.train_view import TrainingProgress, card_table, figures_table
    from rlaif.documents import validate
    from rlaif.errors import SettingsError

    check_installed()
    document = read_document(config, [*flags, *(sets or [])], needed=("model", "data", "output"))
    console = Console(stderr=True, quiet=not is_speaker())
    from rlaif.train.run import SETTINGS, run_training  # after the settings file was read: this imports torch

    settings = validate(document, SETTINGS[method], SettingsError)
    with TrainingProgress(console) as progress:
        result = run_training(
            method,
            settings,
            base=base_of(config),
            begin_anew=begin_anew,
            show_card=lambda card: console.print(card_table(card)),
            say=progress.say,
            watch=progress.watch,
        )
    if not is_speaker():
        return
    report = result.report
    if as_json:
        steps = {"steps": report.steps, "resumed_at": report.resumed_at}
        ended = {"stopped_early": report.stopped_early, "evaluated_at": report.evaluated_at}
        said = {"output": str(result.folder), **steps, **ended, "figures": result.figures, "address": result.address}
        typer.echo(json.dumps({**said, **result.card.as_dict()}))
        return
    Console().print(figures_table(result.figures))
    if settings.loop.patience and report.evaluated_at is not None:
        early = "Stopped early, at" if report.stopped_early else "Ended at"
        typer.echo(f"{early} step {report.steps}; the weights are those of step {report.evaluated_at}, the best one.")
    typer.echo(f"Model: {result.folder}\nEvery step: {result.folder}/training/metrics.jsonl")
    if result.address:
        typer.echo(f"On the hub: {result.address}")
