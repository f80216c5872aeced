"""`rlaif labels plan`: how many pairs and people a figure needs, before anyone labels."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlaif.errors import DataError

if TYPE_CHECKING:  # loaded inside the command, so that `rlaif --help` stays fast
    from rlaif.labels.planning import Basis, Need

_PEOPLE = (1, 2, 3, 5)
Share = Annotated[float | None, typer.Option(min=0.0, max=1.0)]


def plan(
    half_width: Annotated[
        float, typer.Option(min=0.001, max=0.4, help="How far the interval reaches to either side: 0.03 is ±3 points.")
    ],
    agreement: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="The share you expect; 0.5 is the widest.")
    ] = None,
    people: Annotated[
        int | None, typer.Option("--raters", min=1, help="People for each pair; default: several.")
    ] = None,
    pilot: Annotated[
        list[Path] | None, typer.Option(metavar="LABELS", help="Labels there are: rates and time come from them.")
    ] = None,
    ai: Annotated[
        Path | None, typer.Option(metavar="RUN|FILE", help="The judge's labels on the pilot's pairs.")
    ] = None,
    same_pair: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Correlation of two people's votes on a pair.")
    ] = None,
    same_prompt: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Correlation of votes on two pairs of a prompt.")
    ] = None,
    pairs_per_prompt: Annotated[float | None, typer.Option(min=1.0, help="Pairs of one prompt, on average.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.0, help="Seconds a vote takes.")] = None,
    level: Annotated[float, typer.Option(min=0.5, max=0.999, help="Of the interval.")] = 0.95,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Say how many pairs and people an interval of a wanted width needs. Votes on one pair, and pairs of one prompt,
    tell less than as many apart; how much less comes from a pilot, or from what you state."""
    from rlaif.labels.planning import as_json as plan_json
    from rlaif.labels.planning import needs

    stated = {"rate": agreement, "same_pair": same_pair, "same_prompt": same_prompt}
    basis = _with_stated(_basis(pilot or [], ai), stated, pairs_per_prompt, seconds)
    found = needs(half_width, basis, _PEOPLE if people is None else (people,), level=level)
    if as_json:
        typer.echo(json.dumps(plan_json(half_width, basis, found, level), ensure_ascii=False))
        return
    _say(half_width, level, basis, found)


def _basis(pilot: list[Path], ai: Path | None) -> "Basis":
    from rlaif.labels.blind.candidates import read_any
    from rlaif.labels.planning import ASSUMED, Basis, basis_of_pilot
    from rlaif.labels.sources import votes_of
    from rlaif.numbers.figures import NotDefined

    if not pilot:
        if ai is not None:
            raise DataError("--ai goes with --pilot.", do="Give people's labels with --pilot.")
        notes = ("there is no pilot: the correlations are assumed",)
        return Basis(
            votes_alike=ASSUMED,
            pairs_per_prompt=1.0,
            seconds=None,
            about="a person agrees with the judge",
            notes=notes,
        )
    found = basis_of_pilot(votes_of(pilot), None if ai is None else read_any(ai))
    if isinstance(found, NotDefined):
        do = "A pilot needs people's votes, and a judge's or a second person's on the same pairs."
        raise DataError(f"the pilot tells nothing: {found.because}.", where=str(pilot[0]), do=do)
    return found


def _with_stated(
    basis: "Basis", stated: dict[str, float | None], pairs_per_prompt: float | None, seconds: float | None
) -> "Basis":
    """What was stated on the command line comes before what was found."""
    given: dict[str, Any] = {name: value for name, value in stated.items() if value is not None}
    notes = basis.notes
    if {"same_pair", "same_prompt"} <= given.keys():
        notes = tuple(note for note in notes if not note.startswith("there is no pilot"))
    return replace(
        basis,
        votes_alike=replace(basis.votes_alike, **given),
        pairs_per_prompt=basis.pairs_per_prompt if pairs_per_prompt is None else pairs_per_prompt,
        seconds=basis.seconds if seconds is None else seconds,
        notes=notes,
    )


def _say(half_width: float, level: float, basis: "Basis", found: list["Need"]) -> None:
    alike = basis.votes_alike
    typer.echo(f"for ±{half_width:g} at {level:.0%} on how often {basis.about}, expected {alike.rate:.2f}")
    typer.echo(
        f"votes on one pair correlate {alike.same_pair:.2f}, pairs of one prompt {alike.same_prompt:.2f}; "
        f"{basis.pairs_per_prompt:.1f} pairs a prompt"
    )
    head = ["people a pair", "pairs", "prompts", "votes", *(["hours"] if basis.seconds is not None else [])]
    rows = [head]
    for one in found:
        hours = [] if one.hours is None else [f"{one.hours:,.1f}"]
        rows.append([f"{one.people}", f"{one.pairs:,}", f"{one.prompts:,}", f"{one.votes:,}", *hours])
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        typer.echo("  " + "   ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    fewest = min(found, key=lambda one: one.votes)
    if len(found) > 1:
        typer.echo(
            f"fewest votes: {fewest.pairs:,} pairs, {fewest.people} {'person' if fewest.people == 1 else 'people'} "
            "each; how far people agree with each other takes two or more"
        )
    for note in basis.notes:
        typer.echo(f"note: {note}")
