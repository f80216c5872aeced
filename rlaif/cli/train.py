"""`rlaif train sft | reward | dpo`: a model from preference data, whoever labelled them."""

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlaif.cli.project import SetOption

if TYPE_CHECKING:  # loaded inside the command, so that `rlaif --help` stays fast
    from rlaif.documents import Document
    from rlaif.train.data_card import DataCard
    from rlaif.train.loading import Method

app = typer.Typer(no_args_is_help=True, help="Train on preference data: SFT, reward model, DPO and its relatives.")

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="The settings file; flags override it.")]
ModelOption = Annotated[str | None, typer.Option("--model", "-m", help="A folder, a hub name or tiny-policy.")]
DataOption = Annotated[
    list[str] | None, typer.Option("--data", "-d", help="A .jsonl or .parquet file, a dataset's folder or name.")
]
OutputOption = Annotated[str | None, typer.Option("--output", "-o", help="Folder for the trained model.")]
HubOption = Annotated[
    str | None,
    typer.Option("--push-to-hub", metavar="ORG/NAME", help="Send the result to this Hugging Face repository."),
]
AnewOption = Annotated[
    bool, typer.Option("--anew", help="Give up a training of other data or settings that the output folder holds.")
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
    _train("sft", config, _as_sets(model, data, output, push_to_hub), sets, begin_anew, as_json)


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
    _train("reward", config, _as_sets(model, data, output, push_to_hub), sets, begin_anew, as_json)


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
    _train("dpo", config, _as_sets(model, data, output, push_to_hub), sets, begin_anew, as_json)


@app.command()
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

    _check_installed()
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
    from rlaif.documents import apply_sets, read_yaml, validate
    from rlaif.errors import SettingsError

    _check_installed()
    document = read_yaml(config, SettingsError) if config else _no_file()
    document = apply_sets(document, [*flags, *(sets or [])])
    is_first = os.environ.get("RANK", "0") == "0"  # of several processes one speaks
    console = Console(stderr=True, quiet=not is_first)
    from rlaif.train.run import SETTINGS, run_training  # after the settings file was read: this imports torch

    settings = validate(document, SETTINGS[method], SettingsError)
    base = config.resolve().parent if config else Path.cwd()

    def show(card: "DataCard") -> None:
        console.print(card_table(card))

    with TrainingProgress(console) as progress:
        result = run_training(
            method, settings, base=base, begin_anew=begin_anew, show_card=show, say=progress.say, watch=progress.watch
        )
    if not is_first:
        return
    if as_json:
        steps = {"steps": result.report.steps, "resumed_at": result.report.resumed_at}
        said = {"output": str(result.folder), **steps, "figures": result.figures, "address": result.address}
        typer.echo(json.dumps({**said, **result.card.as_dict()}))
        return
    Console().print(figures_table(result.figures))
    typer.echo(f"Model: {result.folder}\nEvery step: {result.folder}/training/metrics.jsonl")
    if result.address:
        typer.echo(f"On the hub: {result.address}")


def _no_file() -> "Document":
    from rlaif.documents import Document

    return Document("flags", {}, {})


def _as_sets(model: str | None, data: list[str] | None, output: str | None, push_to_hub: str | None) -> list[str]:
    """The flags as `--set` texts; JSON is YAML, so any path survives. A flag's path counts from here, a file's from
    where the file lies."""
    found = [f"model={json.dumps(model)}"] if model else []
    if push_to_hub:
        found.append(f"push_to_hub={json.dumps(push_to_hub)}")
    if output:
        found.append(f"output={json.dumps(str(Path(output).absolute()))}")
    if data:
        paths = [{"path": str(Path(one).absolute()) if Path(one).exists() else one, "name": one} for one in data]
        found.append(f"data={json.dumps(paths)}")
    return found


def _check_installed() -> None:
    """Raise EngineUnavailable, with the command that mends it, where the training libraries are missing."""
    from rlaif.errors import EngineUnavailable

    if missing := [name for name in ("torch", "accelerate", "peft", "safetensors") if not find_spec(name)]:
        raise EngineUnavailable(f"training needs {', '.join(missing)}.", do="Install it: pip install 'rlaif[train]'")
