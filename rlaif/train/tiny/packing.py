"""From lists of token ids to `Packed` batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rlaif.train.tiny.model import Packed

# Sizes are rounded up: oneDNN builds a kernel for each new shape, and in bfloat16 that costs more than some idle rows.
TOKENS_STEP, PREFIX_STEP, TAIL_STEP = 256, 32, 8


def round_up(number: int, step: int) -> int:
    return -(-number // step) * step


@dataclass(frozen=True, slots=True)
class Context:
    """One prefix and its tails, as token ids."""

    prefix: list[int]
    tails: list[list[int]]


def pack(contexts: Sequence[Context]) -> Packed:
    """Lay contexts with equally many tails into one batch. Tail positions go on from their prefix."""
    num_tails = len(contexts[0].tails)
    p_len = round_up(max(len(one.prefix) for one in contexts), PREFIX_STEP)
    t_len = round_up(max((len(tail) for one in contexts for tail in one.tails), default=0), TAIL_STEP)
    tokens: list[int] = []
    positions: list[int] = []
    prefix_slots: list[int] = []
    tail_slots: list[int] = []
    for row, one in enumerate(contexts):
        tokens += one.prefix
        positions += range(len(one.prefix))
        prefix_slots += range(row * p_len, row * p_len + len(one.prefix))
    num_prefix = len(tokens)
    for row, one in enumerate(contexts):
        for column, tail in enumerate(one.tails):
            start = (row * num_tails + column) * t_len
            tokens += tail
            positions += range(len(one.prefix), len(one.prefix) + len(tail))
            tail_slots += range(start, start + len(tail))
    idle = [0] * (round_up(len(tokens), TOKENS_STEP) - len(tokens))
    tokens += idle
    positions += idle
    return Packed(
        tokens=torch.tensor(tokens),
        positions=torch.tensor(positions),
        num_prefix=num_prefix,
        prefix_slots=torch.tensor(prefix_slots),
        tail_slots=torch.tensor(tail_slots, dtype=torch.long),
        blocks=(len(contexts), p_len, num_tails, t_len),
        prefix_lengths=torch.tensor([len(one.prefix) for one in contexts]),
    )
