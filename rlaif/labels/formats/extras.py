"""The columns our own TRL export adds to `prompt`, `chosen` and `rejected`, and the way back from them."""

from typing import Any, get_args

from rlaif.labels.formats.base import Row
from rlaif.labels.formats.values import number_of, parsed, text_of, time_of
from rlaif.labels.label import Mark, RaterKind
from rlaif.labels.votes import Found, Unfit, swapped_found
from rlaif.records import Message

_KINDS: tuple[RaterKind, ...] = get_args(RaterKind)


def rater_of(row: Row) -> str:
    """Who voted, or nothing where the row does not say."""
    return next((name for key in ("rater", "annotator", "judge") if (name := text_of(row.get(key)))), "")


def kind_of_rater(value: Any, default: RaterKind) -> RaterKind:
    return value if value in _KINDS else default


def marks_of(value: Any) -> tuple[Mark, ...]:
    """Marks as a list of mappings. ValueError where one is no mark."""
    found = parsed(value) or []
    return tuple(Mark(**{key: cell for key, cell in mark.items() if cell is not None}) for mark in found)


def with_extras(row: Row, prompt: tuple[Message, ...], chosen: str, rejected: str) -> Found | Unfit:
    """A TRL row with what the extra columns say; without them, an unknown person who chose the chosen answer.

    `probability` is P(chosen is better). `shown_first` says which side the rater saw first; without it nothing is
    known of the order, and marks are turned with the sides.
    """
    try:
        marks = marks_of(row.get("marks"))
    except (TypeError, ValueError, AttributeError) as fault:
        return Unfit(f"`marks` cannot be read: {fault}")
    probability = number_of(row.get("probability"))
    found = Found(
        prompt=prompt,
        first=chosen,
        second=rejected,
        rater=rater_of(row),
        kind=kind_of_rater(row.get("rater_kind"), "judge" if row.get("judge") else "human"),
        choice="first" if probability is None else None,
        probability=probability,
        strength=number_of(row.get("strength")),
        marks=marks,
        comment=text_of(row.get("comment")),
        seconds=number_of(row.get("seconds")),
        time=time_of(row.get("time")),
        is_order_known=row.get("shown_first") in ("chosen", "rejected"),
        item=text_of(row.get("item")),
        first_model=text_of(row.get("chosen_model") or row.get("chosen_policy")),
        second_model=text_of(row.get("rejected_model") or row.get("rejected_policy")),
        tags=tags_of(row.get("tags")),
        source=text_of(row.get("source")),
    )
    return swapped_found(found) if row.get("shown_first") == "rejected" else found


def tags_of(value: Any) -> frozenset[str]:
    found = parsed(value)
    if isinstance(found, str):
        found = found.split(",")
    return frozenset(text_of(tag).strip() for tag in found or [] if text_of(tag).strip())
