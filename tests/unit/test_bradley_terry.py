"""Bradley–Terry strengths: against values worked by hand, choix, statsmodels' GLM, and their own definition."""

import itertools
import math

import choix
import numpy as np
import pytest
import statsmodels.api as sm
from choix.opt import PairwiseFcts
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from rlaif.numbers.bradley_terry import (
    Comparisons,
    NotDefined,
    Strengths,
    dispersion,
    fit_many,
    fit_strengths,
    num_free,
    sandwich_covariance,
)


def drawn(n: int, seed: int, *, rounds: int = 1, sharp: bool = False) -> Comparisons:
    """A full round-robin (or several) with soft or, if sharp, 0/1 outcomes around known strengths."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=n)
    rows = []
    for i, j in [*itertools.combinations(range(n), 2)] * rounds:
        p = 1 / (1 + math.exp(-(true[i] - true[j] + rng.normal())))
        rows.append((i, j, float(rng.random() < p) if sharp else p))
    return Comparisons.of(n, rows, weights=rng.uniform(0.5, 3, len(rows)))


def fitted(comparisons: Comparisons, **more) -> Strengths:
    result = fit_strengths(comparisons, **more)
    assert isinstance(result, Strengths), result
    return result


# --- by hand


@pytest.mark.parametrize(("probability", "weight"), [(0.8, 1.0), (0.5, 2.0), (0.05, 7.0)])
def test_two_items_differ_by_the_log_odds(probability, weight):
    """One comparison: s_0 - s_1 = logit(p), each half of it; the information of the difference is w p (1 - p)."""
    found = fitted(Comparisons.of(2, [(0, 1, probability)], [weight]), ridge=0.0)
    logit = math.log(probability / (1 - probability))
    assert found.values == pytest.approx([logit / 2, -logit / 2], abs=1e-9)
    assert found.difference_error(0, 1) == pytest.approx((weight * probability * (1 - probability)) ** -0.5, rel=1e-8)
    assert found.standard_errors == pytest.approx([found.difference_error(0, 1) / 2] * 2, rel=1e-8)
    assert found.probability(0, 1) == pytest.approx(probability, abs=1e-9)


def test_two_items_under_a_ridge_worked_by_hand():
    """p = 1 and ridge λ: with s_0 = -s_1 = s the slope is σ(-2s) - λ s = 0; λ = σ(-2) puts s at 1."""
    ridge = 1 / (1 + math.exp(2.0))
    found = fitted(Comparisons.of(2, [(0, 1, 1.0)]), ridge=ridge)
    assert found.values == pytest.approx([1.0, -1.0], abs=1e-9)


def test_three_items_on_a_line_add_up():
    """A chain of soft comparisons is fitted exactly, so the ends differ by the sum of the log-odds."""
    found = fitted(Comparisons.of(3, [(0, 1, 0.7), (2, 1, 0.4)]), ridge=0.0)
    between = math.log(0.7 / 0.3) - math.log(0.4 / 0.6)
    assert found.values[0] - found.values[2] == pytest.approx(between, abs=1e-9)
    assert found.values.sum() == pytest.approx(0.0, abs=1e-12)


# --- against other libraries


@pytest.mark.parametrize("n", [2, 3, 5, 16])
@pytest.mark.parametrize("ridge", [1e-3, 0.5])
def test_hard_outcomes_agree_with_choix(n, ridge):
    """choix counts every comparison once and writes the penalty as α Σ s², which is our ridge/2."""
    comparisons = drawn(n, n, rounds=3, sharp=True)
    num = len(comparisons.first)
    comparisons = Comparisons(n, comparisons.first, comparisons.second, comparisons.probability, np.ones(num))
    beaten = [
        (i, j) if p else (j, i)
        for i, j, p in zip(comparisons.first, comparisons.second, comparisons.probability, strict=True)
    ]
    theirs = choix.opt_pairwise(n, beaten, alpha=ridge / 2, method="Newton-CG", tol=1e-12)
    ours = fitted(comparisons, ridge=ridge).values
    objective = PairwiseFcts(beaten, ridge / 2)
    assert np.abs(objective.gradient(ours)).max() < 1e-8  # by their own slope we are at the top,
    assert objective.objective(ours) <= objective.objective(theirs) + 1e-12  # and no lower than they are,
    assert ours == pytest.approx(theirs, abs=1e-5)  # who stop a little earlier where the ridge is weak


@pytest.mark.parametrize("n", [2, 3, 5, 16])
def test_soft_outcomes_agree_with_choix_on_shares_of_wins(n):
    comparisons = drawn(n, 10 + n)
    theirs = choix.ilsr_pairwise_dense(comparisons.wins(), max_iter=2000, tol=1e-13)
    assert fitted(comparisons, ridge=0.0).values == pytest.approx(theirs, abs=1e-7)


@pytest.mark.parametrize("n", [3, 4, 8])
def test_strengths_and_every_standard_error_agree_with_a_generalised_linear_model(n):
    """Item 0 as the reference there; a linear map brings coefficients and covariances to strengths that sum to 0."""
    comparisons = drawn(n, 20 + n, rounds=2)
    rows = np.arange(len(comparisons.first))
    design = np.zeros((len(rows), n))
    design[rows, comparisons.first], design[rows, comparisons.second] = 1.0, -1.0
    model = sm.GLM(comparisons.probability, design[:, 1:], sm.families.Binomial(), var_weights=comparisons.weight)
    theirs = model.fit(tol=1e-14, maxiter=200)
    centre = (np.eye(n) - 1 / n)[:, 1:]
    found = fitted(comparisons, ridge=0.0)
    assert found.values == pytest.approx(centre @ theirs.params, abs=1e-8)
    assert found.covariance == pytest.approx(centre @ theirs.cov_params() @ centre.T, rel=1e-6, abs=1e-10)
    robust = model.fit(tol=1e-14, maxiter=200, cov_type="HC0").cov_params()
    assert sandwich_covariance(comparisons, found) == pytest.approx(centre @ robust @ centre.T, rel=1e-5, abs=1e-10)
    assert dispersion(comparisons, found) == pytest.approx(theirs.pearson_chi2 / theirs.df_resid, rel=1e-7)


# --- its own definition


def penalised(values, comparisons: Comparisons, ridge: float) -> float:
    """Minus what is maximised, term by term."""
    total = ridge / 2 * sum(float(value) ** 2 for value in values)
    for i, j, p, w in zip(
        comparisons.first, comparisons.second, comparisons.probability, comparisons.weight, strict=True
    ):
        d = float(values[i] - values[j])
        total += w * (p * math.log1p(math.exp(-d)) + (1 - p) * math.log1p(math.exp(d)))
    return total


@pytest.mark.parametrize("seed", range(4))
def test_the_fit_is_where_a_plain_minimiser_ends(seed):
    comparisons = drawn(5, seed)
    plain = minimize(penalised, np.zeros(5), args=(comparisons, 0.2), method="BFGS", options={"gtol": 1e-9})
    assert fitted(comparisons, ridge=0.2).values == pytest.approx(plain.x, abs=1e-6)


@st.composite
def problems(draw):
    n = draw(st.integers(1, 6))
    pairs = [*itertools.combinations(range(n), 2)]
    played = draw(st.lists(st.sampled_from(pairs), max_size=12)) if pairs else []
    outcomes = st.sampled_from([0.0, 1.0]) | st.floats(0.0, 1.0)
    return Comparisons.of(n, [(i, j, draw(outcomes)) for i, j in played], [draw(st.floats(0.1, 5)) for _ in played])


@settings(deadline=None, max_examples=150)
@given(problems(), st.floats(1e-4, 2.0))
def test_under_a_ridge_every_problem_has_one_finite_answer_that_balances(comparisons, ridge):
    """The slope is 0 in every strength, and every component sums to 0."""
    found = fitted(comparisons, ridge=ridge)
    assert np.all(np.isfinite(found.values))
    assert np.all(np.isfinite(found.standard_errors))
    for i in range(comparisons.num_items):
        slope = -ridge * found.values[i]
        for a, b, p, w in zip(
            comparisons.first, comparisons.second, comparisons.probability, comparisons.weight, strict=True
        ):
            slope += (int(a == i) - int(b == i)) * w * (p - found.probability(a, b))
        assert abs(slope) < 1e-7
    for component in set(found.component):
        assert abs(found.values[found.component == component].sum()) < 1e-6 / ridge


@settings(deadline=None, max_examples=100)
@given(problems())
def test_turning_every_comparison_round_changes_nothing(comparisons):
    turned = Comparisons(
        comparisons.num_items,
        comparisons.second,
        comparisons.first,
        1.0 - comparisons.probability,
        comparisons.weight,
    )
    assert fitted(turned).values == pytest.approx(fitted(comparisons).values, abs=1e-7)


@settings(deadline=None, max_examples=30)
@given(st.lists(problems(), max_size=6))
def test_many_problems_are_fitted_as_if_each_were_alone(several):
    for ridge in (0.0, 0.1):
        together = fit_many(several, ridge=ridge)
        for one, found in zip(several, together, strict=True):
            alone = fit_strengths(one, ridge=ridge)
            if isinstance(alone, NotDefined):
                assert found == alone
            else:
                assert isinstance(found, Strengths)
                assert found.values == pytest.approx(alone.values, abs=1e-9)
                assert found.covariance == pytest.approx(alone.covariance, abs=1e-9)


def test_a_weight_of_three_is_three_comparisons():
    once = fitted(Comparisons.of(3, [(0, 1, 0.9), (1, 2, 0.4), (0, 2, 0.6)], [3, 1, 2]), ridge=0.0)
    rows = [(0, 1, 0.9)] * 3 + [(1, 2, 0.4)] + [(0, 2, 0.6)] * 2
    assert fitted(Comparisons.of(3, rows), ridge=0.0).values == pytest.approx(once.values, abs=1e-9)


# --- what has no answer


def test_groups_never_compared_have_no_common_scale_without_a_ridge():
    apart = Comparisons.of(4, [(0, 1, 0.7), (2, 3, 0.6)])
    result = fit_strengths(apart, ridge=0.0)
    assert isinstance(result, NotDefined)
    assert "never compared with each other" in result.because
    tied = fitted(apart, ridge=0.1)
    assert tied.component.tolist() == [0, 0, 2, 2]
    assert not tied.is_connected
    assert num_free(tied) == 2
    # The prior alone speaks between the groups: each group's mean has variance 1/(2·ridge).
    assert tied.difference_error(0, 2) > (2 / (2 * 0.1)) ** 0.5


@pytest.mark.parametrize(
    "rows",
    [
        [(0, 1, 1.0)],
        [(0, 1, 1.0), (1, 2, 0.5)],  # 1 and 2 together took nothing from 0
        [(0, 1, 0.5), (2, 3, 0.5), (0, 2, 1.0), (1, 3, 1.0)],
    ],
)
def test_a_group_that_took_nothing_has_no_finite_strength_without_a_ridge(rows):
    comparisons = Comparisons.of(1 + max(max(i, j) for i, j, _ in rows), rows)
    result = fit_strengths(comparisons, ridge=0.0)
    assert isinstance(result, NotDefined)
    assert "lost nothing" in result.because
    assert fitted(comparisons).values[0] > fitted(comparisons).values[-1]


def test_a_circle_of_certain_outcomes_is_a_three_way_tie():
    found = fitted(Comparisons.of(3, [(0, 1, 1.0), (1, 2, 1.0), (2, 0, 1.0)]), ridge=0.0)
    assert found.values == pytest.approx([0.0, 0.0, 0.0], abs=1e-9)


def test_one_item_and_no_comparisons():
    assert fitted(Comparisons.of(1, []), ridge=0.0).values.tolist() == [0.0]
    assert fitted(Comparisons.of(3, []), ridge=0.1).values.tolist() == [0.0, 0.0, 0.0]
    assert isinstance(fit_strengths(Comparisons.of(3, []), ridge=0.0), NotDefined)


def test_scatter_is_not_defined_where_nothing_is_left_to_measure_it_by():
    chain = Comparisons.of(3, [(0, 1, 0.7), (1, 2, 0.6)])
    found = fitted(chain, ridge=0.0)
    for result in (dispersion(chain, found), sandwich_covariance(chain, found)):
        assert isinstance(result, NotDefined)
        assert "2 comparisons fit 2 free strengths" in result.because


@pytest.mark.parametrize(
    ("rows", "weights", "message"),
    [
        ([(0, 2, 0.5)], None, "numbered 0 to 1, found 0 to 2"),
        ([(1, 1, 0.5)], None, "compared with itself"),
        ([(0, 1, 1.5)], None, r"lie in \[0, 1\]"),
        ([(0, 1, math.nan)], None, r"lie in \[0, 1\]"),
        ([(0, 1, 0.5)], [1.0, 1.0], "one weight"),
        ([(0, 1, 0.5)], [0.0], "above 0"),
        ([(0, 1, 0.5)], [math.inf], "above 0"),
    ],
)
def test_what_is_no_comparison_is_refused(rows, weights, message):
    with pytest.raises(ValueError, match=message):
        Comparisons.of(2, rows, weights)


# --- do the errors mean what they say


def test_model_errors_cover_the_truth_when_votes_follow_the_model():
    """600 tournaments of 4 items, each pair voted on 30 times: 95 % intervals of all differences cover 93 to 97 %."""
    rng = np.random.default_rng(7)
    true = np.array([0.8, 0.3, -0.2, -0.9])
    pairs = [*itertools.combinations(range(4), 2)]
    tournaments = []
    for _ in range(600):
        shares = [rng.binomial(30, 1 / (1 + math.exp(true[j] - true[i]))) / 30 for i, j in pairs]
        rows = [(i, j, share) for (i, j), share in zip(pairs, shares, strict=True)]
        tournaments.append(Comparisons.of(4, rows, [30.0] * len(pairs)))
    covered = [
        abs(found.values[i] - found.values[j] - (true[i] - true[j])) <= 1.96 * found.difference_error(i, j)
        for found in fit_many(tournaments, ridge=1e-6)
        if isinstance(found, Strengths)
        for i, j in pairs
    ]
    assert len(covered) == 600 * len(pairs)
    assert 0.93 <= np.mean(covered) <= 0.97
