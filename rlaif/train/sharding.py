"""Parameters that are spread over processes (FSDP2): put together for checkpoints and files, and spread again.

What is written is always whole, so that a checkpoint of a sharded training reads like any other. `whole` and `spread`
take part in an exchange between the processes: all of them call, whether they write or not. On anything that is not
sharded both return what they are given.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def is_sharded(module: nn.Module) -> bool:
    return any(hasattr(weight, "full_tensor") for weight in resharded(module).parameters())


def whole(value: Any) -> Any:
    """A tensor, or tensors in dicts and lists, without shards."""
    if hasattr(value, "full_tensor"):
        return value.full_tensor()
    if isinstance(value, Mapping):
        return {name: whole(one) for name, one in value.items()}
    return [whole(one) for one in value] if isinstance(value, list) else value


def whole_weights(module: nn.Module) -> dict[str, Tensor]:
    """What training changes: parameters with a gradient (under LoRA the adapters and heads alone)."""
    named = resharded(module).named_parameters()
    return {name: whole(weight.detach()) for name, weight in named if weight.requires_grad}


def spread(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor as `like` is: this process's part of it, where that is sharded."""
    if not hasattr(like, "full_tensor"):
        return value
    from torch.distributed.tensor import distribute_tensor

    sharded: Any = like  # every process holds the whole, so nothing is sent
    return distribute_tensor(value.to(like.device), sharded.device_mesh, sharded.placements, src_data_rank=None)


def spread_state(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's whole state as its parameters are."""
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    kept = {
        number: {
            name: spread(value, weights[number]) if value.shape == weights[number].shape else value
            for name, value in of_weight.items()
        }
        for number, of_weight in state["state"].items()
    }
    return {**state, "state": kept}


def resharded(module: nn.Module) -> nn.Module:
    """The module with every sharded parameter as its shards: after a forward without a backward some stand whole in
    it, and what is written to them then is lost."""
    for part in module.modules():
        reshard: Any = getattr(part, "reshard", None)
        if reshard is not None:
            reshard()
    return module
