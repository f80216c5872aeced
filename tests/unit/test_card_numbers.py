"""The statistics a judge card adds: least squares, exact ends, correlation, flips; each against another witness."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.correlation import correlation_measure
from rlaif.numbers.figures import Estimate, NotDefined
from rlaif.numbers.flips import flip_measures
from rlaif.numbers.intervals import estimate, estimates
from rlaif.numbers.linear import fit_linear
from rlaif.numbers.proportions import with_exact_ends


def test_least_squares_and_its_clustered_errors_are_statsmodels():
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(30), 5)
    columns = {"one": rng.normal(size=150), "other": rng.normal(size=150)}
    outcomes = 0.5 * columns["one"] + rng.normal(size=30)[clusters] + rng.normal(size=150)
    found = fit_linear(columns, outcomes, clusters)
    theirs = sm.OLS(outcomes, np.column_stack(list(columns.values()))).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": True}
    )
    assert found.coefficients == pytest.approx(theirs.params, rel=1e-10)
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx(theirs.bse, rel=1e-10)


def test_rows_with_something_missing_do_not_count_in_least_squares():
    rng = np.random.default_rng(1)
    column, outcomes, clusters = rng.normal(size=60), rng.normal(size=60), np.arange(60) // 3
    column[::7], outcomes[5] = np.nan, np.nan
    kept = np.isfinite(column) & np.isfinite(outcomes)
    found = fit_linear({"one": column}, outcomes, clusters)
    alone = fit_linear({"one": column[kept]}, outcomes[kept], clusters[kept])
    assert found.n == kept.sum() == alone.n
    assert found.estimate("one") == alone.estimate("one")


def test_what_cannot_be_fitted_is_said():
    ones = np.ones(40)
    alike = fit_linear({"one": ones, "two": 2 * ones}, ones, np.arange(40))
    assert isinstance(alike, NotDefined)
    assert "not independent" in alike.because
    few = fit_linear({"one": ones}, ones, np.zeros(40))
    assert "too few" in few.because


@pytest.mark.parametrize(("value", "k"), [(0.0, 0), (1.0, 25)])
def test_a_share_without_exception_has_the_exact_interval_over_prompts(value, k):
    figure = with_exact_ends(Estimate(value, None, None, 100, 25, "no interval"))
    theirs = stats.binomtest(k, 25).proportion_ci(0.95, method="exact")
    assert (figure.low, figure.high) == (pytest.approx(theirs.low, abs=1e-12), pytest.approx(theirs.high, abs=1e-12))
    assert (figure.value, figure.n, figure.clusters) == (value, 100, 25)


def test_any_other_figure_keeps_its_own_interval():
    for figure in (Estimate(0.5, None, None, 9, 3, "few"), Estimate(0.0, -0.1, 0.1, 9, 9), NotDefined("nothing", 0)):
        assert with_exact_ends(figure) is figure


def test_correlation_is_numpys_and_its_interval_is_clustered():
    rng = np.random.default_rng(2)
    prompts = np.repeat(np.arange(50), 4)
    shared = rng.normal(size=50)[prompts]
    x, y = shared + rng.normal(size=200), shared + rng.normal(size=200)
    figure = estimate(cluster_bootstrap(prompts), correlation_measure(x + 1e6, y))
    assert figure.value == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-6)
    by_row = estimate(cluster_bootstrap(np.arange(200)), correlation_measure(x, y))
    assert figure.high - figure.low > 1.2 * (by_row.high - by_row.low)
    assert isinstance(estimate(cluster_bootstrap(prompts), correlation_measure(x, np.ones(200))), NotDefined)


def test_flips_by_hand():
    """Kept, flipped away, flipped towards, undecided before, undecided after, without a verdict."""
    before = np.array([0.9, 0.8, 0.3, 0.5, 0.2, np.nan])
    after = np.array([0.7, 0.1, 0.6, 0.9, 0.5, 0.9])
    found = estimates(cluster_bootstrap(np.arange(6)), flip_measures(before, after))
    assert (found["flipped"].value, found["flipped"].n) == (0.5, 4)
    assert (found["flipped_clear"].value, found["flipped_clear"].n) == (pytest.approx(2 / 3), 3)
    assert (found["won_over"].value, found["won_over"].n) == (0.5, 2)
    odds = np.log(after[:5] / (1 - after[:5])) - np.log(before[:5] / (1 - before[:5]))
    assert (found["shift"].value, found["shift"].n) == (pytest.approx(odds.mean()), 5)
