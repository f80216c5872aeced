"""An append-only store of results: one folder per kind, one JSONL journal per writer, `{"key": …, "value": …}` a line.

A line is written whole by one `write` and never changed, so `kill -9` can at worst leave the last line of one journal
unfinished. Such a line, and any other that cannot be read, is announced and passed over: its key counts as missing and
is asked again. A writer always begins a journal of its own, so nothing is ever appended behind a damaged end, and
several processes may write at once. Where two journals hold one key the journal first by name wins, on every machine.

Not here: what a key depends on (`rlaif/feedback/keys.py`).
"""

import errno
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self

from rlaif.errors import StoreError
from rlaif.identity import canonical_json

Kind = Literal["responses", "judgments", "critiques"]


@dataclass(frozen=True, slots=True)
class Damage:
    """A line that could not be read. Its result will be asked for again."""

    path: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}"


@dataclass
class Store:
    """The results under one folder. Use as a context manager: leaving it makes what was appended durable (fsync)."""

    root: Path
    damage: list[Damage] = field(default_factory=list)
    _writers: dict[Kind, BinaryIO] = field(default_factory=dict)

    def read(self, kind: Kind) -> dict[str, dict[str, Any]]:
        """Every readable result of a kind, by key. Unreadable lines are added to `damage`."""
        found: dict[str, dict[str, Any]] = {}
        for path in sorted((self.root / kind).glob("*.jsonl")):
            for key, value in self._lines(path):
                found.setdefault(key, value)
        return found

    def _lines(self, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        with path.open("rb") as journal:
            for number, line in enumerate(journal, start=1):
                try:
                    if not line.endswith(b"\n"):
                        raise ValueError("the line is unfinished")
                    entry = json.loads(line)
                    yield entry["key"], entry["value"]
                except (ValueError, KeyError, TypeError) as error:
                    self.damage.append(Damage(str(path), number, str(error)))

    def append(self, kind: Kind, key: str, value: dict[str, Any]) -> None:
        """Keep one result. It is with the operating system on return, and survives the death of this process."""
        line = canonical_json({"key": key, "value": value}).encode("utf-8", "surrogatepass") + b"\n"
        try:
            writer = self._writer(kind)
            while line:  # a nearly full disk takes a part of the line, and refuses at the next write
                line = line[writer.write(line) :]
        except OSError as error:
            raise self._cannot_write(error) from error

    def _writer(self, kind: Kind) -> BinaryIO:
        if kind not in self._writers:
            folder = self.root / kind
            folder.mkdir(parents=True, exist_ok=True)
            name = f"{os.getpid()}-{secrets.token_hex(6)}.jsonl"
            # Unbuffered: a result is in the kernel's hands before the next one is asked for.
            self._writers[kind] = (folder / name).open("xb", buffering=0)
        return self._writers[kind]

    def _cannot_write(self, error: OSError) -> StoreError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StoreError(
                "the disk is full.",
                where=str(self.root),
                do="Make space and run the same command again: finished answers are kept, nothing is asked twice.",
            )
        return StoreError(f"cannot write: {error.strerror}.", where=str(self.root), do="Check the folder's rights.")

    def close(self) -> None:
        for writer in self._writers.values():
            os.fsync(writer.fileno())
            writer.close()
        self._writers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
