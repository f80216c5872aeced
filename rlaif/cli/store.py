"""`rlaif store`: look after the stored results. Nothing here asks a model anything."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlaif.cli.project import Place, StoreOption, find_store
from rlaif.errors import StoreError

if TYPE_CHECKING:
    from rlaif.store import Store

app = typer.Typer(no_args_is_help=True, help="Count, check, clean and merge the stored results.")

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="A settings file that says where all is. Default: rlaif.yaml, if there is one."
    ),
]
Output = Annotated[Path | None, typer.Option(help="The folder that holds store/ and runs/. Default: outputs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]


@app.command(epilog="Examples:  rlaif store stats  ·  rlaif store stats --store s3://bucket/rlaif --json")
def stats(config: Config = None, output: Output = None, store: StoreOption = None, as_json: AsJson = False) -> None:
    """How many results of each kind there are, in how many files, and what was set aside."""
    from rlaif.store import upkeep

    with opened(find_store(config, output, store)) as there:
        found = [asdict(kind) for kind in upkeep.stats(there)]
    if as_json:
        typer.echo(json.dumps(found))
        return
    for kind in found:
        size = (kind["segment_bytes"] + kind["journal_bytes"]) / 1e6
        files = f"{kind['segments']:,} segments and {kind['journals']:,} journals"
        growing = f" ({kind['journals_growing']:,} growing)" if kind["journals_growing"] else ""
        typer.echo(f"{kind['kind']}: {kind['rows']:,} rows in {files}{growing}, {size:,.1f} MB")
        if kind["unreadable"] or kind["set_aside"]:
            typer.echo(f"  {kind['unreadable']:,} segments unreadable, {kind['set_aside']:,} damaged parts set aside")


@app.command(epilog="Examples:  rlaif store verify  ·  rlaif store verify --json")
def verify(config: Config = None, output: Output = None, store: StoreOption = None, as_json: AsJson = False) -> None:
    """Read every byte and check it: checksums, columns, order. Changes nothing; exit code 4 when there is damage."""
    from rlaif.store import upkeep

    with opened(find_store(config, output, store)) as there:
        verdict = upkeep.verify(there)
    damage = [str(one) for one in verdict.damage]
    if as_json:
        figures = {"segments": verdict.segments, "journals": verdict.journals, "rows": verdict.rows}
        typer.echo(json.dumps({**figures, "damage": damage}))
    else:
        typer.echo(f"{verdict.rows:,} rows in {verdict.segments:,} segments and {verdict.journals:,} journals")
    if damage:
        raise StoreError(
            "\n".join([f"{len(damage)} damaged:", *damage]),
            do="Damaged results count as missing: the next `rlaif generate` sets them aside and asks for them again.",
        )


@app.command(epilog="Examples:  rlaif store gc --dry-run  ·  rlaif store gc  ·  rlaif store gc --forget-run old-try")
def gc(
    config: Config = None,
    output: Output = None,
    store: StoreOption = None,
    wanted_by: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="OUTPUT", help="For a store that others may use: an output folder whose runs rest on it. Name all."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    forget_run: Annotated[
        list[str] | None, typer.Option(help="A run whose wishes do not count any more; may be given again.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove results that no run, test, judge card or judged labels want. A run that does not say what it wants keeps
    all."""
    from rlaif.store.gc import collect

    place = find_store(config, output, store)
    outputs = outputs_that_want(place, wanted_by or [])
    with opened(place) as there:
        found = [asdict(kind) for kind in collect(there, outputs, forget=forget_run or (), dry_run=dry_run)]
    if as_json:
        typer.echo(json.dumps(found))
        return
    for kind in found:
        size = f"{kind['bytes_before'] / 1e6:,.1f} MB"
        size += "" if dry_run else f", now {kind['bytes_after'] / 1e6:,.1f} MB"
        verb = "would be removed" if dry_run else "removed"
        typer.echo(f"{kind['kind']}: {kind['unwanted']:,} of {kind['rows']:,} {verb} ({size})")


@app.command(epilog="Examples:  rlaif store compact  ·  rlaif store compact --json")
def compact(config: Config = None, output: Output = None, store: StoreOption = None, as_json: AsJson = False) -> None:
    """Seal the journals of finished runs and merge small segments. Lookups answer the same as before."""
    from rlaif.store import upkeep

    with opened(find_store(config, output, store)) as there:
        merged = [asdict(kind) for kind in upkeep.compact(there)]
    if as_json:
        typer.echo(json.dumps(merged))
        return
    for kind in merged:
        sizes = f"{kind['bytes_before'] / 1e6:,.1f} MB, now {kind['bytes_after'] / 1e6:,.1f} MB"
        typer.echo(f"{kind['kind']}: {kind['before']:,} segments, now {kind['after']:,} ({sizes})")


def outputs_that_want(place: Place, wanted_by: list[Path]) -> list[Path]:
    """The output folders whose runs count. StoreError for a store elsewhere while nobody said who uses it."""
    from rlaif.store.gc import RUNS, TESTS

    if place.is_elsewhere and not wanted_by:
        raise StoreError(
            "other projects and machines may use this store, and what their runs want is not known here.",
            where=str(place.store),
            do=f"Name every output folder whose runs rest on it: --wanted-by {place.output} --wanted-by …",
        )
    has_own = not wanted_by or any((place.output / name).is_dir() for name in (RUNS, TESTS))
    outputs = [place.output] * has_own + wanted_by
    return list({output.resolve(): output for output in outputs}.values())


@contextmanager
def opened(place: Place) -> Iterator["Store"]:
    """The store, which must be there already; on leaving, what could not be read is said on stderr."""
    from rlaif.store import Store

    if isinstance(place.store, Path) and not place.store.is_dir():
        raise nothing_there(place.store)
    with Store(place.store) as store:
        if not isinstance(place.store, Path) and not store.kinds():
            raise nothing_there(place.store)
        yield store
        for damage in store.damage:
            typer.echo(f"unreadable: {damage}", err=True)


def nothing_there(store: Path | str) -> StoreError:
    return StoreError(
        "there is no store here.",
        where=str(store),
        do="`--output` names the folder that holds store/, `--store` the store itself; `rlaif generate` makes it.",
    )
