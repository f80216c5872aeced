"""Resampling whole prompts: the resamples themselves, the intervals made of them, and whether 95 % means 95 %."""

import numpy as np
import pytest
from scipy import stats

from rlaif.numbers.agreement import agreement_measures
from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.choices import one_hot
from rlaif.numbers.figures import Estimate, NotDefined
from rlaif.numbers.intervals import (
    Measure,
    Statistic,
    bootstrap_levels,
    difference,
    estimate,
    estimates,
    expanded_quantile,
    mean_measure,
)


def clustered_votes(generator, num_prompts, spread=0.9):
    """Two raters who agree with a probability of the prompt's own, 0.7 on average; κ is then 0.4."""
    clusters = np.repeat(np.arange(num_prompts), generator.integers(1, 9, num_prompts))
    alike = generator.beta(0.7 * 3 * spread, 0.3 * 3 * spread, num_prompts)[clusters]
    first = generator.integers(0, 2, len(clusters))
    second = np.where(generator.random(len(clusters)) < alike, first, 1 - first)
    return clusters, one_hot(first, 2), one_hot(second, 2)


def test_sums_of_a_resample_are_those_of_its_rows_copied_out():
    generator = np.random.default_rng(0)
    clusters, columns = generator.integers(0, 7, 40), generator.normal(size=(40, 3))
    boot = cluster_bootstrap(clusters, num_resamples=5, seed=3)
    (weights,) = boot.weights()
    assert (weights.sum(axis=1) == boot.num_clusters).all()
    for drawn, found in zip(weights, boot.resampled(boot.totals(columns)), strict=True):
        rows = [row for code in range(boot.num_clusters) for row in list(columns[boot.codes == code]) * drawn[code]]
        assert found == pytest.approx(np.sum(rows, axis=0), abs=1e-12)


def test_the_same_seed_draws_the_same_prompts_whatever_their_rows_order():
    clusters = np.array([f"prompt {row % 17}" for row in range(60)])
    values = np.arange(60.0)
    order = np.random.default_rng(1).permutation(60)
    one = estimate(cluster_bootstrap(clusters, seed=5), mean_measure(values))
    other = estimate(cluster_bootstrap(clusters[order], seed=5), mean_measure(values[order]))
    assert one == other
    assert one != estimate(cluster_bootstrap(clusters, seed=6), mean_measure(values))


def test_blocks_of_resamples_change_nothing(monkeypatch):
    boot = cluster_bootstrap(np.arange(50), num_resamples=40, seed=2)
    whole = np.concatenate(list(boot.weights()))
    monkeypatch.setattr("rlaif.numbers.bootstrap.BLOCK", 50 * 7)
    assert (np.concatenate(list(boot.weights())) == whole).all()


def test_a_statistic_of_row_weights_equals_the_same_statistic_of_sums():
    generator = np.random.default_rng(4)
    clusters, values = generator.integers(0, 9, 30), generator.normal(size=30)
    boot = cluster_bootstrap(clusters, num_resamples=20)
    slow = boot.replicates(lambda weights: np.array([np.average(values, weights=weights)]))[:, 0]
    sums = boot.resampled(boot.totals(np.column_stack([values, np.ones(30)])))
    assert slow == pytest.approx(sums[:, 0] / sums[:, 1], abs=1e-12)


@pytest.mark.parametrize(("method", "scipys"), [("bca", "BCa"), ("percentile", "percentile")])
def test_intervals_are_scipys_on_the_same_resamples(method, scipys):
    values = np.random.default_rng(7).exponential(size=60)
    witness = stats.bootstrap((values,), np.mean, n_resamples=5000, method=scipys, rng=1)
    replicates, jackknife = witness.bootstrap_distribution, (values.sum() - values) / 59
    levels = bootstrap_levels(values.mean(), replicates, jackknife, stats.norm.ppf(0.975), method)
    ends = (witness.confidence_interval.low, witness.confidence_interval.high)
    assert np.quantile(replicates, levels) == pytest.approx(ends, abs=1e-12)
    assert (levels[0] > 0.03) == (method == "bca")  # skewed to the right: BCa reaches less far down and further up


def test_the_quantile_is_widened_for_few_clusters_as_students_t_would():
    """With G = 10: 2.2622 · sqrt(10 / 9) = 2.3845."""
    assert expanded_quantile(0.95, 10) == pytest.approx(2.3845, abs=1e-4)
    assert expanded_quantile(0.95, 100_000) == pytest.approx(1.95996, abs=1e-4)


def test_a_difference_is_surer_than_its_parts_where_they_share_their_noise():
    generator = np.random.default_rng(8)
    shared = generator.normal(size=200)
    one, other = (mean_measure(shared + generator.normal(scale=0.1, size=200)) for _ in range(2))
    boot = cluster_bootstrap(np.arange(200))
    lead, own = estimate(boot, difference(one, other)), estimate(boot, one)
    assert lead.value == pytest.approx(own.value - estimate(boot, other).value)
    assert lead.high - lead.low < 0.3 * (own.high - own.low)


# --- what cannot be said is said so


def test_a_kappa_without_variation_is_not_defined():
    same = one_hot(np.zeros(20, dtype=int), 2)
    found = estimates(cluster_bootstrap(np.arange(20)), agreement_measures(same, same))
    assert isinstance(found["cohen_kappa"], NotDefined)
    assert "one and the same answer" in found["cohen_kappa"].because
    assert found["agreement"] == Estimate(1.0, None, None, 20, 20, found["agreement"].because)
    assert "every resample" in found["agreement"].because


def test_no_rows_and_one_prompt():
    boot = cluster_bootstrap(np.zeros(4, dtype=int))
    assert estimate(boot, mean_measure(np.full(4, np.nan))) == NotDefined("no rows to compute it from", 0)
    alone = estimate(boot, mean_measure(np.array([1.0, 2.0, 3.0, np.nan])))
    assert (alone.value, alone.low, alone.n, alone.clusters) == (2.0, None, 3, 1)
    assert "1 clusters (prompts) are too few" in alone.because
    assert estimate(cluster_bootstrap([]), mean_measure(np.zeros(0))) == NotDefined("no rows to compute it from", 0)


def test_a_statistic_missing_from_many_resamples_has_no_interval():
    rare = np.zeros(30)
    rare[0] = 1.0
    measure = Measure(
        np.stack([rare, rare, np.ones(30)], axis=1), Statistic(lambda s: s[..., 0] / s[..., 1], "no event")
    )
    with np.errstate(invalid="ignore"):
        found = estimate(cluster_bootstrap(np.arange(30)), measure)
    assert found.value == 1.0
    assert found.low is None
    assert "not defined in" in found.because
    assert "no event" in found.because


def test_a_record_refuses_a_number_that_is_none():
    with pytest.raises(ValueError, match="finite"):
        Estimate(float("nan"), 0.0, 1.0, 3, 3)
    with pytest.raises(ValueError, match="says why"):
        Estimate(0.5, None, 1.0, 3, 3)
    assert NotDefined("one class only", 3).as_dict()["because"] == "one class only"
    assert "because" not in Estimate(0.5, 0.0, 1.0, 3, 3).as_dict()


# --- does 95 % mean 95 %?


@pytest.mark.slow
def test_intervals_cover_the_truth_in_93_to_97_percent_where_those_by_row_do_not():
    """40 prompts of 1 to 8 pairs. 1,000 runs, so that chance moves a coverage of 95 % by 0.7 points; by row 300 do."""
    inside: dict[str, list[bool]] = {"bca": [], "percentile": [], "kappa": [], "row": []}
    generator = np.random.default_rng(0)
    for run in range(1000):
        clusters, first, second = clustered_votes(generator, 40)
        measures = agreement_measures(first, second)
        wanted = {name: measures[name] for name in ("agreement", "cohen_kappa")}
        by_prompt = cluster_bootstrap(clusters, num_resamples=999, seed=run)
        bca, percentile = (estimates(by_prompt, wanted, method=method) for method in ("bca", "percentile"))
        inside["bca"].append(bca["agreement"].low <= 0.7 <= bca["agreement"].high)
        inside["percentile"].append(percentile["agreement"].low <= 0.7 <= percentile["agreement"].high)
        inside["kappa"].append(bca["cohen_kappa"].low <= 0.4 <= bca["cohen_kappa"].high)
        if run < 300:
            by_row = cluster_bootstrap(np.arange(len(clusters)), num_resamples=499, seed=run)
            row = estimate(by_row, measures["agreement"])
            inside["row"].append(row.low <= 0.7 <= row.high)
    covered = {name: np.mean(hits) for name, hits in inside.items()}
    assert all(0.93 <= covered[name] <= 0.97 for name in ("bca", "percentile", "kappa")), covered
    assert covered["row"] < 0.9, covered
