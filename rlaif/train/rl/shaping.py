"""From an answer's score to its tokens' rewards: what an endless answer scores, scaling, and the KL to the reference.

    scores (Q,) of whole answers  ->  replaced where unended, scaled, clipped  ->  rewards (S,) of tokens

Scores and rewards take no gradient. Where a score comes from, penalties for length among it, is decided in `rewards`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rlaif.train.ragged import check_ragged, ends_of

SumOver = Callable[[Tensor], Tensor]  # the sum of a tensor over all processes


def alone(values: Tensor) -> Tensor:
    """The sum over processes where there is one."""
    return values


def token_rewards(scores: Tensor, lengths: Tensor, kl: Tensor | None = None, *, coefficient: float = 0.0) -> Tensor:
    """(S,) -β · kl at every token, plus the score at the answer's last one. Ziegler et al., arXiv:1909.08593 eq. 2;
    InstructGPT, arXiv:2203.02155 eq. 2 (γ = 0).

    The last token is the stop token, which belongs to the answer, or of an answer that was cut off the last one
    written. `kl` (S,) estimates the KL per token (`kl.in_reward`); without it the rewards hold the scores alone.
    """
    num_tokens = int(lengths.sum())
    rewards = scores.new_zeros(num_tokens) if kl is None else -coefficient * kl.detach().to(scores)
    check_ragged(rewards, lengths)
    return rewards.index_add(0, ends_of(lengths), scores.detach())


def replace_unended(scores: Tensor, is_ended: Tensor, value: float) -> Tensor:
    """The score of an answer that never ended is `value`, whatever it says: a score of half an answer means nothing.
    "The N implementation details of RLHF with PPO", policy training 5 (there -1)."""
    assert is_ended.shape == scores.shape, "one flag per answer"
    assert is_ended.dtype == torch.bool, "True where the answer's last token is a stop token"
    return torch.where(is_ended, scores, torch.full_like(scores, value))


@dataclass(frozen=True, slots=True)
class Moments:
    """Number, mean and sum of squared deviations of all scores so far. A value of this class is all that is saved."""

    count: float = 0.0
    mean: float = 0.0
    squares: float = 0.0

    @property
    def deviation(self) -> float:
        """Standard deviation, divided by the count; 0 where nothing differed yet."""
        return (self.squares / self.count) ** 0.5 if self.count else 0.0

    def with_more(self, values: Tensor, sum_over: SumOver = alone) -> "Moments":
        """With the values of all processes. Chan, Golub & LeVeque 1979, eq. 2.1: exact in any order of merging."""
        values = values.detach().double().flatten()
        total = sum_over(torch.stack([values.sum(), values.new_tensor(float(len(values)))]))
        number = float(total[1])
        if number == 0.0:
            return self
        mean = float(total[0]) / number
        squares = float(sum_over(((values - mean) ** 2).sum()))
        count, gap = self.count + number, mean - self.mean
        return Moments(
            count,
            self.mean + gap * number / count,
            self.squares + squares + gap**2 * self.count * number / count,
        )


def scale_scores(scores: Tensor, moments: Moments, *, subtract_mean: bool, epsilon: float = 1e-8) -> Tensor:
    """Scores divided by the standard deviation of all so far, with or without their mean subtracted.

    Division alone changes β's unit and no preference; subtracting a mean changes what ending an answer is worth, where
    answers can end early. Engstrom et al., arXiv:2005.12729 (reward scaling, of returns; an answer has one score).
    """
    centred = scores - moments.mean if subtract_mean else scores
    return centred / (moments.deviation + epsilon) if moments.deviation else centred


def clip_scores(scores: Tensor, limit: float) -> Tensor:
    """Scores within ±limit."""
    assert limit > 0, "a limit is positive"
    return scores.clamp(-limit, limit)
