"""How much better each token was than expected: by a value model (PPO) or by the other answers to the prompt.

Flat arrays over tokens (S,) in sequence order with lengths (Q,), as `packing.Batch` has them; numbers of whole answers
(Q,). Nothing here takes a gradient; give float64. `values[t]` is the value of the state in which token t was chosen,
before it was: of the hidden state at `Batch.rows`, from which the token's log-probability comes as well.
"""

import torch
from torch import Tensor

from rlaif.errors import InputError
from rlaif.train.ragged import discounted_sums, next_of
from rlaif.train.rl.shaping import SumOver, alone


def gae(
    rewards: Tensor, values: Tensor, lengths: Tensor, *, gamma: float, lam: float, last_values: Tensor | None = None
) -> Tensor:
    """(S,) A_t = Σ_k (γλ)^k δ_{t+k},  δ_t = r_t + γ V_{t+1} - V_t. Generalised advantage estimation, arXiv:1506.02438
    eq. 11, 12 and 16.

    After the last token the value is 0: nothing more can be earned. `last_values` (Q,) puts another in its place, for
    answers that were cut off and would have gone on (0 for those that ended).
    """
    assert rewards.shape == values.shape, "one reward and one value per token"
    last = values.new_zeros(len(lengths)) if last_values is None else last_values
    deltas = rewards + gamma * next_of(values, lengths, last) - values
    return discounted_sums(deltas, lengths, gamma * lam).detach()


def lambda_returns(advantages: Tensor, values: Tensor) -> Tensor:
    """(S,) what the value model learns: A_t + V_t, the TD(λ) return, as in PPO2's code."""
    assert advantages.shape == values.shape, "one advantage and one value per token"
    return (advantages + values).detach()


def rewards_to_go(rewards: Tensor, lengths: Tensor, *, gamma: float = 1.0) -> Tensor:
    """(S,) Σ_k γ^k r_{t+k}: what was earned from a token on. Equals GAE of λ = 1 plus the values."""
    return discounted_sums(rewards, lengths, gamma).detach()


def whiten(values: Tensor, *, shift_mean: bool = True, sum_over: SumOver = alone, epsilon: float = 1e-8) -> Tensor:
    """(x - μ) / √(σ² + ε), plus μ without `shift_mean`; μ and σ² over the tokens of all processes.

    σ² is divided by the number of values, as in OpenAI's lm-human-preferences (`tf.nn.moments`); TRL's is multiplied by
    n / (n - 1). Two sums over processes instead of one: a difference of two large sums would lose what whitening needs.
    """
    values = values.detach()
    sums = sum_over(torch.stack([values.sum(), values.new_tensor(float(len(values)))]))
    mean = sums[0] / sums[1]
    variance = sum_over(((values - mean) ** 2).sum()) / sums[1]
    white = (values - mean) * torch.rsqrt(variance + epsilon)
    return white if shift_mean else white + mean


# --- without a value model: (Q,) one advantage for all of an answer's tokens; `groups` (Q,) numbers the prompts


def group_advantages(scores: Tensor, groups: Tensor, *, divide_by_std: bool, epsilon: float = 1e-4) -> Tensor:
    """r - mean of its group, with `divide_by_std` over (std + ε). GRPO, arXiv:2402.03300 sec. 4.1.2; without the
    division Dr. GRPO, arXiv:2503.20783 eq. 6 (their scale: leave one out times (K - 1) / K).

    The standard deviation is Bessel's, of K - 1, as in TRL. A group whose scores are all equal has advantages 0, as has
    a group of one. Groups lie whole on one process.
    """
    sums, counts, places = _by_group(scores, groups)
    centred = scores - (sums / counts)[places]
    if not divide_by_std:
        return centred.detach()
    squares, *_ = _by_group(centred**2, groups)
    deviation = (squares / (counts - 1.0).clamp(min=1.0)).sqrt()
    return (centred / (deviation[places] + epsilon)).detach()


def leave_one_out(scores: Tensor, groups: Tensor) -> Tensor:
    """r minus the mean of the other answers to the same prompt: an unbiased baseline, since it does not depend on the
    answer it is subtracted from. RLOO, arXiv:2402.14740 eq. 6; Kool et al. 2019, "Buy 4 REINFORCE samples"."""
    sums, counts, places = _by_group(scores, groups)
    if bool((counts < 2).any()):
        raise InputError(
            "a prompt has a single answer: there is no other one to compare it with.",
            do="Sample at least two answers per prompt.",
        )
    others = (sums[places] - scores) / (counts[places] - 1.0)
    return (scores - others).detach()


def _by_group(values: Tensor, groups: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sum and number of values of each group (G,), and each answer's place among the groups (Q,)."""
    assert values.shape == groups.shape, "one group per answer"
    found, places = torch.unique(groups, return_inverse=True)
    sums = values.new_zeros(len(found)).index_add(0, places, values)
    return sums, torch.bincount(places, minlength=len(found)).to(values), places
