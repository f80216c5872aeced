"""The columns of a row as somebody wrote them, one by one: texts and conversations, numbers, and why a row is refused.

Each reader raises DataError with the row's place where a column holds something else than it should. What the columns
mean together is decided in `rows` and `answer_rows`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rlaif.errors import DataError, Where

Turn = dict[str, Any]
Content = str | tuple[Turn, ...]  # a text, or the turns of a conversation
Labels = Literal["soft", "hard"]

TIE, SAME, EMPTY, NO_WEIGHT = "tie", "answers are equal", "answer is empty", "weight is 0"
SKIPPED = "skipped by the rater"
SEE = "Columns are prompt, chosen, rejected (and probability, weight, margin), or chosen and rejected with the prompt."


@dataclass(frozen=True, slots=True)
class Refused:
    """A row nothing can be learnt from, and why. Reasons are few and fixed."""

    reason: str


def content_of(raw: Mapping[str, Any], name: str, where: Where) -> Content:
    """A column that holds a text or the turns of a conversation."""
    value = raw.get(name)
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence) and all(_is_turn(turn) for turn in value):
        return tuple({key: part for key, part in turn.items() if part is not None} for turn in value)
    found = f"there is no `{name}`" if value is None else f"`{name}` is neither a text nor a list of turns"
    raise DataError(f"{found} (columns: {', '.join(raw)}).", where=where, do=SEE)


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, Mapping) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str)


def is_empty(content: Content) -> bool:
    """True when an answer says nothing."""
    if isinstance(content, str):
        return not content.strip()
    return not any(turn["role"] == "assistant" and turn["content"].strip() for turn in content)


def number_of(
    raw: Mapping[str, Any],
    name: str,
    default: float,
    where: Where,
    *,
    lowest: float = -math.inf,
    highest: float = math.inf,
) -> float:
    """A column that holds a finite number in a range; its default where it is missing."""
    value = raw.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
        wanted = (
            f"a number from {lowest:g} to {highest:g}" if highest < math.inf else f"a number of at least {lowest:g}"
        )
        raise DataError(f"`{name}` is {value!r}.", where=where, do=f"It should be {wanted}.")
    if math.isinf(value):
        raise DataError(f"`{name}` is {value!r}.", where=where, do="It should be finite.")
    return float(value)
