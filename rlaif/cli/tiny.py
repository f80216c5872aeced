"""`rlaif tiny`: how good the bundled tiny models are, measured here and now on what they never saw."""

import json
from typing import Annotated

import typer

from rlaif.errors import EngineUnavailable

app = typer.Typer(no_args_is_help=True)


@app.callback()
def tiny() -> None:
    """The two bundled tiny models: for trying the road and testing it, not for real work."""


@app.command(epilog="Examples:  rlaif tiny measure  ·  rlaif tiny measure --count 50 --prompts 50 --json")
def measure(
    count: Annotated[int, typer.Option(min=10, help="Comparisons per kind of wording; 4 principles each.")] = 300,
    prompts: Annotated[int, typer.Option(min=10, help="Prompts for the policy, 4 answers each.")] = 250,
    seed: Annotated[int, typer.Option(help="Draws the held-out prompts, answers and wordings.")] = 2024,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Measure judge and policy against the grammar's ground truth. Minutes on two cores at the default size."""
    try:
        from rlaif.train.tiny.measuring import as_text, measure
    except ImportError as error:
        raise EngineUnavailable(f"{error.name} is not installed here.", do="pip install 'rlaif[train]'") from error

    found = measure(count=count, num_prompts=prompts, seed=seed, write=False)
    typer.echo(json.dumps(found, indent=2) if as_json else as_text(found))


@app.command(
    epilog="Examples:  rlaif tiny shares outputs/models/quickstart-dpo  ·  "
    "rlaif tiny shares outputs/models/dpo --constitution my.yaml --prompts 400 --json"
)
def shares(
    model: Annotated[str, typer.Argument(help="A trained policy of the tiny world: its folder.")],
    before: Annotated[str, typer.Option(help="The policy that it was trained from.")] = "tiny-policy",
    constitution: Annotated[str, typer.Option(help="A document, or a shipped one's name.")] = "small",
    prompts: Annotated[int, typer.Option(min=8, help="New prompts, that neither model was trained on.")] = 120,
    answers: Annotated[int, typer.Option(min=1, help="Answers of each model to each of them.")] = 4,
    seed: Annotated[int, typer.Option(help="Draws the prompts and the answers.")] = 2024,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Show what training did: the share of answers that do as each principle asks, before and after, by the grammar's
    ground truth, and how far the model went from where it began (KL)."""
    from rich.console import Console

    from rlaif.constitution import load_constitution

    try:
        from rlaif.train.tiny.shares import measure_shares
    except ImportError as error:
        raise EngineUnavailable(f"{error.name} is not installed here.", do="pip install 'rlaif[train]'") from error
    from rlaif.cli.tiny_view import shares_view

    asked = load_constitution(constitution)
    found = measure_shares(model, before, asked, num_prompts=prompts, each=answers, seed=seed)
    if as_json:
        typer.echo(json.dumps({"model": model, "before": before, **found.as_dict()}, indent=2))
        return
    Console().print(shares_view(found, model, before))


@app.command()
def where() -> None:
    """Print the folders of the two models, to load them elsewhere."""
    from rlaif.bundled import TINY_MODELS, resolve_model

    for name in TINY_MODELS:
        typer.echo(resolve_model(name))
