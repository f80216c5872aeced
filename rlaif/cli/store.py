"""`rlaif store`: look after the stored results. Nothing here asks a model anything."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlaif.errors import StoreError

if TYPE_CHECKING:
    from rlaif.store import Store

app = typer.Typer(no_args_is_help=True, help="Count, check, clean and merge the stored results.")

Output = Annotated[Path, typer.Option(help="The folder that holds store/ and runs/.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]


@app.command(epilog="Examples:  rlaif store stats  ·  rlaif store stats --output work/outputs --json")
def stats(output: Output = Path("outputs"), as_json: AsJson = False) -> None:
    """How many results of each kind there are, in how many files, and what was set aside."""
    from rlaif.store import upkeep

    with opened(output) as store:
        found = [asdict(kind) for kind in upkeep.stats(store)]
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
def verify(output: Output = Path("outputs"), as_json: AsJson = False) -> None:
    """Read every byte and check it: checksums, columns, order. Changes nothing; exit code 4 when there is damage."""
    from rlaif.store import upkeep

    with opened(output) as store:
        verdict = upkeep.verify(store)
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
    output: Output = Path("outputs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    forget_run: Annotated[
        list[str] | None, typer.Option(help="A run whose wishes do not count any more; may be given again.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove results that no run under runs/ wants. A run that does not say what it wants keeps everything."""
    from rlaif.store.gc import collect

    with opened(output) as store:
        found = [asdict(k) for k in collect(store, output / "runs", forget=forget_run or (), dry_run=dry_run)]
    if as_json:
        typer.echo(json.dumps(found))
        return
    for kind in found:
        size = f"{kind['bytes_before'] / 1e6:,.1f} MB"
        size += "" if dry_run else f", now {kind['bytes_after'] / 1e6:,.1f} MB"
        verb = "would be removed" if dry_run else "removed"
        typer.echo(f"{kind['kind']}: {kind['unwanted']:,} of {kind['rows']:,} {verb} ({size})")


@app.command(epilog="Examples:  rlaif store compact  ·  rlaif store compact --json")
def compact(output: Output = Path("outputs"), as_json: AsJson = False) -> None:
    """Seal the journals of finished runs and merge small segments. Lookups answer the same as before."""
    from rlaif.store import upkeep

    with opened(output) as store:
        merged = [asdict(kind) for kind in upkeep.compact(store)]
    if as_json:
        typer.echo(json.dumps(merged))
        return
    for kind in merged:
        sizes = f"{kind['bytes_before'] / 1e6:,.1f} MB, now {kind['bytes_after'] / 1e6:,.1f} MB"
        typer.echo(f"{kind['kind']}: {kind['before']:,} segments, now {kind['after']:,} ({sizes})")


@contextmanager
def opened(output: Path) -> Iterator["Store"]:
    """The store of an output folder that is there; on leaving, what could not be read is said on stderr."""
    from rlaif.store import Store

    folder = output / "store"
    if not folder.is_dir():
        raise StoreError(
            "there is no store here.",
            where=str(folder),
            do="`--output` names the folder that holds store/; `rlaif generate` makes it.",
        )
    with Store(folder) as store:
        yield store
        for damage in store.damage:
            typer.echo(f"damaged: {damage}", err=True)
