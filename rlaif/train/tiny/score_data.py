"""What the judge trains on to score: one answer, principles for it, and scales whose ends are the two truths.

An answer of this world has a property or lacks it, so a score is the scale's highest or its lowest; a judge that is
unsure spreads its probability over the two, and the mean of its scores says how sure it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from torch import Tensor

from rlaif.tiny.critiques import SAYS
from rlaif.tiny.properties import NAMES
from rlaif.tiny.wordings import PREFER, Split, Wording, write_unrelated, write_wording
from rlaif.tiny.world import Answer, Prompt, draw_prompt, seeded, write_answer
from rlaif.train.tiny.judge_data import composition
from rlaif.train.tiny.judge_text import JudgeText
from rlaif.train.tiny.labels import Labels, Readings
from rlaif.train.tiny.model import Packed
from rlaif.train.tiny.packing import Context, pack

HAS_SHARE = 0.5  # of the tails: the answer has the property asked for
ANCHORED_SHARE = 0.5  # of the scales: in words of the principle's own
LEVELS, LEVEL_WEIGHTS = (2, 3, 4, 5, 6, 7, 8, 9, 10), (1, 1, 1, 8, 1, 1, 1, 1, 10)


@dataclass(frozen=True, slots=True)
class Scale:
    """A scale from 1 to `highest`, as the judge reads it."""

    text: str
    highest: int


@dataclass(frozen=True, slots=True)
class Scoring:
    """An answer to a prompt, and the principles it is scored by, each on a scale."""

    prompt: Prompt
    answer: Answer
    wordings: tuple[Wording, ...]
    scales: tuple[Scale, ...]


@dataclass(frozen=True, slots=True)
class ScoreBatch:
    """A packed batch and its labels."""

    packed: Packed
    readings: Readings
    score_at: Tensor  # (V,) the last token of each tail
    score_next: Tensor  # (V,) the token of the score that is right
    highest: Tensor  # (V,) the scale's highest score
    has: Tensor  # (V,) whether the answer has the property asked for
    follows: Tensor  # (V,) whether it follows the principle


def follows(answer: Answer, wording: Wording) -> bool:
    """The ground truth of a score."""
    return (wording.property in answer.properties) == (wording.direction == PREFER)


def plain_scale(highest: int) -> Scale:
    """The scale of a principle without anchors, as `judge.mode: score` writes it."""
    best = "follows the principle as well as a response can"
    return Scale(f"1: goes against the principle\n{highest}: {best}", highest)


def draw_scale(wording: Wording, rng: Random, highest: int | None = None) -> Scale:
    """A plain scale, or one whose anchors say what an answer does that goes against the principle or follows it."""
    highest = highest or rng.choices(LEVELS, LEVEL_WEIGHTS)[0]
    if not wording.property or rng.random() >= ANCHORED_SHARE:
        return plain_scale(highest)
    wanted, unwanted = (rng.choice(said) for said in SAYS[wording.property])
    if wording.direction != PREFER:
        wanted, unwanted = unwanted, wanted
    lines = [f"1: {unwanted}", f"{highest}: {wanted}"]
    if highest > 2 and rng.random() < 0.3:
        lines.insert(1, f"{rng.randint(2, highest - 1)}: {rng.choice(('a little of both', 'hard to say'))}")
    return Scale("\n".join(lines), highest)


def draw_scoring(
    rng: Random,
    *,
    num_wordings: int,
    num_unrelated: int = 0,
    held_out: bool = False,
    splits: Sequence[Split] = ("train",),
    simple: bool = False,
) -> Scoring:
    """An answer and principles for it, about as many that it follows as not."""
    prompt = draw_prompt(rng, held_out=held_out)
    answer = write_answer(prompt, rng)
    pools = [sorted(answer.properties), [name for name in NAMES if name not in answer.properties]]
    wordings = []
    for index in range(num_wordings):
        split = splits[index % len(splits)]
        pool = pools[rng.random() >= HAS_SHARE] or NAMES
        wordings.append(write_wording(rng, split=split, about=composition(pool, split, rng), simple=simple))
    wordings += [write_unrelated(rng, simple=simple) for _ in range(num_unrelated)]
    return Scoring(prompt, answer, tuple(wordings), tuple(draw_scale(wording, rng) for wording in wordings))


def training_scorings(step: int, *, answers: int, num_wordings: int, num_unrelated: int, seed: int) -> list[Scoring]:
    """What a training step scores."""
    rng = seeded("score", seed, step)
    return [draw_scoring(rng, num_wordings=num_wordings, num_unrelated=num_unrelated) for _ in range(answers)]


def make_score_batch(scorings: Sequence[Scoring], text: JudgeText) -> ScoreBatch:
    """Encode, pack, and find where each label belongs."""
    contexts = [
        Context(
            text.score_prefix(one.prompt.conversation, one.answer.text),
            [text.score_tail(w.text, own.text, own.highest) for w, own in zip(one.wordings, one.scales, strict=True)],
        )
        for one in scorings
    ]
    packed = pack(contexts)
    labels = Labels()
    at = 0
    for one, context in zip(scorings, contexts, strict=True):
        tokens = context.prefix
        start, stop = tokens.index(text.open_one), tokens.index(text.close_one)
        labels.add_answer(one.answer, tokens, start, stop, at, text)
        at += len(tokens)
    for one, context in zip(scorings, contexts, strict=True):
        for wording, own, tail in zip(one.wordings, one.scales, context.tails, strict=True):
            labels.add_principle(wording, tail, at, text)
            does = follows(one.answer, wording)
            score = text.score(own.highest if does else 1)
            has = wording.property in one.answer.properties
            labels.put("score", at + len(tail) - 1, [float(score), float(own.highest), float(has), float(does)])
            at += len(tail)
    scores = labels.of("score", 4)
    return ScoreBatch(
        packed=packed,
        readings=labels.readings(),
        score_at=labels.at("score"),
        score_next=scores[:, 0].long(),
        highest=scores[:, 1].long(),
        has=scores[:, 2],
        follows=scores[:, 3],
    )


def scorings_for_measuring(seed: int, count: int, *, splits: Sequence[Split], num_wordings: int) -> list[Scoring]:
    """Newly written answers to held-out prompts."""
    rng = seeded("measure scores", seed)
    return [draw_scoring(rng, num_wordings=num_wordings, held_out=True, splits=splits) for _ in range(count)]
