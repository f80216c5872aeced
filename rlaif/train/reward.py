"""The reward model: a batch is answers to prompts, compared in pairs; its loss is Bradley-Terry's, with each pair's
probability, weight and margin. A prompt with K ranked answers is one row: each answer is computed once.

A reward is read at a sequence's last token, in float32, by a head without bias whose first weights are drawn from
N(0, 1 / (width + 1)) (Stiennon et al., arXiv:2009.01325). There may be several heads (`heads`): each principle's learns
from the verdicts under that principle alone. What is saved is transformers' own classification model with one label;
its config also holds the rewards' mean and deviation on held-out rows (without any: on the training rows), which
`scoring` applies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rlaif.errors import InputError
from rlaif.identity import seed_from
from rlaif.train.batches import divide
from rlaif.train.examples import Comparison, TrainingRow
from rlaif.train.forward import inner_model
from rlaif.train.heads import Array, Heads, bootstrap_counts, combination_of
from rlaif.train.losses import bradley_terry, centring, weighted_sum
from rlaif.train.settings import LoopSettings
from rlaif.train.task import Layout, Outcome, RowsTask, accuracy_of, mean_of


@dataclass(frozen=True, slots=True)
class Pairs:
    """The comparisons of a batch. `first` and `second` (P,) are places among its sequences; probability, weight and
    margin (P,) are the label's; `head_probability` (P, K) those under each head, NaN where nothing was said, and
    `counts` (P, M) how often each member sees the pair."""

    first: Tensor
    second: Tensor
    probability: Tensor
    weight: Tensor
    margin: Tensor
    head_probability: Tensor
    counts: Tensor


class RewardTask(RowsTask):
    """Rows of answers, read by a `RewardModel` with `heads.num_outputs` outputs."""

    def __init__(
        self,
        rows: Sequence[TrainingRow],
        layout: Layout,
        *,
        use_margin: bool = False,
        centring: float = 0.0,
        heads: Heads = Heads(),  # noqa: B008 - a frozen value
        seed: int = 0,
    ) -> None:
        super().__init__(rows, layout)
        self.use_margin, self.centring, self.heads = use_margin, centring, heads
        self.counts = bootstrap_counts(rows, heads.members, seed)

    def compute(self, module: nn.Module, rows: Sequence[int], device: torch.device) -> Outcome:
        rewards = self.heads.split(module(self.batch(rows, device)).double())  # (Q, M, K)
        pairs = self.pairs(rows, device)
        chosen, rejected = rewards[pairs.first], rewards[pairs.second]
        said = pairs.head_probability[:, None].expand_as(chosen)
        margin = pairs.margin[:, None, None].expand_as(chosen) if self.use_margin else None
        losses = bradley_terry(chosen, rejected, said.nan_to_num(0.5), margin)
        if self.centring:
            losses = losses + self.centring * centring(chosen, rejected)
        share = ~said.isnan() * pairs.counts[:, :, None] / self.heads.num_outputs
        loss = weighted_sum((losses * share).sum(dim=(1, 2)), pairs.weight)
        return Outcome(loss, self.metrics(rewards, chosen - rejected, pairs))

    def metrics(self, rewards: Tensor, gaps: Tensor, pairs: Pairs) -> dict[str, tuple[Tensor, float]]:
        """Of all heads together (their mean), and of each principle's."""
        together, gap = rewards.mean(dim=(1, 2)), gaps.mean(dim=(1, 2))
        found = {
            "accuracy": accuracy_of(gap, pairs.probability),
            "reward_gap": mean_of(gap),
            "reward": mean_of(together),
            "reward_squared": mean_of(together**2),
        }
        if self.heads.members > 1:
            found["disagreement"] = mean_of(gaps.mean(dim=2).std(dim=1, correction=0))
        for number, name in enumerate(self.heads.principles):
            said = pairs.head_probability[:, number]
            known = ~said.isnan()
            found[f"accuracy_{name}"] = accuracy_of(gaps[known, :, number].mean(dim=1), said[known])
        return found

    def pairs(self, rows: Sequence[int], device: torch.device) -> Pairs:
        starts = np.cumsum([0, *(len(self.rows[row].family) for row in rows)])
        found = [(start, row, pair) for start, row in zip(starts, rows, strict=False) for pair in self.rows[row].pairs]
        columns = {
            name: torch.tensor([getattr(pair, name) for *_, pair in found], dtype=torch.float64, device=device)
            for name in ("probability", "weight", "margin")
        }
        places = np.array([(start + pair.first, start + pair.second) for start, _, pair in found])
        first, second = torch.from_numpy(places).to(device).unbind(dim=1)
        said = torch.tensor([self._said(pair) for *_, pair in found], dtype=torch.float64, device=device)
        counts = torch.from_numpy(self.counts[[row for _, row, _ in found]]).to(device)
        return Pairs(first=first, second=second, head_probability=said, counts=counts, **columns)

    def _said(self, pair: Comparison) -> list[float]:
        """P(first is better) for each head to learn."""
        if not self.heads.principles:
            return [pair.probability]
        return [pair.principles.get(name, float("nan")) for name in self.heads.principles]


def load_reward_model(
    base: str, tokenizer: Any, *, seed: int, dtype: torch.dtype = torch.float32, num_outputs: int = 1
) -> Any:
    """A classification model on `base`'s backbone; its head is new unless `base` has one and one is wanted."""
    from transformers import AutoModelForSequenceClassification

    check_pad_token(tokenizer)
    model, about = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=1, dtype=dtype, output_loading_info=True
    )
    model.config.pad_token_id = tokenizer.pad_token_id
    if num_outputs > 1:
        model.score = nn.Linear(model.score.in_features, num_outputs, bias=False, dtype=dtype)
        model.num_labels = model.config.num_labels = num_outputs
    if num_outputs > 1 or any("score" in name for name in about["missing_keys"]):
        init_head(model, seed)
    return model


@torch.no_grad()
def note_statistics(
    module: nn.Module, task: RewardTask, settings: LoopSettings, given: Mapping[str, float] | None = None
) -> Array:
    """Put the rewards' mean and standard deviation into the model's config, as `reward_mean` and `reward_std`, and
    return the combination of heads they are those of.

    Rewards are free up to a constant; who uses them as numbers subtracts the one and divides by the other.
    """
    device = next(module.parameters()).device
    module.eval()
    rewards, gaps, labels = [], [], []
    for part in divide(range(len(task.rows)), task.sizes, settings.micro_batch_tokens)[0]:
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            found = task.heads.split(module(task.batch(part, device)).double()).mean(dim=1)
        pairs = task.pairs(part, device)
        rewards.append(found)
        gaps.append(found[pairs.first] - found[pairs.second])
        labels.append(torch.stack((pairs.probability, pairs.weight)))
    probability, weight = torch.cat(labels, dim=1).cpu().numpy()
    combination = combination_of(task.heads, given, torch.cat(gaps).cpu().numpy(), probability, weight)
    together = torch.cat(rewards).cpu().numpy() @ combination
    config = inner_model(module.model).config
    config.reward_mean, config.reward_std = float(together.mean()), float(together.std())
    if task.heads.num_outputs > 1:
        config.reward_members, config.reward_principles = task.heads.members, list(task.heads.principles)
        config.reward_combination = combination.tolist()
    return combination


def check_pad_token(tokenizer: Any) -> None:
    """transformers' classifiers read the last token that is not padding: with pad = end-of-sequence they would read
    the token before the end, and others than we trained."""
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        found = "has no pad token" if tokenizer.pad_token_id is None else "pads with its end-of-sequence token"
        raise InputError(
            f"the tokenizer {found}: a reward would be read at the wrong place.",
            do="Give it a pad token of its own (`pad_token` in tokenizer_config.json), one that no text contains.",
        )


def init_head(model: Any, seed: int) -> None:
    """Draw the head's weights from N(0, 1 / (width + 1)), so that a normalised last state gives rewards of size 1."""
    weight = inner_model(model).score.weight
    generator = torch.Generator().manual_seed(seed_from(f"reward head|{seed}"))
    drawn = torch.randn(weight.shape, generator=generator) * (weight.shape[1] + 1) ** -0.5
    with torch.no_grad():
        weight.copy_(drawn)
