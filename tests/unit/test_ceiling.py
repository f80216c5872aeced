"""People against people and the judge beside them; who could replace whom; what the answers probably are."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from rlaif.numbers.alternative import advantage_measure, advantages, alternative_annotator_test
from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.ceiling import ceiling_measures, majority, worth_measure
from rlaif.numbers.choices import MISSING, one_hot
from rlaif.numbers.dawid_skene import consensus_choice, dawid_skene
from rlaif.numbers.figures import NotDefined
from rlaif.numbers.intervals import estimate, estimates
from rlaif.numbers.mcnemar import clustered_mcnemar, sign_flip_p_value


def panel(seed=0, rows=150, raters=4, missing=0.3):
    """Votes of people of one kind about a truth, and of a judge that is somewhat worse."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 3, rows)
    people = np.where(generator.random((rows, raters)) < 0.75, truth[:, None], generator.integers(0, 3, (rows, raters)))
    people[generator.random((rows, raters)) < missing] = MISSING
    judge = np.where(generator.random(rows) < 0.6, truth, generator.integers(0, 3, rows))
    judge[:5] = MISSING
    return people, judge


# --- the ceiling


def test_a_split_majority_counts_in_equal_parts():
    votes = one_hot(np.array([[0, 0, 2], [0, 2, MISSING], [MISSING] * 3]), 3)
    assert majority(votes).tolist() == [[1, 0, 0], [0.5, 0, 0.5], [0, 0, 0]]


def test_person_and_judge_against_the_others_majority_by_a_slow_loop():
    people, judge = panel()
    human, machine, shared = [], [], []
    for row, verdict in zip(people, judge, strict=True):
        for place, vote in enumerate(row):
            others = [v for other, v in enumerate(row) if other != place and v != MISSING]
            if vote == MISSING or not others:
                continue
            counts = np.bincount(others, minlength=3)
            winners = np.flatnonzero(counts == counts.max())
            human.append((vote in winners) / len(winners))
            if verdict != MISSING:
                machine.append((verdict in winners) / len(winners))
                shared.append(human[-1])
    found = estimates(cluster_bootstrap(np.arange(150)), ceiling_measures(one_hot(people, 3), one_hot(judge, 3)))
    assert found["human"].value == pytest.approx(np.mean(human))
    assert found["judge"].value == pytest.approx(np.mean(machine))
    assert found["excess"].value == pytest.approx(np.mean(machine) - np.mean(shared))


def test_one_person_alone_has_no_ceiling():
    people = np.array([[0], [1], [2]])
    found = estimates(cluster_bootstrap(np.arange(3)), ceiling_measures(one_hot(people, 3), one_hot(people[:, 0], 3)))
    assert all(isinstance(figure, NotDefined) for figure in found.values())


@pytest.mark.parametrize("people_behind", [1, 3, 10])
def test_a_judge_that_is_the_mean_of_k_people_is_worth_k_people(people_behind):
    """20,000 pairs with a vote share of their own; the judge reports the mean vote of k people who are not in the
    panel.
    """
    generator = np.random.default_rng(people_behind)
    share = generator.beta(1.5, 1.5, 20_000)
    people = (generator.random((20_000, 3)) > share[:, None]).astype(int)
    behind = (generator.random((20_000, people_behind)) > share[:, None]).mean(axis=1)
    judge = np.column_stack([1 - behind, behind])
    found = estimate(cluster_bootstrap(np.arange(20_000), num_resamples=400), worth_measure(one_hot(people, 2), judge))
    assert found.low < people_behind < found.high
    assert found.value == pytest.approx(people_behind, rel=0.15)


def test_a_judge_nearer_to_the_shares_than_their_noise_is_worth_no_end_of_people():
    generator = np.random.default_rng(5)
    people = (generator.random((400, 3)) > 0.5).astype(int)
    found = estimate(cluster_bootstrap(np.arange(400)), worth_measure(one_hot(people, 2), np.full((400, 2), 0.5)))
    assert isinstance(found, NotDefined) or (found.high is None and "infinity" in found.because)


# --- the alternative-annotator test


def test_advantages_by_a_slow_loop_over_the_papers_definition():
    people, judge = panel(seed=2)
    better, human = advantages(one_hot(people, 3), one_hot(judge, 3))
    for row in range(len(people)):
        for place in range(4):
            others = [v for other, v in enumerate(people[row]) if other != place and v != MISSING]
            if MISSING in (people[row, place], judge[row]) or not others:
                assert np.isnan(better[row, place])
                continue
            scores = [np.mean([v == given for v in others]) for given in (judge[row], people[row, place])]
            assert (better[row, place], human[row, place]) == (scores[0] >= scores[1], scores[1] >= scores[0])


def test_with_one_pair_per_prompt_it_is_the_papers_t_test_with_benjamini_yekutieli():
    people, judge = panel(seed=3, rows=400)
    votes, verdicts = one_hot(people, 3), one_hot(judge, 3)
    found = alternative_annotator_test(votes, verdicts, np.arange(400), epsilon=0.15)
    better, human = advantages(votes, verdicts)
    leads = [(human - better)[np.isfinite(better[:, place]), place] for place in range(4)]
    raw = [stats.ttest_1samp(lead, 0.15, alternative="less").pvalue for lead in leads]
    assert [one.p_value for one in found.people] == pytest.approx(raw)
    order = np.argsort(raw)
    harmonic = sum(1 / rank for rank in range(1, 5))
    adjusted = np.minimum.accumulate([(raw[order[r]] * 4 * harmonic / (r + 1)) for r in range(3, -1, -1)])[::-1]
    assert [found.people[place].adjusted for place in order] == pytest.approx(np.minimum(adjusted, 1))
    rho = estimate(cluster_bootstrap(np.arange(400)), advantage_measure(votes, verdicts))
    assert rho.value == pytest.approx(found.advantage)


def test_a_judge_as_good_as_people_passes_and_coin_flips_do_not():
    generator = np.random.default_rng(4)
    truth = generator.integers(0, 2, 600)
    people = np.where(generator.random((600, 3)) < 0.8, truth[:, None], 1 - truth[:, None])
    good = np.where(generator.random(600) < 0.8, truth, 1 - truth)
    prompts = np.arange(600) // 3
    passing = alternative_annotator_test(one_hot(people, 2), one_hot(good, 2), prompts)
    assert (passing.passes, passing.winning_rate) == (True, 1.0)
    assert passing.people[0].clusters == 200
    flips = alternative_annotator_test(one_hot(people, 2), one_hot(generator.integers(0, 2, 600), 2), prompts)
    assert (flips.passes, flips.winning_rate) == (False, 0.0)


def test_too_few_pairs_is_said():
    people, judge = panel(rows=20)
    found = alternative_annotator_test(one_hot(people, 3), one_hot(judge, 3), np.arange(20))
    assert isinstance(found, NotDefined)
    assert "30 pairs" in found.because


# --- two judges


def test_clustered_mcnemar_is_a_regression_on_a_constant_with_cluster_robust_errors():
    generator = np.random.default_rng(6)
    prompts = generator.integers(0, 40, 300)
    first, second = generator.random(300) < 0.7, generator.random(300) < 0.6
    found = clustered_mcnemar(first, second, prompts)
    fit = sm.OLS(first.astype(float) - second, np.ones(300)).fit(
        cov_type="cluster", cov_kwds={"groups": prompts}, use_t=True
    )
    assert found.difference.value == pytest.approx(fit.params[0])
    assert [found.difference.low, found.difference.high] == pytest.approx(fit.conf_int()[0])
    assert found.p_clustered == pytest.approx(fit.pvalues[0])
    table = [[0, int((first & ~second).sum())], [int((~first & second).sum()), 0]]
    assert found.p_exact == pytest.approx(mcnemar(table, exact=True).pvalue)


def test_the_sign_flip_test_is_that_of_all_flips_of_ten_prompts():
    leads = np.array([3, -1, 2, 1, 1, -2, 4, 1, 0, 2])
    prompts = np.repeat(np.arange(10), np.abs(leads))
    first = (np.repeat(leads, np.abs(leads)) > 0).astype(float)
    flips = np.array(list(itertools.product([1, -1], repeat=10))) @ leads
    exact = (np.abs(flips) >= leads.sum()).mean()
    assert sign_flip_p_value(first, 1 - first, prompts) == pytest.approx(exact, abs=0.01)


def test_repeating_every_pair_ten_times_does_not_make_mcnemar_surer():
    generator = np.random.default_rng(7)
    first, second = generator.random(80) < 0.75, generator.random(80) < 0.6
    once = clustered_mcnemar(first, second, np.arange(80))
    repeated = clustered_mcnemar(np.tile(first, 10), np.tile(second, 10), np.tile(np.arange(80), 10))
    assert repeated.p_clustered == pytest.approx(once.p_clustered)
    assert repeated.p_exact < once.p_exact / 100


def test_judges_that_never_differ_have_no_test():
    right = np.array([1.0, 0.0, 1.0])
    assert isinstance(clustered_mcnemar(right, right, np.arange(3)), NotDefined)
    assert isinstance(clustered_mcnemar(right * np.nan, right, np.arange(3)), NotDefined)


# --- consensus


@pytest.mark.slow
def test_dawid_skene_is_crowd_kits():
    from crowdkit.aggregation import DawidSkene  # slow to import

    people, _ = panel(seed=8, rows=300, raters=6)
    found = dawid_skene(one_hot(people, 3), tolerance=1e-10)
    rows = [
        {"task": row, "worker": place, "label": int(vote)}
        for (row, place), vote in np.ndenumerate(people)
        if vote != MISSING
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        witness = DawidSkene(n_iter=2000, tol=1e-13).fit(pd.DataFrame(rows))
    tasks = witness.probas_.index.to_numpy()
    assert found.is_converged
    assert np.abs(found.posterior[tasks] - witness.probas_[[0, 1, 2]].to_numpy()).max() < 1e-4
    assert found.prior == pytest.approx(witness.priors_[[0, 1, 2]].to_numpy(), abs=1e-4)


def test_dawid_skene_is_a_plain_loop_over_the_papers_equations():
    people, _ = panel(seed=10, rows=40)
    chance = np.array([[np.mean([v == c for v in row if v != MISSING] or [0]) for c in range(3)] for row in people])
    chance = chance[[(row != MISSING).any() for row in people]]
    people = people[(people != MISSING).any(axis=1)]
    for _ in range(30):
        prior, confusion = chance.mean(axis=0), np.zeros((4, 3, 3))
        for (row, place), vote in np.ndenumerate(people):
            if vote != MISSING:
                confusion[place, :, vote] += chance[row]
        confusion /= confusion.sum(axis=2, keepdims=True)
        for row, votes in enumerate(people):
            joint = prior.copy()
            for place, vote in enumerate(votes):
                joint *= confusion[place, :, vote] if vote != MISSING else 1.0
            chance[row] = joint / joint.sum()
    found = dawid_skene(one_hot(people, 3), max_iterations=30, tolerance=0.0)
    assert found.posterior == pytest.approx(chance, abs=1e-9)
    assert not found.is_converged


def test_dawid_skene_recovers_who_errs_how():
    generator = np.random.default_rng(9)
    truth = generator.integers(0, 2, 3000)
    skills = np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.7, 0.3], [0.1, 0.9]], [[0.95, 0.05], [0.4, 0.6]]])
    votes = np.stack([(generator.random(3000) > skill[truth, 0]).astype(int) for skill in skills], axis=1)
    found = dawid_skene(one_hot(votes, 2))
    assert np.abs(found.confusion - skills).max() < 0.05
    majority_right = (majority(one_hot(votes, 2)).argmax(axis=1) == truth).mean()
    assert (consensus_choice(found).argmax(axis=1) == truth).mean() >= majority_right


def test_a_consensus_of_one_is_none():
    assert isinstance(dawid_skene(one_hot(np.array([[0, MISSING], [1, MISSING]]), 2)), NotDefined)
