"""Does a judge that says 0.8 win 0.8 of the time? Reliability, ECE without its bias, Brier and its parts, log loss.

`probabilities` (N,) are the judge's P(first is better); `outcomes` (N,) are what people said, as 0, 1 or the share of
people who preferred the first. Which of two answers is "first" is an accident, and a figure must not depend on it:
`towards_favourite` turns every pair so that the judge's favourite is first, which is what to bin.

A binned gap |mean p − mean y| is positive by chance alone. Two figures take chance away, by the spread of clusters in
each bin. The squared gap less its variance is unbiased and may come out negative: `brier_reliability_debiased` (Bröcker
2012; the debiased ℓ2 error of Kumar, Liang and Ma 2019, arXiv:1909.10155). For ECE, an absolute value, no unbiased
estimate exists; Kumar's correction takes away about four tenths of what a perfect judge shows: `ece_debiased`. Both are
theirs for independent rows, and here for rows that share prompts.
"""

import numpy as np
from scipy.special import entr, ndtr

from rlaif.numbers.bootstrap import ClusterBootstrap
from rlaif.numbers.figures import FloatArray, IntArray, ratio
from rlaif.numbers.intervals import Measure, Statistic, mean_measure

NO_ROWS = "no pair has both a probability and people's votes"


def towards_favourite(probabilities: FloatArray, outcomes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Both turned so that p >= 1/2: confidence, and whether people shared it. Brier and log loss stay what they were.

    At p = 1/2 exactly there is no favourite and nothing is turned: give pairs in an order of their content's.
    """
    turned = probabilities < 0.5
    return np.where(turned, 1 - probabilities, probabilities), np.where(turned, 1 - outcomes, outcomes)


def equal_mass_bins(probabilities: FloatArray, num_bins: int = 10) -> IntArray:
    """Bin of each row (N,) so that bins hold about as many rows; equal probabilities share a bin. −1 where NaN."""
    known = probabilities[np.isfinite(probabilities)]
    if not len(known):
        return np.full(len(probabilities), -1)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, num_bins + 1)[1:-1], method="inverted_cdf"))
    return np.where(np.isfinite(probabilities), np.searchsorted(edges, probabilities, side="left"), -1)


def equal_width_bins(probabilities: FloatArray, num_bins: int = 10) -> IntArray:
    """Bin of each row (N,) on an even grid of [0, 1], upper edges included as in scikit-learn. −1 where NaN."""
    grid = np.linspace(0, 1, num_bins + 1)[1:-1]
    return np.where(np.isfinite(probabilities), np.searchsorted(grid, probabilities, side="left"), -1)


def bin_columns(probabilities: FloatArray, outcomes: FloatArray, bins: IntArray) -> FloatArray:
    """What the binned figures are made of, (N, 6 · M): per bin 1, p, y, p², y², p y. Zero where anything is missing."""
    known = np.isfinite(probabilities) & np.isfinite(outcomes) & (bins >= 0)
    p, y = np.where(known, probabilities, 0.0), np.where(known, outcomes, 0.0)
    member = (bins[:, None] == np.arange(bins.max(initial=0) + 1)) & known[:, None]  # (N, M)
    moments = np.stack([np.ones(len(p)), p, y, p * p, y * y, p * y], axis=1)
    return np.asarray((moments[:, :, None] * member[:, None, :]).reshape(len(p), -1))


def _moments(sums: FloatArray) -> FloatArray:
    """Sums (..., 6 · M) as (..., 6, M)."""
    return sums.reshape(*sums.shape[:-1], 6, -1)


def expected_calibration_error(sums: FloatArray) -> FloatArray:
    """Σ_b n_b / N · |mean p − mean y| of sums of `bin_columns`, not debiased (Naeini et al. 2015)."""
    moments = _moments(sums)
    return ratio(np.abs(moments[..., 1, :] - moments[..., 2, :]).sum(axis=-1), moments[..., 0, :].sum(axis=-1))


def debiased_columns(
    bootstrap: ClusterBootstrap, probabilities: FloatArray, outcomes: FloatArray, bins: IntArray
) -> FloatArray:
    """What gaps and their errors between clusters are made of, (N, 6 · M).

    Per bin the count and sum of r = y − p; and of each cluster the squares of its own two and their product, which
    stand in the cluster's first row, so that resampled clusters carry them along.
    """
    known = np.isfinite(probabilities) & np.isfinite(outcomes) & (bins >= 0)
    member = (bins[:, None] == np.arange(bins.max(initial=0) + 1)) & known[:, None]
    residual = np.where(known, np.nan_to_num(outcomes) - np.nan_to_num(probabilities), 0.0)
    counts, gaps = member.astype(np.float64), member * residual[:, None]
    own_counts, own_gaps = bootstrap.totals(counts), bootstrap.totals(gaps)
    squares = np.hstack([own_gaps**2, own_gaps * own_counts, own_counts**2, own_counts > 0])
    _, firsts = np.unique(np.where(known, bootstrap.codes, -1), return_index=True)
    placed = np.zeros((len(counts), squares.shape[1]))
    firsts = firsts[known[firsts]]
    placed[firsts] = squares[bootstrap.codes[firsts]]
    return np.hstack([counts, gaps, placed])


def _gaps(sums: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Of sums of `debiased_columns`: share of rows, gap and variance per bin, (..., M) each; 0 for an empty bin.

    Variance of the mean of r: G / (G − 1) · Σ_g (Σ_i (r_i − mean))² / n²; 0, no correction, in a bin of one cluster.
    """
    count, gap, gap_gap, gap_count, count_count, groups = np.moveaxis(_moments(sums), -2, 0)
    mean = np.nan_to_num(ratio(gap, count))
    spread = np.maximum(gap_gap - 2 * mean * gap_count + mean**2 * count_count, 0.0)
    variance = np.nan_to_num(ratio(groups * spread, (groups - 1) * count**2))
    return ratio(count, count.sum(axis=-1, keepdims=True)), mean, variance


def ece_debiased(sums: FloatArray) -> FloatArray:
    """Σ_b n_b / N · (2 |g_b| − E|N(g_b, s_b²)|), of sums of `debiased_columns`: less what chance adds."""
    share, gap, variance = _gaps(sums)
    error = np.sqrt(variance)
    scale = np.where(error > 0, error, 1.0)
    folded = scale * np.sqrt(2 / np.pi) * np.exp(-((gap / scale) ** 2) / 2) + gap * (1 - 2 * ndtr(-gap / scale))
    chance = np.where(error > 0, folded, np.abs(gap))
    return np.asarray((share * (2 * np.abs(gap) - chance)).sum(axis=-1))


def reliability_debiased(sums: FloatArray) -> FloatArray:
    """Σ_b n_b / N · (g_b² − s_b²), of sums of `debiased_columns`: unbiased, so around 0 for a perfect judge."""
    share, gap, variance = _gaps(sums)
    return np.asarray((share * (gap**2 - variance)).sum(axis=-1))


def brier(sums: FloatArray) -> FloatArray:
    """Mean (p − y)² of sums of `bin_columns`."""
    m = _moments(sums).sum(axis=-1)
    return ratio(m[..., 3] - 2 * m[..., 5] + m[..., 4], m[..., 0])


def brier_parts(sums: FloatArray) -> FloatArray:
    """(..., 4): reliability, resolution, uncertainty, within bins. Brier = reliability − resolution + uncertainty +
    within.

    Murphy 1973; `within`, what binning hides, from Stephenson et al. 2008. With y a vote share, uncertainty is the
    variance of the shares, not the noise of single votes.
    """
    n, p, y, pp, yy, py = np.moveaxis(_moments(sums), -2, 0)
    rows = n.sum(axis=-1)
    mean_p, mean_y = (np.nan_to_num(ratio(total, n)) for total in (p, y))
    base = ratio(y.sum(axis=-1), rows)
    reliability = (n * (mean_p - mean_y) ** 2).sum(axis=-1)
    resolution = (n * (mean_y - base[..., None]) ** 2).sum(axis=-1)
    uncertainty = yy.sum(axis=-1) - rows * base**2
    within = (pp - n * mean_p**2 - 2 * (py - n * mean_p * mean_y)).sum(axis=-1)
    return np.stack([ratio(part, rows) for part in (reliability, resolution, uncertainty, within)], axis=-1)


def _part(place: int) -> Statistic:
    return Statistic(lambda sums: brier_parts(sums)[..., place], NO_ROWS)


def log_loss(probabilities: FloatArray, outcomes: FloatArray, floor: float) -> FloatArray:
    """−y log p − (1 − y) log(1 − p) in nats, (N,), p kept in [floor, 1 − floor]; NaN where anything is missing.

    Its least value is the entropy of the people's shares, not 0: people who disagree cannot be foreseen.
    """
    if not 0 < floor < 0.5:
        raise ValueError(
            f"floor is {floor}; it lies between 0 and 0.5, usual is 0.01 (a certain judge errs infinitely)"
        )
    p = np.clip(probabilities, floor, 1 - floor)
    return np.asarray(-outcomes * np.log(p) - (1 - outcomes) * np.log1p(-p))


def vote_entropy(outcomes: FloatArray) -> FloatArray:
    """Entropy of the people's shares in nats, (N,): the log loss of someone who knows them."""
    return np.asarray(entr(outcomes) + entr(1 - outcomes))


def calibration_measures(
    bootstrap: ClusterBootstrap, probabilities: FloatArray, outcomes: FloatArray, bins: IntArray, *, floor: float = 0.01
) -> dict[str, Measure]:
    """Every figure by name. Bins stay those of the whole data in every resample."""
    columns = bin_columns(probabilities, outcomes, bins)
    debiased = debiased_columns(bootstrap, probabilities, outcomes, bins)
    loss = log_loss(probabilities, outcomes, floor)
    least = np.where(np.isfinite(loss), vote_entropy(outcomes), np.nan)
    return {
        "ece": Measure(columns, Statistic(expected_calibration_error, NO_ROWS)),
        "ece_debiased": Measure(debiased, Statistic(ece_debiased, NO_ROWS)),
        "brier": Measure(columns, Statistic(brier, NO_ROWS)),
        "brier_reliability": Measure(columns, _part(0)),
        "brier_reliability_debiased": Measure(debiased, Statistic(reliability_debiased, NO_ROWS)),
        "brier_resolution": Measure(columns, _part(1)),
        "brier_uncertainty": Measure(columns, _part(2)),
        "brier_within_bins": Measure(columns, _part(3)),
        "log_loss": mean_measure(loss, undefined=NO_ROWS),
        "log_loss_least": mean_measure(least, undefined=NO_ROWS),
    }


def reliability_measures(probabilities: FloatArray, outcomes: FloatArray, bins: IntArray) -> dict[str, Measure]:
    """The curve: per bin that is not empty `NN/said`, mean p, and `NN/came`, mean y."""
    measures = {}
    for place in np.unique(bins[bins >= 0]):
        inside = (bins == place) & np.isfinite(probabilities) & np.isfinite(outcomes)
        measures[f"{place:02d}/said"] = mean_measure(np.where(inside, probabilities, np.nan), undefined=NO_ROWS)
        measures[f"{place:02d}/came"] = mean_measure(np.where(inside, outcomes, np.nan), undefined=NO_ROWS)
    return measures
