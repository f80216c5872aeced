"""Online DPO: two answers of the policy as it is now, the better one named, and a DPO step on the pair.

Guo et al., arXiv:2402.04792. Answers, rewards and reference log-probabilities are an iteration's, as in PPO and GRPO;
only what is learnt from them differs: the losses of `rlaif.train.losses` on the pairs (y₁, y₂) of a prompt, with
p = P(y₁ is better) from their rewards r₁, r₂:

    shares     r₁ / (r₁ + r₂): what a judge's P(better) is, given as rewards that add up to 1
    hard       1, 0 or 1/2: the higher reward wins
    logistic   σ(r₁ - r₂): Bradley and Terry's, for a reward model's rewards

Two equal answers have a gap of 0 whatever the policy is, and teach nothing.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rlaif.errors import TrainingStopped
from rlaif.train.dpo import Side, pair_losses
from rlaif.train.forward import sum_by_sequence
from rlaif.train.ragged import sums_of
from rlaif.train.rl.experience import Experience
from rlaif.train.rl.policy import PolicyScores
from rlaif.train.rl.settings import OnlineDpoSettings
from rlaif.train.task import Layout, Outcome, accuracy_of, mean_of


class OnlineDpoTask:
    """An iteration's pairs; one group of two answers is one row."""

    def __init__(self, seen: Experience, settings: OnlineDpoSettings, layout: Layout) -> None:
        assert seen.group_size == 2, "two answers per prompt"
        self.seen, self.settings, self.layout = seen, settings, layout
        self.probability = probabilities(torch.from_numpy(seen.rewards.values).view(-1, 2), settings)
        self.reference = sums_of(seen.reference, seen.lengths).view(-1, 2)
        self.sizes: Sequence[int] = [layout.size(family) for family in seen.families]
        self.weights: Sequence[float] = [1.0] * len(self.sizes)
        self.furthest_ratio = 0.0  # |π / π_old - 1| of the last pass, over its tokens

    def compute(self, module: nn.Module, rows: Sequence[int], device: torch.device) -> Outcome:
        batch = self.layout.batch([self.seen.families[row] for row in rows]).to(device)
        scores: PolicyScores = (self.seen.first.take(rows) if self.seen.first else None) or module(batch)
        logprobs = scores.logprobs.double()
        _, tokens = self.seen.tokens_of(rows)
        self.furthest_ratio = float(((logprobs.detach() - self.seen.old[tokens].to(device)).exp() - 1.0).abs().max())
        totals, lengths = sum_by_sequence(logprobs, batch).view(-1, 2), batch.lengths.view(-1, 2)
        reference = self.reference[list(rows)].to(device)
        first, second = (Side(totals[:, i], reference[:, i], lengths[:, i]) for i in range(2))
        probability = self.probability[list(rows)].to(device)
        losses = pair_losses(self.settings, first, second, probability)
        gap = self.settings.beta * (first.ratio - second.ratio)
        metrics = {
            "accuracy": accuracy_of(gap, probability),
            "reward_gap": mean_of(gap.abs()),
            "decided": mean_of((probability != 0.5).double()),
            "preference_strength": mean_of((2 * probability - 1).abs()),
        }
        return Outcome(losses.sum(), metrics)


def probabilities(rewards: Tensor, settings: OnlineDpoSettings) -> Tensor:
    """(G,) P(the first answer is better) of rewards (G, 2)."""
    first, second = rewards[:, 0], rewards[:, 1]
    if settings.labels == "logistic":
        return torch.sigmoid(first - second)
    if settings.labels == "hard":
        return 0.5 + 0.5 * torch.sign(first - second)
    if bool((rewards < 0).any()) or not torch.allclose(first + second, torch.ones_like(first), atol=1e-6):
        raise TrainingStopped(
            f"labels: shares takes rewards of a pair that add up to 1, and found {first[0]:.3g} and {second[0]:.3g}.",
            do="That is what a comparing judge gives, alone and with weight 1. For other rewards set labels: hard.",
        )
    return first
