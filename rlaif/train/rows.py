"""What a row of a dataset says: a prompt, its answers, and how sure the label is. No tokens yet.

    preference_row(raw, where, labels="soft")   chosen, rejected, probability, weight, margin
    demonstration_row(raw, where)               a conversation or a prompt and its completion, for SFT

Read are our own datasets (`rlaif/pair_dataset.py`), and TRL's preference, prompt-completion and language-modelling
formats: texts or conversations, with the prompt in a column of its own (explicit) or at the start of both answers
(implicit). A row that contradicts itself stops the reading with its place; a row that has nothing to learn from is
`Refused` with one of a few fixed reasons, so that refusals can be counted.

`probability` is P(chosen is better); without the column it is 1. `labels="hard"` rounds it, exchanging the answers
where it is under 1/2, and refuses ties. `margin` is read for those who ask for it: in our own datasets it is 2p - 1,
so using it beside a soft label would count the label twice.
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
_SEE = "Columns are prompt, chosen, rejected (and probability, weight, margin), or chosen and rejected with the prompt."


@dataclass(frozen=True, slots=True)
class Refused:
    """A row nothing can be learnt from, and why. Reasons are few and fixed."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceRow:
    """Answers to a prompt, all of one kind: texts, or turns that continue the prompt's."""

    prompt: Content
    chosen: Content
    rejected: Content
    probability: float
    weight: float
    margin: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DemonstrationRow:
    """Something to imitate: the completion of a prompt. Without a prompt: every assistant turn, or the whole text."""

    prompt: Content
    completion: Content
    weight: float


def preference_row(raw: Mapping[str, Any], where: Where, *, labels: Labels = "soft") -> PreferenceRow | Refused:
    """One row of a preference dataset; raises DataError where it contradicts itself."""
    chosen, rejected = (_content(raw, name, where) for name in ("chosen", "rejected"))
    if raw.get("prompt") is not None:
        prompt = _content(raw, "prompt", where)
    else:
        prompt, chosen, rejected = _split_prompt(chosen, rejected, where)
    if len({isinstance(part, str) for part in (prompt, chosen, rejected)}) > 1:
        raise DataError("prompt, chosen and rejected are not all texts or all conversations.", where=where, do=_SEE)
    probability = _number(raw, "probability", 1.0, where, lowest=0.0, highest=1.0)
    weight = _number(raw, "weight", 1.0, where, lowest=0.0)
    margin = _number(raw, "margin", 0.0, where)
    if labels == "hard":
        if probability == 0.5:
            return Refused(TIE)
        if probability < 0.5:
            chosen, rejected, margin = rejected, chosen, -margin
        probability = 1.0
    if _is_empty(chosen) or _is_empty(rejected):
        return Refused(EMPTY)
    if chosen == rejected:
        return Refused(SAME)
    if weight == 0.0:
        return Refused(NO_WEIGHT)
    return PreferenceRow(
        prompt=prompt, chosen=chosen, rejected=rejected, probability=probability, weight=weight, margin=margin
    )


def demonstration_row(raw: Mapping[str, Any], where: Where) -> DemonstrationRow | Refused:
    """One row to imitate: `prompt` and `completion` (or `chosen` of a preference dataset), `messages`, or `text`."""
    if raw.get("messages") is not None or raw.get("text") is not None:
        name = "messages" if raw.get("messages") is not None else "text"
        completion = _content(raw, name, where)
        prompt: Content = "" if isinstance(completion, str) else ()
    elif raw.get("prompt") is not None:
        prompt = _content(raw, "prompt", where)
        completion = _content(raw, "completion" if raw.get("completion") is not None else "chosen", where)
    else:
        raise DataError(
            f"found the columns {', '.join(raw)}.", where=where, do="SFT reads prompt + completion, messages or text."
        )
    if isinstance(prompt, str) != isinstance(completion, str):
        raise DataError("prompt and completion are not both texts or both conversations.", where=where, do=_SEE)
    weight = _number(raw, "weight", 1.0, where, lowest=0.0)
    if _is_empty(completion):
        return Refused(EMPTY)
    return DemonstrationRow(prompt=prompt, completion=completion, weight=weight) if weight else Refused(NO_WEIGHT)


def _split_prompt(chosen: Content, rejected: Content, where: Where) -> tuple[Content, Content, Content]:
    """An implicit prompt is what both answers begin with: whole turns, or characters up to the last space."""
    if isinstance(chosen, str) and isinstance(rejected, str):
        shared = next(
            (n for n, (x, y) in enumerate(zip(chosen, rejected, strict=False)) if x != y),
            min(len(chosen), len(rejected)),
        )
        if shared and chosen[shared - 1] == " ":
            shared -= 1  # the space belongs to the word that follows it
        return chosen[:shared], chosen[shared:], rejected[shared:]
    if isinstance(chosen, tuple) and isinstance(rejected, tuple):
        longest = min(len(chosen), len(rejected)) - 1  # the last turns are answers even when they are equal
        shared = next((n for n in range(longest) if chosen[n] != rejected[n]), max(longest, 0))
        return chosen[:shared], chosen[shared:], rejected[shared:]
    raise DataError("chosen and rejected are not both texts or both conversations.", where=where, do=_SEE)


def _content(raw: Mapping[str, Any], name: str, where: Where) -> Content:
    value = raw.get(name)
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence) and all(_is_turn(turn) for turn in value):
        return tuple({key: part for key, part in turn.items() if part is not None} for turn in value)
    found = f"there is no `{name}`" if value is None else f"`{name}` is neither a text nor a list of turns"
    raise DataError(f"{found} (columns: {', '.join(raw)}).", where=where, do=_SEE)


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, Mapping) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str)


def _is_empty(content: Content) -> bool:
    if isinstance(content, str):
        return not content.strip()
    return not any(turn["role"] == "assistant" and turn["content"].strip() for turn in content)


def _number(
    raw: Mapping[str, Any],
    name: str,
    default: float,
    where: Where,
    *,
    lowest: float = -math.inf,
    highest: float = math.inf,
) -> float:
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
