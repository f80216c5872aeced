"""Who made the side of a label: each principle's Shapley value in it, exact or sampled.

The game of one pair: a coalition S of principles is worth side(Σ_{k in S} part_k), in {−1, 0, 1}; nobody is worth 0.
The Shapley value of k is the mean over all orders of what k changes when it joins (Shapley 1953). Values of one pair
add up to the side of the whole label (efficiency), a silent principle has 0, and two that say the same have the same.

Exact: all 2^P coalitions, value Σ_S w(S, k) · v(S) with w = (|S| − 1)! (P − |S|)! / P! where k is in S and
−|S|! (P − |S| − 1)! / P! where not. Sampled: orders drawn anew for each pair, each with its reverse (Castro et al.
2009, "Polynomial calculation of the Shapley value based on sampling"; antithetic as in Mitchell et al. 2022,
arXiv:2104.12199). Each order is efficient by itself, so samples add up exactly too; their error is in `variances`.
"""

from dataclasses import dataclass
from math import factorial

import numpy as np

from rlaif.numbers.figures import FloatArray, IntArray
from rlaif.numbers.weighted_votes import sides

MAX_CELLS = 1 << 25  # coalitions × pairs up to which it is exact: 15 principles on 1,000 pairs
MIN_ORDERS, MAX_ORDERS = 8, 512  # of each pair, where it is sampled
SAMPLED_CELLS = 1 << 22  # orders × pairs that are enough for a mean over the pairs
_BLOCK = 1 << 18  # cells held at a time: what a processor's cache holds


@dataclass(frozen=True, slots=True, eq=False)
class Shapley:
    """values (N, P) with their variances (N, P) from sampling, which are 0 where exact; orders drawn, 0 where exact."""

    values: FloatArray
    variances: FloatArray
    orders: int

    def error_of_mean(self, weights: FloatArray) -> FloatArray:
        """The standard error (P,) that sampling gives Σ_n weights_n · values_nk."""
        return np.asarray(np.sqrt((weights[:, None] ** 2 * self.variances).sum(axis=0)))


def shapley_sides(parts: FloatArray, *, seed: int = 0, max_cells: int = MAX_CELLS) -> Shapley:
    """parts (N, P): what each principle adds to a pair's sum, 0 where it is silent. Exact up to `max_cells`."""
    rows, width = parts.shape
    if width < 63 and rows << width <= max_cells:
        return Shapley(_exact(parts), np.zeros_like(parts), 0)
    return _sampled(parts, seed)


def _exact(parts: FloatArray) -> FloatArray:
    rows, width = parts.shape
    members = ((np.arange(1 << width)[:, None] >> np.arange(width)) & 1).astype(np.float64)  # (2^P, P)
    sizes = members.sum(axis=1).astype(int)
    orders = factorial(width)
    joined = [factorial(max(size - 1, 0)) * factorial(width - size) / orders for size in range(width + 1)]
    missing = [factorial(size) * factorial(max(width - size - 1, 0)) / orders for size in range(width + 1)]
    shares = np.where(members > 0, np.take(joined, sizes)[:, None], -np.take(missing, sizes)[:, None])
    found = np.empty_like(parts)
    block = max(1, _BLOCK >> width)
    for start in range(0, rows, block):
        found[start : start + block] = sides(parts[start : start + block] @ members.T) @ shares
    return np.where(parts != 0, found, 0.0)  # not 1e-17 for who said nothing


def _sampled(parts: FloatArray, seed: int) -> Shapley:
    """Means over pairs of orders, and the variance of that mean."""
    rows, width = parts.shape
    couples = int(np.clip(SAMPLED_CELLS // max(rows, 1), MIN_ORDERS, MAX_ORDERS)) // 2
    generator = np.random.default_rng(seed)
    total, squares = np.zeros_like(parts), np.zeros_like(parts)
    for _ in range(couples):
        order = generator.random((rows, width)).argsort(axis=1)
        both = (_joining(parts, order) + _joining(parts, order[:, ::-1])) / 2
        total += both
        squares += both**2
    mean = total / couples
    spread = np.maximum(squares / couples - mean**2, 0.0) / (couples - 1)
    return Shapley(mean, spread, 2 * couples)


def _joining(parts: FloatArray, order: IntArray) -> FloatArray:
    """What each principle changes when they join in this order (N, P)."""
    reached = sides(np.take_along_axis(parts, order, axis=1).cumsum(axis=1))
    changed = np.diff(reached, axis=1, prepend=0.0)
    found = np.empty_like(parts)
    np.put_along_axis(found, order, changed, axis=1)
    return found
