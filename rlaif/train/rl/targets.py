"""From an iteration's answers to what its steps learn: advantages of tokens, returns for the value, weights.

    targets, moments = targets_of(experience, settings, coefficient, moments)

Pure: the same answers give the same targets, whatever passes and processes they are learnt with. Statistics (whitening,
scaling) are over all of the iteration's answers, of all processes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlaif.train.ragged import spread, sums_of
from rlaif.train.rl.advantages import gae, group_advantages, lambda_returns, leave_one_out, whiten
from rlaif.train.rl.experience import Experience
from rlaif.train.rl.kl import in_reward
from rlaif.train.rl.objectives import answer_weights
from rlaif.train.rl.settings import GrpoSettings, PpoSettings, RewardShape, RlSettings
from rlaif.train.rl.shaping import Moments, clip_scores, replace_unended, scale_scores, token_rewards


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """(S,) of tokens: advantages, returns where there is a value, the weight of each loss; (Q,) what each answer adds
    to a step's denominator."""

    advantages: Tensor
    returns: Tensor | None
    per_token: Tensor
    total: Tensor


def targets_of(seen: Experience, settings: RlSettings, coefficient: float, moments: Moments) -> tuple[Targets, Moments]:
    """What is learnt from `seen` with the KL's coefficient as it is now, and the moments of all scores so far."""
    scores, moments = _scores(seen, settings.shape, moments)
    if isinstance(settings, PpoSettings):
        advantages, returns = _by_value(seen, scores, settings, coefficient)
    else:
        assert isinstance(settings, GrpoSettings), "PPO or GRPO"
        advantages, returns = _by_group(seen, scores, settings, coefficient), None
    longest = settings.rollout.max_new_tokens
    weights = answer_weights(seen.lengths, settings.mean, max_length=longest, groups=seen.groups)
    return Targets(advantages, returns, spread(weights.per_token, seen.lengths), weights.total), moments


def _scores(seen: Experience, shape: RewardShape, moments: Moments) -> tuple[Tensor, Moments]:
    """(Q,) the answers' scores, shaped."""
    scores = torch.from_numpy(seen.rewards.values)
    if shape.unended is not None:
        scores = replace_unended(scores, seen.is_ended, shape.unended)
    moments = moments.with_more(scores)
    if shape.scale:
        scores = scale_scores(scores, moments, subtract_mean=shape.centre)
    elif shape.centre:
        scores = scores - moments.mean
    return (scores if shape.clip is None else clip_scores(scores, shape.clip)), moments


def _by_value(seen: Experience, scores: Tensor, settings: PpoSettings, coefficient: float) -> tuple[Tensor, Tensor]:
    """PPO: generalised advantages of the tokens' rewards, and the value's returns."""
    rewards = token_rewards(scores, seen.lengths, _penalty(seen, settings), coefficient=coefficient)
    if settings.whiten_rewards:
        rewards = whiten(rewards, shift_mean=False)
    advantages = gae(rewards, seen.values, seen.lengths, gamma=settings.gamma, lam=settings.lam)
    returns = lambda_returns(advantages, seen.values)
    return (whiten(advantages) if settings.whiten_advantages else advantages), returns


def _by_group(seen: Experience, scores: Tensor, settings: GrpoSettings, coefficient: float) -> Tensor:
    """GRPO and RLOO: an answer's score beside those of the others, the same for all its tokens."""
    penalty = _penalty(seen, settings)
    if penalty is not None:
        scores = scores - coefficient * sums_of(penalty, seen.lengths)
    if settings.advantage == "rloo":
        advantages = leave_one_out(scores, seen.groups)
    else:
        advantages = group_advantages(scores, seen.groups, divide_by_std=settings.advantage == "grpo")
    return spread(advantages, seen.lengths)


def _penalty(seen: Experience, settings: RlSettings) -> Tensor | None:
    """(S,) the KL of each token, where it is taken off the reward."""
    if settings.kl.place != "reward":
        return None
    return in_reward(settings.kl.chosen, seen.old, seen.reference)
