"""The loss of some groups of answers, as a sum with its metrics: clipped policy gradient, value, KL, entropy.

A `Task` like any other (`rlaif.train.task`): the step divides by the weights of all its answers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rlaif.train.ragged import spread
from rlaif.train.rl.experience import Experience
from rlaif.train.rl.kl import in_loss
from rlaif.train.rl.objectives import (
    Clip,
    answer_log_ratio,
    clipped_policy,
    mean_log_ratio,
    policy_figures,
    sampler_figures,
    sampler_weights,
    squared_value,
    value_figures,
    weighted_sum,
)
from rlaif.train.rl.policy import PolicyScores
from rlaif.train.rl.settings import GrpoSettings, PpoSettings, RlSettings
from rlaif.train.rl.targets import Targets
from rlaif.train.task import Layout, Outcome, mean_of


class PolicyTask:
    """An iteration's groups; `coefficient` is that of a KL in the loss."""

    def __init__(
        self, seen: Experience, targets: Targets, settings: RlSettings, coefficient: float, layout: Layout
    ) -> None:
        self.seen, self.targets, self.settings, self.layout = seen, targets, settings, layout
        self.coefficient = coefficient
        self.clip = Clip(settings.clip.low, settings.clip.high, settings.clip.dual)
        self.sizes: Sequence[int] = [layout.size(family) for family in seen.families]
        self.weights: Sequence[float] = targets.total.view(-1, seen.group_size).sum(dim=1).tolist()
        self.furthest_ratio = 0.0  # |π / π_old - 1| of the last pass, over its tokens

    def compute(self, module: nn.Module, rows: Sequence[int], device: torch.device) -> Outcome:
        batch = self.layout.batch([self.seen.families[row] for row in rows]).to(device)
        kept = self.seen.first.take(rows) if self.seen.first else None
        scores: PolicyScores = kept or module(batch, with_stats=self.settings.entropy > 0)
        answers, tokens = self.seen.tokens_of(rows)
        part = _Part(self.seen, self.targets, answers, tokens, device)
        log_ratio = scores.logprobs.double() - part.old
        self.furthest_ratio = float((log_ratio.detach().exp() - 1.0).abs().max())
        losses, metrics = self._policy(log_ratio, part)
        if scores.values is not None:
            value_losses, value_metrics = self._value(scores.values, part)
            losses, metrics = losses + value_losses, {**metrics, **value_metrics}
        if self.settings.kl.place == "loss" and self.coefficient:
            sampled = part.old if self.settings.kl.corrected else None
            kl = in_loss(self.settings.kl.chosen, scores.logprobs.double(), part.reference, sampled)
            losses = losses + self.coefficient * kl
        if self.settings.entropy > 0:
            assert scores.entropy is not None, "it was asked for"
            losses = losses - self.settings.entropy * scores.entropy.double()
        return Outcome(weighted_sum(losses, part.per_token), metrics)

    def _policy(self, log_ratio: Tensor, part: "_Part") -> tuple[Tensor, dict[str, tuple[Tensor, float]]]:
        ratio = self.settings.ratio if isinstance(self.settings, GrpoSettings) else "token"
        if ratio != "token":
            of_answers = (answer_log_ratio if ratio == "answer" else mean_log_ratio)(log_ratio, part.lengths)
            log_ratio = spread(of_answers, part.lengths)
        losses = clipped_policy(log_ratio, part.advantages, clip=self.clip)
        metrics = policy_figures(log_ratio, part.advantages, clip=self.clip)
        most = self.settings.rollout.most_weight
        if most is not None:
            losses = losses * sampler_weights(part.old, part.sampled, most=most)
            metrics |= sampler_figures(part.old, part.sampled, most=most)
        return losses, {**metrics, "policy_loss": mean_of(losses)}

    def _value(self, values: Tensor, part: "_Part") -> tuple[Tensor, dict[str, tuple[Tensor, float]]]:
        assert isinstance(self.settings, PpoSettings), "only PPO has a value"
        assert part.returns is not None, "a value has returns to learn"
        values, clip = values.double(), self.settings.value_clip
        old = None if clip is None else part.values
        losses = squared_value(values, part.returns, old_values=old, clip=clip or 0.0)
        metrics = {**value_figures(values.detach(), part.returns), "value_loss": mean_of(losses)}
        return self.settings.value_weight * losses, metrics


class _Part:
    """Some answers' numbers on the device."""

    def __init__(
        self, seen: Experience, targets: Targets, answers: Tensor, tokens: Tensor, device: torch.device
    ) -> None:
        self.lengths = seen.lengths[answers].to(device)
        self.old, self.reference, self.sampled, self.values = (
            one[tokens].to(device) for one in (seen.old, seen.reference, seen.sampled, seen.values)
        )
        self.advantages, self.per_token = targets.advantages[tokens].to(device), targets.per_token[tokens].to(device)
        self.returns = None if targets.returns is None else targets.returns[tokens].to(device)
