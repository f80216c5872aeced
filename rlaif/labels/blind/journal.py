"""One rater's votes as they came, for ever: a file that only grows, a line a vote, on disk before the page says so.

A line is that of the store's journals: `<CRC-32> {"key": question, "value": …}`. Undoing is a line too, and so is a
second vote on a question: the last line of a question counts, and none is ever removed. `kill -9` can leave an
unfinished line that nobody was told had been kept; it is set aside beside the journal when the journal is next opened.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.errors import DataError, StoreError
from rlaif.store.journal import decode, encode
from rlaif.store.shelf import hold, sync

SUFFIX = ".journal"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. `row` is the vote as a row of a label file; None says that the question's vote was taken back."""

    question: str
    role: str
    row: Mapping[str, Any] | None
    known: str | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """What a journal holds: entries in their order, places of damaged lines, and where the good bytes end."""

    entries: tuple[Entry, ...]
    damaged: tuple[int, ...]
    end: int


def read_entries(path: Path) -> Read:
    """Every readable line. An unfinished end is no damage: it was never promised."""
    entries, damaged, offset = [], [], 0
    for line in path.read_bytes().splitlines(keepends=True) if path.is_file() else []:
        if not line.endswith(b"\n"):
            break
        try:
            key, value = decode(line)
            entries.append(Entry(key, value["role"], value["row"], value.get("known")))
        except (ValueError, KeyError):
            damaged.append(offset)
        offset += len(line)
    return Read(tuple(entries), tuple(damaged), offset)


def votes_that_count(entries: tuple[Entry, ...]) -> dict[str, Entry]:
    """Each question's last vote, questions in the order of those; those taken back are not among them."""
    last: dict[str, Entry] = {}
    for entry in entries:
        last.pop(entry.question, None)
        if entry.row is not None:
            last[entry.question] = entry
    return last


class Journal:
    """A rater's journal, held by this process alone until it is closed."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._file = path, path.open("a+b", buffering=0)
        if hold(self._file) is False:
            self._file.close()
            do = "Use the page that is already open, or stop the other `rlaif label` first."
            raise DataError("another process is taking this rater's votes.", where=str(path), do=do)
        sync(path.parent)
        read = read_entries(path)
        self.entries, self.damaged = list(read.entries), read.damaged
        self._end = read.end
        self.set_aside = self._cut()

    def _cut(self) -> Path | None:
        """Move an unfinished end to a file of its own, so that nothing is written behind it."""
        size = self._file.seek(0, os.SEEK_END)
        if size == self._end:
            return None
        aside = self.path.with_name(f"{self.path.name}.unfinished")
        self._file.seek(self._end)
        with aside.open("ab") as kept:
            kept.write(self._file.read() + b"\n")
        self._file.truncate(self._end)
        return aside

    def append(self, entry: Entry) -> None:
        """Keep one entry; on return it is on the disk. An error leaves the journal as it was."""
        value: dict[str, Any] = {"role": entry.role, "row": entry.row}
        line = encode(entry.question, value if entry.known is None else value | {"known": entry.known})
        try:
            written = self._file.write(line)
            while written < len(line):  # a nearly full disk takes a part, and refuses at the next write
                written += self._file.write(line[written:])
            os.fsync(self._file.fileno())
        except OSError as failure:
            self._file.truncate(self._end)
            reason = failure.strerror or str(failure)
            do = "Nothing before this vote is lost. Make room, and vote again."
            raise StoreError(f"the vote could not be kept: {reason}.", where=str(self.path), do=do) from failure
        self._end += len(line)
        self.entries.append(entry)

    def close(self) -> None:
        self._file.close()
