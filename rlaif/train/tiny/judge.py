"""Training the judge.

Verdicts alone teach a model of this size nothing: their gradient has to invent, at once, what a sentence shows, what a
principle asks, and how to compare. So every stage has its own loss, put on the layer where its result is first needed,
through heads that are thrown away at the end:

    layer 2  what each sentence shows; the property asked and each negation, at the principle's closing tag
    layer 3  what each answer has, so far and at its closing tag; the direction asked
    layer 4  whether A and B have that property, at the principle's closing tag
    layer 5  the verdict, there too
    4 and 5  in a critique that has just named a response: the property to speak of, whether the response has it
    layer 5  in reasons, just before the verdict they state: that verdict
    output   the verdict, after the question; the critique; the answers as language

A property that is trained in one direction only invites a short cut: read the property, forget the direction. So its
verdicts are not trained, only whether an answer has it, and late critiques. And principles about other things, or of
words without sense, are read for their direction alone: so a direction is not bound to our properties' words.

Pairs that differ in a few properties come first. Ties carry the target 0.5, so that probabilities mean something.

This is the first of two parts: verdicts and critiques. `modes.py` goes on from here, with reasons and scores.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from torch import Tensor, nn

from rlaif.tiny.properties import NAMES
from rlaif.tiny.world import seeded
from rlaif.train.tiny.judge_data import JudgeBatch, make_batch, training_comparisons
from rlaif.train.tiny.judge_text import JudgeText, Kind
from rlaif.train.tiny.labels import ONE_WAY, SENTENCE_NAMES, Readings
from rlaif.train.tiny.model import Shape, TinyLlama, next_token_loss
from rlaif.train.tiny.tokenizer import JUDGE_VOCABULARY

JUDGE_SHAPE = Shape(vocabulary=JUDGE_VOCABULARY, hidden=192, layers=6, heads=3, inner=512)
SENTENCE_LAYER, PROPERTY_LAYER, COMPARE_LAYER, VERDICT_LAYER = 2, 3, 4, 5
KEEP = (SENTENCE_LAYER, PROPERTY_LAYER, COMPARE_LAYER, VERDICT_LAYER)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRun:
    """The settings of a judge training."""

    steps: int
    peak_rate: float = 1.5e-3
    warmup_steps: int = 150
    decay_share: float = 0.43  # of the steps: the rate falls linearly to a twentieth at the end
    pairs: int = 4  # per step; each in both orders
    num_wordings: int = 6
    num_unrelated: int = 3  # principles about something else, for their direction only
    easy_steps: int = 1500  # the share of easy pairs falls from 1 to 0 over these
    critique_every: int = 3
    simple_steps: int = 1700  # until then no principle has more than one negation
    one_way_from: int = 2600  # step from which critiques are also about properties trained in one direction
    seed: int = 7

    def rate(self, step: int) -> float:
        if step < self.warmup_steps:
            return self.peak_rate * (step + 1) / self.warmup_steps
        left = (self.steps - step) / max(1.0, self.decay_share * self.steps)
        return self.peak_rate * max(0.05, min(1.0, left))

    def kind(self, step: int) -> Kind:
        return "critique" if step % self.critique_every == self.critique_every - 1 else "verdict"

    def batch(self, step: int, text: JudgeText) -> JudgeBatch:
        kind = self.kind(step)
        comparisons = training_comparisons(
            step,
            pairs=self.pairs,
            num_wordings=self.num_wordings if kind == "verdict" else 4,
            num_unrelated=self.num_unrelated if kind == "verdict" else 0,
            easy_share=max(0.0, 1.0 - step / self.easy_steps),
            without=ONE_WAY if kind == "critique" and step < self.one_way_from else frozenset(),
            simple=step < self.simple_steps,
            seed=self.seed,
        )
        return make_batch(comparisons, text, kind, seeded("reasons", self.seed, step))


class Heads(nn.Module):
    """The linear readings that supervise middle layers; no part of the exported model."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.sentence = nn.Linear(hidden, len(SENTENCE_NAMES))
        self.closing = nn.Linear(hidden, len(NAMES))
        self.principle = nn.Linear(hidden, len(NAMES) + 4)
        self.compare = nn.Linear(hidden, 3)


def read(head: nn.Linear, hidden: Tensor, at: Tensor) -> Tensor:
    """A head's reading of the hidden states at these places."""
    rows = hidden[at].float()
    return F.linear(F.rms_norm(rows, rows.shape[-1:]), head.weight, head.bias)


def reading_losses(heads: Heads, kept: dict[int, Tensor], labels: Readings) -> dict[str, Tensor]:
    """What answers have and what principles ask, whatever template shows them."""
    bce = F.binary_cross_entropy_with_logits
    shown = read(heads.sentence, kept[SENTENCE_LAYER], labels.sentence_at)
    so_far = read(heads.closing, kept[PROPERTY_LAYER], labels.sentence_at)[:, : len(SENTENCE_NAMES)]
    closing = read(heads.closing, kept[PROPERTY_LAYER], labels.closing_at)
    asked = read(heads.principle, kept[SENTENCE_LAYER], labels.principle_at)
    direction = read(heads.principle, kept[PROPERTY_LAYER], labels.principle_at)[:, len(NAMES)]
    return {
        "sentence": 2.0 * bce(shown, labels.sentence_has),
        "so_far": 1.0 * bce(so_far, labels.so_far_has),
        "closing": 2.0 * bce(closing, labels.closing_has),
        "property": 0.3 * F.cross_entropy(asked[:, : len(NAMES)], labels.principle_property),
        "negations": 2.0 * bce(asked[:, len(NAMES) + 1 :], labels.negations, labels.direction_weight[:, None]),
        "direction": 1.0 * bce(direction, labels.principle_direction, labels.direction_weight),
    }


def judge_losses(model: TinyLlama, heads: Heads, batch: JudgeBatch, text: JudgeText, kind: Kind) -> dict[str, Tensor]:
    """Every loss of a batch, already weighted, by name. Their sum is what is minimised."""
    hidden, kept = model(batch.packed, keep=KEEP)
    labels, bce = batch.readings, F.binary_cross_entropy_with_logits
    about_ours = (labels.principle_property >= 0).float()[:, None]
    compare = read(heads.compare, kept[COMPARE_LAYER], labels.principle_at)[:, :2]
    early = read(heads.compare, kept[VERDICT_LAYER], labels.principle_at)[:, 2]
    losses = reading_losses(heads, kept, labels) | {
        "compare": 2.0 * bce(compare, batch.has, about_ours),
        "early": 0.5 * bce(early, batch.prefers_a, labels.verdict_weight),
    }
    if kind == "verdict":
        choices, shares = (text.choice_a, text.choice_b), batch.prefers_a
        losses["verdict"] = (
            labels.verdict_weight * _choice_loss(model, hidden[batch.verdict_at], choices, shares)
        ).mean()
        return losses
    losses |= _writing_losses(model, heads, batch, hidden, kept)
    if kind == "reasoned":
        stated = _choice_loss(model, hidden[batch.stated_at], text.named, batch.stated_prefers_a)
        before = read(heads.compare, kept[VERDICT_LAYER], batch.stated_at)[:, 2]
        losses["before"] = 0.5 * bce(before, batch.stated_prefers_a)
        losses["stated"] = 1.0 * stated.mean()
    return losses


def _choice_loss(model: TinyLlama, hidden: Tensor, choices: tuple[int, int], share: Tensor) -> Tensor:
    """Cross-entropy, in nats, of two tokens against the share that the first should have."""
    log_shares = model.logits(hidden).log_softmax(-1)
    return -(share * log_shares[:, choices[0]] + (1 - share) * log_shares[:, choices[1]])


def _writing_losses(
    model: TinyLlama, heads: Heads, batch: JudgeBatch, hidden: Tensor, kept: dict[int, Tensor]
) -> dict[str, Tensor]:
    """What a critique or reasons are to say, and where they have just named a response, of what and how it is."""
    about = read(heads.principle, kept[COMPARE_LAYER], batch.named_at)[:, : len(NAMES)]
    speaks = read(heads.compare, kept[VERDICT_LAYER], batch.named_at).view(-1, 2, 3)
    speaks = torch.stack((speaks[:, 0, 0], speaks[:, 1, 1]), dim=1).flatten()  # A's reading after "A", B's after "B"
    return {
        "about": 0.5 * F.cross_entropy(about, batch.named_property),
        "speaks": 0.5 * F.binary_cross_entropy_with_logits(speaks, batch.named_has),
        "written": 1.0 * next_token_loss(model, hidden, batch.written_at, batch.written_next),
        "language": 0.1 * next_token_loss(model, hidden, batch.language_at, batch.language_next),
    }
