"""A Llama decoder layer as one function with its backward written out.

    out = run_layer(x, cos, sin, asked, shape, *weights)        # (N, C), or (S, C) of the tokens that are asked for

Automatic differentiation casts the same input once per linear layer, keeps a dozen tensors per token that two would do
for, and reads them all again. Here a layer keeps its input, its middle, q, k, v, what attention gave and the two halves
of the MLP's inner layer; norms, the activation and what linear layers read are made again. Linear layers that share an
input are one matrix product. Tokens are taken in stretches, so that what one operation writes the next one reads from
the cache. Products run in the autocast type, sums along the residual stream, norms and rotations in float32 (in float64
where the model is), as under autocast.

`asked` are the tokens whose result anybody reads, in a model's last layer the scored ones: of the others only keys and
values are made. Which layers of which models this stands for is decided in `rlaif.train.fused_layer`.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rlaif.train.layer_parts import gated, gated_backward, normalise, normalise_backward, turn, turn_back
from rlaif.train.packing import Segment
from rlaif.train.products import add_product, add_to, joined_weights, put_product, stretches
from rlaif.train.segment_attention import Runs, attend, attend_backward


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What a layer is besides its weights, and what is asked of it."""

    heads: int
    groups: int
    width: int  # of a head
    scale: float
    first_eps: float
    second_eps: float
    dtype: torch.dtype  # of the matrix products
    segments: tuple[Segment, ...] = ()
    asked: Runs | None = None  # None: all tokens
    is_learning: bool = True  # whether there will be a backward


class _Layer(torch.autograd.Function):
    """x (N, C); cos, sin (N, D); `asked` (S,). The nine weights are in the order in which they are used."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, asked: Tensor | None, shape: LayerShape, *weights: Tensor
    ) -> Tensor:
        first_norm, wq, wk, wv, wo, *of_mlp = weights
        heads, groups = shape.heads, shape.groups
        with torch.autocast(x.device.type, enabled=False):
            if asked is None:
                own = x
                qkv = _project(x, first_norm, (wq, wk, wv), cos, sin, heads + groups, shape)
                q, kv = torch.split(qkv, [heads, 2 * groups], dim=1)
            else:
                own = x[asked]
                q = _project(own, first_norm, (wq,), cos[asked], sin[asked], heads, shape)
                kv = _project(x, first_norm, (wk, wv), cos, sin, groups, shape)
            seen = attend(*_by_head(q, kv), shape.segments, shape.scale, shape.asked).flatten(1).to(shape.dtype)
            out, middle, inner = _mlp(shape, own, seen, wo, *of_mlp)
        ctx.shape = shape
        ctx.save_for_backward(x, cos, sin, asked, q, kv, seen, middle, inner, *weights)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, cos, sin, asked, q, kv, seen, middle, inner, *weights = ctx.saved_tensors
        first_norm, wq, wk, wv, wo, *of_mlp = weights
        shape: LayerShape = ctx.shape
        heads, groups = shape.heads, shape.groups
        with torch.autocast(x.device.type, enabled=False):
            by_middle, by_seen, *by_mlp = _mlp_backward(shape, gradient, middle, inner, seen, wo, *of_mlp)
            by_qkv = None
            if asked is None:
                by_qkv = by_seen.new_zeros(len(x), heads + 2 * groups, shape.width)
                by_q, by_kv = torch.split(by_qkv, [heads, 2 * groups], dim=1)
            else:
                by_q, by_kv = (by_seen.new_zeros(one.shape) for one in (q, kv))
            by_seen = by_seen.view(-1, heads, shape.width)
            into = _by_head(by_q, by_kv)
            attend_backward(by_seen, *_by_head(q, kv), shape.segments, shape.scale, shape.asked, into=into)
            if by_qkv is not None:
                by_x = by_middle
                found = _project_backward(by_x, by_qkv, x, first_norm, (wq, wk, wv), cos, sin, heads + groups, shape)
                by_first, (by_wq, by_wk, by_wv) = found
            else:
                turns = cos[asked], sin[asked]
                own = _project_backward(by_middle, by_q, x[asked], first_norm, (wq,), *turns, heads, shape)
                by_x = torch.zeros_like(x).index_add_(0, asked, by_middle)
                rest = _project_backward(by_x, by_kv, x, first_norm, (wk, wv), cos, sin, groups, shape)
                by_first, (by_wq, by_wk, by_wv) = own[0] + rest[0], (*own[1], *rest[1])
        found_all = (by_first, by_wq, by_wk, by_wv, *by_mlp)
        by_weights = (
            part.to(weight.dtype) if is_wanted else None
            for part, weight, is_wanted in zip(found_all, weights, ctx.needs_input_grad[5:], strict=True)
        )
        return (by_x, None, None, None, None, *by_weights)


run_layer: Any = _Layer.apply


def split_heads(qkv: Tensor, cos: Tensor, sin: Tensor, shape: LayerShape) -> tuple[Tensor, Tensor, Tensor]:
    """(N, (H + 2 G) D) to q (H, N, D), k and v (G, N, D), q and k rotated by their positions."""
    parts = qkv.view(len(qkv), -1, shape.width)
    found, turning = torch.empty_like(parts), shape.heads + shape.groups
    turn(parts[:, :turning], cos, sin, out=found[:, :turning])
    return _by_head(found[:, : shape.heads], torch.cat((found[:, shape.heads : turning], parts[:, turning:]), dim=1))


def _by_head(q: Tensor, kv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q (S, H, D) as (H, S, D), and kv (N, 2 G, D) as k and v (G, N, D): views."""
    k, v = kv.transpose(0, 1).chunk(2)
    return q.transpose(0, 1), k, v


def _project(
    x: Tensor, norm: Tensor, weights: tuple[Tensor, ...], cos: Tensor, sin: Tensor, turning: int, shape: LayerShape
) -> Tensor:
    """The heads of every token, (N, heads, D); the first `turning` of them are rotated."""
    weight = joined_weights(weights, shape.dtype).T
    found = x.new_empty(len(x), weight.shape[1] // shape.width, shape.width, dtype=shape.dtype)
    for at in stretches(len(x)):
        normed = normalise(x[at], norm, shape.first_eps)[0].to(shape.dtype)
        heads = (normed @ weight).view(-1, *found.shape[1:])
        turn(heads[:, :turning], cos[at], sin[at], out=found[at, :turning])
        found[at, turning:] = heads[:, turning:]
    return found


def _project_backward(
    by_x: Tensor,
    by_heads: Tensor,
    x: Tensor,
    norm: Tensor,
    weights: tuple[Tensor, ...],
    cos: Tensor,
    sin: Tensor,
    turning: int,
    shape: LayerShape,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Adds the gradient by x to `by_x`; returned are those by the norm's weight and by the weights."""
    weight = joined_weights(weights, shape.dtype)
    by_weight, by_norm = _sum_like(weight), _sum_like(norm)
    for at in stretches(len(x)):
        turned, rest = torch.split(by_heads[at], [turning, by_heads.shape[1] - turning], dim=1)
        given = torch.cat((turn_back(turned, cos[at], sin[at]), rest), dim=1).flatten(1).to(shape.dtype)
        normed, unit, inverse = normalise(x[at], norm, shape.first_eps)
        add_to(by_weight, given.T, normed.to(shape.dtype))
        by_norm += normalise_backward(by_x[at], given @ weight, unit, inverse, norm)
    return by_norm, torch.split(by_weight, [len(one) for one in weights])


def _mlp(
    shape: LayerShape,
    x: Tensor,
    seen: Tensor,
    wo: Tensor,
    norm: Tensor,
    w_gate: Tensor,
    w_up: Tensor,
    w_down: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """What follows attention: the layer's result, its middle, and the MLP's inner layer where a backward needs it."""
    w_seen, w_inner, w_out = (
        one.T for one in (wo.to(shape.dtype), joined_weights((w_gate, w_up), shape.dtype), w_down.to(shape.dtype))
    )
    out, middle = torch.empty_like(x), torch.empty_like(x)
    inner = x.new_empty(len(x) if shape.is_learning else 0, w_inner.shape[1], dtype=shape.dtype)
    for at in stretches(len(x)):
        between = add_product(x[at], seen[at], w_seen, out=middle[at])
        normed = normalise(between, norm, shape.second_eps)[0].to(shape.dtype)
        hidden = torch.mm(normed, w_inner, out=inner[at] if shape.is_learning else None)
        add_product(between, gated(hidden), w_out, out=out[at])
    return out, middle, inner


def _mlp_backward(
    shape: LayerShape,
    gradient: Tensor,
    middle: Tensor,
    inner: Tensor,
    seen: Tensor,
    wo: Tensor,
    norm: Tensor,
    w_gate: Tensor,
    w_up: Tensor,
    w_down: Tensor,
) -> tuple[Tensor, ...]:
    """Gradients by the residual stream before attention's result was added, by that result, and by the weights."""
    w_seen, w_inner, w_out = (
        wo.to(shape.dtype),
        joined_weights((w_gate, w_up), shape.dtype),
        w_down.to(shape.dtype),
    )
    by_middle, by_seen = gradient.clone(), torch.empty_like(seen, dtype=_sum_type(seen))
    by_w_seen, by_norm, by_w_inner, by_w_out = (_sum_like(one) for one in (w_seen, norm, w_inner, w_out))
    for at in stretches(len(middle)):
        given = gradient[at].to(shape.dtype)
        passed, by_inner = gated_backward(given @ w_out, inner[at])
        add_to(by_w_out, given.T, passed)
        normed, unit, inverse = normalise(middle[at], norm, shape.second_eps)
        add_to(by_w_inner, by_inner.T, normed.to(shape.dtype))
        by_norm += normalise_backward(by_middle[at], by_inner @ w_inner, unit, inverse, norm)
        given = by_middle[at].to(shape.dtype)
        add_to(by_w_seen, given.T, seen[at])
        put_product(by_seen[at], given, w_seen)
    return by_middle, by_seen, by_w_seen, by_norm, *by_w_inner.chunk(2), by_w_out


def _sum_like(weight: Tensor) -> Tensor:
    """Zeros to add a weight's gradient up in, stretch by stretch: never below float32."""
    return torch.zeros_like(weight, dtype=_sum_type(weight))


def _sum_type(like: Tensor) -> torch.dtype:
    return torch.promote_types(like.dtype, torch.float32)
