"""Attention within a packed row by plain matrix products, forward and backward written out: the fast way on a CPU.

    out = attend(q, k, v, segments, scale)            # (N, H, D); for autograd: `SegmentAttention.apply`
    dq, dk, dv = attend_backward(gradient, q, k, v, segments, scale)

torch's own CPU kernel for bfloat16 is slower than the one for float32 where the cores have no matrix unit. Here a
segment's queries are taken in blocks of at most 128; a block sees its segment's prefix and, in its segment, nothing
behind its own end, so little is computed to be masked. All heads of a block are one batched product; heads that share
keys are stacked. Everything is computed in float32, also where the inputs are bfloat16: at these sizes a product of
bfloat16 is hardly faster, and the casts cost more than it gains. Nothing of size N x N is made, and nothing but q, k
and v is kept for the backward.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rlaif.train.packing import Segment

_BLOCK = 128


@dataclass(frozen=True, slots=True)
class Block:
    """Queries [start, stop) of one segment; they see the prefix [seen_start, seen_stop), their segment's tokens from
    `own_start` on, and themselves causally."""

    start: int
    stop: int
    own_start: int
    seen_start: int
    seen_stop: int


@lru_cache(maxsize=8)
def _blocks(segments: tuple[Segment, ...]) -> tuple[Block, ...]:
    return tuple(
        Block(start, min(start + _BLOCK, one.stop), one.start, one.seen_start, one.seen_stop)
        for one in segments
        for start in range(one.start, one.stop, _BLOCK)
    )


@lru_cache(maxsize=8)
def _ahead(dtype: torch.dtype, device: torch.device) -> Tensor:
    """(block, block): -inf where a query would look ahead of itself."""
    return torch.full((_BLOCK, _BLOCK), -torch.inf, dtype=dtype, device=device).triu_(1)


class SegmentAttention(torch.autograd.Function):
    """`attend` for autograd: q (H, N, D), k and v (G, N, D); G divides H."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, segments: tuple[Segment, ...], scale: float) -> Tensor:
        ctx.save_for_backward(q, k, v)
        ctx.segments, ctx.scale = segments, scale
        with torch.autocast(q.device.type, enabled=False):
            return attend(q, k, v, segments, scale).to(q.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v = ctx.saved_tensors
        with torch.autocast(q.device.type, enabled=False):
            by = attend_backward(gradient, q, k, v, ctx.segments, ctx.scale)
        return (*(part.to(q.dtype) for part in by), None, None)


def attend(q: Tensor, k: Tensor, v: Tensor, segments: tuple[Segment, ...], scale: float) -> Tensor:
    """(N, H, D) in float32, or float64 where q is."""
    q, k, v = (_wide(part) for part in (q, k, v))
    heads, length, width = q.shape
    out = q.new_empty(length, heads, width)
    for block in _blocks(segments):
        shares = _shares(_stack(q, block, len(k)), _seen(k, block), block, scale)
        out[block.start : block.stop] = (shares @ _seen(v, block)).view(heads, -1, width).transpose(0, 1)
    return out


def attend_backward(
    gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, segments: tuple[Segment, ...], scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients by q, k and v, from that by (N, H, D); as wide as `attend`'s result."""
    q, k, v, gradient = (_wide(part) for part in (q, k, v, gradient.transpose(0, 1).contiguous()))
    by_q, by_k, by_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    for block in _blocks(segments):
        queries, keys, values = _stack(q, block, len(k)), _seen(k, block), _seen(v, block)
        given = _stack(gradient, block, len(k))
        shares = _shares(queries, keys, block, scale)
        by_shares = given @ values.transpose(1, 2)
        by_scores = torch._softmax_backward_data(by_shares, shares, -1, shares.dtype)
        by_q[:, block.start : block.stop] = (by_scores @ keys).view(len(q), -1, q.shape[-1])
        _add_seen(by_k, by_scores.transpose(1, 2) @ queries, block)
        _add_seen(by_v, shares.transpose(1, 2) @ given, block)
    return by_q.mul_(scale), by_k.mul_(scale), by_v


def _wide(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _stack(values: Tensor, block: Block, groups: int) -> Tensor:
    """A block's rows of (H, N, D), the heads that share keys below each other: (G, H / G · L, D)."""
    rows = values[:, block.start : block.stop]
    return rows if len(rows) == groups else rows.reshape(groups, -1, rows.shape[-1])


def _seen(values: Tensor, block: Block) -> Tensor:
    """What a block sees of (G, N, D): (G, K, D)."""
    own = values[:, block.own_start : block.stop]
    if block.seen_stop == block.seen_start:
        return own
    return torch.cat((values[:, block.seen_start : block.seen_stop], own), dim=1)


def _add_seen(total: Tensor, part: Tensor, block: Block) -> None:
    """Add (G, K, D) to the places of (G, N, D) it was seen at."""
    before = block.seen_stop - block.seen_start
    if before:
        total[:, block.seen_start : block.seen_stop] += part[:, :before]
    total[:, block.own_start : block.stop] += part[:, before:]


def _shares(queries: Tensor, keys: Tensor, block: Block, scale: float) -> Tensor:
    """softmax(scale · q kᵀ) where a query may look, else 0: (G, H / G · L, K)."""
    length, total = block.stop - block.start, keys.shape[1]
    scores = torch.baddbmm(queries.new_empty(1), queries, keys.transpose(1, 2), beta=0, alpha=scale)
    ahead = _ahead(scores.dtype, scores.device)[:length, :length]
    scores.view(len(queries), -1, length, total)[..., total - length :] += ahead
    return torch.softmax(scores, -1, out=scores)
