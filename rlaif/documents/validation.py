"""A document against a pydantic model: all problems at once, each with its place and what to do about it.

Pydantic knows what is wrong but not where it was written, and its messages speak of "inputs". Here its error
locations are matched with the document's places, unknown keys get the nearest known name, and missing keys point at
the mapping that lacks them.
"""

import types
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from rlaif.documents.document import Document
from rlaif.documents.marked import KeyPath
from rlaif.errors import InputError, Where, nearest

Model = TypeVar("Model", bound=BaseModel)
_SHOWN = 60  # characters of a wrong value that a message repeats


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a document."""

    where: Where
    found: str
    do: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.found} {self.do}".rstrip()


def raise_problems(problems: Sequence[Problem], error: type[InputError], *, see: str = "") -> None:
    """Raises one `error` that lists all problems in the order they stand in the file; nothing if there are none.

    `see` names the file that explains the keys; it stands once, at the end.
    """
    pointer = f"See {see}." if see else ""
    if len(problems) == 1:
        do = f"{problems[0].do} {pointer}".strip()
        raise error(problems[0].found, where=problems[0].where, do=do or None)
    if problems:
        in_order = sorted(problems, key=lambda p: (p.where.path, p.where.line or 0, p.where.column or 0))
        raise error("\n".join(str(problem) for problem in in_order), do=pointer or None)


def path_text(document: Document, key_path: KeyPath) -> str:
    """How a message names a part of the document: `policies[0].sampling`; `the document` for the whole."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in key_path)
    return f"`{text.removeprefix('.')}`" if text else "the document"


def validate(
    document: Document,
    model: type[Model],
    error: type[InputError],
    *,
    name_of: Callable[[Document, KeyPath], str] = path_text,
    see: str = "",
) -> Model:
    """`document` as a `model`, or `error` with every problem. `see` names the file that explains the keys."""
    try:
        return model.model_validate(document.value)
    except ValidationError as failure:
        problems = [
            _problem(document, model, dict(found), name_of)
            for found in failure.errors(include_url=False)
            if not _is_echo(dict(found))
        ]
        raise_problems(problems, error, see=see)
        raise  # pydantic never reports a failure without an error in it


def _is_echo(found: dict[str, Any]) -> bool:
    """Pydantic also calls a list too short when its items are wrong; the items' own problems say it better."""
    return bool(found["type"] == "too_short" and len(found["input"]) >= found["ctx"]["min_length"])


def _problem(
    document: Document,
    model: type[BaseModel],
    found: dict[str, Any],
    name_of: Callable[[Document, KeyPath], str],
) -> Problem:
    location: tuple[str | int, ...] = found["loc"]
    key_path = _key_path(document.value, location)
    if found["type"] == "missing":
        missing = str(location[-1])
        text = f"{name_of(document, key_path)} has no `{missing}`."
        return Problem(document.where(key_path), text, f"Add `{missing}`{_meaning(model, key_path, missing)}.")
    if found["type"] == "extra_forbidden":
        parts = [part for part in _models_at(model, key_path[:-1]) if _may_be(part, _value_at(document, key_path[:-1]))]
        known = sorted({name for part in parts for name in part.model_fields})
        text = f"{name_of(document, key_path[:-1])} has an unknown key {key_path[-1]!r}"
        text += f"{nearest(str(key_path[-1]), known)}."
        return Problem(document.where_key(key_path), text, f"Known keys: {', '.join(known)}.")
    if found["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return _wrong_kind(document, model, key_path, found, name_of(document, key_path))
    name = name_of(document, key_path)
    if found["type"] in ("value_error", "assertion_error"):
        return Problem(document.where(key_path), f"{name}: {found['ctx']['error']}.")
    return Problem(document.where(key_path), f"{name} is {_shown(found['input'])}.", f"{_wanted(found)}.")


def _wrong_kind(
    document: Document, model: type[BaseModel], key_path: KeyPath, found: dict[str, Any], name: str
) -> Problem:
    """A part that may be of several kinds, told apart by one key, and names none of them."""
    key = str(found["ctx"]["discriminator"]).strip("'")
    known = [str(kind) for part in _models_at(model, key_path) for kind in _kinds(part, key)]
    if found["type"] == "union_tag_not_found":
        text = f"{name} has no `{key}`."
        return Problem(document.where(key_path), text, f"Add `{key}`: {', '.join(known)}.")
    given = str(found["ctx"]["tag"])
    text = f"{name} has an unknown {key} {given!r}{nearest(given, known)}."
    return Problem(document.where((*key_path, key)), text, f"Known: {', '.join(known)}.")


def _kinds(part: type[BaseModel], key: str) -> tuple[Any, ...]:
    field = part.model_fields.get(key)
    return typing.get_args(field.annotation) if field and typing.get_origin(field.annotation) is typing.Literal else ()


def _may_be(part: type[BaseModel], value: Any) -> bool:
    """False for a model whose one-valued keys (its kind) say otherwise than what is written."""
    written = value if isinstance(value, dict) else {}
    return all(
        written.get(key) in kinds
        for key in part.model_fields
        if len(kinds := _kinds(part, key)) == 1 and key in written
    )


def _value_at(document: Document, key_path: KeyPath) -> Any:
    value: Any = document.value
    for key in key_path:
        value = value[key]
    return value


def _key_path(value: Any, location: Sequence[str | int]) -> KeyPath:
    """The part of a pydantic location that is in the document; the rest names union members and validators."""
    key_path: KeyPath = ()
    for key in location:
        is_here = (isinstance(value, dict) and key in value) or (
            isinstance(value, list) and isinstance(key, int) and key < len(value)
        )
        if is_here:
            value, key_path = value[key], (*key_path, key)
    return key_path


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if value is None:
        return "empty"
    if isinstance(value, str) and not value.strip():
        return "an empty text"
    shown = repr(value)
    shown = shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + "..."
    kind = {str: "the text ", bool: "", int: "the number ", float: "the number "}.get(type(value), "")
    return kind + ({True: "true", False: "false"}[value] if isinstance(value, bool) else shown)


def _wanted(found: dict[str, Any]) -> str:
    if found["type"] == "string_too_short":
        return "Write a text"
    if found["type"] == "too_short":
        return f"Give at least {found['ctx']['min_length']}"
    if found["type"] == "string_type" and not isinstance(found["input"], dict | list | None):
        return "It should be text: put it in quotes"
    if found["type"] == "finite_number":
        return "Write a finite number"
    if found["type"] in ("bool_type", "bool_parsing"):
        return "Write true or false"
    if found["type"] == "model_type":
        return "It should be `key: value` lines"
    return (
        str(found["msg"])
        .replace("Input should be", "It should be")
        .replace("a valid string", "text")
        .replace("valid dictionary", "mapping")
        .replace("valid tuple", "list")
        .replace("valid frozenset", "list")
        .replace("String should match pattern", "It should match")
        .partition(", unable to parse")[0]
    )


def _meaning(model: type[BaseModel], key_path: KeyPath, name: str) -> str:
    for part in _models_at(model, key_path):
        field = part.model_fields.get(name)
        if field is not None and field.description:
            return ": " + field.description.strip().rstrip(".")
    return ""


def _models_at(model: type[BaseModel], key_path: KeyPath) -> list[type[BaseModel]]:
    """The models whose keys the mapping at `key_path` may have (several where a field is a union)."""
    annotations: list[Any] = [model]
    for key in key_path:
        annotations = [inner for outer in annotations for inner in _below(outer, key)]
    return [part for outer in annotations for part in _members(outer) if _is_model(part)]


def _below(annotation: Any, key: str | int) -> Iterator[Any]:
    for member in _members(annotation):
        if _is_model(member):
            if key in member.model_fields:
                yield member.model_fields[str(key)].annotation
        else:
            yield from (inner for inner in typing.get_args(member) if inner is not Ellipsis)


def _members(annotation: Any) -> Iterator[Any]:
    """The alternatives of an annotation: the members of a union, without `Annotated`."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _members(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
