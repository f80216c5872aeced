"""Flat arrays over sequences of different lengths: values (S,) in sequence order, lengths (Q,), as in `packing.Batch`.

There is no [batch, time] array and so no padding that a sum, a mean or an index could run into.
"""

import torch
from torch import Tensor


def check_ragged(values: Tensor, lengths: Tensor) -> None:
    assert values.dim() == 1, "one value per token"
    assert lengths.dim() == 1, "one length per sequence"
    assert int(lengths.sum()) == len(values), "the lengths add up to the tokens"


def ends_of(lengths: Tensor) -> Tensor:
    """(Q,) where each sequence's last token lies. Every sequence has one."""
    assert bool((lengths > 0).all()), "a sequence has at least one token"
    return lengths.cumsum(0) - 1


def spread(values: Tensor, lengths: Tensor) -> Tensor:
    """(Q,) -> (S,): each sequence's value at every one of its tokens."""
    assert values.shape == lengths.shape, "one value per sequence"
    return values.repeat_interleave(lengths)


def sums_of(values: Tensor, lengths: Tensor) -> Tensor:
    """(S,) -> (Q,): sums within each sequence, 0 for one without tokens. Differentiable."""
    check_ragged(values, lengths)
    return torch.segment_reduce(values, "sum", lengths=lengths, initial=0.0)


def tokens_after(lengths: Tensor) -> Tensor:
    """(S,) how many tokens of its sequence follow each token."""
    place = torch.arange(int(lengths.sum()), device=lengths.device)
    return spread(lengths.cumsum(0) - 1, lengths) - place


def next_of(values: Tensor, lengths: Tensor, last: Tensor) -> Tensor:
    """(S,) the value of the token that follows in the same sequence; `last` (Q,) where none does."""
    check_ragged(values, lengths)
    following = values.roll(-1)
    following[ends_of(lengths)] = last.to(following)
    return following


def discounted_sums(values: Tensor, lengths: Tensor, rate: float) -> Tensor:
    """(S,) Σ_k rate^k · values[t + k], over the rest of the sequence.

    By doubling: after round i every token holds the sum over the 2^i tokens from it on, so log2(longest) rounds over
    flat arrays do what a loop over time does on padded ones.
    """
    check_ragged(values, lengths)
    after = tokens_after(lengths)
    total, reach = values.clone(), 1
    longest = int(lengths.max()) if len(lengths) else 0
    while reach < longest:
        further = total[reach:] * rate**reach
        added = torch.where(after[:-reach] >= reach, further, torch.zeros_like(further))
        total = torch.cat([total[:-reach] + added, total[-reach:]])
        reach *= 2
    return total
