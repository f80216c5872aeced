"""A Llama decoder layer as one function with its backward written out: less memory traffic and less memory on a CPU.

    fuse_layers(model)      # the layers' forward is replaced where it is exactly this; whatever else stays as it is

Layer by layer, automatic differentiation casts the same input once per linear layer, keeps a dozen tensors per token
that two would do for, and reads them all again. Here a layer keeps its input, its middle, q, k, v, what attention gave
and the two halves of the MLP's inner layer; norms, the activation and what linear layers read are made again. The
linear layers that share an input are one matrix product. Products run in the autocast type, sums along the residual
stream, norms and rotations in float32 (in float64 where the model is), as under autocast.

What the function is, is Llama's and Mistral's: RMSNorm, rotary positions, grouped keys, SwiGLU, no biases. A layer with
an adapter (LoRA), a sharded weight, dropout, a window or a cache, and any batch that is not packed, goes through the
model's own code. That both are the same is measured per model by `rlaif.train.forward.check_packing`.
"""

from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from rlaif.train.packing import Segment
from rlaif.train.segment_attention import attend, attend_backward

_KINDS = ("LlamaDecoderLayer", "MistralDecoderLayer")
_NORMS = ("LlamaRMSNorm", "MistralRMSNorm", "RMSNorm")


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What a layer is besides its weights."""

    heads: int
    groups: int
    width: int  # of a head
    scale: float
    first_eps: float
    second_eps: float
    segments: tuple[Segment, ...]
    dtype: torch.dtype  # of the matrix products


def fuse_layers(model: nn.Module) -> int:
    """Give every layer of a known kind the forward below; how many there were."""
    layers = [one for one in model.modules() if type(one).__name__ in _KINDS]
    for layer in layers:
        layer.forward = MethodType(_forward, layer)
    return len(layers)


def _forward(layer: Any, hidden_states: Tensor, *args: Any, **others: Any) -> Tensor:
    """In place of `layer.forward`: the function below where it applies."""
    segments, positions = others.get("segments"), others.get("position_embeddings")
    if args or not segments or positions is None or not _applies(layer, hidden_states, others):
        found: Tensor = type(layer).forward(layer, hidden_states, *args, **others)
        return found
    attention, mlp = layer.self_attn, layer.mlp
    device = hidden_states.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_states.dtype
    shape = layer_shape(layer, tuple(segments), dtype)
    weights = (
        layer.input_layernorm.weight,
        attention.q_proj.weight,
        attention.k_proj.weight,
        attention.v_proj.weight,
        attention.o_proj.weight,
        layer.post_attention_layernorm.weight,
        mlp.gate_proj.weight,
        mlp.up_proj.weight,
        mlp.down_proj.weight,
    )
    cos, sin = (part[0] for part in positions)
    out: Tensor = _run(hidden_states[0], cos, sin, shape, *weights)
    return out[None]


def _applies(layer: Any, hidden: Tensor, others: dict[str, Any]) -> bool:
    attention, mlp = layer.self_attn, layer.mlp
    linear = [attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj]
    linear += [mlp.gate_proj, mlp.up_proj, mlp.down_proj]
    return (
        hidden.device.type == "cpu"
        and len(hidden) == 1
        and others.get("past_key_values") is None
        and all(type(one) is nn.Linear and type(one.weight) is nn.Parameter and one.bias is None for one in linear)
        and is_plain(layer)
        and not (layer.training and attention.attention_dropout)
    )


def is_plain(layer: Any) -> bool:
    """Whether a layer is this function but for what its linear layers are: its kind, norms, activation, no window."""
    return (
        type(layer).__name__ in _KINDS
        and all(type(one).__name__ in _NORMS for one in (layer.input_layernorm, layer.post_attention_layernorm))
        and type(layer.mlp.act_fn).__name__ in ("SiLU", "SiLUActivation")
        and getattr(layer.self_attn.config, "sliding_window", None) is None
    )


def layer_shape(layer: Any, segments: tuple[Segment, ...], dtype: torch.dtype) -> LayerShape:
    """`dtype` is that of the matrix products."""
    attention = layer.self_attn
    return LayerShape(
        heads=attention.q_proj.out_features // attention.head_dim,
        groups=attention.k_proj.out_features // attention.head_dim,
        width=attention.head_dim,
        scale=attention.scaling,
        first_eps=_epsilon(layer.input_layernorm),
        second_eps=_epsilon(layer.post_attention_layernorm),
        segments=segments,
        dtype=dtype,
    )


def _epsilon(norm: Any) -> float:
    return float(norm.variance_epsilon if hasattr(norm, "variance_epsilon") else norm.eps)


class _Layer(torch.autograd.Function):
    """x (N, C) -> (N, C); cos, sin (N, D). The nine weights are in the order in which they are used."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, shape: LayerShape, *weights: Tensor) -> Tensor:
        first_norm, wq, wk, wv, wo, second_norm, w_gate, w_up, w_down = weights
        dtype = shape.dtype
        with torch.autocast(x.device.type, enabled=False):
            normed = normalise(x, first_norm, shape.first_eps)[0].to(dtype)
            q, k, v = split_heads(normed @ joined_weights((wq, wk, wv), dtype).T, cos, sin, shape)
            seen = attend(q, k, v, shape.segments, shape.scale).flatten(1).to(dtype)
            middle = add_product(x, seen, wo.to(dtype).T)
            normed = normalise(middle, second_norm, shape.second_eps)[0].to(dtype)
            inner = normed @ joined_weights((w_gate, w_up), dtype).T
            out = add_product(middle, gated(inner), w_down.to(dtype).T)
        ctx.shape = shape
        ctx.save_for_backward(x, cos, sin, q, k, v, seen, middle, inner, *weights)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, cos, sin, q, k, v, seen, middle, inner, *weights = ctx.saved_tensors
        first_norm, wq, wk, wv, wo, second_norm, w_gate, w_up, w_down = weights
        shape: LayerShape = ctx.shape
        dtype = shape.dtype
        with torch.autocast(x.device.type, enabled=False):
            given = gradient.to(dtype)
            by_down = given.T @ gated(inner)
            by_inner = _gated_backward(given @ w_down.to(dtype), inner)
            normed, unit, inverse = normalise(middle, second_norm, shape.second_eps)
            by_inner_weights = by_inner.T @ normed.to(dtype)
            by_normed = by_inner @ joined_weights((w_gate, w_up), dtype)
            by_middle, by_second_norm = _normalise_backward(by_normed, unit, inverse, second_norm)
            by_middle += gradient

            given = by_middle.to(dtype)
            by_out = given.T @ seen
            by_seen = (given @ wo.to(dtype)).view(len(x), shape.heads, shape.width)
            by_qkv = _heads_backward(
                *attend_backward(by_seen, q, k, v, shape.segments, shape.scale), cos=cos, sin=sin, dtype=dtype
            )
            normed, unit, inverse = normalise(x, first_norm, shape.first_eps)
            by_qkv_weights = by_qkv.T @ normed.to(dtype)
            by_normed = by_qkv @ joined_weights((wq, wk, wv), dtype)
            by_x, by_first_norm = _normalise_backward(by_normed, unit, inverse, first_norm)
            by_x += by_middle
        by_q, by_k, by_v = torch.split(by_qkv_weights, [len(wq), len(wk), len(wv)])
        by_gate, by_up = by_inner_weights.chunk(2)
        found = (by_first_norm, by_q, by_k, by_v, by_out, by_second_norm, by_gate, by_up, by_down)
        wanted = ctx.needs_input_grad[4:]
        by_weights = (
            part.to(weight.dtype) if is_wanted else None
            for part, weight, is_wanted in zip(found, weights, wanted, strict=True)
        )
        return (by_x, None, None, None, *by_weights)


_run: Any = _Layer.apply


def joined_weights(weights: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
    """Weights below each other, so that what reads the same input is one product."""
    joined = weights[0].new_empty(sum(len(one) for one in weights), weights[0].shape[1], dtype=dtype)
    torch._foreach_copy_(list(torch.split(joined, [len(one) for one in weights])), [one.detach() for one in weights])
    return joined


def add_product(total: Tensor, left: Tensor, right: Tensor) -> Tensor:
    return torch.addmm(total, left, right) if left.dtype == total.dtype else total + left @ right


def normalise(x: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """RMSNorm (arXiv:1910.07467): weight · x / rms(x); without the weight; and 1 / rms(x) (N, 1)."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    inverse = length.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
    unit = x * inverse
    return unit * weight, unit, inverse


def _normalise_backward(by_normed: Tensor, unit: Tensor, inverse: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients by x and the weight: (g - u · mean(g · u)) / rms with g = weight · by_normed, u the unit vectors."""
    by_weight = (by_normed * unit).sum(dim=0)
    by_unit = by_normed * weight
    along = (by_unit * unit).mean(dim=-1, keepdim=True)
    return by_unit.addcmul_(unit, along, value=-1).mul_(inverse), by_weight


def gated(inner: Tensor) -> Tensor:
    """silu(gate) · up, the two halves of (N, 2 I)."""
    gate, up = inner.chunk(2, dim=-1)
    return F.silu(gate).mul_(up)


def _gated_backward(gradient: Tensor, inner: Tensor) -> Tensor:
    gate, up = inner.chunk(2, dim=-1)
    by_gate = torch.ops.aten.silu_backward(gradient * up, gate)
    return torch.cat((by_gate, F.silu(gate).mul_(gradient)), dim=-1)


def split_heads(qkv: Tensor, cos: Tensor, sin: Tensor, shape: LayerShape) -> tuple[Tensor, Tensor, Tensor]:
    """(N, (H + 2 G) D) to q (H, N, D), k and v (G, N, D), q and k rotated by their positions (arXiv:2104.09864)."""
    parts = qkv.view(len(qkv), -1, shape.width)
    turning, half = shape.heads + shape.groups, shape.width // 2
    plain = parts[:, :turning].to(cos.dtype)
    cos, sin = cos[:, None], sin[:, None]
    turned = plain * cos
    turned[..., :half].addcmul_(plain[..., half:], sin[..., :half], value=-1)
    turned[..., half:].addcmul_(plain[..., :half], sin[..., half:])
    by_head = qkv.new_empty(turning, len(qkv), shape.width).copy_(turned.transpose(0, 1))
    return by_head[: shape.heads], by_head[shape.heads :], parts[:, turning:].transpose(0, 1).contiguous()


def _heads_backward(
    by_q: Tensor, by_k: Tensor, by_v: Tensor, *, cos: Tensor, sin: Tensor, dtype: torch.dtype
) -> Tensor:
    """The gradient by (N, (H + 2 G) D): the rotation turned back."""
    turned = torch.cat((by_q, by_k))
    half = turned.shape[-1] // 2
    plain = turned * cos
    plain[..., :half].addcmul_(turned[..., half:], sin[..., half:])
    plain[..., half:].addcmul_(turned[..., :half], sin[..., :half], value=-1)
    found = plain.new_empty(turned.shape[1], len(turned) + len(by_v), turned.shape[2], dtype=dtype)
    found[:, : len(turned)] = plain.transpose(0, 1)
    found[:, len(turned) :] = by_v.transpose(0, 1)
    return found.flatten(1)
