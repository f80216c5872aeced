"""Attention within a packed row by plain matrix products, forward and backward written out: the fast way on a CPU.

    out = attend(q, k, v, segments, scale)            # (S, H, D); for autograd: `SegmentAttention.apply`
    attend_backward(gradient, q, k, v, segments, scale, into=(dq, dk, dv))

q (H, S, D) are the queries of all N tokens, or of the S in `asked`, runs of tokens whose results are wanted; k and v
(G, N, D) are of all tokens. torch's own CPU kernel for bfloat16 is slower than the one for float32 where the cores have
no matrix unit. Here a segment's queries are taken in blocks of at most 128; a block sees its segment's prefix and, in
its segment, nothing behind its own end, so little is computed to be masked. All heads of a block are one batched
product; heads that share keys are stacked. Everything is computed in float32, also where the inputs are bfloat16: at
these sizes a product of bfloat16 is hardly faster, and the casts cost more than it gains. Nothing of size N x N is
made, and nothing but q, k and v is kept for the backward.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rlaif.train.packing import Segment

Runs = tuple[tuple[int, int], ...]  # stretches [start, stop) of tokens, one after the other

_BLOCK = 128


@dataclass(frozen=True, slots=True)
class Block:
    """Queries of the tokens [start, stop) of one segment, the first of them at place `at` among all queries; they see
    the prefix [seen_start, seen_stop), their segment's tokens from `own_start` on, and themselves causally."""

    at: int
    start: int
    stop: int
    own_start: int
    seen_start: int
    seen_stop: int

    @property
    def places(self) -> slice:
        return slice(self.at, self.at + self.stop - self.start)


@lru_cache(maxsize=8)
def _blocks(segments: tuple[Segment, ...], asked: Runs | None) -> tuple[Block, ...]:
    found: list[Block] = []
    at = 0
    for one in segments:
        for first, last in ((one.start, one.stop),) if asked is None else _within(asked, one):
            for start in range(first, last, _BLOCK):
                stop = min(start + _BLOCK, last)
                found.append(Block(at, start, stop, one.start, one.seen_start, one.seen_stop))
                at += stop - start
    return tuple(found)


def _within(runs: Runs, segment: Segment) -> Iterator[tuple[int, int]]:
    """The parts of the runs that lie in a segment."""
    for first, last in runs:
        if first < segment.stop and segment.start < last:
            yield max(first, segment.start), min(last, segment.stop)


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
            by = tuple(torch.zeros_like(_wide(part)) for part in (q, k, v))
            attend_backward(gradient, q, k, v, ctx.segments, ctx.scale, into=by)
        return (*(part.to(q.dtype) for part in by), None, None)


def attend(
    q: Tensor, k: Tensor, v: Tensor, segments: tuple[Segment, ...], scale: float, asked: Runs | None = None
) -> Tensor:
    """(S, H, D) in float32, or float64 where q is."""
    q, k, v = (_wide(part) for part in (q, k, v))
    heads, length, width = q.shape
    out = q.new_empty(length, heads, width)
    for block in _blocks(segments, asked):
        shares = _shares(_stack(q, block, len(k)), _seen(k, block), block, scale)
        out[block.places] = (shares @ _seen(v, block)).view(heads, -1, width).transpose(0, 1)
    return out


def attend_backward(
    gradient: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    segments: tuple[Segment, ...],
    scale: float,
    asked: Runs | None = None,
    *,
    into: tuple[Tensor, ...],
) -> None:
    """Adds the gradients by q, k and v to `into`, from that by (S, H, D); as wide as `attend`'s result."""
    q, k, v, gradient = (_wide(part) for part in (q, k, v, gradient.transpose(0, 1)))
    by_q, by_k, by_v = into
    for block in _blocks(segments, asked):
        queries, keys, values = _stack(q, block, len(k)), _seen(k, block), _seen(v, block)
        given = _stack(gradient, block, len(k))
        shares = _shares(queries, keys, block, scale)
        by_shares = given @ values.transpose(1, 2)
        by_scores = torch._softmax_backward_data(by_shares, shares, -1, shares.dtype)
        by_q[:, block.places] = _scaled(by_scores, keys, scale).view(len(q), -1, q.shape[-1])
        _add_seen(by_k, _scaled(by_scores.transpose(1, 2), queries, scale), block)
        _add_seen(by_v, shares.transpose(1, 2) @ given, block)


def _wide(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _stack(values: Tensor, block: Block, groups: int) -> Tensor:
    """A block's rows of (H, S, D), the heads that share keys below each other: (G, H / G · L, D)."""
    rows = values[:, block.places]
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
    scores = _scaled(queries, keys.transpose(1, 2), scale)
    ahead = _ahead(scores.dtype, scores.device)[:length, :length]
    scores.view(len(queries), -1, length, total)[..., total - length :] += ahead
    return torch.softmax(scores, -1, out=scores)


def _scaled(left: Tensor, right: Tensor, scale: float) -> Tensor:
    """scale · left @ right, in one product."""
    return torch.baddbmm(left.new_empty(1), left, right, beta=0, alpha=scale)
