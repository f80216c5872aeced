"""Resampling whole clusters (prompts), for any number of statistics at once.

Rows that share a prompt are not independent: 999 pairs on 170 prompts know less than 999 prompts would. So prompts are
drawn, with all their rows, and not rows (Davison and Hinkley 1997, "Bootstrap Methods and their Application", §3.8).

Everything goes through *sums*: a statistic is a function of column sums (counts of a confusion matrix, sums of
squares), and the sums of a resample are `weights @ totals`, the weights being how often each cluster was drawn. A
thousand resamples of a hundred columns are one matrix product, and no row is ever copied. What is not a function of
sums goes through `replicates`, one call per resample.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rlaif.numbers.figures import FloatArray, IntArray

BLOCK = 1 << 22  # weights held at a time: 32 MB, however many clusters there are


@dataclass(frozen=True, slots=True, eq=False)
class ClusterBootstrap:
    """A fixed set of resamples. `codes` (N,) is each row's cluster as 0 … num_clusters - 1.

    The same arguments give the same resamples, so figures from separate calls belong to the same draws.
    """

    codes: IntArray
    num_clusters: int
    num_resamples: int
    seed: int

    def totals(self, columns: FloatArray) -> FloatArray:
        """Sums within each cluster: columns (N, K) to (G, K)."""
        if columns.ndim != 2 or columns.shape[0] != self.codes.shape[0]:
            raise ValueError(f"columns have shape {columns.shape}; expected ({self.codes.shape[0]}, K)")
        summed = [np.bincount(self.codes, weights=column, minlength=self.num_clusters) for column in columns.T]
        return np.stack(summed, axis=1) if summed else np.zeros((self.num_clusters, 0))

    def weights(self) -> Iterator[IntArray]:
        """How often each cluster was drawn, a block of resamples at a time: (b, G), each row adding up to G."""
        generator = np.random.default_rng(self.seed)
        groups, block = self.num_clusters, max(1, BLOCK // max(self.num_clusters, 1))
        for start in range(0, self.num_resamples, block):
            rows = min(block, self.num_resamples - start)
            drawn = generator.integers(0, groups, size=(rows, groups))
            drawn += np.arange(rows)[:, None] * groups
            yield np.bincount(drawn.ravel(), minlength=rows * groups).reshape(rows, groups)

    def resampled(self, totals: FloatArray) -> FloatArray:
        """The sums of every resample: totals (G, K) to (B, K)."""
        return np.concatenate([block.astype(np.float64) @ totals for block in self.weights()])

    def replicates(self, statistic: Callable[[FloatArray], FloatArray]) -> FloatArray:
        """A function of row weights (N,) to (M,), once per resample: (B, M). For what no sums can express."""
        return np.stack([statistic(row[self.codes].astype(np.float64)) for block in self.weights() for row in block])


def cluster_bootstrap(clusters: ArrayLike, *, num_resamples: int = 2000, seed: int = 0) -> ClusterBootstrap:
    """Resamples of clusters (N,), of any sortable type. One row per cluster is the ordinary bootstrap of rows.

    The draws depend on the sorted names of the clusters and on nothing else of the rows' order.
    """
    names, codes = np.unique(np.asarray(clusters), return_inverse=True)
    if num_resamples < 1:
        raise ValueError(f"num_resamples is {num_resamples}; at least 1 is needed, usual are 1,000 to 10,000")
    return ClusterBootstrap(codes.reshape(-1).astype(np.int64), len(names), num_resamples, seed)
