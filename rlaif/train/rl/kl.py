"""KL(policy ‖ reference) from sampled tokens: three estimators, and what the coefficient before it does over time.

All take log-probabilities in nats of tokens (S,) drawn from the policy, or sums over whole answers (Q,): then they
estimate the KL of whole answers. With x = log π(token) - log π_ref(token), after John Schulman, "Approximating KL
divergence", 2020 (joschu.net/blog/kl-approx.html):

              value       estimates KL(π ‖ π_ref)      gradient in the loss      gradient from the reward
    k1        x           unbiased, either sign        0: no effect at all       ∇KL(π ‖ π_ref)   right
    k2        x² / 2      biased, third order in x     ∇KL(π ‖ π_ref)   right    neither KL's
    k3   e^-x - 1 + x     unbiased, never negative     ∇KL(π_ref ‖ π)            ∇KL(π ‖ π_ref) - ∇KL(π_ref ‖ π)

(in expectation: the gradient of the value on sampled tokens, and the score function's, E[value · ∇ log π]).

So: k1 in the reward, k2 in the loss. k3 in the loss is what GRPO does (arXiv:2402.03300 eq. 4); it pulls along the
other KL. Times the importance ratio to the distribution that was sampled, every estimator's gradient is that of its own
expectation (`in_loss`), which is the KL for k1 and k3. None is clamped: a clamp has gradient 0 where the policy has
strayed furthest. Derivations: docs/rl-mathematics.md, and "A comedy of
estimators", arXiv:2512.21852.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

Estimator = Literal["k1", "k2", "k3"]


def k1(policy: Tensor, reference: Tensor) -> Tensor:
    """log π - log π_ref. Unbiased; its variance is that of the log-ratio."""
    return policy - reference


def k2(policy: Tensor, reference: Tensor) -> Tensor:
    """(log π - log π_ref)² / 2. Its expectation is another divergence, equal to the KL up to third order in x."""
    return 0.5 * (policy - reference) ** 2


def k3(policy: Tensor, reference: Tensor) -> Tensor:
    """π_ref/π - 1 - log(π_ref/π): k1 with the control variate π_ref/π - 1, whose expectation is 0 where the policy can
    write all that the reference can. Its variance is large, or infinite, where the reference is much the likelier."""
    return torch.expm1(reference - policy) - (reference - policy)


_FORMULAS = {"k1": k1, "k2": k2, "k3": k3}


def estimate(estimator: Estimator, policy: Tensor, reference: Tensor) -> Tensor:
    """The estimator of this name, token by token."""
    assert policy.shape == reference.shape, "one reference log-probability per token"
    return _FORMULAS[estimator](policy, reference)


def in_reward(estimator: Estimator, policy: Tensor, reference: Tensor) -> Tensor:
    """What is subtracted, times β, from each token's reward: no gradient flows through it. Right with k1."""
    return estimate(estimator, policy.detach(), reference.detach())


def in_loss(estimator: Estimator, policy: Tensor, reference: Tensor, sampled: Tensor | None = None) -> Tensor:
    """What is added, times β, to each token's loss.

    Without `sampled` the formula alone, differentiated as it stands: right with k2, as long as the policy is the one
    that was sampled. With `sampled`, the log-probabilities under the policy that was sampled, the formula times
    π / π_sampled: unbiased after updates too, in value and gradient, for k1 and k3 (DeepSeek-V3.2, arXiv:2512.02556
    eq. 7, for k3). Per token, either takes the states as given: that an early token changes which states are seen later
    is felt only by a penalty in the reward.
    """
    found = estimate(estimator, policy, reference.detach())
    return found if sampled is None else torch.exp(policy - sampled.detach()) * found


@dataclass(frozen=True, slots=True, kw_only=True)
class KlControl:
    """The coefficient β of the KL, fixed, or led so that the KL of whole answers comes to `target` nats.

        e = clip(KL / target - 1, ±clip),   β ← β · (1 + gain · e)      Ziegler et al., arXiv:1909.08593 sec. 2.2

    log β adds up the errors, so that the KL settles at the target itself and not beside it. The paper's gain is 0.1 per
    update; its code writes it as answers per update / horizon. A value of this class is all there is to save.
    """

    coefficient: float
    target: float | None = None  # nats per answer; None: the coefficient never changes
    gain: float = 0.1
    clip: float = 0.2

    def after(self, kl: float) -> "KlControl":
        """The controller after an update whose answers were `kl` nats from the reference, on average."""
        if self.target is None:
            return self
        assert math.isfinite(kl), "the KL is a number; a run whose KL is not has been stopped before"
        error = min(max(kl / self.target - 1.0, -self.clip), self.clip)
        return replace(self, coefficient=self.coefficient * (1.0 + self.gain * error))
