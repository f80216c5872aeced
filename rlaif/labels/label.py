"""One label: what one rater said about one pair of answers. The same record for people, judges and simulated ones.

A label speaks of `first` and `second`. Where the source says in which order the rater saw the answers
(`is_order_known`), first is the one shown first. Where it does not (a file of chosen and rejected answers knows only
who won), first is the response whose id sorts first, so that two such files with their sides swapped are equal.

Numbers are never made up: `choice` is what the rater picked, `probability` what a rater gave that can doubt. A label
has one of them; the other is null.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, get_args

from rlaif.records import ResponsePair

Choice = Literal["first", "second", "tie", "both_bad", "skipped"]
RaterKind = Literal["human", "judge", "simulated"]
CHOICES: tuple[Choice, ...] = get_args(Choice)
RATER_KINDS: tuple[RaterKind, ...] = get_args(RaterKind)
_SWAPPED: Mapping[Choice, Choice] = {"first": "second", "second": "first"}


def swapped_choice(choice: Choice) -> Choice:
    """The same choice with the two answers in the other order."""
    return _SWAPPED.get(choice, choice)


def swapped_probability(probability: float | None) -> float | None:
    return None if probability is None else 1.0 - probability


def check_verdict(choice: Choice | None, probability: float | None, strength: float | None) -> None:
    """ValueError unless it is a choice or a probability in [0, 1], with a strength of at least 0 or none."""
    if (choice is None) == (probability is None):
        raise ValueError(f"a verdict is a choice or a probability, not {choice!r} with {probability!r}")
    if choice is not None and choice not in CHOICES:
        raise ValueError(f"{choice!r} is none of {', '.join(CHOICES)}")
    if probability is not None and not 0.0 <= probability <= 1.0:
        raise ValueError(f"{probability!r} is not a probability")
    if strength is not None and not (math.isfinite(strength) and strength >= 0.0):
        raise ValueError(f"a strength is a number of at least 0, not {strength!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What the rater said under one principle, in the label's order of answers.

    `shown_first` and `shown_second` are a judge's P(first is better) with the first answer in that place; their mean
    is `probability`. `weight` is the principle's in the constitution. People have none of these.
    """

    principle: str
    choice: Choice | None = None
    probability: float | None = None
    strength: float | None = None
    shown_first: float | None = None
    shown_second: float | None = None
    weight: float | None = None

    def __post_init__(self) -> None:
        check_verdict(self.choice, self.probability, self.strength)
        if not self.principle:
            raise ValueError("a mark names its principle")

    def swapped(self) -> "Mark":
        """The same mark with the two answers in the other order."""
        return replace(
            self,
            choice=self.choice and swapped_choice(self.choice),
            probability=swapped_probability(self.probability),
            shown_first=swapped_probability(self.shown_second),
            shown_second=swapped_probability(self.shown_first),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One vote. `probability` is P(first is better); `strength` is on the source's own scale, larger is surer.

    `item` is what the source calls the thing voted on. It tells votes apart where one pair was voted on several times
    (two models gave the same two answers), and pairs up the raters of each such time.
    """

    pair_id: str
    first_id: str
    second_id: str
    rater: str
    kind: RaterKind
    choice: Choice | None = None
    probability: float | None = None
    strength: float | None = None
    marks: tuple[Mark, ...] = field(default=())
    comment: str = ""
    seconds: float | None = None
    time: datetime | None = None
    is_order_known: bool = False
    item: str = ""

    def __post_init__(self) -> None:
        check_verdict(self.choice, self.probability, self.strength)
        if not self.rater:
            raise ValueError("a label names its rater")
        if self.kind not in RATER_KINDS:
            raise ValueError(f"{self.kind!r} is none of {', '.join(RATER_KINDS)}")
        if self.first_id == self.second_id:
            raise ValueError("a label is about two different answers")
        if not self.is_order_known and self.first_id > self.second_id:
            raise ValueError("where the order shown is not known, first is the response whose id sorts first")
        if self.seconds is not None and not (math.isfinite(self.seconds) and self.seconds >= 0.0):
            raise ValueError(f"{self.seconds!r} is no number of seconds")
        if self.time is not None and self.time.tzinfo is None:
            raise ValueError("a time says its zone")
        if len({mark.principle for mark in self.marks}) < len(self.marks):
            raise ValueError("two marks for one principle")


@dataclass(frozen=True, slots=True)
class Vote:
    """A label with the pair it is about: what a row of a label file holds. The pair's x is the lower id."""

    pair: ResponsePair
    label: Label

    def __post_init__(self) -> None:
        ids = {self.label.first_id, self.label.second_id}
        if self.label.pair_id != self.pair.id or ids != {self.pair.x.id, self.pair.y.id}:
            raise ValueError("the label is about another pair")

    @property
    def is_turned(self) -> bool:
        """True when the label's first answer is the pair's y."""
        return self.label.first_id != self.pair.x.id
