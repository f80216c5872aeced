"""A YAML document in memory: its plain value, and where in which file each part of it was written."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.documents.marked import KeyPath, Place, parse_yaml, write_yaml
from rlaif.errors import InputError, Where

__all__ = ["Document", "KeyPath", "Place", "no_such_file", "read_text", "read_yaml", "write_yaml"]


@dataclass(frozen=True, slots=True)
class Document:
    """A mapping and the places of its parts. The parts may come from several files (`extends`) or flags (`--set`)."""

    path: str
    value: dict[str, Any]
    places: Mapping[KeyPath, Place]

    def where(self, key_path: KeyPath) -> Where:
        """The place of a value, or of the nearest thing around it that has one."""
        return self._nearest(key_path).value

    def where_key(self, key_path: KeyPath) -> Where:
        """The place of a key, or of the nearest thing around it that has one."""
        return self._nearest(key_path).key

    def _nearest(self, key_path: KeyPath) -> Place:
        for length in range(len(key_path), -1, -1):
            if place := self.places.get(key_path[:length]):
                return place
        return Place(Where(self.path), Where(self.path))


def read_yaml(path: str | Path, error: type[InputError] = InputError) -> Document:
    """The mapping in a YAML file; anything else raises `error` with the place."""
    text = read_text(Path(path), error)
    value, places = parse_yaml(text, str(path), error)
    if value is None:
        raise error("the file is empty.", where=Where(str(path)), do="Write `key: value` lines into it.")
    if not isinstance(value, dict):
        found = f"found a {'list' if isinstance(value, list) else 'single value'} where `key: value` lines are needed."
        raise error(found, where=places[()].value, do="Start the document with its first key.")
    return Document(str(path), value, places)


def read_text(path: Path, error: type[InputError]) -> str:
    """A file's UTF-8 text."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as failure:
        raise no_such_file(path, error) from failure
    except OSError as failure:
        reason = failure.strerror or str(failure)
        raise error(f"the file cannot be read: {reason}.", where=Where(str(path)), do="Check the path.") from failure
    try:
        return content.decode()
    except UnicodeDecodeError as failure:
        line = content.count(b"\n", 0, failure.start) + 1
        found = f"found the byte 0x{content[failure.start]:02X}, which is not UTF-8 text."
        raise error(found, where=Where(str(path), line), do="Save the file as UTF-8.") from failure


def no_such_file(path: Path, error: type[InputError]) -> InputError:
    """The error for a missing file, with the nearest name in its folder."""
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    do = f"Did you mean {path.parent / near[0]}?" if near else "Check the path."
    return error("there is no such file.", where=Where(str(path)), do=do)
