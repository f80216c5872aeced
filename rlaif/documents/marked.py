"""YAML text to plain Python values, with the place of every key and value.

The safe subset people write settings in: mappings, lists, text, numbers, true/false and null, with anchors and merge
keys. Scalars follow YAML 1.2, where `no`, `on` and `2026-11-21` are text and `1e-3` is a number; the YAML 1.1 rules
PyYAML uses by default turn such words into something the writer did not mean. Refused, each with its place: keys
written twice, keys that are not text, tags that make objects, and aliases that expand beyond `_MAX_NODES`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from rlaif.errors import InputError, Where

KeyPath = tuple[str | int, ...]

_MAX_NODES = 100_000  # a hand-written document has hundreds; "billion laughs" aliases have billions
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands, and where its key stands (the value's own place for list items and the document)."""

    key: Where
    value: Where


class Loader(yaml.SafeLoader):
    """PyYAML's composer with the scalar rules of YAML 1.2."""

    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own field


for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+", list("-+0123456789")),  # 007 is text
    (
        "float",
        r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    Loader.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$"), _first)

_SCALARS: dict[str, Callable[[str], Any]] = {
    _TAG + "str": str,
    _TAG + "null": lambda text: None,
    _TAG + "bool": lambda text: text.lower() == "true",
    _TAG + "int": lambda text: int(text, 16 if text.startswith("0x") else 10),
    _TAG + "float": lambda text: float(text.lower().replace(".inf", "inf").replace(".nan", "nan")),
}


class _Dumper(yaml.SafeDumper):
    """Quotes texts that either set of scalar rules would take for something else: `no` as well as `1e5`."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own field
        first: yaml.SafeDumper.yaml_implicit_resolvers.get(first, []) + Loader.yaml_implicit_resolvers.get(first, [])
        for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *Loader.yaml_implicit_resolvers}
    }


def write_yaml(value: Any) -> str:
    """YAML that `parse_yaml` and any other reader take for the same value. Keys keep their order."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))


def parse_yaml(text: str, path: str, error: type[InputError]) -> tuple[Any, dict[KeyPath, Place]]:
    """The value of the one document in `text`, and the place of everything in it. `path` is only for messages."""
    try:
        node = yaml.compose(text, Loader=Loader)
        if node is None:
            return None, {}
        return _Builder(path, error).build(node)
    except yaml.MarkedYAMLError as failure:
        mark = failure.problem_mark or failure.context_mark
        where = Where(path, mark.line + 1, mark.column + 1) if mark else Where(path)
        found = " ".join(part for part in (failure.context, failure.problem) if part)
        do = "Check the indentation, the quotes and the brackets on this line and the one before."
        raise error(f"this is not valid YAML: {found}.", where=where, do=do) from failure
    except yaml.reader.ReaderError as failure:
        line = text.count("\n", 0, failure.position) + 1
        found = f"found the character U+{ord(text[failure.position]):04X}, which YAML does not allow."
        raise error(found, where=Where(path, line), do="Remove it.") from failure
    except RecursionError as failure:
        raise error("lists or mappings are nested too deeply.", where=Where(path), do="Flatten them.") from failure


class _Builder:
    """Walks the node graph once, expanding aliases, and notes every place on the way."""

    def __init__(self, path: str, error: type[InputError]) -> None:
        self.path, self.error = path, error
        self.places: dict[KeyPath, Place] = {}
        self.num_nodes = 0
        self.open_nodes: set[int] = set()

    def build(self, node: Node) -> tuple[Any, dict[KeyPath, Place]]:
        return self._value(node, (), self._where(node)), self.places

    def _where(self, node: Node) -> Where:
        return Where(self.path, node.start_mark.line + 1, node.start_mark.column + 1)

    def _count(self) -> None:
        self.num_nodes += 1
        if self.num_nodes > _MAX_NODES:
            do = "Write the document without aliases of aliases."
            raise self.error(f"aliases expand to more than {_MAX_NODES} values.", where=Where(self.path), do=do)

    def _value(self, node: Node, key_path: KeyPath, key_where: Where) -> Any:
        self._count()
        if id(node) in self.open_nodes:
            raise self.error("an alias refers to what it is part of.", where=key_where, do="Remove the alias.")
        self.places[key_path] = Place(key=key_where, value=self._where(node))
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        self.open_nodes.add(id(node))
        try:
            if isinstance(node, SequenceNode) and node.tag == _TAG + "seq":
                return [self._value(item, (*key_path, i), self._where(item)) for i, item in enumerate(node.value)]
            if isinstance(node, MappingNode) and node.tag == _TAG + "map":
                pairs = self._pairs(node)
                return {key: self._value(item, (*key_path, key), where) for key, (where, item) in pairs.items()}
        finally:
            self.open_nodes.discard(id(node))
        raise self._bad_tag(node)

    def _scalar(self, node: ScalarNode) -> Any:
        if node.tag not in _SCALARS:
            raise self._bad_tag(node)
        try:
            return _SCALARS[node.tag](node.value)
        except ValueError as failure:
            kind = node.tag.removeprefix(_TAG)
            found = f"found {node.value[:40]!r}, which is not of the kind {kind!r}."
            raise self.error(found, where=self._where(node), do="Write another value, or remove the tag.") from failure

    def _bad_tag(self, node: Node) -> InputError:
        do = "Remove the tag: only mappings, lists, text, numbers, true/false and null are read."
        return self.error(f"found the tag {node.tag!r}.", where=self._where(node), do=do)

    def _pairs(self, node: MappingNode) -> dict[str, tuple[Where, Node]]:
        """A mapping's keys with their places; keys merged by `<<` come first and give way to the mapping's own."""
        merged: dict[str, tuple[Where, Node]] = {}
        own: dict[str, tuple[Where, Node]] = {}
        for key_node, value_node in node.value:
            where = self._where(key_node)
            if key_node.tag == _TAG + "merge":
                merged = {**self._merged(value_node), **merged}
                continue
            if key_node.tag not in (_TAG + "str", _TAG + "int"):  # a score is a number, and a key as it is written
                found = f"found {getattr(key_node, 'value', '')!r} as a key, which is not text."
                raise self.error(found, where=where, do="Put it in quotes.")
            key = str(key_node.value)
            if key in own:
                found = f"the key {key!r} is written twice; the first is at {own[key][0]}."
                raise self.error(found, where=where, do="Keep one of the two.")
            own[key] = (where, value_node)
        return {**merged, **own}

    def _merged(self, node: Node) -> dict[str, tuple[Where, Node]]:
        """The keys of one mapping, or of a list of mappings, whose earlier ones win."""
        self._count()
        if id(node) in self.open_nodes:
            raise self.error("an alias refers to what it is part of.", where=self._where(node), do="Remove the alias.")
        if isinstance(node, MappingNode):
            return self._pairs(node)
        if isinstance(node, SequenceNode):
            pairs: dict[str, tuple[Where, Node]] = {}
            for item in node.value:
                pairs = {**self._merged(item), **pairs}
            return pairs
        do = "Write `<<: *name` with the name of a mapping."
        raise self.error("`<<` merges something that is not a mapping.", where=self._where(node), do=do)
