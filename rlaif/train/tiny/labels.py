"""Labels by place: collected while a batch is laid out, each with the index of the token it belongs to.

What every template of the judge teaches is here: what the sentences of an answer show, what the answer has at its
closing tag, and what a principle asks at its own. The loss of each is in `judge.py`.
"""

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from rlaif.tiny.properties import BY_NAME, NAMES, properties
from rlaif.tiny.wordings import HELD_OUT_COMPOSITIONS, PREFER, Wording
from rlaif.tiny.world import Answer
from rlaif.train.tiny.judge_text import JudgeText

SENTENCE_NAMES = tuple(BY_NAME)
ONE_WAY = frozenset(name for name, _ in HELD_OUT_COMPOSITIONS)  # properties trained in one direction only
_SENTENCE = re.compile(r"[^.?]+[.?]")


@dataclass(frozen=True, slots=True)
class Readings:
    """What is to be read of answers and principles, whatever is asked about them. Index tensors point into the packed
    tokens; shares are floats in [0, 1]."""

    sentence_at: Tensor  # (S,) the last token of each sentence of the answers
    sentence_has: Tensor  # (S, 11)
    so_far_has: Tensor  # (S, 11) what the answer has up to there
    closing_at: Tensor  # (C,) the closing tags of the answers
    closing_has: Tensor  # (C, 12)
    principle_at: Tensor  # (V,) the closing tag of each principle
    principle_property: Tensor  # (V,) index into NAMES, -100 where the principle is about something else
    principle_direction: Tensor  # (V,) 1 prefer, 0 avoid
    negations: Tensor  # (V, 3) as in `wordings.negations_of`
    direction_weight: Tensor  # (V,) how much the tail counts where its direction is read
    verdict_weight: Tensor  # (V,) and where that decides; 0 for principles about something else


class Labels:
    """Collects labels by name."""

    def __init__(self) -> None:
        self._rows: dict[str, list[int]] = {}
        self._values: dict[str, list[list[float]]] = {}

    def put(self, name: str, at: int, value: list[float]) -> None:
        self._rows.setdefault(name, []).append(at)
        self._values.setdefault(name, []).append(value)

    def at(self, name: str) -> Tensor:
        return torch.tensor(self._rows.get(name, []), dtype=torch.long)

    def of(self, name: str, width: int) -> Tensor:
        return torch.tensor(self._values.get(name, []), dtype=torch.float32).view(-1, width)

    def add_answer(self, answer: Answer, tokens: list[int], start: int, stop: int, at: int, text: JudgeText) -> None:
        """An answer between its opening and its closing tag in a prefix that begins at `at`."""
        self.put("closing", at + stop, [float(name in answer.properties) for name in NAMES])
        so_far: set[str] = set()
        ends = [i for i in range(start, stop) if tokens[i] in text.stops]
        for end, sentence in zip(ends, _SENTENCE.findall(answer.text), strict=True):
            found = properties(sentence)
            so_far |= found
            self.put("sentence", at + end, [float(name in found) for name in SENTENCE_NAMES])
            self.put("so_far", at + end, [float(name in so_far) for name in SENTENCE_NAMES])

    def add_principle(self, w: Wording, tail: list[int], at: int, text: JudgeText) -> None:
        """A principle in a tail that begins at `at`."""
        weight = float(w.property not in ONE_WAY)
        index = NAMES.index(w.property) if w.property else -100
        asked = [float(index), float(w.direction == PREFER), weight, weight if w.property else 0.0]
        self.put("principle", at + tail.index(text.close_principle), [*asked, *map(float, w.negations)])

    def readings(self) -> Readings:
        principle = self.of("principle", 7)
        return Readings(
            sentence_at=self.at("sentence"),
            sentence_has=self.of("sentence", len(SENTENCE_NAMES)),
            so_far_has=self.of("so_far", len(SENTENCE_NAMES)),
            closing_at=self.at("closing"),
            closing_has=self.of("closing", len(NAMES)),
            principle_at=self.at("principle"),
            principle_property=principle[:, 0].long(),
            principle_direction=principle[:, 1],
            direction_weight=principle[:, 2],
            verdict_weight=principle[:, 3],
            negations=principle[:, 4:],
        )
