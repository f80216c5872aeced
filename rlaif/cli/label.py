"""`rlaif label`: the page on which people compare answers blindly."""

import json
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlaif.errors import DataError, RlaifError

if TYPE_CHECKING:  # loaded inside the command, so that `rlaif --help` stays fast
    from rlaif.labels.blind.design import Design, Wish
    from rlaif.labels.blind.folder import VotesFolder
    from rlaif.labels.blind.sitting import Sitting

app = typer.Typer()

DRAWS = ("all", "random", "stratified", "unsure", "disputed")
BYS = ("tag", "source", "confidence")


@app.command(
    epilog="Examples:  rlaif label quickstart --rater ann  ·"
    "  rlaif label pairs.csv --rater ann --rater bob --output votes.jsonl --principles constitution/small.yaml  ·"
    "  rlaif label quickstart --rater ann --pairs 300 --draw unsure --gold known.jsonl"
)
def label(
    data: Annotated[str, typer.Argument(help="A run, a dataset's folder, a label file, or any file that is imported.")],
    raters: Annotated[list[str], typer.Option("--rater", metavar="NAME", help="Who votes; several times for several.")],
    output: Annotated[Path, typer.Option(help="The label file; votes are kept beside it.")] = Path("labels.jsonl"),
    pairs: Annotated[int | None, typer.Option(min=1, help="How many pairs to draw; default: all.")] = None,
    draw: Annotated[
        str | None, typer.Option(help="random, stratified, unsure (the judge is), disputed (its principles disagree).")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Strata: tag, source, or the judge's confidence.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the draw and of every rater's order.")] = None,
    principles: Annotated[
        str | None, typer.Option(metavar="CONSTITUTION", help="Also ask for a mark under each of its principles.")
    ] = None,
    gold: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Labels that are known, mixed in; raters are not told.")
    ] = None,
    repeats: Annotated[float, typer.Option(min=0.0, max=0.5, help="Share of pairs asked twice.")] = 0.05,
    gold_share: Annotated[float, typer.Option(min=0.0, max=0.5, help="Known pairs, as a share of the others.")] = 0.05,
    format_: Annotated[str | None, typer.Option("--format", help="DATA's format; recognised when not given.")] = None,
    runs: Annotated[Path, typer.Option(help="The folder that holds runs/.")] = Path("outputs"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8360,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the addresses, and at the end the summary, as JSON.")
    ] = False,
) -> None:
    """Serve a local page where people compare two answers without knowing whose they are or what a judge said.

    Every vote is on disk before the next question is shown. Ctrl-C stops; the same command goes on where it stopped.
    From another machine: ssh -L 8360:127.0.0.1:8360 THIS_MACHINE.
    """
    from rlaif.constitution import load_constitution
    from rlaif.labels.blind.candidates import known_answers, read_candidates
    from rlaif.labels.blind.folder import VotesFolder
    from rlaif.pages.label import label_app, listen, serve, token_for

    if len(set(raters)) < len(raters):
        raise DataError("a rater is named twice.", do="Give each name once.")
    constitution = None if principles is None else load_constitution(principles)
    candidates = read_candidates(_find(data, runs), format_)
    known = None if gold is None else known_answers(gold)
    folder = VotesFolder(output)
    wish = _wish(folder, {"pairs": pairs, "draw": draw, "by": by, "seed": seed})
    design = folder.design(wish, candidates)
    sittings = {
        rater: folder.sitting(rater, candidates, design, known, repeats=repeats, gold_share=gold_share)
        for rater in raters
    }
    folder.write_labels()
    secret = folder.secret()
    listening = listen(port)
    tokens = {token_for(rater, secret): sitting for rater, sitting in sittings.items()}
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    _announce(output, design, {f"{address}/{token}/": one for token, one in tokens.items()}, as_json=as_json)
    signal.signal(signal.SIGTERM, _interrupt)  # a service manager's stop ends like Ctrl-C
    with suppress(KeyboardInterrupt):
        serve(label_app(tokens, constitution, lambda: _refresh(folder)), listening)
    _end(folder, sittings, as_json=as_json)


def _find(data: str, runs: Path) -> Path:
    """A file or folder, or else a run's name."""
    from rlaif.cli.show import find_run

    return Path(data) if Path(data).exists() or Path(data).suffix else find_run(data, runs)


def _wish(folder: "VotesFolder", given: dict[str, Any]) -> "Wish":
    """The draw that is wanted: what was stated, and for the rest what was drawn before."""
    from rlaif.labels.blind.design import Wish

    for name, known in (("draw", DRAWS), ("by", BYS)):
        if given[name] not in (None, *known):
            raise DataError(f"--{name} is {given[name]!r}.", do=f"There are: {', '.join(known)}.")
    stated = {name: value for name, value in given.items() if value is not None}
    if folder.is_there and (folder.path / "design.json").is_file():
        return replace(folder.read_design().wish, **stated)
    if "pairs" not in stated:
        if stated.get("draw", "all") != "all":
            raise DataError(f"--draw {stated['draw']} needs to know how many.", do="Say so with --pairs.")
        return Wish(draw="all", **stated)
    return Wish(**stated)


def _announce(output: Path, design: "Design", addresses: dict[str, "Sitting"], *, as_json: bool) -> None:
    import numpy as np

    from rlaif.numbers.weighted_means import worth_rows

    if as_json:
        told = [
            {"rater": one.rater, "url": url, "done": one.num_done, "questions": len(one.questions)}
            for url, one in addresses.items()
        ]
        typer.echo(json.dumps({"pairs": len(design.drawn), "raters": told, "output": str(output)}, ensure_ascii=False))
        return
    drawn, worth = len(design.drawn), worth_rows(np.array([one.chance for one in design.drawn]))
    how = "" if design.wish.draw == "all" else f", drawn {design.wish.draw}"
    if worth < 0.995 * drawn:
        how += f" (for other questions worth {worth:,.0f} drawn evenly)"
    typer.echo(f"{drawn:,} of {design.population:,} pairs{how}")
    for url, one in addresses.items():
        typer.echo(f"  {one.rater}: {url}  ({one.num_done:,} of {len(one.questions):,} done)")
        _tell_damage(one)
    typer.echo(f"votes go to {output}; Ctrl-C stops, the same command goes on")


def _tell_damage(sitting: "Sitting") -> None:
    journal = sitting.journal
    if journal.set_aside:
        typer.echo(f"  note: an unfinished line was set aside in {journal.set_aside}; nobody was told it was kept")
    if journal.damaged:
        typer.echo(f"  note: {len(journal.damaged):,} damaged lines in {journal.path}: their questions come again")


def _refresh(folder: "VotesFolder") -> None:
    """Bring the label file up to the journals. The vote is kept already, so a failure is only told."""
    try:
        folder.write_labels()
    except (OSError, RlaifError) as failure:
        typer.echo(f"note: {folder.labels} could not be written: {failure}. The votes are in {folder.path}.", err=True)


def _end(folder: "VotesFolder", sittings: dict[str, "Sitting"], *, as_json: bool) -> None:
    from rlaif.cli.label_view import sittings_view
    from rlaif.labels.blind.summary import summaries

    for sitting in sittings.values():
        sitting.journal.close()
    count = folder.write_labels()
    found = [one for one in summaries(folder.journals()) if one.rater in sittings]
    if as_json:
        told = {"labels": count, "output": str(folder.labels), "sittings": [one.as_json() for one in found]}
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    typer.echo(sittings_view(found))
    typer.echo(f"{count:,} labels in {folder.labels}")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
