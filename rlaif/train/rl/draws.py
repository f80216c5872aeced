"""Drawing the next token of every row, each row from random numbers of its own.

    tokens, logprobs = draw_tokens(logits, seeds, steps, temperature)

The random numbers are a function of a row's seed and of how many tokens it has, and of nothing else: no generator has a
state, so neither the neighbours nor the order of work can change them. They are splitmix64 (Steele, Lea and Flood 2014)
read as a counter: the same number on every machine.

A token is drawn by the Gumbel-max trick twice, first which stretch of 64 tokens, then which token in it. That is exact
(a stretch has the sum of its tokens' probabilities), takes V / 64 + 64 random numbers instead of V, and it is steady:
logits that differ by ε in rounding change a draw with probability about 2 ε. One uniform number looked up in cumulative
probabilities would be cheaper and change V times as often, as every rounding moves all boundaries behind it.
"""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from numpy.typing import NDArray
from torch import Tensor

STRETCH = 64
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = (np.uint64(number) for number in (30, 27, 31, 11))


def uniforms(seeds: NDArray[np.int64], steps: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """`count` numbers in (0, 1) for each row, (R, count), from the row's seed and step."""
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
        rows = _mixed(_mixed(seeds.astype(np.uint64)) + steps.astype(np.uint64) * _GOLDEN)
        counters = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
        bits = _mixed(rows[:, None] + counters)
    return ((bits >> _S11).astype(np.float64) + 0.5) * 2.0**-53


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ (state >> _S30)) * _MIX_1
    state = (state ^ (state >> _S27)) * _MIX_2
    return state ^ (state >> _S31)


def draw_tokens(
    logits: Tensor, seeds: NDArray[np.int64], steps: NDArray[np.int64], temperature: float
) -> tuple[Tensor, Tensor]:
    """Tokens (R,) and their log-probabilities (R,) in nats, under softmax(logits / temperature); logits (R, V) are in
    float32 or float64 and are overwritten. At temperature 0 the likeliest token (the first of equal ones) has
    probability 1."""
    rows = len(logits)
    if temperature == 0:
        return logits.argmax(dim=-1), logits.new_zeros(rows)
    if temperature != 1:
        logits = logits.div_(temperature)
    if idle := -logits.shape[1] % STRETCH:
        logits = F.pad(logits, (0, idle), value=-torch.inf)
    largest = logits.amax(dim=-1, keepdim=True)
    weights = logits.sub_(largest).exp().view(rows, -1, STRETCH)
    by_stretch = weights.sum(dim=-1)  # (R, V / 64)
    chance = torch.from_numpy(uniforms(seeds, steps, by_stretch.shape[1] + STRETCH)).to(logits.device)
    gumbels = -torch.log(-torch.log(chance))
    stretch = (by_stretch.double().log() + gumbels[:, :-STRETCH]).argmax(dim=-1)
    row = torch.arange(rows, device=logits.device)
    inside = weights[row, stretch]  # (R, 64)
    tokens = stretch * STRETCH + (inside.double().log() + gumbels[:, -STRETCH:]).argmax(dim=-1)
    normalisers = by_stretch.double().sum(dim=-1).log()
    logprobs = logits[row, tokens].double() - normalisers
    return tokens, logprobs.to(logits.dtype)
