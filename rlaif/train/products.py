"""Matrix products as the written-out layers and the head take them: in which type, in what stretches, added to what.

Products run in a type that may be lower than that of the sums they end in. Work on many tokens is done in stretches of
them, so that what one operation writes the next one finds in the cache.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

STRETCH = 2048  # tokens
_ROWS_OF_BF16 = 128


def stretches(count: int) -> Iterator[slice]:
    """`count` tokens, some at a time."""
    for start in range(0, count, STRETCH):
        yield slice(start, min(start + STRETCH, count))


def steady_rows(dtype: torch.dtype, device: torch.device) -> int:
    """What numbers of rows should be a multiple of: on a CPU a kernel for bfloat16 is built per shape, so steady shapes
    are worth some idle rows."""
    return _ROWS_OF_BF16 if dtype == torch.bfloat16 and device.type == "cpu" else 1


def product_dtype(like: Tensor) -> torch.dtype:
    """What products with it run in: the autocast type where there is one."""
    kind = like.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else like.dtype


def joined_weights(weights: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """Weights below each other, so that what reads the same input is one product."""
    joined = weights[0].new_empty(sum(len(one) for one in weights), weights[0].shape[1], dtype=dtype)
    torch._foreach_copy_(list(torch.split(joined, [len(one) for one in weights])), [one.detach() for one in weights])
    return joined


def add_product(total: Tensor, left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
    """total + left @ right."""
    if left.dtype == total.dtype:
        return torch.addmm(total, left, right, out=out)
    return torch.add(total, left @ right, out=out)


def add_to(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, in one product where the types agree."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


def put_product(out: Tensor, left: Tensor, right: Tensor) -> None:
    """out = left @ right."""
    if left.dtype == out.dtype:
        torch.mm(left, right, out=out)
    else:
        out.copy_(left @ right)
