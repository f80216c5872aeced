"""Choosing among many without being fooled: against loops, and on coins where there is nothing to choose."""

import numpy as np
import pytest

from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.figures import Estimate, NotDefined
from rlaif.numbers.held_out import NOTHING, cross_fitted, simultaneous
from rlaif.numbers.recalibration import cluster_folds


def test_every_fold_gets_what_the_others_chose():
    generator = np.random.default_rng(0)
    effects, folds = generator.normal(size=(6, 90)), generator.integers(0, 3, 90)
    found = cross_fitted(effects, folds, 3)
    for fold in range(3):
        elsewhere = [row[folds != fold].mean() for row in effects]
        best = int(np.argmax(elsewhere)) if max(elsewhere) > 0 else NOTHING
        assert found.chosen[fold] == best
        expected = 0.0 if best == NOTHING else effects[best, folds == fold]
        assert (found.effects[folds == fold] == expected).all()
    assert found.best == int(np.argmax(effects.mean(axis=1)))


def test_the_chosen_one_looks_good_where_it_was_chosen_and_not_where_it_was_held_out():
    generator = np.random.default_rng(1)
    inside, outside = [], []
    for _ in range(200):
        effects = generator.choice([-0.5, 0.5], size=(20, 100))  # coins: nothing is any good
        found = cross_fitted(effects, cluster_folds(np.arange(100), 5, 0), 5)
        inside.append(effects.mean(axis=1).max())
        outside.append(found.effects.mean())
    assert np.mean(inside) > 0.05
    assert abs(np.mean(outside)) < 4 * np.std(outside) / np.sqrt(200)


def test_where_nothing_does_any_good_nothing_is_chosen():
    effects = -np.abs(np.random.default_rng(2).normal(size=(4, 50)))
    found = cross_fitted(effects, np.arange(50) % 5, 5)
    assert (found.chosen == NOTHING).all()
    assert found.best == NOTHING
    assert (found.effects == 0).all()


def test_no_answers_at_all_are_nothing():
    found = cross_fitted(np.zeros((0, 10)), np.arange(10) % 2, 2)
    assert found.best == NOTHING


@pytest.mark.slow
def test_twenty_simultaneous_intervals_all_hold_in_95_percent_of_runs_and_one_by_one_they_do_not():
    generator, together, apart = np.random.default_rng(3), 0, 0
    prompts = np.arange(120) // 2
    for seed in range(300):
        shared = generator.normal(size=(60, 20))[prompts]
        effects = 0.7 * shared + 0.7 * generator.normal(size=(120, 20))
        bootstrap = cluster_bootstrap(prompts, num_resamples=500, seed=seed)
        counted = np.ones(120, dtype=bool)
        together += all(one.low <= 0 <= one.high for one in simultaneous(bootstrap, effects, counted).figures)
        alone = [simultaneous(bootstrap, effects[:, [place]], counted).figures[0] for place in range(3)]
        apart += all(one.low <= 0 <= one.high for one in alone)
    assert 0.92 <= together / 300 <= 0.98  # two standard errors of 0.95 are 0.025
    assert apart / 300 < 0.93  # three at once are already too many


def test_one_column_has_about_the_interval_of_a_clustered_t_test():
    generator = np.random.default_rng(4)
    values = generator.normal(0.2, 1.0, size=(400, 1))
    bootstrap = cluster_bootstrap(np.arange(400), num_resamples=4000)
    (found,) = simultaneous(bootstrap, values, np.ones(400, dtype=bool)).figures
    half = 1.966 * values.std(ddof=1) / 20
    assert found.high - found.value == pytest.approx(half, rel=0.05)
    assert found.value == pytest.approx(values.mean())


def test_too_few_prompts_and_no_change_are_said():
    effects = np.ones((10, 2))
    bootstrap = cluster_bootstrap(np.arange(10) // 5, num_resamples=50)
    few = simultaneous(bootstrap, effects, np.ones(10, dtype=bool)).figures
    assert all(isinstance(one, NotDefined) and "too few" in one.because for one in few)
    effects = np.column_stack([np.zeros(50), np.random.default_rng(5).normal(size=50)])
    bootstrap = cluster_bootstrap(np.arange(50), num_resamples=50)
    none, some = simultaneous(bootstrap, effects, np.ones(50, dtype=bool)).figures
    assert isinstance(none, NotDefined)
    assert isinstance(some, Estimate)
