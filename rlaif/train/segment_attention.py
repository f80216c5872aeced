"""Attention within a packed row by plain matrix products, forward and backward written out: the fast way on a CPU.

    out = attend(q, k, v, segments, scale)            # (S, H, D); for autograd: `SegmentAttention.apply`
    attend_backward(gradient, q, k, v, segments, scale, into=(dq, dk, dv))

q (H, S, D) are the queries of all N tokens, or of the S in `asked`, runs of tokens whose results are wanted; k and v
(G, N, D) are of all tokens. torch's own CPU kernel for bfloat16 is slower than the one for float32 where the cores have
no matrix unit. Here a segment's queries are taken in blocks of at most 128; a block sees its segment's prefix and, in
its segment, nothing behind its own end, so little is computed to be masked. All heads of a block are one batched
product; heads that share keys are stacked; short blocks of one shape, as groups of short answers have them by the
hundred, are one product together. Everything is computed in float32, also where the inputs are bfloat16: at
these sizes a product of bfloat16 is hardly faster, and the casts cost more than it gains. Nothing of size N x N is
made, and nothing but q, k and v is kept for the backward.

A pass has some fifty blocks per layer, so the number of torch's calls per block tells: they are few here.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rlaif.train.packing import Segment

Runs = tuple[tuple[int, int], ...]  # stretches [start, stop) of tokens, one after the other

_BLOCK = 128
_SHORT = 1024  # pairs of a query and a key in a block that is taken together with others; more, and copies cost more
_MOST_PAIRS = 64 * _SHORT  # in one product


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
    def num_prefix(self) -> int:
        return self.seen_stop - self.seen_start

    @property
    def length(self) -> int:
        return self.stop - self.start

    @property
    def shape(self) -> tuple[int, int, int]:
        """Queries, prefix, own tokens: blocks alike in these are one product."""
        return self.length, self.num_prefix, self.stop - self.own_start

    def stack(self, values: Tensor, groups: int) -> Tensor:
        """The block's rows of (H, S, D), the heads that share keys below each other: (G, H / G · L, D)."""
        rows = values.narrow(1, self.at, self.length)
        return rows if len(rows) == groups else rows.reshape(groups, -1, rows.shape[-1])

    def put(self, found: Tensor, into: Tensor) -> None:
        """The opposite of `stack`."""
        into.narrow(1, self.at, self.length).copy_(found.view(len(into), -1, into.shape[-1]))

    def seen(self, values: Tensor) -> Tensor:
        """What the block sees of (G, N, D): (G, K, D)."""
        own = values.narrow(1, self.own_start, self.stop - self.own_start)
        if not (before := self.num_prefix):
            return own
        return torch.cat((values.narrow(1, self.seen_start, before), own), dim=1)

    def add_seen(self, total: Tensor, part: Tensor) -> None:
        """Add (G, K, D) to the places of (G, N, D) it was seen at."""
        if before := self.num_prefix:
            total.narrow(1, self.seen_start, before).add_(part.narrow(1, 0, before))
            part = part.narrow(1, before, part.shape[1] - before)
        total.narrow(1, self.own_start, part.shape[1]).add_(part)


class Bundle:
    """B short blocks of one shape as one batched product: what `Block` does, with G · B instead of G in front.

    Many blocks may see one prefix: `index_add_` on a CPU takes its indices one after the other, so sums have one order.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._num, self.length = len(blocks), blocks[0].length
        self._places = _tokens((one.at, one.at + one.length) for one in blocks)
        self._seen = _tokens(
            run for one in blocks for run in ((one.seen_start, one.seen_stop), (one.own_start, one.stop))
        )

    def stack(self, values: Tensor, groups: int) -> Tensor:
        """(G · B, H / G · L, D)"""
        rows = values[:, self._places].view(groups, -1, self._num, self.length, values.shape[-1])
        return rows.transpose(1, 2).reshape(groups * self._num, -1, values.shape[-1])

    def put(self, found: Tensor, into: Tensor) -> None:
        heads, _, width = into.shape
        rows = found.view(len(found) // self._num, self._num, -1, self.length, width).transpose(1, 2)
        into.index_copy_(1, self._places, rows.reshape(heads, -1, width))

    def seen(self, values: Tensor) -> Tensor:
        """(G · B, K, D)"""
        return values[:, self._seen].view(len(values) * self._num, -1, values.shape[-1])

    def add_seen(self, total: Tensor, part: Tensor) -> None:
        total.index_add_(1, self._seen, part.view(len(total), -1, part.shape[-1]))


def _tokens(runs: Iterable[tuple[int, int]]) -> Tensor:
    return torch.cat([torch.arange(start, stop) for start, stop in runs])


@lru_cache(maxsize=32)
def _work(segments: tuple[Segment, ...], asked: Runs | None) -> tuple[Block | Bundle, ...]:
    """What is computed one after the other: long blocks by themselves, short ones with others of their shape."""
    alike: dict[tuple[int, int, int], list[Block]] = {}
    for block in _blocks(segments, asked):
        alike.setdefault(block.shape, []).append(block)
    found: list[Block | Bundle] = []
    for (length, before, own), blocks in alike.items():
        pairs = length * (before + own)
        most = 1 if pairs > _SHORT else _MOST_PAIRS // pairs
        for first in range(0, len(blocks), most):
            some = blocks[first : first + most]
            found.append(some[0] if len(some) == 1 else Bundle(some))
    return tuple(found)


def _blocks(segments: tuple[Segment, ...], asked: Runs | None) -> Iterator[Block]:
    at = 0
    stops = [stop for _, stop in asked or ()]
    for one in segments:
        for first, last in ((one.start, one.stop),) if asked is None else _within(asked, stops, one):
            for start in range(first, last, _BLOCK):
                stop = min(start + _BLOCK, last)
                yield Block(at, start, stop, one.start, one.seen_start, one.seen_stop)
                at += stop - start


def _within(runs: Runs, stops: Sequence[int], segment: Segment) -> Iterator[tuple[int, int]]:
    """The parts of the runs, which end at `stops`, that lie in a segment."""
    for first, last in runs[bisect_right(stops, segment.start) :]:
        if first >= segment.stop:
            return
        yield max(first, segment.start), min(last, segment.stop)


@lru_cache(maxsize=2 * _BLOCK)
def _ahead(length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(L, L): -inf where a query would look ahead of itself."""
    return torch.full((length, length), -torch.inf, dtype=dtype, device=device).triu_(1)


@lru_cache(maxsize=8)
def _nothing(dtype: torch.dtype, device: torch.device) -> Tensor:
    """What a product is added to, times 0."""
    return torch.empty(1, dtype=dtype, device=device)


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
    by_head = out.transpose(0, 1)
    for work in _work(segments, asked):
        shares = _shares(work.stack(q, len(k)), work.seen(k), work.length, scale)
        work.put(torch.bmm(shares, work.seen(v)), into=by_head)
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
    for work in _work(segments, asked):
        queries, keys, values = work.stack(q, len(k)), work.seen(k), work.seen(v)
        given = work.stack(gradient, len(k))
        shares = _shares(queries, keys, work.length, scale)
        by_shares = torch.bmm(given, values.mT)
        by_scores = torch._softmax_backward_data(by_shares, shares, -1, shares.dtype)
        work.put(_scaled(by_scores, keys, scale), into=by_q)
        work.add_seen(by_k, _scaled(by_scores.mT, queries, scale))
        work.add_seen(by_v, torch.bmm(shares.mT, given))


def _wide(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _shares(queries: Tensor, keys: Tensor, length: int, scale: float) -> Tensor:
    """softmax(scale · q kᵀ) where a query may look, else 0: (G, H / G · L, K)."""
    total = keys.shape[1]
    scores = _scaled(queries, keys.mT, scale)
    own = scores.view(len(queries), -1, length, total).narrow(3, total - length, length)
    own.add_(_ahead(length, scores.dtype, scores.device))
    return torch.softmax(scores, -1, out=scores)


def _scaled(left: Tensor, right: Tensor, scale: float) -> Tensor:
    """scale · left @ right, in one product."""
    return torch.baddbmm(_nothing(left.dtype, left.device), left, right, beta=0, alpha=scale)
