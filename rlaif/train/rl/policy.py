"""The policy with what it is read beside: a value for every token, and the reference it must stay near.

    policy = PolicyModel(model, temperature=1.0, value=value_head(model))     # or value=separate_value(…), or None
    read = policy(batch)                        # PolicyScores: log-probabilities, values, entropy of scored tokens
    reference = Reference(other)                # or Reference() for a policy with adapters: the policy without them

A token's value is read where its log-probability is read: at the state in which it was chosen (`packing.Batch.rows`).
Temperature divides the logits, of policy and reference alike: everything is about the distribution that was sampled.

Dropout is off in every pass, those that learn too: the ratio of a fresh rollout is 1 only where the policy that
learns is the one that was scored.
"""

import copy
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rlaif.train.forward import head_of, inner_model, states_at
from rlaif.train.head import CHUNK_ROWS, TokenScores, token_logprobs
from rlaif.train.packing import Batch


@dataclass(frozen=True, slots=True)
class PolicyScores:
    """Of each scored token: log-probability in nats; value and entropy where there is a value and it was asked for."""

    logprobs: Tensor  # (S,)
    values: Tensor | None = None  # (S,)
    entropy: Tensor | None = None  # (S,)


class ValueHead(nn.Module):
    """A linear value on the policy's own states, 0 everywhere at the start. Its gradient reaches the trunk."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, batch: Batch, states: Tensor) -> Tensor:
        """(S, C) states of the policy -> (S,) in float32."""
        return _linear(states, self.linear)


class SeparateValue(nn.Module):
    """A value model with a backbone of its own: a copy of the policy's, or a reward model whose head it continues."""

    def __init__(self, model: Any, linear: nn.Linear) -> None:
        super().__init__()
        self.model, self.linear = model, linear

    def forward(self, batch: Batch, states: Tensor) -> Tensor:
        own = states_at(self.model, batch, batch.rows)
        return _linear(own, self.linear)


Value = ValueHead | SeparateValue


class PolicyModel(nn.Module):
    """A causal language model of transformers and, for PPO, its value. One module, so that DDP sees one forward."""

    def __init__(
        self, model: Any, *, value: Value | None = None, temperature: float = 1.0, chunk_rows: int = CHUNK_ROWS
    ) -> None:
        super().__init__()
        self.model, self.value = model, value
        self.temperature, self.chunk_rows = temperature, chunk_rows

    def forward(self, batch: Batch, *, with_stats: bool = False) -> PolicyScores:
        states = states_at(self.model, batch, batch.rows)
        scores = read_tokens(self.model, states, batch, self.temperature, self.chunk_rows, with_stats)
        values = None if self.value is None else self.value(batch, states)
        return PolicyScores(scores.logprobs, values, scores.entropy)

    def prepare(self) -> "PolicyModel":
        """Without dropout; layers that recompute their activations go on doing so, which transformers ties to training
        mode."""
        self.eval()
        for part in self.modules():
            if getattr(part, "gradient_checkpointing", False):
                part.training = True  # of this part alone: the dropouts inside stay off
        return self


class Reference:
    """What the KL is measured to: a model of its own, or the policy without its adapters."""

    def __init__(self, model: Any | None = None) -> None:
        self.model = model if model is None else model.eval().requires_grad_(False)

    @torch.no_grad()
    def logprobs(self, policy: PolicyModel, batch: Batch) -> Tensor:
        """(S,) log-probabilities of the scored tokens, in nats, at the policy's temperature."""
        model = self.model or policy.model
        with policy.model.disable_adapter() if self.model is None else nullcontext():
            states = states_at(model, batch, batch.rows)
            return read_tokens(model, states, batch, policy.temperature, policy.chunk_rows, False).logprobs


def read_tokens(
    model: Any, states: Tensor, batch: Batch, temperature: float, chunk_rows: int, with_stats: bool
) -> TokenScores:
    """The scored tokens' log-probabilities under logits / temperature."""
    head = head_of(model).at_temperature(temperature)
    return token_logprobs(states, head, batch.targets, chunk_rows=chunk_rows, with_stats=with_stats)


def value_head(model: Any) -> ValueHead:
    """A value on the policy's trunk."""
    device = next(model.parameters()).device
    return ValueHead(int(inner_model(model).config.get_text_config().hidden_size)).to(device)


def separate_value(model: Any) -> SeparateValue:
    """A value model that begins as a copy of the policy's backbone, with value 0 everywhere."""
    backbone = copy.deepcopy(inner_model(model).base_model).requires_grad_(True)
    return SeparateValue(backbone, value_head(model).linear)


def value_of_reward_model(model: Any) -> SeparateValue:
    """A value model that begins as a reward model: the value of a beginning is the reward it would have as it stands,
    in the unit of `scoring`. InstructGPT, arXiv:2203.02155 sec. 3.5."""
    own = inner_model(model)
    mean, std = float(own.config.reward_mean), float(own.config.reward_std or 1.0)
    linear = nn.Linear(own.score.in_features, 1).to(own.score.weight)
    with torch.no_grad():
        linear.weight.copy_(own.score.weight / std)
        linear.bias.fill_(-mean / std)
    return SeparateValue(copy.deepcopy(own.base_model).requires_grad_(True), linear)


def _linear(states: Tensor, linear: nn.Linear) -> Tensor:
    wide = torch.promote_types(states.dtype, torch.float32)
    with torch.autocast(states.device.type, enabled=False):
        found = nn.functional.linear(states.to(wide), linear.weight.to(wide), linear.bias.to(wide))
    return found[:, 0]
