"""What is minimised: one loss per token or per answer, and the weights with which they add up. No means.

    weights = answer_weights(lengths, "tokens")                            (Q,) once per rollout, for all its answers
    loss = weighted_sum(clipped_policy(log_ratio, advantages, clip=…), spread(weights.per_token, lengths))
    …                                                 the loop divides by Σ weights.total of the whole optimizer step

So neither the size of a forward pass nor the number of processes changes a gradient. Formulas work element by element:
on tokens (S,) with the token's log-ratio, or on answers (Q,) with the sum of theirs, where the whole answer is the
action (RLOO). Log-ratios are log π - log π_old in nats, where π_old is the policy that the rollout began with, read by
the *learner* at the sampling temperature. What is sampled and what is scored is not known here.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rlaif.train.ragged import sums_of
from rlaif.train.rl.kl import k3
from rlaif.train.task import mean_of

Mean = Literal["tokens", "groups", "answers", "constant", "sum"]
Figures = dict[str, tuple[Tensor, float]]  # name -> (sum, count), as in rlaif.train.task


@dataclass(frozen=True, slots=True)
class Clip:
    """The ratio's range, 1 - low to 1 + high (DAPO's clip-higher has high > low, arXiv:2503.14476 eq. 10), and dual
    clip's bound c > 1 on how much a token of negative advantage may count."""

    low: float = 0.2
    high: float = 0.2
    dual: float | None = None


def clipped_policy(log_ratio: Tensor, advantages: Tensor, *, clip: Clip = Clip()) -> Tensor:
    """-min(ρA, clip(ρ, 1 - ε, 1 + ε) A), ρ = π / π_old. PPO, arXiv:1707.06347 eq. 7.

    With `clip.dual` = c, where A < 0: -max(min(…), c A). Dual-clip PPO, arXiv:1912.09729 eq. 5.
    """
    assert log_ratio.shape == advantages.shape, "one advantage per log-ratio"
    advantages, ratio = advantages.detach(), log_ratio.exp()
    gain = torch.minimum(ratio * advantages, ratio.clamp(1.0 - clip.low, 1.0 + clip.high) * advantages)
    if clip.dual is not None:
        assert clip.dual > 1.0, "dual clip's bound lies above 1"
        gain = torch.where(advantages < 0, torch.maximum(gain, clip.dual * advantages), gain)
    return -gain


def answer_log_ratio(log_ratio: Tensor, lengths: Tensor) -> Tensor:
    """(S,) -> (Q,): log-ratios of whole answers, for RLOO's importance ratio."""
    return sums_of(log_ratio, lengths)


def mean_log_ratio(log_ratio: Tensor, lengths: Tensor) -> Tensor:
    """(S,) -> (Q,): log-ratio per token of each answer. GSPO's sequence ratio, arXiv:2507.18071 eq. 7."""
    return sums_of(log_ratio, lengths) / lengths


def squared_value(values: Tensor, returns: Tensor, *, old_values: Tensor | None = None, clip: float = 0.0) -> Tensor:
    """(V - R)² / 2; with a clip the larger of it and (clip(V, V_old ± clip) - R)² / 2.

    PPO2's code, no paper; "The 37 implementation details of PPO" 9, whose authors find that the clip does no good.
    """
    assert values.shape == returns.shape, "one return per value"
    loss = (values - returns.detach()) ** 2
    if old_values is not None:
        assert clip > 0, "a clip is positive"
        near = old_values.detach() + (values - old_values.detach()).clamp(-clip, clip)
        loss = torch.maximum(loss, (near - returns.detach()) ** 2)
    return 0.5 * loss


def sampler_weights(old: Tensor, sampler: Tensor, *, most: float) -> Tensor:
    """min(π_old / μ, C), μ the sampler's own probabilities: factors of the token losses, without gradient.

    Truncated importance sampling (Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy
    training"; Espeholt et al., arXiv:1802.01561, ρ̄ of eq. 1). Biased towards tokens the sampler overrates, by no more
    than the mass above C; never unbounded.
    """
    assert old.shape == sampler.shape, "one log-probability of the sampler per token"
    return (old - sampler).detach().exp().clamp(max=most)


# --- weights


@dataclass(frozen=True, slots=True, eq=False)
class AnswerWeights:
    """(Q,) each: the factor of every token's loss, and what the answer adds to the step's denominator."""

    per_token: Tensor
    total: Tensor


def answer_weights(
    lengths: Tensor, mean: Mean, *, max_length: int | None = None, groups: Tensor | None = None
) -> AnswerWeights:
    """How tokens of answers of different lengths are averaged. Over the answers of a step:

        tokens    Σ loss / Σ lengths           every token alike; PPO, and DAPO over all its answers
        groups    mean over prompts of Σ loss / Σ lengths of the prompt's answers      DAPO, arXiv:2503.14476 eq. 8
        answers   mean over answers of Σ loss / length      every answer alike; GRPO, arXiv:2402.03300 eq. 3
        constant  mean over answers of Σ loss / max_length                 Dr. GRPO, arXiv:2503.20783 (its listing 1)
        sum       mean over answers of Σ loss        the objective's own gradient, where the answer is the action

    `constant` and `sum` point along the gradient of the expected score; the others weigh an answer's tokens by lengths
    that the policy chooses. A mean over the tokens of one forward pass is not offered: it depends on the pass's size.
    """
    wide = lengths.double()
    one = torch.ones_like(wide)
    if mean == "tokens":
        return AnswerWeights(one, wide)
    if mean == "answers":
        return AnswerWeights(1.0 / wide, one)
    if mean == "sum":
        return AnswerWeights(one, one)
    if mean == "constant":
        assert max_length is not None, "Dr. GRPO divides by the longest answer allowed"
        return AnswerWeights(one / max_length, one)
    assert groups is not None, "a mean by prompt needs to know the prompts"
    _, places = torch.unique(groups, return_inverse=True)
    tokens = wide.new_zeros(len(lengths)).index_add(0, places, wide)[places]
    return AnswerWeights(1.0 / tokens, 1.0 / torch.bincount(places).double()[places])


def weighted_sum(losses: Tensor, per_token: Tensor) -> Tensor:
    """Σ weight · loss in float64; the loop divides by Σ total of the whole step."""
    assert losses.shape == per_token.shape, "one weight per loss"
    return (losses.double() * per_token).sum()


# --- figures, as sums and counts


def policy_figures(log_ratio: Tensor, advantages: Tensor, *, clip: Clip = Clip()) -> Figures:
    """Of the update: mean ratio, how often the clip decides, KL(π_old ‖ π) per token by k3, which is never negative."""
    log_ratio = log_ratio.detach()
    ratio = log_ratio.exp()
    is_clipped = ((ratio > 1.0 + clip.high) & (advantages > 0)) | ((ratio < 1.0 - clip.low) & (advantages < 0))
    return {
        "ratio": mean_of(ratio),
        "clip_fraction": mean_of(is_clipped),
        "approx_kl": mean_of(k3(torch.zeros_like(log_ratio), log_ratio)),
    }


def sampler_figures(old: Tensor, sampler: Tensor, *, most: float) -> Figures:
    """Of the sampler: KL(μ ‖ π_old) per token by k3, the mean absolute gap in nats, and how often a weight is cut."""
    gap = (old - sampler).detach()
    return {
        "sampler_kl": mean_of(k3(torch.zeros_like(gap), gap)),
        "sampler_gap": mean_of(gap.abs()),
        "sampler_weight": mean_of(sampler_weights(old, sampler, most=most)),
        "sampler_cut": mean_of(gap.exp() > most),
    }


def value_figures(values: Tensor, returns: Tensor) -> Figures:
    """Of the value model, from which `explained_variance` follows over any set of passes."""
    error = (returns - values).detach()
    return {
        "value_error": mean_of(error),
        "value_error_squared": mean_of(error**2),
        "return": mean_of(returns),
        "return_squared": mean_of(returns.detach().double() ** 2),
    }


def explained_variance(means: dict[str, float]) -> float:
    """1 - Var(R - V) / Var(R), from the means of `value_figures`; NaN where all returns are equal."""
    left = means["value_error_squared"] - means["value_error"] ** 2
    whole = means["return_squared"] - means["return"] ** 2
    return 1.0 - left / whole if whole > 0 else float("nan")
