"""Garbage: results that no run wants. A constitution edited fifty times leaves fifty constitutions' judgments behind.

Only segments are cleaned: what a living process is appending is never touched. A segment with garbage in it is written
anew without it, and then removed.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.errors import StoreError
from rlaif.store import lookup
from rlaif.store.schema import Kind
from rlaif.store.sealing import seal
from rlaif.store.store import Store
from rlaif.store.upkeep import FULL_ROWS, alone, replace
from rlaif.store.wanted import WANTED, read_wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a collection removed, or would remove, of one kind."""

    kind: Kind
    rows: int
    unwanted: int
    bytes_before: int
    bytes_after: int | None  # not known before it is done


def runs_that_want(runs: Path, forget: Collection[str]) -> list[Path]:
    """The folders of all runs but the forgotten ones. StoreError where one does not say what it wants."""
    folders = sorted(path for path in runs.glob("*") if path.is_dir() and not path.name.startswith("."))
    unknown = sorted(set(forget) - {path.name for path in folders})
    if unknown:
        raise StoreError(
            f"there is no run {unknown[0]!r} to forget.", where=str(runs), do="`--forget-run` takes names."
        )
    kept = [path for path in folders if path.name not in forget]
    if not kept:
        raise StoreError(
            "no run wants anything, so everything would be removed.",
            where=str(runs),
            do="If that is meant, remove the store's folder; if not, `--output` names the folder that holds runs/.",
        )
    silent = [path.name for path in kept if not (path / WANTED).is_file()]
    if silent:
        raise StoreError(
            f"{len(silent)} runs do not say what they want, and so want everything: {', '.join(silent[:5])}.",
            where=str(runs),
            do=f"Run them again (what is there is not asked anew), or give them up with --forget-run {silent[0]}.",
        )
    return kept


def collect(store: Store, runs: Path, *, forget: Collection[str] = (), dry_run: bool = False) -> list[Collected]:
    """Remove what none of the runs under `runs` wants; with `dry_run`, only count it."""
    folders = runs_that_want(runs, forget)
    if dry_run:
        return [_collect(store, kind, folders, dry_run=True) for kind in store.kinds()]
    with alone(store):
        for kind in store.kinds():
            seal(store.shelf, kind)
        return [_collect(store, kind, folders, dry_run=False) for kind in store.kinds()]


def _collect(store: Store, kind: Kind, folders: list[Path], *, dry_run: bool) -> Collected:
    before = sum(store.segment_sizes(kind).values())
    sealed = store.sound_segments(kind)
    rows = unwanted = 0
    with store.joins.open() as connection:
        lookup.load_wish(connection, read_wanted(folders, kind))
        for name, path in sealed.items():
            lookup.select_from(connection, [path], kind)
            num_rows, num_unwanted = _count(connection)
            rows, unwanted = rows + num_rows, unwanted + num_unwanted
            if num_unwanted and not dry_run:
                wanted = lookup.stream(connection, f"{lookup.FOUND} ORDER BY key")
                replace(store, kind, [name], (lookup.with_types(batch, kind) for batch in wanted), FULL_ROWS)
    after = None if dry_run else sum(store.segment_sizes(kind).values())
    return Collected(kind=kind, rows=rows, unwanted=unwanted, bytes_before=before, bytes_after=after)


def _count(connection: Any) -> tuple[int, int]:
    ((rows,),) = connection.execute("SELECT count(*) FROM stored").fetchall()
    ((unwanted,),) = connection.execute("SELECT count(*) FROM stored ANTI JOIN wish USING (key)").fetchall()
    return rows, unwanted
