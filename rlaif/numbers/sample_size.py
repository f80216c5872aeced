"""How many pairs, and how many people for each, for an interval of a wanted half-width: before anyone labels anything.

The mean of votes that are 0 or 1 (agrees with the judge or not, prefers the first or not). Votes on one pair resemble
each other (`same_pair`), and so do pairs of one prompt (`same_prompt`): a second person for a pair, or a second pair of
a prompt, tells less than a fresh prompt would. The variance of the mean of n pairs with R votes each, m pairs to a
prompt, is

    p (1 − p) / (n R) · (1 + (R − 1) · same_pair + R (m − 1) · same_prompt)

(Kish 1965, "Survey Sampling", §5.4, with two levels). Both correlations can be had from a pilot: `vote_correlations`.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from rlaif.numbers.figures import FloatArray, NotDefined

FEWEST_PROMPTS = 8  # as for a bootstrap interval


@dataclass(frozen=True, slots=True)
class Resemblance:
    """`rate` p of the votes, and the correlations of two votes on one pair, and on two pairs of one prompt."""

    rate: float
    same_pair: float
    same_prompt: float


def variance_of_mean(found: Resemblance, *, pairs: int, people: int, pairs_per_prompt: float) -> float:
    """The formula above."""
    alike = 1 + (people - 1) * found.same_pair + people * (pairs_per_prompt - 1) * found.same_prompt
    return found.rate * (1 - found.rate) / (pairs * people) * max(alike, 0.0)


def pairs_needed(
    half_width: float, found: Resemblance, *, people: int = 1, pairs_per_prompt: float = 1.0, level: float = 0.95
) -> int:
    """The fewest pairs whose interval (Student's t over prompts) reaches at most `half_width` to either side."""
    if not 0 < half_width < 0.5:
        raise ValueError(f"half_width is {half_width}; it lies between 0 and 0.5, usual is 0.02 to 0.05")

    def is_enough(pairs: int) -> bool:
        variance = variance_of_mean(found, pairs=pairs, people=people, pairs_per_prompt=pairs_per_prompt)
        quantile = stats.t.ppf((1 + level) / 2, pairs / pairs_per_prompt - 1)
        return bool(quantile * math.sqrt(variance) <= half_width)

    low = high = math.ceil(FEWEST_PROMPTS * pairs_per_prompt)
    while not is_enough(high):
        low, high = high, high * 2
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle + 1, high)
    return high


def vote_correlations(votes: FloatArray, clusters: ArrayLike) -> Resemblance | NotDefined:
    """From a pilot: votes (N, R) of 0 and 1, NaN for none, clusters (N,). Where nothing tells, a correlation is 0.

    Mean product of two different votes' distances from the rate, over its variance: moments, unbiased but for the rate.
    """
    known = np.isfinite(votes)
    if not known.any():
        return NotDefined("nobody voted", 0)
    rate = float(votes[known].mean())
    spread = rate * (1 - rate)
    if spread == 0:
        return NotDefined("every vote is the same", int(known.sum()))
    away, given = np.where(known, votes - rate, 0.0), known.sum(axis=1).astype(np.float64)
    own = away.sum(axis=1)
    _, codes = np.unique(np.asarray(clusters), return_inverse=True)
    of_prompt, given_prompt = (np.bincount(codes.reshape(-1), weights=column) for column in (own, given))
    pair_products, pair_count = (own**2).sum() - (away**2).sum(), (given * (given - 1)).sum()
    prompt_products, prompt_count = (of_prompt**2).sum() - (own**2).sum(), (given_prompt**2).sum() - (given**2).sum()
    return Resemblance(
        rate=rate,
        same_pair=float(pair_products / pair_count / spread) if pair_count else 0.0,
        same_prompt=float(prompt_products / prompt_count / spread) if prompt_count else 0.0,
    )
