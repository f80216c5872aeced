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


@app.command()
def where() -> None:
    """Print the folders of the two models, to load them elsewhere."""
    from rlaif.bundled import TINY_MODELS, resolve_model

    for name in TINY_MODELS:
        typer.echo(resolve_model(name))
