"""Logistic regressions: against statsmodels and scikit-learn, planted effects, and data that has no answer."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from sklearn.linear_model import LogisticRegression

from rlaif.numbers.figures import NotDefined
from rlaif.numbers.logistic import fit_logistic, standardised
from rlaif.numbers.sparse_logistic import choose_penalty, fit_l1_logistic, largest_penalty


def planted(generator, num_prompts=60, effects=(0.5, -0.8), spread=1.0):
    """Choices from log-odds of two columns and an intercept, each prompt with its own effect of the first."""
    prompts = np.repeat(np.arange(num_prompts), generator.integers(2, 9, num_prompts))
    columns = generator.normal(size=(len(prompts), 2))
    own = generator.normal(scale=spread, size=num_prompts)[prompts]
    odds = columns @ effects + 0.3 + own * columns[:, 0]
    return prompts, columns, (generator.random(len(prompts)) < 1 / (1 + np.exp(-odds))).astype(float)


def named(columns):
    return {"intercept": np.ones(len(columns)), "length": columns[:, 0], "lists": columns[:, 1]}


def test_coefficients_and_clustered_errors_are_statsmodels():
    prompts, columns, chosen = planted(np.random.default_rng(0))
    found = fit_logistic(named(columns), chosen, prompts)
    witness = sm.GLM(chosen, sm.add_constant(columns), family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": prompts, "use_correction": False}, tol=1e-12
    )
    rows, groups = len(chosen), len(set(prompts))
    small = groups / (groups - 1) * (rows - 1) / (rows - 3)
    assert found.coefficients == pytest.approx(witness.params, abs=1e-8)
    assert found.covariance == pytest.approx(witness.cov_params() * small, rel=1e-6)
    assert (found.n, found.clusters) == (rows, groups)


def test_soft_outcomes_and_weights_are_what_repeated_rows_are():
    generator = np.random.default_rng(1)
    x = generator.normal(size=50)
    shares = generator.integers(0, 5, 50) / 4
    rows = np.repeat(np.arange(50), 4)
    votes = (np.tile(np.arange(4), 50) < np.repeat(shares * 4, 4)).astype(float)
    soft = fit_logistic({"x": x}, shares, np.arange(50))
    hard = fit_logistic({"x": x[rows]}, votes, rows)
    weighted = fit_logistic({"x": x}, shares, np.arange(50), weights=np.full(50, 4.0))
    assert soft.coefficients == pytest.approx(hard.coefficients, abs=1e-9)
    assert weighted.covariance == pytest.approx(hard.covariance, rel=1e-9)


@pytest.mark.slow
def test_planted_position_and_length_effects_are_covered_in_93_to_97_percent_of_runs():
    """+0.5 log-odds for the place, 0.6 for a typical difference in length; 40 prompts of 8 pairs, whose lengths and
    luck are alike (a Gaussian copula, so that each single choice still follows the planted odds).
    """
    generator, covered, by_row = np.random.default_rng(2), {"position": 0, "length": 0}, 0
    prompts = np.arange(40).repeat(8)
    for _ in range(1000):
        length = (generator.normal(size=40)[prompts] + generator.normal(size=320)) / np.sqrt(2)
        luck = (generator.normal(size=40)[prompts] + generator.normal(size=320)) / np.sqrt(2)
        chosen = (stats.norm.cdf(luck) < 1 / (1 + np.exp(-0.5 - 0.6 * length))).astype(float)
        columns = {"position": np.ones(320), "length": length}
        found, naive = (fit_logistic(columns, chosen, rows) for rows in (prompts, np.arange(320)))
        for name, truth in (("position", 0.5), ("length", 0.6)):
            figure = found.estimate(name)
            covered[name] += figure.low <= truth <= figure.high
        figure = naive.estimate("position")
        by_row += figure.low <= 0.5 <= figure.high
    assert all(0.93 <= hits / 1000 <= 0.97 for hits in covered.values()), covered
    assert by_row / 1000 < 0.85, by_row


def test_a_standardised_coefficient_does_not_know_the_unit():
    prompts, columns, chosen = planted(np.random.default_rng(3))
    tokens, characters = (
        fit_logistic({"length": standardised(columns[:, 0] * unit)}, chosen, prompts) for unit in (1, 5)
    )
    assert tokens.coefficients == pytest.approx(characters.coefficients, abs=1e-9)
    assert standardised(columns[:, 0]).std() == pytest.approx(1)
    assert (standardised(np.array([0.0, 3.0, 4.0]), is_centred=False)[0]) == 0


@pytest.mark.parametrize(
    ("columns", "chosen", "because"),
    [
        ({"x": np.arange(10.0) - 4.5}, (np.arange(10) > 4).astype(float), "perfectly"),
        (
            {"one": np.ones(10), "x": (np.arange(10) > 7) * 1.0},
            (np.arange(10) % 2 + (np.arange(10) > 7) > 0) * 1.0,
            "perf",
        ),
        ({"x": np.arange(10.0)}, np.ones(10), "every outcome is the same"),
        ({"x": np.zeros(10)}, np.arange(10) % 2.0, "'x' is 0"),
        ({"x": np.arange(10.0), "twice": 2 * np.arange(10.0)}, np.arange(10) % 2.0, "not independent"),
        ({"x": np.full(10, np.nan)}, np.arange(10) % 2.0, "too few"),
    ],
)
def test_what_has_no_answer_says_why(columns, chosen, because):
    found = fit_logistic(columns, chosen, np.arange(10))
    assert isinstance(found, NotDefined)
    assert because in found.because


def test_l1_is_scikit_learns_and_unpenalised_columns_go_free():
    _, columns, chosen = planted(np.random.default_rng(4), num_prompts=100)
    design = np.column_stack([columns, np.random.default_rng(5).normal(size=(len(chosen), 6))])
    for share in (0.5, 0.1, 0.01):
        penalty = share * largest_penalty(design, chosen)
        witness = LogisticRegression(
            l1_ratio=1.0, solver="saga", C=1 / (penalty * len(chosen)), fit_intercept=False, tol=1e-9, max_iter=100_000
        ).fit(design, chosen)
        assert fit_l1_logistic(design, chosen, penalty) == pytest.approx(witness.coef_[0], abs=1e-5)
    assert not fit_l1_logistic(design, chosen, largest_penalty(design, chosen) * 1.0001).any()
    free = fit_l1_logistic(np.column_stack([np.ones(len(chosen)), design]), chosen, 10.0, unpenalised=(0,))
    assert free[0] == pytest.approx(np.log(chosen.mean() / (1 - chosen.mean())), abs=1e-6)
    assert not free[1:].any()


def test_the_penalty_found_on_folds_keeps_the_planted_columns():
    generator = np.random.default_rng(6)
    prompts, columns, chosen = planted(generator, num_prompts=150)
    design = np.column_stack([columns, generator.normal(size=(len(chosen), 10))])
    found = choose_penalty(design, chosen, prompts)
    assert set(np.argsort(-np.abs(found.coefficients))[:2]) == {0, 1}
    assert found.losses.min() < np.log(2)
    assert isinstance(choose_penalty(design, chosen, np.zeros(len(chosen))), NotDefined)
