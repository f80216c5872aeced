"""`rlaif show`: a finished run's figures, or one of its pairs."""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from rlaif.errors import DataError, nearest

app = typer.Typer()

RUN, REVISIONS = "run.json", "revisions.json"  # written last, by `rlaif generate` and by `rlaif revise`


@app.command(epilog="Examples:  rlaif show quickstart  ·  rlaif show quickstart 3fa9  ·  rlaif show quickstart --json")
def show(
    run: Annotated[str, typer.Argument(help="A run's name, or its folder.")],
    pair: Annotated[str | None, typer.Argument(help="A pair's id, or as much of its beginning as is unique.")] = None,
    output: Annotated[Path, typer.Option(help="The folder that holds runs/.")] = Path("outputs"),
    pairs: Annotated[int, typer.Option(help="Also show the first N pairs of the dataset.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """A run's figures; with PAIR, one pair with its answers, every principle's verdict in both orders, and critique.

    A run of `rlaif revise` is called NAME-revisions.
    """
    from rich.console import Console

    from rlaif.cli.revision_view import print_revisions, revision_pair_view
    from rlaif.cli.run_view import figures, label_view, pair_view

    folder = find_run(run, output, (RUN, REVISIONS))
    is_revisions = (folder / REVISIONS).is_file()
    dataset_pair_view = revision_pair_view if is_revisions else pair_view
    if pair is not None:
        row = find_pair(folder, pair)
        if as_json:
            typer.echo(json.dumps(row, ensure_ascii=False))
        else:
            Console().print(dataset_pair_view(row) if "chosen" in row else label_view(row))
        return
    summary = json.loads((folder / (REVISIONS if is_revisions else RUN)).read_text(encoding="utf-8"))
    if as_json:
        typer.echo(json.dumps(summary, ensure_ascii=False))
        return
    console = Console()
    if is_revisions:
        print_revisions(console, summary, folder)
    else:
        console.print(figures(summary))
    for row in first_pairs(folder, pairs):
        console.print(dataset_pair_view(row))


def find_run(run: str, output: Path, complete: Sequence[str] = (RUN,)) -> Path:
    """The folder of a run that has one of the files that say it is complete. DataError names the runs there are."""
    for folder in (Path(run), output / "runs" / run):
        if any((folder / name).is_file() for name in complete):
            return folder
    known = sorted({path.parent.name for name in complete for path in (output / "runs").glob(f"*/{name}")})
    if (folder / REVISIONS).is_file():
        do = "Name a run of `rlaif generate`; `rlaif show` and `rlaif explain` read this one."
        raise DataError(f"{run!r} is a run of `rlaif revise`.", where=str(folder), do=do)
    if folder.is_dir():
        do = f"`rlaif {'revise' if run.endswith('-revisions') else 'generate'}` continues it."
        raise DataError(f"run {run!r} is not complete.", where=str(folder), do=do)
    there = f"There are: {', '.join(known)}." if known else "There are no runs yet: `rlaif generate` makes one."
    raise DataError(f"there is no run {run!r}{nearest(run, known)}.", where=str(output / "runs"), do=there)


def first_pairs(folder: Path, count: int) -> list[dict[str, Any]]:
    """The first pairs of the dataset, in its own order."""
    from rlaif.pair_dataset import read_rows

    parts = _dataset(folder)
    return list(islice((row for part in parts for row in read_rows(part)), count))


def _dataset(folder: Path) -> list[Path]:
    """The files of a run's pairs."""
    return sorted((folder / ("pairs" if (folder / REVISIONS).is_file() else "dataset")).glob("*.parquet"))


def find_pair(folder: Path, prefix: str) -> dict[str, Any]:
    """The pair whose id begins so: of the dataset, or else of all judged pairs."""
    found = _starting(_dataset(folder), prefix, folder)
    return found or find_label(folder, prefix)


def find_label(folder: Path, prefix: str) -> dict[str, Any]:
    """The judged pair whose id begins so, as labels.parquet has it."""
    found = _starting([folder / "labels.parquet"], prefix, folder)
    if found:
        return found
    raise DataError(
        f"no pair begins with {prefix!r}.",
        where=str(folder),
        do="`rlaif show RUN --pairs 5` shows some ids.",
    )


def _starting(parts: Sequence[Path], prefix: str, folder: Path) -> dict[str, Any] | None:
    """The one row whose pair begins so; DataError where several do."""
    from rlaif.pair_dataset import read_rows

    found = [row for part in parts for row in read_rows(part) if row["pair_id"].startswith(prefix)]
    if len(found) > 1:
        ids = ", ".join(row["pair_id"][:12] for row in found[:5])
        raise DataError(f"{len(found)} pairs begin with {prefix!r}: {ids} …", where=str(folder), do="Give more of it.")
    return found[0] if found else None
