"""Rows that are no pair: several answers to a prompt in an order, and single answers called good or bad.

    ranked_row(raw, where)      prompt, answers and their ranks or scores: every two of them compared (InstructGPT)
    answer_rows(raw, where)     prompt, completion, label (TRL's unpaired preferences), or a pair's two answers (KTO)

`answers` holds texts or conversations' turns; `ranks` count from 1, the best, equal ranks are ties; `scores` are better
when they are higher; without either, the best answer comes first.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.errors import DataError, Where
from rlaif.train.cells import (
    EMPTY,
    NO_WEIGHT,
    SAME,
    SEE,
    TIE,
    Content,
    Labels,
    Refused,
    content_of,
    is_empty,
    number_of,
)
from rlaif.train.rows import hard, preference_row

_RANKED = "Give prompt, answers (two or more), and ranks (1 is the best) or scores (higher is better), one per answer."
_SINGLE = "KTO reads prompt, completion and label (true, false), or pairs of a chosen and a rejected answer."


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedRow:
    """Answers to one prompt. `comparisons` are (better, worse, P(better is better)) by their places in `answers`."""

    prompt: Content
    answers: tuple[Content, ...]
    comparisons: tuple[tuple[int, int, float], ...]
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRow:
    """One answer, and the probability that it is a desirable one."""

    prompt: Content
    completion: Content
    probability: float
    weight: float


def is_ranked(raw: Mapping[str, Any]) -> bool:
    return raw.get("answers") is not None


def ranked_row(raw: Mapping[str, Any], where: Where, *, labels: Labels = "soft") -> RankedRow | Refused:
    """Every two answers compared once; equal ones are ties (p = 1/2), left out where labels are hard."""
    prompt = content_of(raw, "prompt", where)
    answers = tuple(_answer(one, prompt, where) for one in _list(raw, "answers", where))
    heights = _heights(raw, len(answers), where)
    weight = number_of(raw, "weight", 1.0, where, lowest=0.0)
    comparisons = []
    for one, other in itertools.combinations(range(len(answers)), 2):
        better, worse = (one, other) if heights[one] >= heights[other] else (other, one)
        is_tie = heights[one] == heights[other]
        if not (is_tie and labels == "hard"):
            comparisons.append((better, worse, 0.5 if is_tie else 1.0))
    if any(is_empty(answer) for answer in answers):
        return Refused(EMPTY)
    if any(one == other for one, other in itertools.combinations(answers, 2)):
        return Refused(SAME)
    if not comparisons:
        return Refused(TIE)
    if weight == 0.0:
        return Refused(NO_WEIGHT)
    return RankedRow(prompt=prompt, answers=answers, comparisons=tuple(comparisons), weight=weight)


def answer_rows(raw: Mapping[str, Any], where: Where, *, labels: Labels = "soft") -> list[AnswerRow] | Refused:
    """The single answers of a row: one, or a pair's two, the rejected one desirable with what is left of p."""
    if raw.get("completion") is None:
        pair = preference_row(raw, where, labels=labels)
        if isinstance(pair, Refused):
            return pair
        sides = ((pair.chosen, pair.probability), (pair.rejected, 1.0 - pair.probability))
        return [AnswerRow(prompt=pair.prompt, completion=c, probability=p, weight=pair.weight) for c, p in sides]
    prompt, completion = content_of(raw, "prompt", where), content_of(raw, "completion", where)
    if isinstance(prompt, str) != isinstance(completion, str):
        raise DataError("prompt and completion are not both texts or both conversations.", where=where, do=SEE)
    probability = _desirable(raw, where)
    weight = number_of(raw, "weight", 1.0, where, lowest=0.0)
    if labels == "hard":
        probability = hard(probability)
    if is_empty(completion):
        return Refused(EMPTY)
    if labels == "hard" and probability == 0.5:
        return Refused(TIE)
    if weight == 0.0:
        return Refused(NO_WEIGHT)
    return [AnswerRow(prompt=prompt, completion=completion, probability=probability, weight=weight)]


def _desirable(raw: Mapping[str, Any], where: Where) -> float:
    label = raw.get("label")
    if isinstance(label, bool):
        return float(label)
    if label is not None:
        raise DataError(f"`label` is {label!r}.", where=where, do="It is true (a good answer) or false (a bad one).")
    if raw.get("probability") is None:
        raise DataError("this answer has neither `label` nor `probability`.", where=where, do=_SINGLE)
    return number_of(raw, "probability", 1.0, where, lowest=0.0, highest=1.0)


def _answer(value: Any, prompt: Content, where: Where) -> Content:
    """An answer of the prompt's kind: a text beside a conversation is one assistant turn."""
    answer = content_of({"answers": value}, "answers", where)
    if isinstance(answer, str) and not isinstance(prompt, str):
        return ({"role": "assistant", "content": answer},)
    if isinstance(prompt, str) and not isinstance(answer, str):
        raise DataError("the prompt is a text, but an answer is a conversation.", where=where, do=_RANKED)
    return answer


def _heights(raw: Mapping[str, Any], count: int, where: Where) -> list[float]:
    """One number per answer, higher for the better."""
    names = [name for name in ("ranks", "scores") if raw.get(name) is not None]
    if len(names) > 1:
        raise DataError("both `ranks` and `scores` are given.", where=where, do=_RANKED)
    if not names:
        return [-float(place) for place in range(count)]
    (name,) = names
    values = _list(raw, name, where)
    if len(values) != count or None in values:
        given = count - list(values).count(None) if len(values) == count else len(values)
        raise DataError(f"there are {count} answers, but {given} {name}.", where=where, do=_RANKED)
    found = [number_of({name: value}, name, 0.0, where) for value in values]
    return [-rank for rank in found] if name == "ranks" else found


def _list(raw: Mapping[str, Any], name: str, where: Where) -> Sequence[Any]:
    value = raw[name]
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) < 2:
        raise DataError(f"`{name}` is no list of two or more.", where=where, do=_RANKED)
    return value
