"""The policy inside whatever wraps it, and its weights as a model without adapters would have them.

LoRA adds B A · scaling to a weight. A sampler reads that sum: one product instead of three, and vLLM knows the weights
by the names they had before PEFT came. What a plain sum does not express (DoRA, adapters with biases, quantised base
weights) is `None` here; its model samples through its own forward instead (`rlaif.train.rl.model_reader`).
"""

from typing import Any

import torch
from torch import Tensor, nn

from rlaif.train.forward import inner_model


def policy_of(module: Any) -> Any:
    """The transformers (or PEFT) model in DDP, in `LogprobModel` and in modules that call it `model`."""
    while not hasattr(module, "get_output_embeddings") and not hasattr(module, "get_base_model"):
        module = module.module if hasattr(module, "module") else module.model
    return module


def effective_weight(linear: Any) -> Tensor | None:
    """What a linear layer multiplies with, (out, in): its weight, or its weight with its adapters' added."""
    if type(linear) is nn.Linear:
        return linear.weight if linear.bias is None and type(linear.weight) is nn.Parameter else None
    if not hasattr(linear, "get_delta_weight"):
        return None
    base = linear.get_base_layer()
    names = [name for name in linear.active_adapters if name in linear.lora_A]
    is_plain_sum = not any(name in getattr(linear, "lora_variant", {}) for name in names)
    has_bias = base.bias is not None or any(linear.lora_bias.get(name) for name in names)
    if type(base) is not nn.Linear or not is_plain_sum or has_bias:
        return None
    weight: Tensor = base.weight
    if linear.disable_adapters or linear.merged:
        return weight
    return sum((linear.get_delta_weight(name) for name in names), start=weight)


@torch.no_grad()
def merged_state(module: Any) -> dict[str, Tensor]:
    """`state_dict` of the policy, adapters added in, under the names of the model without them. Tied weights occur
    under each of their names, as the same tensor."""
    inner = inner_model(policy_of(module))
    adapted = {name: one for name, one in inner.named_modules() if hasattr(one, "get_delta_weight")}
    state: dict[str, Tensor] = {}
    for name, value in inner.state_dict().items():
        owner = next((one for one in adapted if name.startswith(f"{one}.")), None)
        if owner is None:
            state[name] = value
        elif name.startswith(f"{owner}.base_layer."):
            state[f"{owner}.{name.removeprefix(f'{owner}.base_layer.')}"] = value
    for name, one in adapted.items():
        weight = effective_weight(one)
        assert weight is not None, f"{name}: adapters that are no plain sum"
        state[f"{name}.weight"] = weight
    return state
