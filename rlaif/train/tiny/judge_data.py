"""What the judge trains on: packed comparisons with every label that is known because we wrote the text.

A step's batch is a function of its number: nothing to store, and a resumed run sees what an undisturbed one would.
Every pair of answers stands in the batch in both orders with the same principles, so a preference for a place cancels.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

import torch
from tokenizers import Tokenizer
from torch import Tensor

from rlaif.tiny.critiques import Critique, winner_of, write_critique
from rlaif.tiny.properties import BY_NAME, NAMES, properties
from rlaif.tiny.wordings import AVOID, HELD_OUT_COMPOSITIONS, PREFER, Split, Wording, write_unrelated, write_wording
from rlaif.tiny.world import Answer, Prompt, draw_prompt, seeded, write_answer
from rlaif.train.tiny.model import Packed
from rlaif.train.tiny.packing import Context, pack
from rlaif.train.tiny.tokenizer import template_body

TIE_SHARE = 0.28  # of the tails: both or neither answer has the property, the target is 0.5
SENTENCE_NAMES = tuple(BY_NAME)
ONE_WAY = frozenset(name for name, _ in HELD_OUT_COMPOSITIONS)  # properties trained in one direction only
_SENTENCE = re.compile(r"[^.?]+[.?]")
Kind = Literal["verdict", "critique"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two answers to a prompt, in the order shown, and the principles they are compared by."""

    prompt: Prompt
    a: Answer
    b: Answer
    wordings: tuple[Wording, ...]

    def swapped(self) -> "Comparison":
        return Comparison(self.prompt, self.b, self.a, self.wordings)


@dataclass(frozen=True, slots=True)
class JudgeBatch:
    """A packed batch and its labels. Index tensors point into the packed tokens; shares are floats in [0, 1]."""

    packed: Packed
    verdict_at: Tensor  # (V,) the last token of each tail
    prefers_a: Tensor  # (V,)
    has: Tensor  # (V, 2) whether A and B have the property asked for
    principle_at: Tensor  # (V,) the closing tag of each principle
    principle_property: Tensor  # (V,) index into NAMES, -100 where the principle is about something else
    principle_direction: Tensor  # (V,) 1 prefer, 0 avoid
    negations: Tensor  # (V, 3) as in `wordings.negations_of`
    direction_weight: Tensor  # (V,) how much the tail counts where its direction is read
    verdict_weight: Tensor  # (V,) and where that decides; 0 for principles about something else
    closing_at: Tensor  # (2B,) the closing tags of the answers
    closing_has: Tensor  # (2B, 12)
    sentence_at: Tensor  # (S,) the last token of each sentence of the answers
    sentence_has: Tensor  # (S, 11)
    so_far_has: Tensor  # (S, 11) what the answer has up to there
    language_at: Tensor  # (T,) tokens whose successor is to be predicted
    language_next: Tensor  # (T,)
    critique_at: Tensor  # (C,) the same inside critiques
    critique_next: Tensor  # (C,)
    named_at: Tensor  # (2K,) where a critique has just named a response: "Response A", "Response B"
    named_property: Tensor  # (2K,) what it has to speak of now
    named_has: Tensor  # (2K,) and whether that response has it


class JudgeText:
    """The judge's two templates as token ids, cut into prefix and tail."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._head, judge_tail = template_body("judge").split("\n\n<principle>")
        self._tails: dict[Kind, str] = {
            "verdict": f"\n\n<principle>{judge_tail}<|end|>\n<|assistant|>\n",
            "critique": "\n\n<principle>" + template_body("critique").split("\n\n<principle>")[1],
        }
        self._tails["critique"] += "<|end|>\n<|assistant|>\n"
        self.open_a, self.close_a = self._id("<response_a>"), self._id("</response_a>")
        self.open_b, self.close_b = self._id("<response_b>"), self._id("</response_b>")
        self.close_principle, self.end = self._id("</principle>"), self._id("<|end|>")
        self.choice_a, self.choice_b = self._id("A"), self._id("B")
        self.named = (
            self._id("\u0120A"),
            self._id("\u0120B"),
        )  # " A" and " B": the space is written so in byte-level BPE
        self.stops = {self._id("."), self._id("?")}

    def _id(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        assert found is not None, f"the tokenizer has no token {token!r}"
        return found

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def prefix(self, conversation: str, a: str, b: str) -> list[int]:
        filled = _render(self._head, conversation=conversation, response_a=a, response_b=b)
        return self.encode(f"<|bos|><|user|>\n{filled}")

    def tail(self, kind: Kind, principle: str, question: str) -> list[int]:
        return self.encode(_render(self._tails[kind], principle=principle, question=question))


def _render(template: str, **values: str) -> str:
    """One pass over the template, so that a value holding a slot's name is not filled again."""
    return re.sub(r"\{\{ (\w+) \}\}", lambda slot: values[slot[1]], template)


def draw_comparison(
    rng: Random,
    *,
    num_wordings: int,
    easy: bool = False,
    held_out: bool = False,
    splits: Sequence[Split] = ("train",),
    held_out_sentences: bool = False,
    without: frozenset[str] = frozenset(),
    simple: bool = False,
    num_unrelated: int = 0,
) -> Comparison:
    """A pair of answers to one prompt and principles for it, mostly such that the answers differ by."""
    prompt = draw_prompt(rng, held_out=held_out)
    wanted: list[frozenset[str] | None] = [None, None]
    if easy:
        drawn = rng.sample(NAMES, 4)
        wanted = [frozenset(drawn[:2]), frozenset(drawn[2 : rng.randint(2, 4)])]
    answers = [write_answer(prompt, rng, wanted=one, held_out_sentences=held_out_sentences) for one in wanted]
    if easy:
        rng.shuffle(answers)
    differing = sorted((answers[0].properties ^ answers[1].properties) - without)
    same = [name for name in NAMES if name not in differing and name not in without]
    wordings = []
    for index in range(num_wordings):
        split = splits[index % len(splits)]
        pool = same if not differing or rng.random() < TIE_SHARE else differing
        wordings.append(write_wording(rng, split=split, about=_composition(pool, split, rng), simple=simple))
    wordings += [write_unrelated(rng, simple=simple) for _ in range(num_unrelated)]
    return Comparison(prompt, answers[0], answers[1], tuple(wordings))


def _composition(pool: Sequence[str], split: Split, rng: Random) -> tuple[str, int] | None:
    """A (property, direction) over the pool that the split allows, or None to leave it to chance."""
    allowed = [
        (name, direction)
        for name in pool
        for direction in (PREFER, AVOID)
        if ((name, direction) in HELD_OUT_COMPOSITIONS) == (split == "composition")
    ]
    return rng.choice(allowed) if allowed else None


def training_comparisons(
    step: int,
    *,
    pairs: int,
    num_wordings: int,
    num_unrelated: int,
    easy_share: float,
    without: frozenset[str],
    simple: bool,
    seed: int,
) -> list[Comparison]:
    """The comparisons of a training step, each followed by its swapped partner."""
    rng = seeded("judge", seed, step)
    out: list[Comparison] = []
    for _ in range(pairs):
        easy = rng.random() < easy_share
        one = draw_comparison(
            rng,
            num_wordings=num_wordings,
            num_unrelated=num_unrelated,
            easy=easy,
            without=without,
            simple=simple,
        )
        out += [one, one.swapped()]
    return out


def make_batch(comparisons: Sequence[Comparison], text: JudgeText, kind: Kind, rng: Random) -> JudgeBatch:
    """Encode, pack, and find where each label belongs."""
    contexts, written = [], []
    for one in comparisons:
        tails = [text.tail(kind, wording.text, wording.question) for wording in one.wordings]
        reasons = [_reason(one, wording, text, rng) for wording in one.wordings] if kind == "critique" else []
        written.append([(len(tail), reason) for tail, reason in zip(tails, reasons, strict=False)])
        tails = [tail + reason for tail, reason in zip(tails, reasons, strict=True)] if reasons else tails
        contexts.append(Context(text.prefix(one.prompt.conversation, one.a.text, one.b.text), tails))
    packed = pack(contexts)
    labels = _Labels()
    at = 0
    for one, context in zip(comparisons, contexts, strict=True):
        labels.add_answers(one, context.prefix, at, text)
        at += len(context.prefix)
    for one, context, reasons_of in zip(comparisons, contexts, written, strict=True):
        for index, (wording, tail) in enumerate(zip(one.wordings, context.tails, strict=True)):
            length = reasons_of[index][0] if reasons_of else len(tail)
            labels.add_tail(one, wording, tail, at, length, text)
            at += len(tail)
    return labels.batch(packed)


def _reason(one: Comparison, wording: Wording, text: JudgeText, rng: Random) -> list[int]:
    a_has, b_has = wording.property in one.a.properties, wording.property in one.b.properties
    said = Critique(wording.property, a_has, b_has, winner_of(a_has, b_has, wording.direction))
    return [*text.encode(write_critique(said, rng)), text.end]


class _Labels:
    """Collects labels by place while a batch is laid out."""

    def __init__(self) -> None:
        self.rows: dict[str, list[int]] = {}
        self.values: dict[str, list[list[float]]] = {}

    def _put(self, name: str, at: int, value: list[float]) -> None:
        self.rows.setdefault(name, []).append(at)
        self.values.setdefault(name, []).append(value)

    def add_answers(self, one: Comparison, prefix: list[int], at: int, text: JudgeText) -> None:
        spans = ((text.open_a, text.close_a, one.a), (text.open_b, text.close_b, one.b))
        for opens, closes, answer in spans:
            start, stop = prefix.index(opens), prefix.index(closes)
            self._put("closing", at + stop, [float(name in answer.properties) for name in NAMES])
            so_far: set[str] = set()
            ends = [i for i in range(start, stop) if prefix[i] in text.stops]
            for end, sentence in zip(ends, _SENTENCE.findall(answer.text), strict=True):
                found = properties(sentence)
                so_far |= found
                self._put("sentence", at + end, [float(name in found) for name in SENTENCE_NAMES])
                self._put("so_far", at + end, [float(name in so_far) for name in SENTENCE_NAMES])
            for i in range(start, stop):
                self._put("language", at + i, [prefix[i + 1]])

    def add_tail(self, one: Comparison, w: Wording, tail: list[int], at: int, length: int, text: JudgeText) -> None:
        a_has, b_has = w.property in one.a.properties, w.property in one.b.properties
        share = {"A": 1.0, "B": 0.0, "tie": 0.5}[winner_of(a_has, b_has, w.direction)]
        self._put("verdict", at + length - 1, [share, float(a_has), float(b_has)])
        closing = at + tail.index(text.close_principle)
        weight = float(w.property not in ONE_WAY)
        index = NAMES.index(w.property) if w.property else -100
        asked = [float(index), float(w.direction == PREFER), weight, weight if w.property else 0.0]
        self._put("principle", closing, [*asked, *map(float, w.negations)])
        for i in range(length - 1, len(tail) - 1):
            self._put("critique", at + i, [tail[i + 1]])
        if length < len(tail):
            for letter, has in zip(text.named, (a_has, b_has), strict=True):
                self._put("named", at + tail.index(letter, length), [float(NAMES.index(w.property)), float(has)])

    def _at(self, name: str) -> Tensor:
        return torch.tensor(self.rows.get(name, []), dtype=torch.long)

    def _of(self, name: str, width: int) -> Tensor:
        return torch.tensor(self.values.get(name, []), dtype=torch.float32).view(-1, width)

    def batch(self, packed: Packed) -> JudgeBatch:
        verdict, principle, named = self._of("verdict", 3), self._of("principle", 7), self._of("named", 2)
        return JudgeBatch(
            packed=packed,
            verdict_at=self._at("verdict"),
            prefers_a=verdict[:, 0],
            has=verdict[:, 1:],
            principle_at=self._at("principle"),
            principle_property=principle[:, 0].long(),
            principle_direction=principle[:, 1],
            direction_weight=principle[:, 2],
            verdict_weight=principle[:, 3],
            negations=principle[:, 4:],
            closing_at=self._at("closing"),
            closing_has=self._of("closing", len(NAMES)),
            sentence_at=self._at("sentence"),
            sentence_has=self._of("sentence", len(SENTENCE_NAMES)),
            so_far_has=self._of("so_far", len(SENTENCE_NAMES)),
            language_at=self._at("language"),
            language_next=self._of("language", 1)[:, 0].long(),
            named_at=self._at("named"),
            named_property=named[:, 0].long(),
            named_has=named[:, 1],
            critique_at=self._at("critique"),
            critique_next=self._of("critique", 1)[:, 0].long(),
        )


def comparisons_for_measuring(
    seed: int, count: int, *, splits: Sequence[Split], num_wordings: int, held_out_sentences: bool = False
) -> list[Comparison]:
    """Held-out prompts with newly written answers, each in one order (swap them yourself)."""
    rng = seeded("measure", seed)
    return [
        draw_comparison(
            rng,
            num_wordings=num_wordings,
            held_out=True,
            splits=splits,
            held_out_sentences=held_out_sentences,
        )
        for _ in range(count)
    ]
