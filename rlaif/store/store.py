"""The store: results by key, appended as they arrive, shared by all runs, never rewritten.

What a kind holds is the union of its segments and journals; where several rows have one key, the writer that began
first wins, on every machine and however often the rows were sealed or merged since.

Reading changes nothing. What cannot be read is added to `damage` and counts as missing. A store that appended seals
when it is closed: journals of dead writers, its own too, become segments, and damaged bytes are set aside.
"""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from rlaif.errors import StoreError
from rlaif.store import lookup, merging, segments
from rlaif.store.journal import (
    Damage,
    JournalWriter,
    can_grow,
    earlier_versions,
    encode,
    is_journal,
    read_journal,
)
from rlaif.store.keys import Keys, as_fixed
from rlaif.store.remote import RemoteShelf
from rlaif.store.schema import (
    Kind,
    Value,
    checked_kind,
    checked_table,
    is_kind,
    results_of,
    sorted_table,
    table_of,
)
from rlaif.store.scratch import Scratch
from rlaif.store.sealing import seal, set_aside_segment
from rlaif.store.shelf import LocalShelf, open_shelf
from rlaif.store.writing import as_ours, in_child, new_source, told_as_ours

Rows = Iterable[tuple[str, Value]]

_BATCH_ROWS = 4096  # from so many rows on, a batch is sealed at once instead of going through a journal
_JOURNAL_BYTES = 8 * 2**20  # some ten thousand results: then it is sealed and a new one is begun
_FLUSH_S = 30.0


class Store:
    """The results under one folder or URL. Use it as a context manager: leaving it makes what was appended durable.

    `will_append` finds out at once, and not after the first answers, whether the place can be written to. A store
    serves one thread; open one for each.
    """

    def __init__(self, root: Path | str, *, memory_limit: str = "1GB", will_append: bool = False) -> None:
        self._held = ExitStack()
        self._scratch = Scratch()
        self._held.callback(self._scratch.remove)
        self.scratch = self._scratch.folder
        self.shelf = open_shelf(root, self.scratch)
        if will_append:
            self.shelf.check_writable()
        self.joins = lookup.Joins(memory_limit, self.scratch / "spill")
        self._held.callback(self.joins.close)
        self.damage: list[Damage] = []
        self._writers: dict[Kind, JournalWriter] = {}
        self._waiting: dict[Kind, list[tuple[str, Value]]] = {}  # object stores only
        self._waiting_since = 0.0
        self._appended: set[Kind] = set()
        self._copied: dict[Path, tuple[int, bool]] = {}
        self._sound: set[str] = set()
        self._unsound: dict[str, Damage] = {}
        self.damage += earlier_versions(self.shelf)

    # --- append

    def append(self, kind: Kind, key: str, value: Value) -> None:
        """Keep one result. It is with the operating system on return, and survives the death of this process.

        On an object store it waits in memory first, until there are 4096, or until one is appended after 30 seconds.
        """
        self._append(kind, encode(key, value), [(key, value)])

    def append_many(self, kind: Kind, rows: pa.Table | Rows) -> None:
        """Keep many results: pairs of key and value, or a table with `key` and any of the kind's columns."""
        checked_kind(kind)
        if not isinstance(rows, pa.Table):
            rows = list(rows)
            if not rows:
                return
            if len(rows) < _BATCH_ROWS:
                self._append(kind, b"".join([encode(key, value) for key, value in rows]), rows)
                return
        self._seal_rows(kind, rows)

    def _append(self, kind: Kind, lines: bytes, rows: list[tuple[str, Value]]) -> None:
        """Rows and their lines: these into a journal at once; to an object store the rows go later."""
        try:
            if isinstance(self.shelf, LocalShelf):
                self._writer(kind, self.shelf).write(lines)
            else:
                self._wait(checked_kind(kind), rows)
        except OSError as error:
            raise as_ours(error, self.shelf.root) from error

    def _writer(self, kind: Kind, shelf: LocalShelf) -> JournalWriter:
        old = self._writers.get(kind)
        if old is not None:
            if old.can_go_on(_JOURNAL_BYTES):
                return old
            del self._writers[kind]
            if not in_child(old.owner):
                old.close()
                self._seal_in_passing(kind)
        self._appended.add(checked_kind(kind))
        self._writers[kind] = JournalWriter(shelf.path / kind / "journals")
        return self._writers[kind]

    def _seal_in_passing(self, kind: Kind) -> None:
        """So that no look-up of a long run reads more than one journal again. What fails here is done at the close."""
        with suppress(StoreError, OSError):
            self.seal(kind)

    def _wait(self, kind: Kind, rows: list[tuple[str, Value]]) -> None:
        self._waiting_since = self._waiting_since or time.monotonic()
        waiting = self._waiting.setdefault(kind, [])
        waiting += rows
        if len(waiting) >= _BATCH_ROWS or time.monotonic() - self._waiting_since > _FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Put what waits in memory into the object store. A local store has nothing waiting."""
        for kind in list(self._waiting):
            self._seal_rows(kind, self._waiting[kind])
            del self._waiting[kind]
        self._waiting_since = 0.0

    def _seal_rows(self, kind: Kind, rows: pa.Table | list[tuple[str, Value]]) -> None:
        source = new_source()
        if isinstance(rows, pa.Table):
            table = checked_table(kind, rows, source)
        else:
            table = table_of(kind, [key for key, _ in rows], [value for _, value in rows], source)
        if table.num_rows:
            self._appended.add(kind)
            self._sound.add(segments.write_segment(self.shelf, kind, [sorted_table(table)]))

    # --- look up

    def missing(self, kind: Kind, keys: Keys) -> Iterator[pa.Array]:
        """The keys without a result, in chunks of 32-byte arrays (`rlaif.store.keys.hex_of` for text), in any order."""
        with self.joins.open() as connection:
            lookup.load_wish(connection, keys)
            for batch in lookup.rows_of(connection, lambda: self.files(kind), kind, lookup.MISSING):
                yield as_fixed(batch.column("key"))

    def rows(self, kind: Kind, keys: Keys) -> Iterator[pa.RecordBatch]:
        """The results of these keys as columns, each key once, in any order; nothing for a key that is missing."""
        with self.joins.open() as connection:
            lookup.load_wish(connection, keys)
            for batch in lookup.rows_of(connection, lambda: self.files(kind), kind, lookup.FIRST_FOUND):
                yield lookup.with_types(batch, kind)

    def get(self, kind: Kind, keys: Keys) -> dict[str, Value]:
        """The values of those keys that have one."""
        return {key: value for batch in self.rows(kind, keys) for key, value in results_of(batch)}

    def read(self, kind: Kind) -> dict[str, Value]:
        """Every result of a kind: for small stores, and to look at."""
        with self.joins.open() as connection:
            batches = lookup.rows_of(connection, lambda: self.files(kind), kind, lookup.FIRST_OF_ALL)
            return {key: value for batch in batches for key, value in results_of(lookup.with_types(batch, kind))}

    # --- files

    def kinds(self) -> list[Kind]:
        """The kinds there is anything of."""
        return [name for name in self.shelf.folders() if is_kind(name)]

    def files(self, kind: Kind) -> list[Path]:
        """Parquet files that together hold the kind's readable results. Damage is announced on the way."""
        self.flush()
        copies = self._journal_copies(kind)  # first: a journal sealed meanwhile is then among the segments
        return copies + list(self.sound_segments(kind).values())

    def segment_sizes(self, kind: Kind) -> dict[str, int]:
        """The kind's segments with their bytes. Looked up until two looks agree: a merge may be under way."""
        folder = segments.folder_of(checked_kind(kind))
        found = self.shelf.sizes(folder)
        while (again := self.shelf.sizes(folder)) != found:
            found = again
        return {f"{folder}/{name}": found[name] for name in sorted(found) if name.endswith(segments.SUFFIX)}

    def sound_segments(self, kind: Kind) -> dict[str, Path]:
        """The kind's segments as local files, those that are damaged left out and announced."""
        return {name: path for name in self.segment_sizes(kind) if (path := self._checked(name, kind)) is not None}

    def _checked(self, name: str, kind: Kind) -> Path | None:
        """A segment's local path, after its checksum was seen to be right once. FileNotFoundError when it is gone."""
        if name in self._unsound:
            return None
        path = self.shelf.local(name)
        if name not in self._sound:
            fault = self._fault_of(name)
            if fault:
                self._unsound[name] = Damage(f"{self.shelf.root}/{name}", None, fault)
                self._announce(self._unsound[name])
                return None
            segments.check_columns(path, kind)
            self._sound.add(name)
        return path

    def _fault_of(self, name: str) -> str:
        fault = segments.fault_of(self.shelf.local(name), name)
        if fault and isinstance(self.shelf, RemoteShelf):  # it may have been the way here
            self.shelf.forget(name)
            fault = segments.fault_of(self.shelf.local(name), name)
        return fault

    def journal_paths(self, kind: Kind) -> list[Path]:
        """The kind's journals, in the order of their beginning."""
        folder = f"{checked_kind(kind)}/journals"
        names = [f"{folder}/{name}" for name in sorted(self.shelf.sizes(folder)) if is_journal(name)]
        if isinstance(self.shelf, LocalShelf):
            return [self.shelf.path / name for name in names]
        for name in names:  # of a local store that was copied or is served; it may have grown since it was fetched
            (self.scratch / name).unlink(missing_ok=True)
        return [self.shelf.local(name) for name in names]

    def is_growing(self, journal: Path) -> bool:
        """Whether its end may be unfinished because it is still being written. Of a copy nobody knows."""
        return not self.shelf.is_local or can_grow(journal)

    def _journal_copies(self, kind: Kind) -> list[Path]:
        """The journals' results as Parquet files of this store's own."""
        copies = []
        for path in self.journal_paths(kind):
            try:
                growing = self.is_growing(path)
                state = (path.stat().st_size, growing)
                copy = self.scratch / f"{kind}-{path.stem}-{os.getpid()}.parquet"
                if self._copied.get(copy) != state:
                    found: list[Damage] = []
                    pq.write_table(read_journal(path, kind, found, growing=growing), copy, compression="none")
                    self._copied[copy] = state
                    for damage in found:
                        self._announce(damage)
                copies.append(copy)
            except FileNotFoundError:  # sealed since it was listed
                continue
        return copies

    def _announce(self, damage: Damage) -> None:
        if damage not in self.damage:
            self.damage.append(damage)

    # --- end

    def close(self, *, is_clean: bool = True) -> None:
        """Make everything durable; after a clean end, seal what no living process writes to."""
        try:
            with told_as_ours(self.shelf.root):
                while self._writers:
                    _, writer = self._writers.popitem()
                    if not in_child(writer.owner):
                        writer.close()
            self.flush()
            if is_clean:
                for kind in sorted(self._appended):
                    self.seal(kind)
                    self._merge_crowd(kind)
            self._appended.clear()
        finally:
            self._held.close()

    def seal(self, kind: Kind) -> None:
        """Make segments of the journals nobody writes to, and set aside what was found damaged."""
        for damage in seal(self.shelf, checked_kind(kind)):
            self._announce(damage)
        for name in [name for name in self._unsound if name.startswith(f"{kind}/")]:
            damage = self._unsound.pop(name)
            with suppress(FileNotFoundError):  # set aside by another one
                if self._fault_of(name):
                    set_aside_segment(self.shelf, kind, name, damage)

    def _merge_crowd(self, kind: Kind) -> None:
        """Merge the small segments of many runs. It can wait: what hinders it is told to whoever it hinders next."""
        with suppress(StoreError, OSError, duckdb.Error), merging.alone(self.shelf) as is_alone:
            crowd = merging.crowd_of(self.segment_sizes(kind)) if is_alone else []
            sound = {name: path for name in crowd if (path := self._checked(name, kind)) is not None}
            if len(sound) > 1:
                merging.merge(self.shelf, self.joins, kind, sound)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(is_clean=error is None)
