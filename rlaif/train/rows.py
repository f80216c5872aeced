"""What a row of a dataset says: a prompt, its answers, and how sure the label is. No tokens yet.

    preference_row(raw, where, labels="soft")   chosen, rejected, probability, weight, margin
    demonstration_row(raw, where)               a conversation or a prompt and its completion, for SFT

Read are our own datasets (`rlaif/pair_dataset.py`), label files (one vote a row, `docs/labels.md`), and TRL's
preference, prompt-completion and language-modelling formats: texts or conversations, with the prompt in a column of its
own (explicit) or at the start of both answers (implicit). Answers in an order and single answers are read in
`answer_rows`. A row that contradicts itself stops the reading with its place; a row that has nothing to learn from is
`Refused` with one of a few fixed reasons, so that refusals can be counted.

`probability` is P(chosen is better); without the column it is 1. `labels="hard"` rounds it, exchanging the answers
where it is under 1/2, and refuses ties. `margin` is read for those who ask for it: in our own datasets it is 2p - 1,
so using it beside a soft label would count the label twice. `principles` holds P(chosen is better) under each
principle that was asked, for those who ask for it; who said any of this is not read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
from rlaif.train.vote_rows import from_vote, principles_of


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceRow:
    """Answers to a prompt, all of one kind: texts, or turns that continue the prompt's."""

    prompt: Content
    chosen: Content
    rejected: Content
    probability: float
    weight: float
    margin: float
    principles: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemonstrationRow:
    """Something to imitate: the completion of a prompt. Without a prompt: every assistant turn, or the whole text."""

    prompt: Content
    completion: Content
    weight: float


def preference_row(
    raw: Mapping[str, Any], where: Where, *, labels: Labels = "soft", with_principles: bool = False
) -> PreferenceRow | Refused:
    """One row of a preference dataset or a label file; raises DataError where it contradicts itself."""
    read = from_vote(raw, where)
    if isinstance(read, Refused):
        return read
    if read.get("chosen") is None and read.get("completion") is not None:
        do = "Single answers are read by `rlaif train sft`, and by `rlaif train dpo` with loss: kto."
        raise DataError("this is one answer; a preference is between two.", where=where, do=do)
    chosen, rejected = (content_of(read, name, where) for name in ("chosen", "rejected"))
    if read.get("prompt") is not None:
        prompt = content_of(read, "prompt", where)
    else:
        prompt, chosen, rejected = _split_prompt(chosen, rejected, where)
    if len({isinstance(part, str) for part in (prompt, chosen, rejected)}) > 1:
        raise DataError("prompt, chosen and rejected are not all texts or all conversations.", where=where, do=SEE)
    probability = number_of(read, "probability", 1.0, where, lowest=0.0, highest=1.0)
    weight = number_of(read, "weight", 1.0, where, lowest=0.0)
    margin = number_of(read, "margin", 0.0, where)
    principles = principles_of(raw, where) if with_principles else {}
    if read is not raw and read["is_turned"]:
        principles = _exchanged(principles)
    if labels == "hard":
        if probability == 0.5:
            return Refused(TIE)
        principles = {name: hard(value) for name, value in principles.items()}
        if probability < 0.5:
            chosen, rejected, margin = rejected, chosen, -margin
            principles = _exchanged(principles)
        probability = 1.0
    if is_empty(chosen) or is_empty(rejected):
        return Refused(EMPTY)
    if chosen == rejected:
        return Refused(SAME)
    if weight == 0.0:
        return Refused(NO_WEIGHT)
    return PreferenceRow(
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        probability=probability,
        weight=weight,
        margin=margin,
        principles=principles,
    )


def _exchanged(principles: Mapping[str, float]) -> dict[str, float]:
    return {name: 1.0 - value for name, value in principles.items()}


def hard(probability: float) -> float:
    """A probability as 0, 1, or 1/2 where it names no side."""
    return float(probability > 0.5) if probability != 0.5 else 0.5


def demonstration_row(raw: Mapping[str, Any], where: Where) -> DemonstrationRow | Refused:
    """One row to imitate: `prompt` and `completion`, `messages`, `text`, or the better answer of a pair or a vote."""
    if raw.get("messages") is not None or raw.get("text") is not None:
        name = "messages" if raw.get("messages") is not None else "text"
        completion = content_of(raw, name, where)
        prompt: Content = "" if isinstance(completion, str) else ()
    elif raw.get("prompt") is not None and raw.get("completion") is not None:
        prompt, completion = content_of(raw, "prompt", where), content_of(raw, "completion", where)
    elif raw.get("prompt") is not None and raw.get("chosen") is not None and raw.get("rejected") is None:
        prompt, completion = content_of(raw, "prompt", where), content_of(raw, "chosen", where)
    elif raw.get("chosen") is not None or raw.get("first") is not None:
        pair = preference_row(raw, where, labels="hard")  # the better answer is imitated, whichever column holds it
        if isinstance(pair, Refused):
            return pair
        prompt, completion = pair.prompt, pair.chosen
    else:
        do = "SFT reads prompt + completion, messages, text, or pairs."
        raise DataError(f"found the columns {', '.join(raw)}.", where=where, do=do)
    if isinstance(prompt, str) != isinstance(completion, str):
        raise DataError("prompt and completion are not both texts or both conversations.", where=where, do=SEE)
    weight = number_of(raw, "weight", 1.0, where, lowest=0.0)
    if is_empty(completion):
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
    raise DataError("chosen and rejected are not both texts or both conversations.", where=where, do=SEE)
