"""The mean of rows that share clusters (prompts), and its standard error: what a clustered t-test is made of."""

import numpy as np

from rlaif.numbers.figures import FloatArray, IntArray


def clustered_t(values: FloatArray, codes: IntArray) -> tuple[float, float, int]:
    """Mean of values (N,), its standard error with rows clustered by codes (N,), and the number of clusters G.

    Variance: G / (G − 1) · Σ_g (Σ_{i in g} (x_i − mean))² / N². One row per cluster: that of the plain t-test.
    """
    mean = values.mean()
    _, own = np.unique(codes, return_inverse=True)
    within = np.bincount(own.reshape(-1), weights=values - mean)
    groups = len(within)
    variance = groups / (groups - 1) * (within**2).sum() / len(values) ** 2 if groups > 1 else np.nan
    return float(mean), float(np.sqrt(variance)), groups
