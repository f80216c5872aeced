"""From what a format's reader found to a vote: the pair gets its ids from its texts, and the sides their order.

A reader says what a row holds (`Found`) or why it holds nothing (`Unfit`). It never decides about ids or order: that
is done here, once, for all formats.
"""

from dataclasses import dataclass, fields, replace
from datetime import datetime

from rlaif.labels.label import Choice, Label, Mark, RaterKind, Vote, swapped_choice, swapped_probability
from rlaif.records import Message, Prompt, Response, ResponsePair


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why a row, or one of its votes, is not a label. `part` says which of the row's votes it was."""

    reason: str
    part: str = ""


class WrongAlphabet(ValueError):
    """A choice is spelled in letters that the format does not have: reading on could turn the votes around."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A vote as the source has it, sides in the source's order."""

    prompt: tuple[Message, ...]
    first: str
    second: str
    rater: str
    kind: RaterKind
    choice: Choice | None = None
    probability: float | None = None
    strength: float | None = None
    marks: tuple[Mark, ...] = ()
    comment: str = ""
    seconds: float | None = None
    time: datetime | None = None
    is_order_known: bool = False
    item: str = ""
    first_model: str = ""
    second_model: str = ""
    tags: frozenset[str] = frozenset()
    source: str = ""


_SHARED = tuple({one.name for one in fields(Label)} & {one.name for one in fields(Found)})


def make_vote(found: Found, *, source: str) -> Vote | Unfit:
    """The vote with its ids, or why the texts make no pair. `source` stands in where the row names none."""
    fault = _fault(found)
    if fault:
        return Unfit(fault)
    prompt = Prompt(messages=found.prompt, tags=found.tags, source=found.source or source)
    first, second = (_response(prompt.id, text, model) for text, model in _sides(found))
    if not found.is_order_known and first.id > second.id:
        found, first, second = swapped_found(found), second, first
    x, y = sorted((first, second), key=lambda response: response.id)
    pair = ResponsePair(prompt, x, y)
    try:
        return Vote(pair, _label(found, pair.id, first.id, second.id))
    except ValueError as fault:
        return Unfit(str(fault))


def _sides(found: Found) -> tuple[tuple[str, str], tuple[str, str]]:
    return (found.first, found.first_model), (found.second, found.second_model)


def _fault(found: Found) -> str:
    """Why these texts are no pair under a prompt, or nothing. An empty answer is an answer; an empty prompt is none."""
    texts = [message.content for message in found.prompt]
    if not texts or not any(text.strip() for text in texts):
        return "no prompt"
    if found.prompt[-1].role != "user":
        return "the prompt does not end with a user turn"
    if any(message.role == "system" for message in found.prompt[1:]):
        return "system turn after the first"
    if found.first == found.second:
        return "both answers are the same text"
    try:
        "".join([*texts, found.first, found.second]).encode()
    except UnicodeEncodeError:
        return "not valid Unicode"
    return ""


def _response(prompt_id: str, text: str, model: str) -> Response:
    """An answer we did not sample: its tokens are not counted, and how it ended is not known."""
    return Response(
        prompt_id=prompt_id,
        text=text,
        policy=model,
        sample_index=0,
        finish_reason="unknown",
        prompt_tokens=0,
        output_tokens=0,
    )


def _label(found: Found, pair_id: str, first_id: str, second_id: str) -> Label:
    return Label(
        pair_id=pair_id,
        first_id=first_id,
        second_id=second_id,
        **{name: getattr(found, name) for name in _SHARED},
    )


def swapped_found(found: Found) -> Found:
    """The same vote with the sides in the other order."""
    return replace(
        found,
        first=found.second,
        second=found.first,
        choice=found.choice and swapped_choice(found.choice),
        probability=swapped_probability(found.probability),
        marks=tuple(mark.swapped() for mark in found.marks),
        first_model=found.second_model,
        second_model=found.first_model,
    )


def found_of(vote: Vote) -> Found:
    """The other way: a vote as a source would have it, first side first."""
    label, pair = vote.label, vote.pair
    first, second = (pair.y, pair.x) if vote.is_turned else (pair.x, pair.y)
    return Found(
        prompt=pair.prompt.messages,
        first=first.text,
        second=second.text,
        first_model=first.policy,
        second_model=second.policy,
        tags=pair.prompt.tags,
        source=pair.prompt.source,
        **{name: getattr(label, name) for name in _SHARED},
    )
