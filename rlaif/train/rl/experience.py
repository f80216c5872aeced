"""An iteration's answers with everything that is known about them before the first step learns from them.

Token arrays (S,) lie answer after answer, an iteration's prompts after another, in float64 on the CPU; every process
holds all of them. What is learnt from them is made in `targets`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlaif.train.packing import Family
from rlaif.train.ragged import sums_of
from rlaif.train.rl.kl import k3
from rlaif.train.rl.policy import PolicyScores
from rlaif.train.rl.rewards import Answer, Rewards


@dataclass(frozen=True, slots=True, eq=False)
class TokenReadings:
    """Of a group's tokens (S,): log-probabilities in nats of policy and reference, values, entropies."""

    policy: NDArray[np.float64]
    reference: NDArray[np.float64]
    values: NDArray[np.float64]
    entropy: NDArray[np.float64]


class FirstPass:
    """The reading of the groups that are learnt from first, its backward still to be had: nothing is computed twice to
    learn from it."""

    def __init__(self, groups: Sequence[int], scores: PolicyScores, policy: nn.Module) -> None:
        self._groups, self._policy = tuple(groups), policy
        self._scores: PolicyScores | None = scores
        self._weights = self._versions()

    def take(self, groups: Sequence[int]) -> PolicyScores | None:
        """To whoever comes first, and only for these groups and with the weights it was read with."""
        scores, self._scores = self._scores, None
        return scores if tuple(groups) == self._groups and self._weights == self._versions() else None

    def _versions(self) -> list[int]:
        """How often each weight was written to."""
        return [weight._version for weight in self._policy.parameters()]


@dataclass(frozen=True, eq=False)
class Experience:
    """Answers of an iteration, `group_size` to each prompt, one prompt's after the other's."""

    iteration: int
    answers: Sequence[Answer]
    rewards: Rewards
    group_size: int
    readings: Sequence[TokenReadings]  # of each group
    first: FirstPass | None = None

    @cached_property
    def families(self) -> list[Family]:
        """The groups as packing wants them: a prompt is computed once for all its answers."""
        size = self.group_size
        return [
            tuple(one.rollout.sequence() for one in self.answers[start : start + size])
            for start in range(0, len(self.answers), size)
        ]

    @cached_property
    def lengths(self) -> Tensor:
        return torch.tensor([len(one.rollout.answer) for one in self.answers])

    @cached_property
    def groups(self) -> Tensor:
        """(Q,) the number of each answer's prompt."""
        return torch.arange(len(self.answers)) // self.group_size

    @cached_property
    def is_ended(self) -> Tensor:
        return torch.tensor([one.rollout.is_ended for one in self.answers])

    @cached_property
    def sampled(self) -> Tensor:
        """(S,) log-probabilities as the sampler had them."""
        return _joined([one.rollout.logprobs for one in self.answers])

    @cached_property
    def old(self) -> Tensor:
        """(S,) log-probabilities under the policy that was sampled, read by the learner."""
        return _joined([one.policy for one in self.readings])

    @cached_property
    def reference(self) -> Tensor:
        return _joined([one.reference for one in self.readings])

    @cached_property
    def values(self) -> Tensor:
        return _joined([one.values for one in self.readings])

    @cached_property
    def entropy(self) -> Tensor:
        return _joined([one.entropy for one in self.readings])

    @cached_property
    def kls(self) -> Tensor:
        """(Q,) log π(answer) - log π_ref(answer): its mean is the KL, in nats per answer."""
        return sums_of(self.old - self.reference, self.lengths)

    def tokens_of(self, groups: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Places of some groups' answers among (Q,) and of their tokens among (S,)."""
        size = self.group_size
        answers = torch.tensor([group * size + number for group in groups for number in range(size)])
        stops = self.lengths.cumsum(0)
        spans = [torch.arange(int(stops[one] - self.lengths[one]), int(stops[one])) for one in answers]
        return answers, torch.cat(spans)

    def figures(self) -> dict[str, float]:
        """Of the policy as it was when it answered."""
        scores = torch.from_numpy(self.rewards.values)
        gap = (self.old - self.sampled).abs()
        by_group = scores.view(-1, self.group_size)
        found = {
            "reward": float(scores.mean()),
            "reward_deviation": float(scores.std(correction=0)),
            **{f"reward_{name}": float(np.mean(values)) for name, values in self.rewards.parts.items()},
            "kl": float(self.kls.mean()),
            "kl_error": _error_of(self.kls.view(-1, self.group_size).mean(dim=1)),
            "kl_k3": float(sums_of(k3(self.old, self.reference), self.lengths).mean()),
            "entropy": float(self.entropy.mean()),
            "length": float(self.lengths.double().mean()),
            "ended_share": float(self.is_ended.double().mean()),
            "sampler_gap": float(gap.mean()),
            "sampler_gap_most": float(gap.max()),
        }
        if self.group_size > 1:
            same = (by_group == by_group[:, :1]).all(dim=1)
            found["groups_without_signal"] = float(same.double().mean())
        return found


def joined_rewards(parts: Mapping[int, Rewards], group_size: int) -> Rewards:
    """Rewards of single groups, each (group_size,), in the groups' order. A part that some groups lack is 0 there."""
    ordered = [parts[group] for group in sorted(parts)]
    names = list(dict.fromkeys(name for one in ordered for name in one.parts))
    nothing = np.zeros(group_size)
    shown = {name: np.concatenate([one.parts.get(name, nothing) for one in ordered]) for name in names}
    members = [one.members for one in ordered if one.members is not None]
    together = np.concatenate(members) if len(members) == len(ordered) else None
    return Rewards(np.concatenate([one.values for one in ordered]), shown, together)


def _error_of(means: Tensor) -> float:
    """The standard error of a mean of prompts' means: answers to one prompt are alike. 0 where there is one prompt."""
    return float(means.std() / len(means) ** 0.5) if len(means) > 1 else 0.0


def _joined(arrays: Sequence[NDArray[np.floating]]) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays).astype(np.float64))
