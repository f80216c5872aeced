"""`rlaif labels estimate`: what the labels of a draw say about all pairs it was made from."""

import json
from pathlib import Path
from typing import Annotated

import typer


def estimate(
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="The label file of `rlaif label`.")],
    ai: Annotated[
        Path | None, typer.Option(metavar="RUN|FILE", help="The judge's labels: how often people agree with it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Weigh every label by the chance its pair had of being drawn, so that the figures are those of all pairs.

    Labels drawn where the judge is unsure say too little good of it as they stand. Every figure has a 95 % interval.
    """
    from rich.console import Console

    from rlaif.cli.label_view import estimates_view
    from rlaif.labels.blind.candidates import read_any
    from rlaif.labels.blind.estimate import estimate_all
    from rlaif.labels.blind.folder import VotesFolder

    folder = VotesFolder(labels)
    found = estimate_all(folder.read_design(), folder.rows(), None if ai is None else read_any(ai))
    if as_json:
        typer.echo(json.dumps(found.as_json(), ensure_ascii=False))
    else:
        Console().print(estimates_view(found))
