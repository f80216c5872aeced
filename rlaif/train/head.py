"""Log-probabilities of tokens from hidden states and the LM head, never holding more than one chunk of logits.

    token_logprobs(hidden, head, targets).logprobs      # (S,) float32, differentiable in hidden and the head

Per chunk of rows the logits are made, turned into float32, reduced to a log-softmax at the target, and forgotten; the
backward makes them again. So memory does not grow with vocabulary × tokens, and the price is one more matrix product.
Rows are completion positions only; which they are, `packing.Batch.rows` says.

Precision: the matrix product runs in the autocast type where there is one (as a model's own head would), everything
after it in float32, in float64 where hidden states are float64. The head's gradient is summed over chunks in float32.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_ROWS = 256


@dataclass(frozen=True, slots=True)
class Head:
    """An LM head: logits = cap(scale · (h Wᵀ + b)), cap(z) = softcap · tanh(z / softcap) where there is a softcap."""

    weight: Tensor  # (V, C)
    bias: Tensor | None = None  # (V,)
    scale: float = 1.0
    softcap: float | None = None


@dataclass(frozen=True, slots=True)
class TokenScores:
    """Of each scored token: its log-probability in nats (differentiable); the distribution's entropy in nats and
    whether the token was the most likely one (neither differentiable; None unless asked for)."""

    logprobs: Tensor  # (S,)
    entropy: Tensor | None = None  # (S,)
    is_greedy: Tensor | None = None  # (S,)


def token_logprobs(
    hidden: Tensor, head: Head, targets: Tensor, *, chunk_rows: int = CHUNK_ROWS, with_stats: bool = False
) -> TokenScores:
    """Score `targets` (S,) under the distributions that the hidden states (S, C) predict."""
    assert hidden.dim() == 2, "(tokens, width)"
    assert targets.shape == hidden.shape[:1], "one target per hidden state"
    device = hidden.device.type
    is_cast = torch.is_autocast_enabled(device)
    product_dtype = torch.get_autocast_dtype(device) if is_cast else hidden.dtype
    settings = (chunk_rows, product_dtype, head.scale, head.softcap, with_stats)
    logprobs, entropy, is_greedy = _score(hidden, head.weight, head.bias, targets, settings)
    return TokenScores(logprobs, entropy, is_greedy)


class _ChunkedLogprobs(torch.autograd.Function):
    """log p(target | hidden), with ∂ log p(t) / ∂ logits = onehot(t) - softmax(logits)."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, settings: tuple[Any, ...]
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        chunk_rows, dtype, *_, with_stats = settings
        ctx.settings = settings
        wide = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        logprobs, normalisers = (torch.empty(len(targets), dtype=wide, device=hidden.device) for _ in range(2))
        entropy = torch.empty_like(logprobs) if with_stats else None
        is_greedy = torch.empty_like(targets, dtype=torch.bool) if with_stats else None
        with torch.autocast(hidden.device.type, enabled=False):
            weight_cast = weight.to(dtype)
            for at in _chunks(len(targets), chunk_rows):
                logits = _logits(hidden[at], weight_cast, bias, settings)
                normalisers[at] = logits.logsumexp(dim=-1)
                logprobs[at] = logits.gather(1, targets[at, None])[:, 0] - normalisers[at]
                if entropy is not None and is_greedy is not None:
                    is_greedy[at] = logits.argmax(dim=-1) == targets[at]
                    shares = (logits - normalisers[at, None]).exp_()
                    entropy[at] = normalisers[at] - (shares * logits).sum(dim=-1)
        ctx.save_for_backward(hidden, weight, bias, targets, normalisers)
        ctx.mark_non_differentiable(*(part for part in (entropy, is_greedy) if part is not None))
        return logprobs, entropy, is_greedy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, normalisers = ctx.saved_tensors
        chunk_rows, dtype, scale, softcap, _ = ctx.settings
        wants_hidden, wants_weight, wants_bias, *_ = ctx.needs_input_grad
        to_hidden = torch.empty_like(hidden) if wants_hidden else None
        to_weight = torch.zeros_like(weight, dtype=normalisers.dtype) if wants_weight else None
        to_bias = torch.zeros_like(bias, dtype=normalisers.dtype) if wants_bias and bias is not None else None
        with torch.autocast(hidden.device.type, enabled=False):
            weight_cast = weight.to(dtype)
            for at in _chunks(len(targets), chunk_rows):
                logits = _logits(hidden[at], weight_cast, bias, ctx.settings)
                steepness = scale if softcap is None else scale * (1 - (logits / softcap) ** 2)
                by_logit = logits.sub_(normalisers[at, None]).exp_().neg_()
                by_logit.scatter_add_(1, targets[at, None], torch.ones_like(by_logit[:, :1]))
                by_logit *= gradient[at, None] * steepness
                if to_bias is not None:
                    to_bias += by_logit.sum(dim=0)
                by_logit = by_logit.to(dtype)
                if to_hidden is not None:
                    to_hidden[at] = (by_logit @ weight_cast).to(hidden.dtype)
                if to_weight is not None:
                    _add_product(to_weight, by_logit.T, hidden[at].to(dtype))
        if to_weight is not None:
            to_weight = to_weight.to(weight.dtype)
        return to_hidden, to_weight, to_bias, None, None


_score: Any = _ChunkedLogprobs.apply


def _chunks(total: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, total)) for start in range(0, total, size)]


def _logits(hidden: Tensor, weight_cast: Tensor, bias: Tensor | None, settings: tuple[Any, ...]) -> Tensor:
    """(rows, V) in float32, or float64 where the hidden states are."""
    _, dtype, scale, softcap, _ = settings
    wide = torch.float64 if hidden.dtype == torch.float64 else torch.float32
    logits = (hidden.to(dtype) @ weight_cast.T).to(wide)
    if bias is not None:
        logits += bias
    if scale != 1.0:
        logits *= scale
    return logits if softcap is None else torch.tanh(logits / softcap) * softcap


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, in one product where the types agree."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right
