"""One row of a prompt set to a `Prompt`: nothing guessed, nothing repaired."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from rlaif.errors import DataError, Where, nearest
from rlaif.records import Message, Prompt, Role

FIELDS = ("prompt", "messages", "tags", "id", "source", "reference")
_ROLES: tuple[Role, ...] = get_args(Role)
_SEE = "See prompts/README.md."


@dataclass(frozen=True, slots=True)
class Drop:
    """A row that was left out, and why. The reasons are few and fixed, so that they can be counted."""

    reason: str
    where: Where
    same_as: Where | None = None  # duplicates: the row that was kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One prompt that repeats another or stands in a benchmark. `same_as` is the place of what it repeats; `likeness`
    is the Jaccard similarity to it, or the share of the prompt's word runs that stand in the benchmark."""

    prompt_id: str
    reason: str
    where: str
    same_as: str
    likeness: float
    passage: str = ""
    is_removed: bool = False

    def __str__(self) -> str:
        quoted = f": “{self.passage}”" if self.passage else ""
        return f"{self.where}: {self.reason} ({self.likeness:.0%}), {self.same_as}{quoted}"


def choose_columns(names: Iterable[str], columns: Mapping[str, str], where: Where) -> dict[str, str]:
    """Which column holds which field: `columns` where it is given, else the columns named as our fields are."""
    known = list(names)
    for field, column in columns.items():
        if field not in FIELDS:
            found = f"`columns` has an unknown key {field!r}{nearest(field, FIELDS)}."
            raise DataError(found, where=where, do=f"Known keys: {', '.join(FIELDS)}.")
        if column not in known:
            found = f"there is no column {column!r}{nearest(column, known)}."
            raise DataError(found, where=where, do=f"The columns are: {', '.join(known)}.")
    chosen = dict(columns) or {field: field for field in FIELDS if field in known}
    if ("prompt" in chosen) == ("messages" in chosen):
        found = "both `prompt` and `messages` are" if "prompt" in chosen else "neither `prompt` nor `messages` is"
        do = f"Say which column to read, e.g. columns: {{prompt: question}}. The columns are: {', '.join(known)}."
        raise DataError(f"{found} given.", where=where, do=do)
    return chosen


def check_keys(row: Mapping[str, Any], where: Where) -> None:
    """Refuses a row's unknown keys: in a hand-written file they are mistypings."""
    for key in row:
        if key not in FIELDS:
            raise DataError(
                f"found an unknown key {key!r}{nearest(key, FIELDS)}.",
                where=where,
                do=f"Known keys: {', '.join(FIELDS)}. Other names need `columns` in the settings. {_SEE}",
            )


def parse_row(row: Mapping[str, Any], where: Where, default_source: str) -> Prompt | Drop:
    """A row of our fields as a prompt, or why it cannot be one."""
    messages = _one_message(row["prompt"], where) if "prompt" in row else _messages(row.get("messages"), where)
    if any(not message.content.strip() for message in messages) or not messages:
        return Drop("empty text", where)
    if messages[-1].role != "user":
        return Drop("does not end with a user turn", where)
    if any(message.role == "system" for message in messages[1:]):
        return Drop("system turn after the first", where)
    if any(not _is_unicode(text) for text in (*(m.content for m in messages), str(row.get("reference")))):
        return Drop("not valid Unicode", where)
    return Prompt(
        messages=messages,
        tags=_tags(row.get("tags"), where),
        source=_text(row.get("source"), "source", where) or default_source,
        name=_text(row.get("id"), "id", where),
        reference=_reference(row.get("reference"), where),
    )


def _one_message(value: Any, where: Where) -> tuple[Message, ...]:
    if isinstance(value, list):
        raise DataError("`prompt` is a list.", where=where, do=f"Give a conversation as `messages`. {_SEE}")
    return (Message("user", _text(value, "prompt", where)),)


def _messages(value: Any, where: Where) -> tuple[Message, ...]:
    if isinstance(value, str):  # a CSV cell
        try:
            value = json.loads(value) if value.strip() else []
        except (ValueError, RecursionError) as failure:
            raise DataError("`messages` is text, but not a JSON list.", where=where, do=_SEE) from failure
    if value is not None and not isinstance(value, list):
        raise DataError(f"`messages` is {_kind(value)}, not a list.", where=where, do=_SEE)
    return tuple(_message(item, i, where) for i, item in enumerate(value or ()))


def _message(item: Any, i: int, where: Where) -> Message:
    wanted = 'Write {"role": "user", "content": "..."}.'
    if not isinstance(item, dict):
        raise DataError(f"`messages[{i}]` is {_kind(item)}.", where=where, do=wanted)
    for key, value in item.items():
        if key not in ("role", "content") and value is not None:
            found = f"`messages[{i}]` has an unknown key {key!r}{nearest(key, ('role', 'content'))}."
            raise DataError(found, where=where, do=wanted)
    role = item.get("role")
    if role not in _ROLES:
        found = f"`messages[{i}]` has the role {role!r}." if "role" in item else f"`messages[{i}]` has no `role`."
        raise DataError(found, where=where, do=f"Roles are {', '.join(_ROLES)}.")
    return Message(role, _text(item.get("content"), f"messages[{i}].content", where))


def _text(value: Any, name: str, where: Where) -> str:
    """Text as it is; null is no text; a number is written out only where it serves as an id."""
    if value is None:
        return ""
    if name == "id" and type(value) is int:
        return str(value)
    if not isinstance(value, str):
        raise DataError(f"`{name}` is {_kind(value)}, not text.", where=where, do=_SEE)
    return value


def _reference(value: Any, where: Where) -> str | None:
    """Text or a number, as it is written; empty is none."""
    if type(value) in (int, float):
        return repr(value)
    return _text(value, "reference", where).strip() or None


def _tags(value: Any, where: Where) -> frozenset[str]:
    tags = value.split(",") if isinstance(value, str) else value or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        do = 'Write ["a", "b"], or "a, b" in a CSV cell.'
        raise DataError(f"`tags` is {value!r}, not a list of texts.", where=where, do=do)
    return frozenset(tag.strip() for tag in tags if tag.strip())


def _kind(value: Any) -> str:
    kinds = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number" if isinstance(value, int | float) else f"a {type(value).__name__}")


def _is_unicode(text: str) -> bool:
    """False for half of a surrogate pair, which JSON can spell and no tokenizer can read."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
