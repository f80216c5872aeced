"""Changing a few values of a YAML document somebody wrote: every other byte stays, with its comments and its order.

    text = set_value(text, ("principles", 2, "weight"), 0.5)

The document is not written anew but cut at the places of its nodes. Afterwards it is read again, and anything but the
wanted change (an anchor that several places share, a layout that was misread) is an error instead of a changed file.
"""

import copy
import re
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from rlaif.documents.marked import KeyPath, Loader, parse_yaml, write_yaml
from rlaif.errors import InputError


def set_value(
    text: str, key_path: KeyPath, value: Any, *, path: str, error: type[InputError] = InputError, behind: str = ""
) -> str:
    """The text with the value of a mapping's key replaced, or with the key put behind another, else behind the first.
    `value` is a scalar, a list of them, or a mapping of them. `path` is for messages."""
    wanted = copy.deepcopy(parse_yaml(text, path, error)[0])
    _at(wanted, key_path[:-1])[key_path[-1]] = value
    changed = _written(text, key_path, value, behind)
    try:
        is_right = changed is not None and parse_yaml(changed, path, error)[0] == wanted
    except InputError:
        is_right = False
    if changed is None or not is_right:
        name = ".".join(str(key) for key in key_path)
        raise error(f"`{name}` cannot be changed without touching more than it.", where=path, do="Change it by hand.")
    return changed


def _at(value: Any, key_path: KeyPath) -> Any:
    for key in key_path:
        value = value[key]
    return value


def _written(text: str, key_path: KeyPath, value: Any, behind: str) -> str | None:
    """The changed text, or None where the value's end can not be told, or a comment would go with it."""
    mapping, name = _node_at(yaml.compose(text, Loader=Loader), key_path[:-1]), str(key_path[-1])
    if not isinstance(mapping, MappingNode) or not mapping.value:
        return None
    first, last = mapping.value[0]
    last = next((node for key, node in mapping.value if key.value == behind), last)
    column = None if mapping.flow_style else first.start_mark.column
    entry = _entry(name, value, column)
    for key, node in mapping.value:
        if key.value == name:
            start, end = key.start_mark.index, _end(node)
            return None if end is None or "#" in text[start:end] else text[:start] + entry + text[end:]
    if column is None:
        at = last.end_mark.index
        return f"{text[:at]}, {entry}{text[at:]}"
    if not isinstance(last, ScalarNode) or last.style in ("|", ">"):
        at = first.start_mark.index  # a line before it, which may follow the dash of a list
        return f"{text[:at]}{entry}\n{' ' * column}{text[at:]}"
    at = text.find("\n", last.end_mark.index)
    before, after = (text, "\n") if at < 0 else (text[:at], text[at:])
    return f"{before}\n{' ' * column}{entry}{after}"


def _entry(name: str, value: Any, column: int | None) -> str:
    """`name: value`; a mapping on lines of its own where its surroundings, at a column, are."""
    if isinstance(value, dict) and column is not None:
        return "\n".join([f"{name}:", *(f"{' ' * (column + 2)}{key}: {_inline(one)}" for key, one in value.items())])
    return f"{name}: {_inline(value)}"


def _inline(value: Any) -> str:
    """A scalar, or a list or mapping of them, on one line."""
    if isinstance(value, list):
        return f"[{', '.join(_inline(one) for one in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_inline(one)}' for key, one in value.items())}}}"
    return re.sub(r"\n(\.\.\.\n)?$", "", write_yaml(value))


def _end(node: Node) -> int | None:
    """Where a value on its own lines ends; None for one whose end is not its last character."""
    if isinstance(node, ScalarNode):
        return None if node.style in ("|", ">") else int(node.end_mark.index)
    assert isinstance(node, SequenceNode | MappingNode)
    if node.flow_style:
        return int(node.end_mark.index)
    if not node.value:
        return None
    last = node.value[-1]
    return _end(last[1] if isinstance(node, MappingNode) else last)


def _node_at(node: Node | None, key_path: KeyPath) -> Node | None:
    for key in key_path:
        if isinstance(node, SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
        elif isinstance(node, MappingNode):
            node = next((below for own, below in node.value if own.value == key), None)
        else:
            return None
    return node
