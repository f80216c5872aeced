"""Every loss, one function per formula: tensors in, one loss per row out. No models, no files, no means.

Conventions, the same everywhere:
- log-probabilities are sums over the answer's scored tokens, in nats, unless a name says `mean`;
- `p` (B,) is the probability that "chosen" is the better answer. A row with p is the expectation over labels: it equals
  p times the row as it stands and 1 - p times the row with its answers exchanged. p = 1 is the hard label to the last
  bit, since 1 · x + 0 · y = x;
- weights are not applied here but by `weighted_sum`: a row of weight w counts as w rows, so the mean over a batch is
  Σ w·loss / Σ w, whatever the batches and processes the rows were spread over.

`ratio` names what DPO's family works on: log π(y|x) - log π_ref(y|x), for each answer. Which of these functions a run
uses, and on what (sums or means, with or without a reference), is decided in `rlaif.train.dpo`.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from torch import Tensor


def expected(p: Tensor, as_labelled: Tensor, exchanged: Tensor) -> Tensor:
    """p · (loss of the row) + (1 - p) · (loss with the answers exchanged), all (B,)."""
    assert p.shape == as_labelled.shape == exchanged.shape, "one probability per row"
    return p * as_labelled + (1.0 - p) * exchanged


def weighted_sum(losses: Tensor, weights: Tensor) -> Tensor:
    """Σ w·loss; the loop divides by the Σ w of the whole optimizer step."""
    assert losses.shape == weights.shape, "one weight per row"
    return (losses * weights).sum()


# --- supervised


def cross_entropy(logprobs: Tensor) -> Tensor:
    """-log π(token | what stands before it), per scored token; equal weight for every token of the step."""
    return -logprobs


# --- reward model


def bradley_terry(chosen: Tensor, rejected: Tensor, p: Tensor, margin: Tensor | None = None) -> Tensor:
    """-p log σ(Δ - m) - (1 - p) log σ(-Δ - m), Δ = r(chosen) - r(rejected).

    Bradley & Terry 1952; InstructGPT, arXiv:2203.02155 eq. 1 (p = 1, m = 0); margin m as in Llama 2, arXiv:2307.09288
    eq. 2. The margin asks the same gap of whichever answer is the better one, so exchanging the answers with p changes
    nothing.
    """
    gap = chosen - rejected
    m = torch.zeros_like(gap) if margin is None else margin
    return expected(p, -F.logsigmoid(gap - m), -F.logsigmoid(-gap - m))


def centring(chosen: Tensor, rejected: Tensor) -> Tensor:
    """(r(chosen) + r(rejected))², which Bradley-Terry leaves free. arXiv:2312.09244 eq. 2."""
    return (chosen + rejected) ** 2


# --- preferences with a reference


def dpo(chosen_ratio: Tensor, rejected_ratio: Tensor, p: Tensor, *, beta: float) -> Tensor:
    """-p log σ(βΔ) - (1 - p) log σ(-βΔ), Δ = ratio(chosen) - ratio(rejected). arXiv:2305.18290 eq. 7 (p = 1).

    With p the same as cDPO of strength ε = 1 - p, row by row. Length-normalised DPO (Tülu 3, arXiv:2411.15124) is this
    function of ratios divided by their numbers of tokens.
    """
    gap = beta * (chosen_ratio - rejected_ratio)
    return expected(p, -F.logsigmoid(gap), -F.logsigmoid(-gap))


def conservative_dpo(
    chosen_ratio: Tensor, rejected_ratio: Tensor, p: Tensor, *, beta: float, flip_rate: float
) -> Tensor:
    """DPO under the belief that labels are flipped at `flip_rate` ε: p becomes p(1 - ε) + (1 - p)ε.

    cDPO, Mitchell 2023, "A note on DPO with noisy preferences", eq. 3 (p = 1).
    """
    return dpo(chosen_ratio, rejected_ratio, p * (1.0 - flip_rate) + (1.0 - p) * flip_rate, beta=beta)


def robust_dpo(chosen_ratio: Tensor, rejected_ratio: Tensor, p: Tensor, *, beta: float, flip_rate: float) -> Tensor:
    """[(1 - ε) L(as labelled) - ε L(exchanged)] / (1 - 2ε), L DPO's loss: unbiased when labels are flipped at ε < 1/2.

    Chowdhury et al., arXiv:2403.00409 (p = 1).
    """
    gap = beta * (chosen_ratio - rejected_ratio)
    right, wrong = -F.logsigmoid(gap), -F.logsigmoid(-gap)
    scale = 1.0 / (1.0 - 2.0 * flip_rate)
    as_labelled = ((1.0 - flip_rate) * right - flip_rate * wrong) * scale
    exchanged = ((1.0 - flip_rate) * wrong - flip_rate * right) * scale
    return expected(p, as_labelled, exchanged)


def ipo(chosen_ratio: Tensor, rejected_ratio: Tensor, p: Tensor, *, beta: float) -> Tensor:
    """p (Δ - 1/2β)² + (1 - p) (-Δ - 1/2β)², β the paper's τ. arXiv:2310.12036 eq. 17 (p = 1).

    Ratios are sums over tokens, as the paper's are; TRL divides them by the answers' lengths first, which is this
    function of mean ratios.
    """
    gap, target = chosen_ratio - rejected_ratio, 1.0 / (2.0 * beta)
    return expected(p, (gap - target) ** 2, (-gap - target) ** 2)


def hinge(chosen_ratio: Tensor, rejected_ratio: Tensor, p: Tensor, *, beta: float) -> Tensor:
    """p max(0, 1 - βΔ) + (1 - p) max(0, 1 + βΔ). SLiC-HF, arXiv:2305.10425, on log-ratios as in RSO, arXiv:2309.06657.

    At the kink, βΔ = 1, the gradient is 0.
    """
    gap = beta * (chosen_ratio - rejected_ratio)
    return expected(p, F.relu(1.0 - gap), F.relu(1.0 + gap))


# --- preferences without a reference


def simpo(chosen_mean: Tensor, rejected_mean: Tensor, p: Tensor, *, beta: float, gamma: float) -> Tensor:
    """-log σ(βΔ - γ), Δ the difference of mean log-probabilities per token. arXiv:2405.14734 eq. 6 (p = 1).

    γ is the target margin, asked of whichever answer is the better one, as `bradley_terry` does.
    """
    gap = beta * (chosen_mean - rejected_mean)
    return expected(p, -F.logsigmoid(gap - gamma), -F.logsigmoid(-gap - gamma))


def orpo(chosen_mean: Tensor, rejected_mean: Tensor, p: Tensor, *, strength: float) -> Tensor:
    """L_SFT + λ L_OR: -log π̄(y) - λ log σ(log odds(chosen) - log odds(rejected)). arXiv:2403.07691 eq. 6 and 7 (p = 1).

    π̄ is the geometric mean of the answer's token probabilities, odds = π̄ / (1 - π̄).
    """
    gap = log_odds(chosen_mean) - log_odds(rejected_mean)
    as_labelled = -chosen_mean - strength * F.logsigmoid(gap)
    exchanged = -rejected_mean - strength * F.logsigmoid(-gap)
    return expected(p, as_labelled, exchanged)


def log_odds(logprob: Tensor) -> Tensor:
    """log(π / (1 - π)) of a log-probability below 0, exact near both ends."""
    # log(1 - e^x): log(-expm1(x)) near 0, log1p(-e^x) far from it (Mächler 2012); `where` must not meet a NaN gradient
    near = logprob > -0.6931471805599453
    safe_near = torch.where(near, logprob, torch.full_like(logprob, -0.5))
    safe_far = torch.where(near, torch.full_like(logprob, -1.0), logprob)
    complement = torch.where(near, torch.log(-torch.expm1(safe_near)), torch.log1p(-torch.exp(safe_far)))
    return logprob - complement


def better_answer(chosen_mean: Tensor, rejected_mean: Tensor, p: Tensor) -> Tensor:
    """-log π(y|x) / |y| of the better answer: -p · mean(chosen) - (1 - p) · mean(rejected). Added to a preference loss
    with a weight; iterative RPO, arXiv:2404.19733 eq. 1 (p = 1)."""
    return expected(p, -chosen_mean, -rejected_mean)


# --- single answers


def kto_baseline(mismatched_ratio: Tensor, weights: Tensor) -> Tensor:
    """z₀ = max(0, Σ w · (log π(y'|x) - log π_ref(y'|x)) / Σ w), y' an answer to another prompt. () in nats.

    arXiv:2402.01306 section 4.1, over a whole optimizer step and all its processes instead of one forward pass.
    """
    return (weighted_sum(mismatched_ratio, weights) / weights.sum()).clamp(min=0.0)


def kto(
    ratio: Tensor, baseline: Tensor, p: Tensor, *, beta: float, desirable: float = 1.0, undesirable: float = 1.0
) -> Tensor:
    """p λ_D (1 - σ(β(ratio - z₀))) + (1 - p) λ_U (1 - σ(β(z₀ - ratio))). arXiv:2402.01306 eq. 8.

    One answer per row; p is the probability that it is desirable. z₀ (the baseline, () or (B,)) estimates the KL to the
    reference in nats and takes no gradient; the caller clamps it at 0.
    """
    gap = beta * (ratio - baseline.detach())
    return expected(p, desirable * torch.sigmoid(-gap), undesirable * torch.sigmoid(gap))
