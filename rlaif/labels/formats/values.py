"""Cells of foreign rows as our values: choices, texts, conversations, numbers, times. Nothing guessed.

A choice is read through a closed alphabet. A value that belongs to another alphabet (0 where 1 and 2 are the answers,
a model's name where A and B are) stops the reading: the values that do fit may then mean something else. LLMBar's own
kappas are wrong for want of this check. Other words are merely no label, and are listed.
"""

import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, get_args

from rlaif.labels.label import Choice
from rlaif.labels.votes import Unfit, WrongAlphabet
from rlaif.records import Message, Role

_ROLES: Mapping[str, Role] = {
    **{role: role for role in get_args(Role)},
    "human": "user",
    "prompter": "user",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
_SPELLINGS = {"a", "b", "first", "second", "left", "right", "text_a", "text_b", "model_a", "model_b", "true", "false"}


def spelling(value: Any) -> str:
    """One spelling for 1, 1.0, "1" and " 1 ", and for "Tie" and "tie"."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    try:
        return spelling(float(text)) if "." in text and float(text).is_integer() else text.casefold()
    except (ValueError, OverflowError):
        return text.casefold()


class Alphabet:
    """The spellings of choices in one format, and of nothing else."""

    def __init__(self, **letters: Iterable[Any]) -> None:
        self.letters: dict[str, Choice] = {}
        for choice, values in letters.items():
            self.letters.update({spelling(value): choice for value in values})  # type: ignore[misc]  # keys are choices

    def read(self, value: Any, *, names: Iterable[str] = ()) -> Choice | Unfit:
        """The choice, or why there is none. WrongAlphabet where the value is a number, a letter, a position's or one
        of the `names`, but none of this alphabet's."""
        if value is None or (isinstance(value, float) and math.isnan(value)) or not str(value).strip():
            return Unfit("no label")
        found = spelling(value)
        if found in self.letters:
            return self.letters[found]
        if found in _SPELLINGS or _is_number(found) or found in {spelling(name) for name in names}:
            known = ", ".join(f"{letter} ({choice})" for letter, choice in self.letters.items())
            raise WrongAlphabet(f"the label {value!r} is of another alphabet; here they are {known}.")
        return Unfit(f"not a label: {str(value)[:40]!r}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def text_of(value: Any) -> str:
    """Text as it is; a JSON number or boolean as JSON writes it (a few of PandaLM's answers are `true`); else ""."""
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool | int | float) else ""


def parsed(value: Any) -> Any:
    """A CSV cell that holds JSON (a list, a mapping) as what it holds; anything else as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def messages_of(value: Any) -> tuple[Message, ...] | Unfit:
    """A conversation: text is one user turn, a list of texts alternates, a list of turns is itself.

    Turns are {role, content} or {from, value}, with the roles' usual other names.
    """
    if isinstance(value, str):
        return (Message("user", value),)
    if not isinstance(value, list | tuple):
        return Unfit("the conversation is neither text nor a list")
    turns = []
    for number, turn in enumerate(value):
        if isinstance(turn, str):
            turns.append(Message("assistant" if number % 2 else "user", turn))
            continue
        if not isinstance(turn, Mapping):
            return Unfit("a turn is neither text nor a mapping")
        role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
        if role not in _ROLES or not isinstance(content, str):
            return Unfit(f"a turn has the role {role!r}" if role not in _ROLES else "a turn's content is not text")
        turns.append(Message(_ROLES[role], content))
    return tuple(turns)


def one_prompt(*texts: Any) -> tuple[Message, ...]:
    """An instruction and its input, as one user turn with an empty line between them."""
    return (Message("user", "\n\n".join(text for text in map(text_of, texts) if text)),)


def number_of(value: Any) -> float | None:
    """A finite number, or None for anything else. True and False are no numbers."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def by_score(first: float, second: float) -> Choice:
    """Who has the higher score."""
    return "tie" if first == second else "first" if first > second else "second"


def time_of(value: Any) -> datetime | None:
    """ISO 8601, or seconds since 1970. Without a zone it is UTC; None for anything else."""
    if isinstance(value, datetime):
        time = value
    elif (seconds := number_of(value)) is not None:
        try:
            time = datetime.fromtimestamp(seconds, UTC)
        except (ValueError, OverflowError, OSError):
            return None
    else:
        try:
            time = datetime.fromisoformat(value)
        except (TypeError, ValueError):
            return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
