"""Win rates, the order of models under two sources of labels, and what a judge adds to a few human labels."""

import numpy as np
import pytest
from scipy import stats

from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.figures import NotDefined
from rlaif.numbers.intervals import estimate, estimates
from rlaif.numbers.prediction_powered import prediction_powered_mean
from rlaif.numbers.ranking import (
    kendall_tau,
    pair_win_rate,
    rank_agreement_measures,
    spearman_rho,
    win_rate_measures,
)


def test_win_rates_by_hand_with_ties_as_half():
    """0 beats 1, 1 ties 0 (shown the other way round), 2 beats 0; and one pair without a label."""
    first, second = np.array([0, 1, 2, 0]), np.array([1, 0, 0, 2])
    won = np.array([1.0, 0.5, 1.0, np.nan])
    found = estimates(cluster_bootstrap(np.arange(4)), win_rate_measures(first, second, won, 4))
    assert (found[0].value, found[0].n) == (0.5, 3)
    assert (found[1].value, found[2].value) == (0.25, 1.0)
    assert isinstance(found[3], NotDefined)
    assert estimate(cluster_bootstrap(np.arange(4)), pair_win_rate(first, second, won, (0, 1))).value == 0.75


def test_rank_correlations_of_many_rankings_are_scipys():
    generator = np.random.default_rng(0)
    one, other = generator.integers(0, 5, (30, 7)) / 4, generator.integers(0, 5, (30, 7)) / 4
    for found, witness in ((kendall_tau, stats.kendalltau), (spearman_rho, stats.spearmanr)):
        expected = [witness(a, b).statistic for a, b in zip(one, other, strict=True)]
        assert found(one, other) == pytest.approx(expected, nan_ok=True)


def test_rank_agreement_has_an_interval_that_holds_the_order_of_the_truth():
    generator = np.random.default_rng(1)
    prompts = np.repeat(np.arange(200), 6)
    first, second = generator.integers(0, 5, 1200), generator.integers(1, 5, 1200)
    second = (first + second) % 5
    chance = 1 / (1 + np.exp(-(first - second) * 0.4))
    people, judge = (np.where(generator.random(1200) < chance, 1.0, 0.0) for _ in range(2))
    judge[::9] = np.nan
    found = estimates(cluster_bootstrap(prompts), rank_agreement_measures(first, second, people, judge, 5))
    assert found["kendall"].value == 1.0
    assert found["kendall"].n == np.isfinite(judge).sum()
    reverse = estimates(cluster_bootstrap(prompts), rank_agreement_measures(first, second, people, 1 - judge, 5))
    assert reverse["spearman"].value == -1.0


def test_one_model_alone_has_no_order():
    same = np.zeros(6, dtype=int)
    found = estimates(
        cluster_bootstrap(np.arange(6)), rank_agreement_measures(same, same + 1, np.ones(6), np.ones(6), 1)
    )
    assert isinstance(found["kendall"], NotDefined)


# --- prediction-powered


def labels(seed=11, n=40, others=400):
    """The same draws as were given to ppi-python 0.2.3."""
    generator = np.random.default_rng(seed)
    human = generator.integers(0, 2, n).astype(float)
    judge = np.clip(np.round(0.6 * human + 0.2 + 0.2 * generator.standard_normal(n), 3), 0, 1)
    rest = np.round(np.clip(generator.random(others), 0, 1), 3)
    return np.concatenate([human, np.full(others, np.nan)]), np.concatenate([judge, rest])


@pytest.mark.parametrize(
    ("power", "value", "low", "high"),
    [(1.0, 0.550065, 0.45917223, 0.64095777), (0.5, 0.5625325, 0.44783357, 0.67723143)],
)
def test_prediction_powered_means_are_ppi_pythons(power, value, low, high):
    """One pair per prompt. Its interval is normal and its variances over n; ours Student's t over n − 1."""
    human, judge = labels()
    found = prediction_powered_mean(human, judge, np.arange(440), power=power)
    assert found.together.value == pytest.approx(value, abs=1e-9)
    wider = stats.t.ppf(0.975, 39) / stats.norm.ppf(0.975) * np.sqrt(40 / 39)
    half = (high - low) / 2 * wider
    assert (found.together.low, found.together.high) == pytest.approx((value - half, value + half), abs=2e-4)


def test_power_is_tuned_where_the_interval_is_narrowest():
    generator = np.random.default_rng(3)
    human, judge = labels(seed=3)
    judge = np.where(np.isfinite(human), np.clip(1.2 * judge - 0.1, 0, 1), judge)
    judge = judge + 0.3 * generator.standard_normal(440)
    prompts = generator.integers(0, 90, 440)
    found = prediction_powered_mean(human, judge, prompts)

    def width(power):
        figure = prediction_powered_mean(human, judge, prompts, power=power).together
        return figure.high - figure.low

    assert 0 < found.power < 1
    assert width(found.power) <= min(width(found.power - 0.05), width(found.power + 0.05))
    assert width(found.power) < found.people.high - found.people.low
    assert found.worth_labels > found.num_human


def test_a_useless_judge_does_no_harm():
    generator = np.random.default_rng(4)
    human = np.concatenate([generator.integers(0, 2, 100) * 1.0, np.full(900, np.nan)])
    found = prediction_powered_mean(human, generator.random(1000), np.arange(1000))
    assert found.power < 0.3
    assert found.together.high - found.together.low <= (found.people.high - found.people.low) * 1.001


@pytest.mark.slow
def test_prediction_powered_intervals_cover_the_truth_when_prompts_share_their_luck():
    """60 prompts of 10 pairs, 20 prompts labelled by people; a judge that is biased by 0.1."""
    generator, hits, narrower = np.random.default_rng(5), 0, 0
    for _ in range(1000):
        prompts = np.repeat(np.arange(60), 10)
        chance = generator.beta(3, 2, 60)[prompts]
        people = (generator.random(600) < chance).astype(float)
        judge = np.clip(0.7 * people + 0.25 + 0.1 * generator.random(600), 0, 1)
        human = np.where(prompts < 20, people, np.nan)
        found = prediction_powered_mean(human, judge, prompts)
        hits += found.together.low <= 0.6 <= found.together.high
        narrower += (found.together.high - found.together.low) < (found.people.high - found.people.low)
    assert 0.93 <= hits / 1000 <= 0.97, hits
    assert narrower > 990


def test_labels_of_one_prompt_are_not_enough():
    human = np.array([1.0, 0.0, np.nan, np.nan])
    assert isinstance(prediction_powered_mean(human, np.full(4, 0.5), [0, 0, 1, 2]), NotDefined)


def test_people_who_all_say_the_same_leave_no_error_to_tell():
    human = np.array([1.0, 1.0, 1.0, np.nan, np.nan])
    found = prediction_powered_mean(human, np.array([0.9, 0.8, 0.7, 0.2, 0.4]), np.arange(5), power=0.0)
    assert isinstance(found, NotDefined)
    assert "all human labels are equal" in found.because
