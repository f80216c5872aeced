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


def set_value(text: str, key_path: KeyPath, value: Any, *, path: str, error: type[InputError] = InputError) -> str:
    """The text with the value of a mapping's key replaced, or with the key put behind the mapping's first one. `value`
    is a scalar or a list of them. `path` is for messages."""
    wanted = copy.deepcopy(parse_yaml(text, path, error)[0])
    _at(wanted, key_path[:-1])[key_path[-1]] = value
    changed = _written(text, key_path, value)
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


def _written(text: str, key_path: KeyPath, value: Any) -> str | None:
    mapping = _node_at(yaml.compose(text, Loader=Loader), key_path[:-1])
    if not isinstance(mapping, MappingNode) or not mapping.value:
        return None
    shown = _inline(value)
    for key, node in mapping.value:
        if key.value == key_path[-1]:
            end = _end(node)
            kept = text[key.end_mark.index : end or 0]
            return None if end is None or "#" in kept else f"{text[: key.end_mark.index]}: {shown}{text[end:]}"
    first, node = mapping.value[0]
    if mapping.flow_style:
        at = node.end_mark.index
        return f"{text[:at]}, {key_path[-1]}: {shown}{text[at:]}"
    if not isinstance(node, ScalarNode) or node.style in ("|", ">"):
        return _before(text, first, f"{key_path[-1]}: {shown}")
    line_end = text.find("\n", node.end_mark.index)
    indent = " " * first.start_mark.column
    if line_end < 0:
        return f"{text}\n{indent}{key_path[-1]}: {shown}\n"
    return f"{text[:line_end]}\n{indent}{key_path[-1]}: {shown}{text[line_end:]}"


def _end(node: Node) -> int | None:
    """Where a value on its own lines ends; None for one whose end is not its last character."""
    if isinstance(node, SequenceNode) and not node.flow_style:
        return _end(node.value[-1]) if node.value else None
    if isinstance(node, ScalarNode) and node.style in ("|", ">"):
        return None
    return node.end_mark.index if isinstance(node, ScalarNode) or node.flow_style else None


def _before(text: str, key: Node, line: str) -> str:
    """A line before a mapping's first key, which may follow the dash of a list."""
    at = key.start_mark.index
    return f"{text[:at]}{line}\n{' ' * key.start_mark.column}{text[at:]}"


def _inline(value: Any) -> str:
    """A scalar or a list of scalars on one line."""
    if isinstance(value, list):
        return f"[{', '.join(_inline(one) for one in value)}]"
    return re.sub(r"\n\.\.\.\n$|\n$", "", write_yaml(value))


def _node_at(node: Node | None, key_path: KeyPath) -> Node | None:
    for key in key_path:
        if isinstance(node, SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
        elif isinstance(node, MappingNode):
            node = next((below for own, below in node.value if own.value == key), None)
        else:
            return None
    return node
