"""The judge's second training: reasons before a verdict, and scores of one answer. It goes on from the first.

Every other step repeats what the judge knows already (verdicts, critiques), on comparisons it has not seen, so that
nothing is forgotten. Reasons are critiques with a verdict behind them: the words are those the judge has, and the
verdict's letter is one more token. A score reads one answer where a comparison reads two, through the same heads on the
same layers, and three new ones:

    layer 3  the highest score, after the question
    layer 4  whether the answer has the property, at the principle's closing tag
    layer 5  whether it follows the principle, there too
    output   whether it follows the principle, after the question; and the score

Tokens that only the new templates have begin anew, tags as those they resemble. So do digits and whatever else of the
new texts was never read before: all such rows have been pushed into one direction (cosines of 0.99), where neither a
number can be told from another nor its output learned.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from tokenizers import Tokenizer
from torch import Tensor, nn

from rlaif.tiny.world import seeded
from rlaif.train.tiny.judge import (
    COMPARE_LAYER,
    KEEP,
    PROPERTY_LAYER,
    VERDICT_LAYER,
    Heads,
    judge_losses,
    read,
    reading_losses,
)
from rlaif.train.tiny.judge_data import make_batch, training_comparisons
from rlaif.train.tiny.judge_text import JudgeText, Kind
from rlaif.train.tiny.model import TinyLlama
from rlaif.train.tiny.score_data import ScoreBatch, make_score_batch, plain_scale, training_scorings
from rlaif.train.tiny.tokenizer import VOCABULARY

SHARE_AFTER = 0.6
_READING = tuple(f"layers.{index}." for index in range(4))
_LIKE = {
    "<response>": "<response_a>",
    "</response>": "</response_a>",
    "<scale>": "<principle>",
    "</scale>": "</principle>",
}
_NEW_TEXT = " ".join((*map(str, range(1, 10)), plain_scale(5).text, "a little of both, hard to say\n\nVerdict: A, B"))


class ScoringHeads(nn.Module):
    """The readings that only scores have; no part of the exported model."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.one = nn.Linear(hidden, 3)  # has, follows, and follows at the end
        self.highest = nn.Linear(hidden, 11)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModesRun:
    """The settings of the second training."""

    steps: int
    peak_rate: float = 7e-4
    warmup_steps: int = 50
    decay_share: float = 0.7  # of the steps: the rate falls linearly to a fiftieth at the end
    cycle: tuple[Kind | None, ...] = ("verdict", None, "reasoned", None, "verdict", None, "reasoned", "critique")
    pairs: int = 2  # per step that compares; each in both orders
    answers: int = 4  # per step that scores, which is None in the cycle
    num_wordings: int = 7
    num_unrelated: int = 1  # principles about something else, for their direction only
    seed: int = 17

    def rate(self, step: int) -> float:
        if step < self.warmup_steps:
            return self.peak_rate * (step + 1) / self.warmup_steps
        left = (self.steps - step) / max(1.0, self.decay_share * self.steps)
        return self.peak_rate * max(0.02, min(1.0, left))

    def losses(
        self, step: int, model: TinyLlama, heads: Heads, scoring: ScoringHeads, text: JudgeText
    ) -> dict[str, Tensor]:
        """The losses of a step's batch, which is a function of the step."""
        kind = self.cycle[step % len(self.cycle)]
        if kind is None:
            scorings = training_scorings(
                step,
                answers=self.answers,
                num_wordings=self.num_wordings,
                num_unrelated=self.num_unrelated,
                seed=self.seed,
            )
            return score_losses(model, heads, scoring, make_score_batch(scorings, text))
        is_verdict = kind == "verdict"
        comparisons = training_comparisons(
            step,
            pairs=self.pairs,
            num_wordings=self.num_wordings,
            num_unrelated=self.num_unrelated if is_verdict else 0,
            easy_share=0.0,
            without=frozenset(),
            simple=False,
            seed=self.seed,
        )
        batch = make_batch(comparisons, text, kind, seeded("reasons", self.seed, step))
        return judge_losses(model, heads, batch, text, kind)


def score_losses(model: TinyLlama, heads: Heads, scoring: ScoringHeads, batch: ScoreBatch) -> dict[str, Tensor]:
    """Every loss of a batch that scores, already weighted, by name."""
    hidden, kept = model(batch.packed, keep=KEEP)
    labels, bce = batch.readings, F.binary_cross_entropy_with_logits
    about_ours = (labels.principle_property >= 0).float()
    has = read(scoring.one, kept[COMPARE_LAYER], labels.principle_at)[:, 0]
    early = read(scoring.one, kept[VERDICT_LAYER], labels.principle_at)[:, 1]
    late = read(scoring.one, hidden, batch.score_at)[:, 2]
    highest = read(scoring.highest, kept[PROPERTY_LAYER], batch.score_at)
    nats = F.cross_entropy(model.logits(hidden[batch.score_at]), batch.score_next, reduction="none")
    weight = labels.verdict_weight
    known = {f"s_{name}": loss for name, loss in reading_losses(heads, kept, labels).items()}
    return known | {
        "has": 1.0 * bce(has, batch.has, about_ours),
        "follows": 0.5 * bce(early, batch.follows, weight),
        "late": 0.5 * bce(late, batch.follows, weight),
        "highest": 0.3 * F.cross_entropy(highest, batch.highest),
        "score": (weight * nats).sum() / weight.sum(),
    }


def with_new_tokens(weights: dict[str, Tensor], tokenizer: Tokenizer, vocabulary: int) -> dict[str, Tensor]:
    """A judge's weights for a vocabulary of this size: tokens that were read before as they are, the others drawn at
    the size of those."""
    old = weights["embed_tokens.weight"][:VOCABULARY].clone()
    random = torch.Generator().manual_seed(VOCABULARY)
    size = float(old.norm(dim=1).median()) / float(old.shape[1]) ** 0.5

    def drawn(count: int) -> Tensor:
        made: Tensor = torch.randn((count, old.shape[1]), generator=random) * size
        return made

    unread = _unread(old, tokenizer)
    old[unread] = drawn(len(unread))
    new = drawn(vocabulary - VOCABULARY)
    for tag, like in _LIKE.items():
        place, resembled = tokenizer.token_to_id(tag), tokenizer.token_to_id(like)
        assert place is not None
        new[place - VOCABULARY] = old[resembled]
    return weights | {"embed_tokens.weight": torch.cat((old, new))}


def mixed(before: dict[str, Tensor], after: dict[str, Tensor]) -> dict[str, Tensor]:
    """The shipped weights: those of the second training, but for the layers that read, which are a mean of both.

    The second training unlearns to follow compositions that were never trained. That is a matter of reading, and comes
    back with some of the first's weights; what is written is a matter of the last layers, and stays.
    """
    own = {name: weight for name, weight in after.items() if not name.startswith(_READING)}
    read = {name: weight for name, weight in after.items() if name.startswith(_READING)}
    return own | {name: SHARE_AFTER * read[name] + (1 - SHARE_AFTER) * before[name] for name in read}


def _unread(rows: Tensor, tokenizer: Tokenizer) -> list[int]:
    """The tokens of the new texts that lie where training leaves what it never reads: near the digits."""
    digits = rows[[tokenizer.token_to_id(str(digit)) for digit in range(10)]].mean(0)
    ids = {token for token in tokenizer.encode(_NEW_TEXT, add_special_tokens=False).ids if token < VOCABULARY}
    return [token for token in sorted(ids) if F.cosine_similarity(rows[token], digits, dim=0) > 0.8]
