"""What sways raters: planted effects are found again, and people's own are not held against the judge."""

import numpy as np
import pytest

from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.effects import effects_of, excess_effects
from rlaif.numbers.figures import NotDefined
from rlaif.numbers.intervals import estimates
from rlaif.numbers.position import position_measures


def votes(generator, odds):
    return (generator.random(odds.shape) < 1 / (1 + np.exp(-odds))).astype(float)


def planted(seed=0, pairs=4000, people=2):
    """Everyone likes length by 0.4 log-odds, the judge by 0.7 more, and the place shown first by 0.5."""
    generator = np.random.default_rng(seed)
    length = generator.normal(size=pairs)
    lists = generator.normal(size=pairs)
    place = generator.choice([-1.0, 1.0], size=(pairs, people + 1))
    odds = 0.4 * length[:, None] + np.zeros((pairs, people))
    judge = votes(generator, 1.1 * length + 0.5 * place[:, 0])
    return votes(generator, odds), judge, {"length": length, "lists": lists}, place, np.arange(pairs) // 2


def test_each_raters_effects_are_found():
    people, judge, differences, place, prompts = planted()
    found = effects_of(judge, differences, prompts, shown_first=place[:, 0])
    for name, truth in (("position", 0.5), ("length", 1.1), ("lists", 0.0)):
        figure = found.estimate(name)
        assert figure.low < truth < figure.high
    person = effects_of(people[:, 0], differences, prompts).estimate("length")
    assert person.low < 0.4 < person.high


def test_the_judges_excess_leaves_out_what_people_do_too():
    people, judge, differences, place, prompts = planted(seed=1)
    people[::7, 0] = np.nan
    found = excess_effects(judge, people, differences, prompts, shown_first=(place[:, 0], place[:, 1:]))
    for name, truth in (("length", 0.4), ("excess/length", 0.7), ("excess/position", 0.5), ("excess/lists", 0.0)):
        figure = found.estimate(name)
        assert figure.low < truth < figure.high, name
    own = effects_of(judge, differences, prompts, shown_first=place[:, 0])
    alone = found.estimate("length").value + found.estimate("excess/length").value
    assert alone == pytest.approx(own.estimate("length").value, rel=1e-6)


def test_swapping_the_answers_of_pairs_changes_no_effect():
    _, judge, differences, place, prompts = planted(seed=2, pairs=600)
    turned = np.where(np.arange(600) % 3 == 0, -1.0, 1.0)
    one = effects_of(judge, differences, prompts, shown_first=place[:, 0])
    other = effects_of(
        np.where(turned < 0, 1 - judge, judge),
        {name: column * turned for name, column in differences.items()},
        prompts,
        shown_first=place[:, 0] * turned,
    )
    assert one.coefficients == pytest.approx(other.coefficients, abs=1e-9)
    assert one.covariance == pytest.approx(other.covariance, rel=1e-6)


def test_nobody_to_compare_with_is_said():
    _, judge, differences, _, prompts = planted(pairs=100)
    assert isinstance(excess_effects(judge, np.full((100, 2), np.nan), differences, prompts), NotDefined)


def test_position_figures_by_hand():
    """Consistent, decided by the first place, by the second, undecided, and one without a second verdict."""
    shown_first = np.array([0.9, 0.8, 0.3, 0.5, 0.9])
    shown_second = np.array([0.7, 0.2, 0.6, 0.9, np.nan])
    found = estimates(cluster_bootstrap(np.arange(5)), position_measures(shown_first, shown_second))
    assert (found["swap_consistency"].value, found["swap_consistency"].n) == (0.25, 4)
    assert found["same_position"].value == 0.5
    assert (found["same_position_first"].value, found["same_position_first"].n) == (0.5, 2)
    assert (found["clear"].value, found["clear"].n) == (0.75, 4)
    assert (found["same_position_clear"].value, found["same_position_clear"].n) == (pytest.approx(2 / 3), 3)
    logit = lambda p: np.log(p / (1 - p))  # noqa: E731
    by_hand = np.mean((logit(shown_first[:4]) - logit(shown_second[:4])) / 2)
    assert found["first_slot_log_odds"].value == pytest.approx(by_hand)


@pytest.mark.slow
def test_a_planted_position_effect_is_covered_in_93_to_97_percent_of_500_runs():
    """+0.5 log-odds for the first place, pairs of a prompt alike in how strongly the place counts."""
    hits, generator = 0, np.random.default_rng(3)
    for run in range(500):
        prompts = np.repeat(np.arange(80), 5)
        worth = generator.normal(scale=1.0, size=400)
        lean = 0.5 + generator.normal(scale=0.4, size=80)[prompts]
        shown_first, shown_second = 1 / (1 + np.exp(-worth - lean)), 1 / (1 + np.exp(-worth + lean))
        measures = position_measures(shown_first, shown_second, floor=1e-4)
        boot = cluster_bootstrap(prompts, num_resamples=999, seed=run)
        figure = estimates(boot, {"log_odds": measures["first_slot_log_odds"]})["log_odds"]
        hits += figure.low <= 0.5 <= figure.high
    assert 0.93 <= hits / 500 <= 0.97, hits
