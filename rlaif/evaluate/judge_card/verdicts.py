"""A judge's verdicts as arrays: pairs by principles, both orders apart, with what the two answers look like.

Rows are those of labels.parquet, from a file or made on the spot; texts are measured and let go. Everything is for x,
the pair's response whose id sorts first, so which answer a source lists first changes nothing.
"""

import re
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rlaif.feedback.mode import Heard
from rlaif.numbers.figures import BoolArray, FloatArray, IntArray
from rlaif.records import ResponsePair
from rlaif.style import STYLES, style_of

Row = Mapping[str, Any]
Reasons = Mapping[tuple[str, str, bool], str]
"""Why an order has no verdict, by (pair id, principle id, whether x was shown first)."""

LOST = "not in the store: it failed, was refused, or the store was cleared"
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass(frozen=True, kw_only=True, eq=False)
class Verdicts:
    """N pairs, P principles. Arrays hold NaN where there is nothing: no verdict, no label, a policy not known.

    `asked` (N, P) says which principles the judge was asked about; `shown_first`, `shown_second`, `probability` (N, P)
    are its P(x is better), by the place x was shown in and over both; `label` (N,) is that of the whole constitution.
    `styles` (N,) each are x less y. `reasons` say per principle which orders have no verdict:
    (N, 2) of 0 and 1 by reason.
    """

    principles: tuple[str, ...]
    pairs: tuple[str, ...]
    prompts: tuple[str, ...]
    asked: BoolArray
    shown_first: FloatArray
    shown_second: FloatArray
    probability: FloatArray
    label: FloatArray
    styles: Mapping[str, FloatArray]
    policies: tuple[tuple[str | None, str | None], ...]
    reasons: tuple[Mapping[str, FloatArray], ...]
    has_orders: bool = True

    @cached_property
    def clusters(self) -> IntArray:
        """The prompts as numbers, in the order of their ids: a million of them are quicker to resample."""
        return np.unique(np.asarray(self.prompts), return_inverse=True)[1].reshape(-1).astype(np.int64)

    @property
    def num_prompts(self) -> int:
        return len(set(self.prompts))


def verdicts_of(
    rows: Iterable[Row], principles: Sequence[str], *, reasons: Reasons | None = None, has_orders: bool = True
) -> Verdicts:
    """The verdicts of these principles, those a judge was asked about."""
    seats = {name: place for place, name in enumerate(principles)}
    taken = _Taken(seats, reasons or {})
    for row in rows:
        taken.add(row)
    return taken.verdicts(tuple(principles), has_orders)


class _Taken:
    """Rows while they are read."""

    def __init__(self, seats: Mapping[str, int], reasons: Reasons) -> None:
        self._seats, self._reasons = seats, reasons
        self._pairs: list[str] = []
        self._prompts: list[str] = []
        self._numbers = array("d")  # per pair and principle: asked, first, second, both
        self._labels = array("d")
        self._styles = array("d")
        self._known: dict[str, dict[str, float]] = {}  # of the responses of one prompt, which stand together
        self._policies: list[tuple[str | None, str | None]] = []
        self._silent: list[defaultdict[str, list[tuple[int, int]]]] = [defaultdict(list) for _ in seats]

    def add(self, row: Row) -> None:
        place = len(self._pairs)
        self._pairs.append(row["pair_id"])
        if not self._prompts or self._prompts[-1] != row["prompt_id"]:
            self._known.clear()
        self._prompts.append(row["prompt_id"])
        self._labels.append(_number(row["probability_x"]))
        self._policies.append((row.get("policy_x"), row.get("policy_y")))
        x, y = (self._style(row[f"{name}_id"], row[f"response_{name}"]) for name in ("x", "y"))
        self._styles.extend(x[name] - y[name] for name in STYLES)
        numbers = [[0.0, np.nan, np.nan, np.nan] for _ in self._seats]
        for one in row["principles"]:
            seat = self._seats.get(one["id"])
            if seat is not None:
                first, second = _number(one["shown_first"]), _number(one["shown_second"])
                numbers[seat] = [1.0, first, second, _number(one["probability"])]
                self._note_silence(row["pair_id"], one, place, seat)
        self._numbers.extend(number for own in numbers for number in own)

    def _style(self, response_id: str, text: str) -> dict[str, float]:
        if response_id not in self._known:
            self._known[response_id] = style_of(text)
        return self._known[response_id]

    def _note_silence(self, pair_id: str, one: Mapping[str, Any], place: int, seat: int) -> None:
        for order, name in enumerate(("shown_first", "shown_second")):
            if one[name] is None:
                reason = self._reasons.get((pair_id, one["id"], order == 0), one["outcome"])
                self._silent[seat][reason].append((place, order))

    def verdicts(self, principles: tuple[str, ...], has_orders: bool) -> Verdicts:
        num_pairs = len(self._pairs)
        numbers = np.array(self._numbers).reshape(num_pairs, len(principles), 4)
        styles = np.array(self._styles).reshape(num_pairs, len(STYLES))
        return Verdicts(
            principles=principles,
            pairs=tuple(self._pairs),
            prompts=tuple(self._prompts),
            asked=numbers[:, :, 0] > 0,
            shown_first=numbers[:, :, 1],
            shown_second=numbers[:, :, 2],
            probability=numbers[:, :, 3],
            label=np.array(self._labels),
            styles={name: styles[:, place] for place, name in enumerate(STYLES)},
            policies=tuple(self._policies),
            reasons=tuple(
                {why: _marked(own, num_pairs) for why, own in sorted(silent.items())} for silent in self._silent
            ),
            has_orders=has_orders,
        )


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _marked(places: Sequence[tuple[int, int]], length: int) -> FloatArray:
    marks = np.zeros((length, 2))
    marks[tuple(np.array(places).T)] = 1.0
    return marks


def is_silent(row: Row, principles: Sequence[str]) -> bool:
    """Whether an order of one of these principles has no verdict."""
    return any(
        one["id"] in principles and (one["shown_first"] is None or one["shown_second"] is None)
        for one in row["principles"]
    )


def reasons_of(
    pairs: Iterable[ResponsePair], heard: Heard, principles: Sequence[str]
) -> dict[tuple[str, str, bool], str]:
    """Why orders of these pairs have no verdict. What the judge was never heard of about was lost on the way."""
    found: dict[tuple[str, str, bool], str] = {}
    for pair in pairs:
        for name in principles:
            for is_x_first in (True, False):
                found[pair.id, name, is_x_first] = LOST
        for one in heard.judgments.get(pair.id, ()):
            if one.probability_a is None:
                found[pair.id, one.principle_id, one.first_id == pair.x.id] = _told(one.outcome, one.reason)
        for name in principles:
            for response in (pair.x, pair.y):
                score = heard.scores.get((response.id, name))
                if score is not None and not score.probabilities:
                    told = _told(score.outcome, score.reason)
                    found[pair.id, name, True] = found[pair.id, name, False] = told
    return found


def _told(outcome: str, reason: str) -> str:
    """An outcome with its reason, numbers taken out so that equal reasons are counted together."""
    return f"{outcome}: {_NUMBER.sub('…', reason)}" if reason else outcome
