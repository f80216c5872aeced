"""Two judges on the same pairs: is one right more often? McNemar's test, and what it becomes when pairs share prompts.

McNemar compares the pairs on which only one of them is right and takes them for independent. Obuchowski 1998 ("On the
comparison of correlated proportions for clustered data", Statistics in Medicine 17) takes the prompt as the unit: its
variance is that of the sums of differences within prompts. The exact test is here too, for data with one pair per
prompt and for comparing with published figures.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from rlaif.numbers.clustered import clustered_t
from rlaif.numbers.figures import Estimate, FloatArray, NotDefined


@dataclass(frozen=True, slots=True)
class McNemar:
    """`only_first` pairs on which only the first is right, `only_second` likewise; `difference` first − second."""

    difference: Estimate
    only_first: float
    only_second: float
    p_clustered: float
    p_exact: float  # pairs taken as independent; wrong where prompts have several pairs


def clustered_mcnemar(
    first_right: ArrayLike, second_right: ArrayLike, clusters: ArrayLike, *, level: float = 0.95
) -> McNemar | NotDefined:
    """first_right, second_right (N,): 1 right, 0 wrong, fractions where half right, NaN where not known; clusters (N,).

    p_clustered is two-sided, from Student's t with G − 1 degrees. p_exact is the binomial test on the discordant pairs.
    """
    first, second = np.asarray(first_right, dtype=np.float64), np.asarray(second_right, dtype=np.float64)
    known = np.isfinite(first) & np.isfinite(second)
    leads: FloatArray = (first - second)[known]
    if not len(leads):
        return NotDefined("no pair was judged by both", 0)
    _, codes = np.unique(np.asarray(clusters)[known], return_inverse=True)
    mean, error, groups = clustered_t(leads, codes.reshape(-1))
    if groups < 2:
        return NotDefined("all pairs are of one cluster (prompt)", len(leads))
    if error == 0:
        return NotDefined("the two are right on exactly the same pairs, or differ alike on all", len(leads))
    half = stats.t.ppf((1 + level) / 2, groups - 1) * error
    only_first, only_second = float(leads[leads > 0].sum()), float(-leads[leads < 0].sum())
    discordant = round(only_first + only_second)
    exact = stats.binomtest(min(round(only_first), discordant), discordant).pvalue if discordant else 1.0
    return McNemar(
        difference=Estimate(mean, float(mean - half), float(mean + half), len(leads), groups),
        only_first=only_first,
        only_second=only_second,
        p_clustered=float(2 * stats.t.sf(abs(mean / error), groups - 1)),
        p_exact=float(exact),
    )


def sign_flip_p_value(
    first_right: ArrayLike, second_right: ArrayLike, clusters: ArrayLike, *, num_flips: int = 10_000, seed: int = 0
) -> float | NotDefined:
    """Two-sided permutation test: under H0 the two judges' names could be exchanged within any whole prompt.

    (1 + flips with a sum at least as far from 0) / (1 + num_flips): never 0, valid for any number of flips.
    """
    first, second = np.asarray(first_right, dtype=np.float64), np.asarray(second_right, dtype=np.float64)
    known = np.isfinite(first) & np.isfinite(second)
    if not known.any():
        return NotDefined("no pair was judged by both", 0)
    _, codes = np.unique(np.asarray(clusters)[known], return_inverse=True)
    sums = np.bincount(codes.reshape(-1), weights=(first - second)[known])
    sums = sums[sums != 0]
    generator = np.random.default_rng(seed)
    far, block = 0, max(1, (1 << 22) // max(len(sums), 1))
    for start in range(0, num_flips, block):
        signs = generator.integers(0, 2, size=(min(block, num_flips - start), len(sums))) * 2 - 1
        far += int((np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9).sum())
    return (1 + far) / (1 + num_flips)
