"""`--set a.b=value`: one value of a document, given on the command line instead of in the file."""

import copy
from collections.abc import Sequence
from typing import Any

from rlaif.documents.document import Document
from rlaif.documents.marked import KeyPath, Place, parse_yaml
from rlaif.errors import InputError, SettingsError, Where


def apply_sets(document: Document, sets: Sequence[str], error: type[InputError] = SettingsError) -> Document:
    """A copy of `document` with every `a.b=value` set; later ones win. Values are YAML, list items are numbers from 0.

    A value's place is then the flag itself, so a problem with it names the flag and not a line of the file.
    """
    value, places = copy.deepcopy(document.value), dict(document.places)
    for text in sets:
        flag = Where(f"--set {text}")
        name, equals, written = text.partition("=")
        keys = name.strip().split(".")
        if not equals or not all(keys):
            raise error("found no `key=value`.", where=flag, do="Write e.g. --set judge.model=tiny-judge")
        new, _ = parse_yaml(written, str(flag), error)
        key_path = _assign(value, keys, new, flag, error)
        places = {known: place for known, place in places.items() if known[: len(key_path)] != key_path}
        for length in range(1, len(key_path) + 1):
            places.setdefault(key_path[:length], Place(flag, flag))
    return Document(document.path, value, places)


def _assign(root: dict[str, Any], keys: list[str], new: Any, flag: Where, error: type[InputError]) -> KeyPath:
    """Puts `new` at `keys`, making missing mappings on the way; returns the key path it now has."""
    at: Any = root
    key_path: KeyPath = ()
    for depth, name in enumerate(keys):
        is_last = depth == len(keys) - 1
        key: str | int = name
        if isinstance(at, list):
            key = _index(at, keys[: depth + 1], flag, error)
        elif not isinstance(at, dict):
            before = ".".join(keys[:depth])
            raise error(f"`{before}` holds a single value, so it has no `{name}`.", where=flag, do=f"Set `{before}`.")
        key_path = (*key_path, key)
        if is_last:
            at[key] = new
            break
        if isinstance(at, dict) and at.get(key) is None:
            at[key] = {}
        at = at[key]
    return key_path


def _index(items: list[Any], keys: list[str], flag: Where, error: type[InputError]) -> int:
    name, before = keys[-1], ".".join(keys[:-1])
    if name.isdecimal() and int(name) < len(items):
        return int(name)
    do = f"Use a number from 0 to {len(items) - 1}." if items else f"Set `{before}` as a whole."
    raise error(f"`{before}` is a list of {len(items)}, which has no item {name!r}.", where=flag, do=do)
