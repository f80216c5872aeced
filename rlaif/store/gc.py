"""Garbage: results that nobody wants. A constitution edited fifty times leaves fifty constitutions' judgments behind.

Who wants something says so in a `wanted.parquet` under an output folder: every run, every constitution whose tests
were put to a judge, every judge that was asked for its card or for labels. Several output folders may share a store,
and then all of them have to be named.

Only segments are cleaned: what a living process is appending is never touched. A segment with garbage in it is written
anew without it, and then removed.
"""

import re
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.errors import StoreError
from rlaif.identity import digest
from rlaif.store import lookup
from rlaif.store.merging import FULL_ROWS, replace
from rlaif.store.schema import Kind
from rlaif.store.sealing import seal
from rlaif.store.store import Store
from rlaif.store.upkeep import alone
from rlaif.store.wanted import WANTED, read_wanted

RUNS, TESTS, CARDS, JUDGED = (
    "runs",
    "constitution-tests",
    "judge-cards",
    "judged-labels",
)  # folders of folders, in an output folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a collection removed, or would remove, of one kind."""

    kind: Kind
    rows: int
    unwanted: int
    bytes_before: int
    bytes_after: int | None  # not known before it is done


def tests_folder(output: Path, constitution: str, judge: str) -> Path:
    """Where it is written what the tests of a constitution want of a judge. Testing again replaces that wish."""
    return output / TESTS / _name_of(constitution, judge)


def card_folder(output: Path, constitution: str, judge: str, source: str) -> Path:
    """Where it is written what the card of a judge wants that was asked about `source`. Asking again replaces it."""
    return output / CARDS / _name_of(constitution, judge, source)


def judged_folder(output: Path, constitution: str, judge: str, source: str) -> Path:
    """Where it is written what a judge's labels on the pairs of `source` rest on. Judging them again replaces it."""
    return output / JUDGED / _name_of(constitution, judge, source)


def _name_of(*parts: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts[:2])).strip("-.")[:60]
    return f"{readable}-{digest(list(parts))[:8]}"


def folders_that_want(output: Path, forget: Collection[str] = ()) -> list[Path]:
    """The folders under an output folder that want something: of all runs but the forgotten, of tests, of judge
    cards and of labels.

    StoreError where there is none, or where a run does not say what it wants. The others say so before they ask.
    """
    runs = [path for path in _folders(output / RUNS) if path.name not in forget]
    asked = [*_folders(output / TESTS), *_folders(output / CARDS), *_folders(output / JUDGED)]
    tests = [path for path in asked if (path / WANTED).is_file()]
    if not runs + tests:
        raise StoreError(
            "no run wants anything, so everything would be removed.",
            where=str(output / RUNS),
            do="If that is meant, remove the store's folder; if not, name the folder that holds runs/.",
        )
    silent = [path.name for path in runs if not (path / WANTED).is_file()]
    if silent:
        raise StoreError(
            f"{len(silent)} runs do not say what they want, and so want everything: {', '.join(silent[:5])}.",
            where=str(output / RUNS),
            do=f"Run them again (what is there is not asked anew), or give them up with --forget-run {silent[0]}.",
        )
    return runs + tests


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.glob("*") if path.is_dir() and not path.name.startswith("."))


def collect(
    store: Store, outputs: Sequence[Path], *, forget: Collection[str] = (), dry_run: bool = False
) -> list[Collected]:
    """Remove what nobody under these output folders wants; with `dry_run`, only count it.

    `outputs` must be all the folders whose runs use the store.
    """
    _check_known(outputs, forget)
    wishes = wishes_of(outputs, forget)

    def check() -> None:
        if wishes_of(outputs, forget) != wishes:
            raise _changed(store.shelf.root)

    if dry_run:
        return [_counted(store, kind, wishes) for kind in store.kinds()]
    with alone(store):
        for kind in store.kinds():
            seal(store.shelf, kind)
        return [_collect(store, kind, wishes, check) for kind in store.kinds()]


def wishes_of(outputs: Sequence[Path], forget: Collection[str]) -> dict[Path, tuple[int, int]]:
    """The folders that want something, each with what tells when it wants something else."""
    folders = [folder for output in outputs for folder in folders_that_want(output, forget)]
    try:
        states = [(folder / WANTED).stat() for folder in folders]
    except FileNotFoundError as error:
        raise _changed(", ".join(map(str, outputs))) from error
    return {folder: (state.st_mtime_ns, state.st_size) for folder, state in zip(folders, states, strict=True)}


def _changed(where: str) -> StoreError:
    return StoreError(
        "a run began, ended or was removed meanwhile.",
        where=where,
        do="What was removed so far nobody wanted. Run it again for the rest.",
    )


def _check_known(outputs: Sequence[Path], forget: Collection[str]) -> None:
    unknown = sorted(set(forget) - {path.name for output in outputs for path in _folders(output / RUNS)})
    if unknown:
        where = ", ".join(str(output / RUNS) for output in outputs)
        raise StoreError(f"there is no run {unknown[0]!r} to forget.", where=where, do="`--forget-run` takes names.")


def _counted(store: Store, kind: Kind, wishes: Collection[Path]) -> Collected:
    """What there would be to collect. Segments may be merged meanwhile: then it is counted again."""
    for _ in range(lookup.TRIES):
        with suppress(FileNotFoundError, StoreError):
            return _collect(store, kind, wishes, None)
    return _collect(store, kind, wishes, None)


def _collect(store: Store, kind: Kind, wishes: Collection[Path], check: Callable[[], None] | None) -> Collected:
    """`check` is called before every removal; without it nothing is removed."""
    before = sum(store.segment_sizes(kind).values())
    sealed = store.sound_segments(kind)
    rows = unwanted = 0
    with store.joins.open() as connection:
        lookup.load_wish(connection, read_wanted(wishes, kind))
        for name, path in sealed.items():
            lookup.select_from(connection, [path], kind)
            num_rows, num_unwanted = _count(connection)
            rows, unwanted = rows + num_rows, unwanted + num_unwanted
            if num_unwanted and check is not None:
                wanted = lookup.stream(connection, f"{lookup.FOUND} ORDER BY key")
                check()  # as late as can be: a run that has begun since rests on what it found here
                replace(store.shelf, kind, [name], (lookup.with_types(batch, kind) for batch in wanted), FULL_ROWS)
    after = None if check is None else sum(store.segment_sizes(kind).values())
    return Collected(kind=kind, rows=rows, unwanted=unwanted, bytes_before=before, bytes_after=after)


def _count(connection: Any) -> tuple[int, int]:
    ((rows,),) = connection.execute("SELECT count(*) FROM stored").fetchall()
    ((unwanted,),) = connection.execute("SELECT count(*) FROM stored ANTI JOIN wish USING (key)").fetchall()
    return rows, unwanted
