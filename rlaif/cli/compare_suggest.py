"""`rlaif compare suggest`: what to change in the constitution so that its labels agree better with people's votes.

A command of the group `rlaif compare`, which registers it.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:  # loaded inside the command, so that `rlaif --help` stays fast
    from rich.console import RenderableType

    from rlaif.evaluate.principles.offer import Offer


def suggest(
    ai: Annotated[
        list[str], typer.Option("--ai", metavar="RUN|FILE", help="A run, its folder, or a label file with marks.")
    ],
    human: Annotated[list[Path], typer.Option("--human", help="Label files of people, on the same pairs.")],
    constitution: Annotated[
        str | None, typer.Option(help="The YAML to edit; default: the one that the run was made with.")
    ] = None,
    judge: Annotated[str | None, typer.Option(help="Which judge, where the labels are of several.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write a new version beside the constitution.")] = False,
    to: Annotated[Path | None, typer.Option(help="Where --apply writes; default: NAME-VERSION.yaml.")] = None,
    output: Annotated[Path, typer.Option(help="The folder that holds runs/.")] = Path("outputs"),
    folds: Annotated[int, typer.Option(min=2, max=20, help="Parts to hold out, one after the other.")] = 5,
    seed: Annotated[int, typer.Option(help="Of folds and resamples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Edits of the constitution (weights, off, tags) with the change of agreement to expect of each. No model is asked.

    Each effect is measured on prompts that did not choose the edit, and the intervals of all principles looked at hold
    together: what is offered has an interval above zero. What only new words could mend is named, for you to write.
    """
    from rlaif.cli.compare import find_source
    from rlaif.evaluate.principles.offer import make_offer

    judged = [find_source(one, output) for one in ai]
    offer = make_offer(judged, human, constitution=constitution, judge=judge, num_folds=folds, seed=seed)
    written = _write(offer, to) if apply and offer.found.edits else None
    if as_json:
        typer.echo(json.dumps({**offer.as_json(), "written": written and str(written)}, ensure_ascii=False))
        return
    from rich.console import Console

    Console().print(offer_view(offer))
    if written:
        typer.echo(
            f"{written}\nGenerate with it: weights, tags and `enabled` ask no model anything. `rlaif compare` then"
        )
        typer.echo("shows the prediction beside what came of it.")
    elif offer.found.edits:
        typer.echo(f"\n{offer.patch}")


def _write(offer: "Offer", to: Path | None) -> Path:
    """Write the new version. Never over a file that is there."""
    from rlaif.errors import DataError
    from rlaif.evaluate.principles.patch import check_version, new_version, next_path
    from rlaif.pair_dataset import write_text

    target = to or next_path(offer.beside, offer.constitution.version)
    if target.exists():
        raise DataError("there is a file of this name.", where=str(target), do="Name another with --to.")
    write_text(target, new_version(offer.found, offer.constitution, offer.source, target, people=offer.people))
    check_version(target, offer.found)
    return target


def offer_view(offer: "Offer") -> "RenderableType":
    """A row per edit, then what only words can mend."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from rlaif.evaluate.principles.patch import said_of
    from rlaif.evaluate.principles.words import points

    parts: list[RenderableType] = [Text(offer.sentence, style="bold")]
    for title, rows in (("edit", offer.found.edits), ("to reword by hand", offer.found.rewordings)):
        if rows:
            table = Table(box=SIMPLE_HEAD, pad_edge=False)
            table.add_column("principle", overflow="fold")
            table.add_column(title, overflow="fold")
            for header in ("change of agreement [95 %]", "folds agree"):
                table.add_column(header, justify="right", no_wrap=True)
            for one in rows:
                name, said = Text(one.action.principle), Text(said_of(one.action))
                table.add_row(name, said, points(one.predicted), f"{one.chosen_in} of {offer.found.folds}")
            parts.append(table)
    return Group(*parts, *(Text(f"note: {note}") for note in offer.notes))
