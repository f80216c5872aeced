"""What the judge trains on: packed comparisons with every label that is known because we wrote the text.

A step's batch is a function of its number: nothing to store, and a resumed run sees what an undisturbed one would.
Every pair of answers stands in the batch in both orders with the same principles, so a preference for a place cancels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from torch import Tensor

from rlaif.tiny.critiques import Critique, winner_of, write_critique, write_reasons
from rlaif.tiny.properties import NAMES
from rlaif.tiny.wordings import AVOID, HELD_OUT_COMPOSITIONS, PREFER, Split, Wording, write_unrelated, write_wording
from rlaif.tiny.world import Answer, Prompt, draw_prompt, seeded, write_answer
from rlaif.train.tiny.judge_text import JudgeText, Kind
from rlaif.train.tiny.labels import Labels, Readings
from rlaif.train.tiny.model import Packed
from rlaif.train.tiny.packing import Context, pack

TIE_SHARE = 0.28  # of the tails: both or neither answer has the property, the target is 0.5


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
    readings: Readings
    verdict_at: Tensor  # (V,) the last token of each tail
    prefers_a: Tensor  # (V,)
    has: Tensor  # (V, 2) whether A and B have the property asked for
    language_at: Tensor  # (T,) tokens of the answers whose successor is to be predicted
    language_next: Tensor  # (T,)
    written_at: Tensor  # (C,) the same inside critiques and reasons
    written_next: Tensor  # (C,)
    named_at: Tensor  # (2K,) where a critique has just named a response: "Response A", "Response B"
    named_property: Tensor  # (2K,) what it has to speak of now
    named_has: Tensor  # (2K,) and whether that response has it
    stated_at: Tensor  # (K,) the last token before the verdict that reasons end with
    stated_prefers_a: Tensor  # (K,)


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
        wordings.append(write_wording(rng, split=split, about=composition(pool, split, rng), simple=simple))
    wordings += [write_unrelated(rng, simple=simple) for _ in range(num_unrelated)]
    return Comparison(prompt, answers[0], answers[1], tuple(wordings))


def composition(pool: Sequence[str], split: Split, rng: Random) -> tuple[str, int] | None:
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
    contexts, lengths = [], []
    for one in comparisons:
        asked = [text.tail(kind, wording.text, wording.question) for wording in one.wordings]
        lengths.append([len(tail) for tail in asked])
        said = [_said(one, wording, text, kind, rng) for wording in one.wordings]
        tails = [tail + own for tail, own in zip(asked, said, strict=True)]
        contexts.append(Context(text.prefix(one.prompt.conversation, one.a.text, one.b.text), tails))
    packed = pack(contexts)
    labels = Labels()
    at = 0
    for one, context in zip(comparisons, contexts, strict=True):
        _add_answers(labels, one, context.prefix, at, text)
        at += len(context.prefix)
    for one, context, own in zip(comparisons, contexts, lengths, strict=True):
        for wording, tail, length in zip(one.wordings, context.tails, own, strict=True):
            labels.add_principle(wording, tail, at, text)
            _add_tail(labels, one, wording, tail, at, length, text, kind)
            at += len(tail)
    return _batch(packed, labels)


def _said(one: Comparison, wording: Wording, text: JudgeText, kind: Kind, rng: Random) -> list[int]:
    """What the judge is to write behind a tail; a verdict alone is read from probabilities."""
    if kind == "verdict":
        return []
    a_has, b_has = wording.property in one.a.properties, wording.property in one.b.properties
    said = Critique(wording.property, a_has, b_has, winner_of(a_has, b_has, wording.direction))
    words = write_critique(said, rng) if kind == "critique" else write_reasons(said, rng)
    return [*text.encode(words), text.end]


def _add_answers(labels: Labels, one: Comparison, prefix: list[int], at: int, text: JudgeText) -> None:
    spans = ((text.open_a, text.close_a, one.a), (text.open_b, text.close_b, one.b))
    for opens, closes, answer in spans:
        start, stop = prefix.index(opens), prefix.index(closes)
        labels.add_answer(answer, prefix, start, stop, at, text)
        for i in range(start, stop):
            labels.put("language", at + i, [prefix[i + 1]])


def _add_tail(
    labels: Labels, one: Comparison, w: Wording, tail: list[int], at: int, length: int, text: JudgeText, kind: Kind
) -> None:
    """What follows a principle: the verdict, and the words the judge writes; a stated verdict is read apart."""
    a_has, b_has = w.property in one.a.properties, w.property in one.b.properties
    share = {"A": 1.0, "B": 0.0, "tie": 0.5}[winner_of(a_has, b_has, w.direction)]
    labels.put("verdict", at + length - 1, [share, float(a_has), float(b_has)])
    if kind == "verdict":
        return
    letter = len(tail) - 2 if kind == "reasoned" else len(tail)  # before the end of the turn
    for i in range(length - 1, len(tail) - 1):
        if i + 1 == letter:
            labels.put("stated", at + i, [share])
        else:
            labels.put("written", at + i, [tail[i + 1]])
    for token, has in zip(text.named, (a_has, b_has), strict=True):
        labels.put("named", at + tail.index(token, length), [float(NAMES.index(w.property)), float(has)])


def _batch(packed: Packed, labels: Labels) -> JudgeBatch:
    verdict, named = labels.of("verdict", 3), labels.of("named", 2)
    return JudgeBatch(
        packed=packed,
        readings=labels.readings(),
        verdict_at=labels.at("verdict"),
        prefers_a=verdict[:, 0],
        has=verdict[:, 1:],
        language_at=labels.at("language"),
        language_next=labels.of("language", 1)[:, 0].long(),
        written_at=labels.at("written"),
        written_next=labels.of("written", 1)[:, 0].long(),
        named_at=labels.at("named"),
        named_property=named[:, 0].long(),
        named_has=named[:, 1],
        stated_at=labels.at("stated"),
        stated_prefers_a=labels.of("stated", 1)[:, 0],
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
