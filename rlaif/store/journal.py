"""Journals: what a running process has appended and nobody has sealed yet. One file per writer and kind.

A line is `<CRC-32 of the rest> {"key": …, "value": …}`, written whole by one `write` and never changed. `kill -9` can
at worst leave the last line unfinished. That line, and any other that does not fit its checksum, is a `Damage`:
announced, and its key counts as missing. A writer always begins a journal of its own, so nothing is ever appended
behind a damaged end.

The writer holds a file lock while it lives. An unfinished end is damage only where nobody can still be writing it.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

import pyarrow as pa

from rlaif.identity import canonical_json
from rlaif.store.keys import checked_key
from rlaif.store.schema import Kind, Value, schema_of, sorted_table, table_of
from rlaif.store.shelf import PARTIAL, LocalShelf, Shelf, create_locked, locked, sync
from rlaif.store.writing import in_child, new_source, was_here

SUFFIX = ".journal"
_CHUNK = 20_000  # rows in Python at a time
SILENT_S = 3600.0  # after this long without a line, a journal of another machine is taken to be finished


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that could not be read. Their results will be asked for again."""

    path: str
    offset: int | None
    reason: str
    found: bytes = b""

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.reason}" if self.offset is None else f"{self.path}, byte {self.offset}: {self.reason}"
        )


def encode(key: str, value: Value) -> bytes:
    """One result as a line."""
    body = f'{{"key":"{checked_key(key)}","value":{canonical_json(value)}}}'.encode("utf-8", "surrogatepass")
    return b"%08x %s\n" % (crc32(body), body)


def decode(line: bytes) -> tuple[str, Value]:
    """The result in a line. ValueError says what is wrong with it."""
    if not line.endswith(b"\n"):
        raise ValueError("the line is unfinished")
    if line[:9] != b"%08x " % crc32(line[9:-1]):
        raise ValueError("the line does not fit its checksum")
    return _result(json.loads(line[9:-1]))


def _result(record: Any) -> tuple[str, Value]:
    if type(record) is dict and type(record.get("key")) is str and type(record.get("value")) is dict:
        return checked_key(record["key"]), record["value"]
    raise ValueError("the line is not a result")


class JournalWriter:
    """A new journal, locked from before it has its name until it is closed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{new_source()}{SUFFIX}"
        partial = folder / f".{self.path.name}{PARTIAL}"
        self._file = create_locked(partial)  # unbuffered: a result is in the kernel's hands on return
        partial.rename(self.path)
        self.owner, self.size, self._written_s = os.getpid(), 0, time.time()

    def can_go_on(self, max_bytes: int) -> bool:
        """Whether the next line may go here: not in a fork, not too long, and not after a silence for which another
        machine may soon take the journal to be finished and seal it."""
        return self.size < max_bytes and not in_child(self.owner) and time.time() - self._written_s < SILENT_S / 2

    def write(self, lines: bytes) -> None:
        """Append whole lines. An error, or Ctrl-C, leaves the journal as it was before."""
        try:
            written = self._file.write(lines)
            while written < len(lines):  # a nearly full disk takes a part of the lines, and refuses at the next write
                written += self._file.write(lines[written:])
        except BaseException:
            self._file.truncate(self.size)
            self._file.seek(self.size)  # or the next line would be written behind a hole
            raise
        self.size += written
        self._written_s = time.time()

    def close(self) -> None:
        """Make it durable and let it go."""
        try:
            os.fsync(self._file.fileno())
            sync(self.path.parent)
        finally:
            self._file.close()


def is_journal(name: str) -> bool:
    return name.endswith(SUFFIX)


def earlier_versions(shelf: Shelf) -> list[Damage]:
    """What the first version of this software left in a folder: journals without checksums, `<kind>/*.jsonl`."""
    found = []
    if isinstance(shelf, LocalShelf):
        for kind in shelf.folders():
            old = [name for name in shelf.sizes(kind) if name.endswith(".jsonl")]
            if old:
                reason = (
                    f"{len(old)} files of an earlier version of rlaif, which this one does not read; what they hold"
                )
                reason += " is asked again. Move them away, or remove them, if no earlier version is in use"
                found.append(Damage(f"{shelf.root}/{kind}/*.jsonl", None, reason))
    return found


def is_elsewhere(path: Path) -> bool:
    """Whether a writer on another machine, whose lock may not reach us, could be at work on this journal."""
    return not was_here(path.name) and time.time() - path.stat().st_mtime < SILENT_S


def can_grow(path: Path) -> bool:
    """Whether somebody may still be writing to a journal. FileNotFoundError when it is gone."""
    if is_elsewhere(path):
        return True
    with locked(path) as file:
        return file is None


def read_journal(path: Path, kind: Kind, damage: list[Damage], *, growing: bool) -> pa.Table:
    """The readable results of a journal as a segment's rows. `growing` (`can_grow`, asked before) excuses the end."""
    with path.open("rb") as file:
        return journal_table(file, path, kind, damage, growing=growing)


def journal_table(file: BinaryIO, path: Path, kind: Kind, damage: list[Damage], *, growing: bool) -> pa.Table:
    """As `read_journal`, from an open file."""
    source = path.name.removesuffix(SUFFIX)
    tables = [table_of(kind, *chunk, source) for chunk in _chunks(file, path, damage, growing)]
    return sorted_table(pa.concat_tables([schema_of(kind).empty_table(), *tables]))


def _chunks(file: BinaryIO, path: Path, damage: list[Damage], growing: bool) -> Iterator[tuple[list[str], list[Value]]]:
    offset = 0
    while lines := list(islice(file, _CHUNK)):
        try:
            yield _decode_all(lines)
        except ValueError:
            yield _decode_each(lines, offset, path, damage, growing)
        offset += sum(map(len, lines))


def _decode_all(lines: list[bytes]) -> tuple[list[str], list[Value]]:
    """As `decode` of every line, in a third of its time. ValueError when one of them is damaged."""
    bodies = [line[9:-1] for line in lines if line[:9] == b"%08x " % crc32(line[9:-1]) and line[-1:] == b"\n"]
    if len(bodies) < len(lines):
        raise ValueError("a line is damaged")
    records = json.loads(b"[" + b",".join(bodies) + b"]")
    if len(records) != len(lines):
        raise ValueError("a line is not one result")
    pairs = [_result(record) for record in records]
    return [key for key, _ in pairs], [value for _, value in pairs]


def _decode_each(
    lines: list[bytes], offset: int, path: Path, damage: list[Damage], growing: bool
) -> tuple[list[str], list[Value]]:
    pairs = []
    for line in lines:
        try:
            pairs.append(decode(line))
        except ValueError as error:
            if line.endswith(b"\n") or not growing:
                damage.append(Damage(str(path), offset, str(error), line))
        offset += len(line)
    return [key for key, _ in pairs], [value for _, value in pairs]
