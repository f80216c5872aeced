"""Calibration and its mending: against scikit-learn, slow loops, exact identities and simulated judges."""

import numpy as np
import pytest
from sklearn import metrics
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.calibration import (
    bin_columns,
    brier,
    brier_parts,
    calibration_measures,
    equal_mass_bins,
    equal_width_bins,
    log_loss,
    reliability_measures,
    towards_favourite,
)
from rlaif.numbers.figures import NotDefined
from rlaif.numbers.intervals import estimates
from rlaif.numbers.recalibration import cluster_folds, fit_isotonic, fit_platt, out_of_fold


@pytest.fixture
def judged():
    """A judge too sure of itself: people prefer the first with a probability nearer to one half."""
    generator = np.random.default_rng(0)
    said = generator.beta(0.7, 0.7, 2000)
    return said, (generator.random(2000) < 0.2 + 0.6 * said).astype(float)


def figures(p, y, bins, clusters=None):
    boot = cluster_bootstrap(np.arange(len(p)) if clusters is None else clusters, num_resamples=200)
    return estimates(boot, calibration_measures(boot, p, y, bins))


def test_the_curve_is_scikit_learns(judged):
    p, y = judged
    for bins, strategy in ((equal_width_bins(p, 10), "uniform"), (equal_mass_bins(p, 10), "quantile")):
        came, said = calibration_curve(y, p, n_bins=10, strategy=strategy)
        found = estimates(cluster_bootstrap(np.arange(2000), num_resamples=2), reliability_measures(p, y, bins))
        tolerance = 1e-12 if strategy == "uniform" else 2e-3  # quantiles between two rows may fall on either of them
        assert [found[f"{b:02d}/said"].value for b in range(10)] == pytest.approx(said, abs=tolerance)
        assert [found[f"{b:02d}/came"].value for b in range(10)] == pytest.approx(came, abs=10 * tolerance)


def test_brier_and_log_loss_are_scikit_learns(judged):
    p, y = judged
    found = figures(p, y, equal_mass_bins(p))
    assert found["brier"].value == pytest.approx(metrics.brier_score_loss(y, p))
    assert found["log_loss"].value == pytest.approx(metrics.log_loss(y, np.clip(p, 0.01, 0.99)))
    assert found["log_loss_least"].value == 0


def test_ece_is_a_slow_loops(judged):
    p, y = judged
    bins = equal_width_bins(p, 15)
    slow = sum(abs(p[bins == b].mean() - y[bins == b].mean()) * (bins == b).sum() for b in range(15)) / 2000
    assert figures(p, y, bins)["ece"].value == pytest.approx(slow, abs=1e-12)


@pytest.mark.parametrize("num_bins", [1, 7, 20])
def test_the_parts_of_brier_add_up_to_it_with_vote_shares_too(num_bins):
    generator = np.random.default_rng(1)
    p, y = generator.random(300), generator.integers(0, 6, 300) / 5
    sums = bin_columns(p, y, equal_mass_bins(p, num_bins)).sum(axis=0)
    reliability, resolution, uncertainty, within = brier_parts(sums)
    assert brier(sums) == pytest.approx(reliability - resolution + uncertainty + within, abs=1e-12)
    assert uncertainty == pytest.approx(y.var(), abs=1e-12)


def test_a_perfect_judge_has_no_debiased_error_though_a_plain_one():
    """150 sets of 60 prompts, 5 pairs each that come out alike: by row, too little is corrected."""
    found: dict[str, list[float]] = {}
    generator = np.random.default_rng(2)
    for _ in range(150):
        p = np.repeat(generator.random(60), 5)
        y = np.repeat((generator.random(60) < p[::5]).astype(float), 5)
        for name, clusters in (("prompt", np.repeat(np.arange(60), 5)), ("row", np.arange(300))):
            boot = cluster_bootstrap(clusters, num_resamples=1)
            for figure, measure in calibration_measures(boot, p, y, equal_width_bins(p, 5)).items():
                value = float(measure.statistic.of_sums(measure.columns.sum(axis=0)))
                found.setdefault(f"{name}/{figure}", []).append(value)
    mean = {name: np.mean(values) for name, values in found.items()}
    spread = np.std(found["prompt/brier_reliability_debiased"]) / np.sqrt(150)
    assert abs(mean["prompt/brier_reliability_debiased"]) < 2.5 * spread
    assert mean["row/brier_reliability_debiased"] > 10 * spread
    assert mean["prompt/brier_reliability"] > 10 * spread
    assert mean["prompt/ece_debiased"] < 0.62 * mean["prompt/ece"]
    assert mean["row/ece_debiased"] > 0.8 * mean["row/ece"]


def test_debiasing_independent_rows_is_kumars():
    """Per bin his ȳ(1 − ȳ)/(n − 1), where all of a bin's rows have one probability, so that both variances are of y."""
    generator = np.random.default_rng(3)
    p = generator.choice([0.1, 0.4, 0.9], size=240)
    y = (generator.random(240) < 0.5).astype(float)
    squares = 0.0
    for level in (0.1, 0.4, 0.9):
        inside = y[p == level]
        gap = inside.mean() - level
        squares += len(inside) / 240 * (gap**2 - inside.mean() * (1 - inside.mean()) / (len(inside) - 1))
    assert figures(p, y, equal_width_bins(p))["brier_reliability_debiased"].value == pytest.approx(squares, abs=1e-12)


def test_a_missing_probability_counts_nowhere(judged):
    p, y = judged
    bins = equal_width_bins(p)
    holed = p.copy()
    holed[::3] = np.nan
    kept = np.isfinite(holed)
    whole, part = figures(holed, y, equal_width_bins(holed)), figures(p[kept], y[kept], bins[kept])
    assert {name: figure.value for name, figure in whole.items()} == {
        name: pytest.approx(figure.value, abs=1e-12) for name, figure in part.items()
    }
    assert whole["ece_debiased"].n == kept.sum()
    nothing = figures(np.full(5, np.nan), np.ones(5), np.full(5, -1))
    assert all(isinstance(figure, NotDefined) for figure in nothing.values())


def test_turning_every_other_pair_around_changes_nothing_towards_the_favourite(judged):
    p, y = judged
    turned = np.arange(2000) % 2 == 0
    one = towards_favourite(p, y)
    other = towards_favourite(np.where(turned, 1 - p, p), np.where(turned, 1 - y, y))
    assert np.allclose(one, other, atol=1e-15)
    assert one[0].min() >= 0.5


def test_a_judge_sure_and_wrong_needs_a_floor():
    assert log_loss(np.array([1.0]), np.array([0.0]), 0.01) == pytest.approx(-np.log(0.01))
    with pytest.raises(ValueError, match="floor"):
        log_loss(np.array([1.0]), np.array([0.0]), 0.0)


# --- mending


def test_isotonic_is_scikit_learns_and_symmetric_when_asked(judged):
    p, y = judged
    grid = np.linspace(0, 1, 101)
    witness = IsotonicRegression(out_of_bounds="clip").fit(p, y)
    assert fit_isotonic(p, y, is_symmetric=False)(grid) == pytest.approx(witness.predict(grid), abs=1e-9)
    mended = fit_isotonic(p, y)
    assert mended(grid) + mended(1 - grid) == pytest.approx(np.ones(101), abs=1e-9)


def test_platt_is_scikit_learns_and_symmetric_when_asked(judged):
    p, y = judged
    odds = np.log(np.clip(p, 1e-6, 1 - 1e-6) / (1 - np.clip(p, 1e-6, 1 - 1e-6)))
    witness = LogisticRegression(C=1e12, tol=1e-10).fit(odds[:, None], y)
    found = fit_platt(p, y, is_symmetric=False)
    assert (found.slope, found.shift) == pytest.approx((witness.coef_[0, 0], witness.intercept_[0]), abs=1e-4)
    symmetric = LogisticRegression(C=1e12, tol=1e-10, fit_intercept=False).fit(odds[:, None], y)
    assert fit_platt(p, y).slope == pytest.approx(symmetric.coef_[0, 0], abs=1e-4)
    assert fit_platt(p, y)(0.3) + fit_platt(p, y)(0.7) == pytest.approx(1.0, abs=1e-12)
    assert fit_platt(p, y).slope < 1


def test_folds_keep_prompts_whole_and_even():
    prompts = np.random.default_rng(3).integers(0, 53, 400)
    folds = cluster_folds(prompts, 5, seed=1)
    assert all(len(set(folds[prompts == prompt])) == 1 for prompt in set(prompts))
    assert sorted(len(set(prompts[folds == fold])) for fold in range(5)) == [10, 10, 11, 11, 11]


@pytest.mark.parametrize("fit", [fit_isotonic, fit_platt])
def test_mended_out_of_fold_a_row_never_sees_its_own_prompt(judged, fit):
    p, y = judged
    prompts = np.arange(2000) // 4
    mended = out_of_fold(p, y, prompts, fit=fit)
    flipped = y.copy()
    flipped[prompts == 7] = 1 - flipped[prompts == 7]
    again = out_of_fold(p, flipped, prompts, fit=fit)
    assert (mended[prompts == 7] == again[prompts == 7]).all()
    assert (mended != again).any()
    before, after = figures(p, y, equal_mass_bins(p)), figures(mended, y, equal_mass_bins(mended))
    assert after["ece_debiased"].value < before["ece_debiased"].value / 3
    assert after["brier"].value < before["brier"].value


def test_rows_without_people_are_mended_too_and_too_few_prompts_refused(judged):
    p, y = judged
    holed = y.copy()
    holed[50:] = np.nan
    mended = out_of_fold(p, holed, np.arange(2000), num_folds=5)
    assert np.isfinite(mended).all()
    assert isinstance(out_of_fold(p[:8], y[:8], np.zeros(8)), NotDefined)
