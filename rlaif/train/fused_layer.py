"""Which decoder layers are computed by our own function (`rlaif.train.written_layer`), and with what.

    fuse_layers(model)      # the layers' forward is replaced where it is exactly this; whatever else stays as it is

What the function is, is Llama's and Mistral's: RMSNorm, rotary positions, grouped keys, SwiGLU, no biases. A layer with
an adapter (LoRA), a sharded weight, dropout, a window or a cache, and any batch that is not packed, goes through the
model's own code. That both are the same is measured per model by `rlaif.train.forward.check_packing`.

The last layer makes only the tokens that somebody reads, where the model's forward is given their places (`asked`, in
ascending order): what it returns is then so many rows.
"""

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from rlaif.train.packing import Segment
from rlaif.train.products import product_dtype
from rlaif.train.segment_attention import Runs
from rlaif.train.written_layer import LayerShape, run_layer

_KINDS = ("LlamaDecoderLayer", "MistralDecoderLayer")
_NORMS = ("LlamaRMSNorm", "MistralRMSNorm", "RMSNorm")


def fuse_layers(model: nn.Module) -> int:
    """Give every layer of a known kind the forward below; how many there were."""
    layers: list[Any] = [one for one in model.modules() if type(one).__name__ in _KINDS]
    of_backbone: Any = getattr(getattr(model, "base_model", model), "layers", None)
    for layer in layers:
        layer.forward = MethodType(_forward, layer)
        layer.is_last = bool(of_backbone) and layer is of_backbone[-1]
    return len(layers)


def _forward(layer: Any, hidden_states: Tensor, *args: Any, **others: Any) -> Tensor:
    """In place of `layer.forward`: our function where it applies."""
    segments, positions = others.get("segments"), others.get("position_embeddings")
    if args or not segments or positions is None or not _applies(layer, hidden_states, others):
        found: Tensor = type(layer).forward(layer, hidden_states, *args, **others)
        return found
    attention, mlp = layer.self_attn, layer.mlp
    asked = others.get("asked") if layer.is_last else None
    runs = None if asked is None else runs_of(asked)
    shape = layer_shape(layer, product_dtype(hidden_states), tuple(segments), runs)
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
    out: Tensor = run_layer(hidden_states[0], cos, sin, asked, shape, *weights)
    return out[None]


def runs_of(asked: Tensor) -> Runs:
    """Places in ascending order as runs of neighbours."""
    places: list[int] = asked.tolist()
    if not places:
        return ()
    breaks = [number for number in range(1, len(places)) if places[number] != places[number - 1] + 1]
    starts, stops = [0, *breaks], [*breaks, len(places)]
    return tuple((places[start], places[stop - 1] + 1) for start, stop in zip(starts, stops, strict=True))


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


def layer_shape(
    layer: Any, dtype: torch.dtype, segments: tuple[Segment, ...] = (), asked: Runs | None = None
) -> LayerShape:
    """`dtype` is that of the matrix products."""
    attention = layer.self_attn
    return LayerShape(
        heads=attention.q_proj.out_features // attention.head_dim,
        groups=attention.k_proj.out_features // attention.head_dim,
        width=attention.head_dim,
        scale=attention.scaling,
        first_eps=_epsilon(layer.input_layernorm),
        second_eps=_epsilon(layer.post_attention_layernorm),
        dtype=dtype,
        segments=segments,
        asked=asked,
        is_learning=torch.is_grad_enabled(),
    )


def _epsilon(norm: Any) -> float:
    return float(norm.variance_epsilon if hasattr(norm, "variance_epsilon") else norm.eps)
