"""Which rows to look at when all are too many: chances of being drawn, and draws that keep to them exactly.

Unequal chances cost nothing in honesty as long as every chance is known and above 0: `weighted_means` puts them right.
Sizes come from elsewhere; here is only how a fixed number of rows is drawn in proportion to them.
"""

import numpy as np

from rlaif.numbers.figures import BoolArray, FloatArray, IntArray


def chances_by_size(sizes: FloatArray, number: int) -> FloatArray:
    """Chances π (N,) in proportion to sizes (N,), with Σ π = number. What would have more than 1 is drawn for certain,
    and the others share what is left."""
    if not (sizes > 0).all():
        raise ValueError("every size is above 0: a row that cannot be drawn stays unknown for ever")
    if not 0 < number <= len(sizes):
        raise ValueError(f"{number} of {len(sizes)} rows cannot be drawn")
    certain = np.zeros(len(sizes), dtype=np.bool_)
    while True:
        rest = number - int(certain.sum())
        chances = np.where(certain, 1.0, rest * sizes / max(float(sizes[~certain].sum()), np.finfo(float).tiny))
        over = (chances >= 1.0) & ~certain
        if not over.any():
            return chances
        certain |= over


def mixed_sizes(scores: FloatArray, uniform: float) -> FloatArray:
    """Sizes of mean 1: `uniform` of it the same for every row, the rest in proportion to scores (N,) of at least 0.

    The even part bounds the weights 1/π by N / (n · uniform), whatever the scores (a defensive mixture, Hesterberg
    1995, Technometrics 37). Scores that are all 0 give even sizes.
    """
    if not 0 < uniform <= 1:
        raise ValueError(f"the even part is {uniform}; it lies above 0 and up to 1, usual is 0.2")
    mean = float(scores.mean())
    return uniform + (1 - uniform) * scores / mean if mean > 0 else np.ones(len(scores))


def pivotal_draw(chances: FloatArray, generator: np.random.Generator) -> BoolArray:
    """Rows drawn (N,), each with exactly its chance, and always Σ π of them where that is a whole number.

    Rows meet in random order; of two, one is decided and the other carries both chances on (the pivotal method: Deville
    and Tillé 1998, Biometrika 85, 89-101).
    """
    drawn = np.zeros(len(chances), dtype=np.bool_)
    order, luck = generator.permutation(len(chances)), generator.random(len(chances))
    if not len(order):
        return drawn
    holder, held = order[0], float(chances[order[0]])
    for place, row in enumerate(order[1:]):
        own = float(chances[row])
        both = held + own
        if both < 1:  # one of the two is out
            holder = row if both > 0 and luck[place] < own / both else holder
            held = both
        elif luck[place] < (1 - own) / (2 - both) if both < 2 else True:  # one of the two is in
            drawn[holder] = True
            holder, held = row, both - 1
        else:
            drawn[row] = True
            held = both - 1
    drawn[holder] = luck[-1] < held if 1e-6 < held < 1 - 1e-6 else held > 0.5
    return drawn


def allocate(counts: IntArray, number: int, *, least: int = 2) -> IntArray:
    """How many of `number` each stratum of counts (H,) gets: by size with largest remainders, `least` of each or all.

    Two of a stratum are the fewest that tell how far its rows differ.
    """
    floor = np.minimum(counts, least)
    total = int(counts.sum())
    if not int(floor.sum()) <= number <= total:
        raise ValueError(f"{number} rows of {total} cannot be spread over {len(counts)} strata with {least} of each")
    extra = np.maximum(number * counts / total - floor, 0.0)
    rest = number - int(floor.sum())
    shares = extra * (rest / extra.sum()) if rest else np.zeros(len(counts))
    given = np.floor(shares + 1e-9).astype(np.int64)
    missing = rest - int(given.sum())
    given[np.argsort(given - shares, kind="stable")[:missing]] += 1
    return np.asarray(floor + given, dtype=np.int64)


def stratified_draw(strata: IntArray, number: int, generator: np.random.Generator) -> tuple[BoolArray, FloatArray]:
    """Rows drawn (N,) and the chances they had (N,): at random within each stratum (N,) of codes from 0."""
    counts = np.bincount(strata)
    given = allocate(np.asarray(counts, dtype=np.int64), number)
    drawn = np.zeros(len(strata), dtype=np.bool_)
    for stratum, take in enumerate(given):
        drawn[generator.permutation(np.flatnonzero(strata == stratum))[:take]] = True
    return drawn, (given / counts)[strata]
