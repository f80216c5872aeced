"""The watch over a training by sampled answers: what it measures, when it stops a run, and that it can be resumed."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress

from benchmarks.watch_rates import KINDS, first_alarm, healthy, rates
from rlaif.train.rl.repetition import longest_repeat, measure_repetition
from rlaif.train.rl.trend import falls, fitted, lengths
from rlaif.train.rl.watch import Alarm, Reading, Watch, WatchSettings, read

TOKENS = st.lists(st.integers(0, 3), max_size=24)


# --- what is measured


@given(TOKENS)
def test_the_longest_repeat_is_that_of_all_stretches_compared_one_by_one(ids):
    stretches = [(i, j) for i in range(len(ids)) for j in range(i + 1, len(ids) + 1)]
    said = [tuple(ids[i:j]) for i, j in stretches]
    wanted = max((len(one) for one in said if said.count(one) > 1), default=0)
    assert longest_repeat(np.array(ids, dtype=np.int64)) == wanted


@given(st.lists(TOKENS, min_size=1, max_size=5))
@settings(max_examples=50)
def test_repetition_counts_grams_as_sets_do(answers):
    def grams(ids):
        return [tuple(ids[i : i + 4]) for i in range(len(ids) - 3)]

    def repeated(found):
        return 1 - len(set(found)) / len(found) if found else 0.0

    found = measure_repetition([np.array(one, dtype=np.int64) for one in answers])
    assert found.repeated == pytest.approx(np.mean([repeated(grams(one)) for one in answers]))
    assert found.alike == pytest.approx(repeated([gram for one in answers for gram in grams(one)]))


def test_a_loop_a_copy_and_plain_text_are_told_apart():
    plain, other = np.arange(40), np.arange(40, 80)
    loop = np.tile([1, 2, 3], 14)
    assert measure_repetition([plain, other]) == measure_repetition([plain, other])
    assert measure_repetition([plain, other]).alike == 0.0
    assert measure_repetition([plain, plain]).alike == 0.5
    found = measure_repetition([loop])
    assert found.repeated > 0.9
    assert found.longest == 39 / 42  # everything but the first round


def test_a_reading_is_the_means_of_its_answers():
    answers = [np.arange(10), np.arange(20)]
    members = np.array([[1.0, 3.0], [2.0, 2.0]])
    found = read(7, rewards=[1.0, 2.0], kls=[0.5, 1.5], answers=answers, entropy=1.25, members=members)
    assert (found.step, found.reward, found.kl, found.length, found.entropy) == (7, 1.5, 1.0, 15.0, 1.25)
    assert found.disagreement == pytest.approx(math.sqrt(2) / 2)
    assert "watch_held_out" not in found.figures()
    assert (
        read(1, rewards=[1.0], kls=[0.0], answers=answers[:1], entropy=1.0, members=np.ones((1, 1))).disagreement
        is None
    )


# --- the trend


@given(st.lists(st.floats(-5, 5, allow_nan=False), min_size=3, max_size=20))
def test_the_slope_test_is_scipys(values):
    x, y = np.arange(len(values), dtype=float) * 10, np.array(values)
    if np.ptp(y) < 1e-6:
        return
    wanted = linregress(x, y, alternative="less")
    first, last, p = fitted(x, y)
    assert first == pytest.approx(wanted.intercept, abs=1e-9)
    assert last == pytest.approx(wanted.intercept + wanted.slope * x[-1], abs=1e-9)
    assert p == pytest.approx(wanted.pvalue, abs=1e-6)


def test_an_exact_line_is_sure_and_a_constant_shows_nothing():
    steps = list(range(6))
    down, flat, up = [6.0 - n for n in steps], [1.0] * 6, [float(n) for n in steps]
    assert falls(steps, down, up, shortest=5, level=0.001).p == 0.0
    assert falls(steps, flat, up, shortest=5, level=0.001) is None
    assert falls(steps, up, up, shortest=5, level=0.001) is None
    assert falls(steps, down, down, shortest=5, level=0.001) is None  # a reward that falls too is no hacked one
    assert falls(steps[:4], down[:4], up[:4], shortest=5, level=0.001) is None


def test_windows_double():
    assert lengths(4, 5) == []
    assert lengths(41, 5) == [5, 10, 20, 40]


# --- the rules, over seeds


def test_healthy_runs_are_left_alone():
    """At 2,000 runs: benchmarks/watch_rates.py, figures in docs/reward-hacking.md."""
    kind = KINDS[0]
    assert sum(first_alarm(kind, seed, 0.06) is not None for seed in range(40)) <= 2


@pytest.mark.parametrize("kind", KINDS[1:], ids=lambda kind: kind.name)
def test_a_planted_fault_is_caught_by_its_rule(kind):
    found = rates(kind, runs=10, noise=0.03)
    assert found.caught.successes >= 9, found.rules
    assert found.too_soon.successes <= 1, found.rules


# --- one by one


def reading(step, **more):
    plain = {"reward": 0.0, "kl": 1.0, "length": 50.0, "entropy": 1.0, "disagreement": 0.1}
    return Reading(step=step, **(plain | more))


def run(watch, readings):
    return next((alarm for one in readings if (alarm := watch.note(one))), None)


def test_one_odd_batch_stops_nothing():
    odd = {"kl": 250.0, "length": 300.0, "repeated": 0.9, "disagreement": 0.9}
    steps = [reading(n, **(odd if n == 20 else {})) for n in range(1, 40)]
    assert run(Watch(WatchSettings()), steps) is None


def test_a_kl_that_is_no_number_stops_at_once():
    alarm = run(Watch(WatchSettings()), [reading(1), reading(2, kl=math.nan)])
    assert (alarm.rule, alarm.step, alarm.good_until) == ("kl", 2, 1)


def test_an_alarm_says_what_was_seen_and_where_to_go_back_to():
    steps = [reading(n, kl=1.0 if n <= 30 else 130.0) for n in range(1, 60)]
    alarm = run(Watch(WatchSettings(window=5)), steps)
    assert alarm == Alarm("kl", 34, 29, "The KL to the reference is 104 nats per answer; the limit is 100.")
    hacked = [reading(n, reward=n / 10, held_out=0.8 - n / 100) for n in range(1, 20)]
    alarm = run(Watch(WatchSettings()), hacked)
    assert (alarm.rule, alarm.step, alarm.good_until) == ("held_out", 5, 1)
    assert "fell from 0.79 to 0.75 between steps 1 and 5" in alarm.why
    assert "while the reward went from 0.15 to 0.45" in alarm.why


@pytest.mark.parametrize(
    ("limit", "bad"),
    [
        ("max_kl", {"kl": 1e4}),
        ("max_length_factor", {"length": 1e4}),
        ("max_repetition_rise", {"repeated": 1.0}),
        ("max_repetition_rise", {"longest_repeat": 1.0}),
        ("min_distinct_share", {"alike": 1.0}),
        ("min_entropy_share", {"entropy": 0.0}),
        ("max_disagreement_factor", {"disagreement": 50.0}),
    ],
)
def test_a_limit_of_null_is_none(limit, bad):
    steps = [reading(n, **(bad if n > 15 else {})) for n in range(1, 40)]
    assert run(Watch(WatchSettings()), steps) is not None
    assert run(Watch(WatchSettings(**{limit: None})), steps) is None


def test_a_reward_of_one_member_has_no_disagreement_to_watch():
    assert run(Watch(WatchSettings()), [reading(n, disagreement=None) for n in range(1, 40)]) is None


def test_the_held_out_score_is_asked_for_every_k_steps():
    asked = []
    watch = Watch(WatchSettings(held_out_every=10), held_out=lambda: asked.append(1) or 0.5)
    for n in range(1, 41):
        watch.note(reading(n))
    assert [one.step for one in watch.readings if one.held_out is not None] == [1, 10, 20, 30, 40]
    assert len(asked) == 5


def test_the_reward_beside_a_score_is_the_mean_since_the_one_before():
    watch = Watch(WatchSettings(held_out_every=2), held_out=lambda: 0.5)
    for n in range(1, 6):
        watch.note(reading(n, reward=float(n)))
    assert watch.scored() == ([1, 2, 4], [0.5, 0.5, 0.5], [1.0, 2.0, 3.5])


@pytest.mark.parametrize("cut", [1, 40, 233])
def test_a_watch_that_is_resumed_ends_as_one_that_was_not(cut):
    hacked = KINDS[1]
    steps = [hacked.change(one, one.step / 400) for one in healthy(np.random.default_rng(3), 0.03)]
    whole = Watch(WatchSettings(held_out_every=10))
    wanted = run(whole, steps)
    first = Watch(WatchSettings(held_out_every=10))
    assert run(first, steps[:cut]) is None
    second = Watch(WatchSettings(held_out_every=10), state=json.loads(json.dumps(first.state())))
    assert run(second, steps[cut:]) == wanted
    assert second.state() == whole.state()


def test_steps_go_up():
    watch = Watch(WatchSettings())
    watch.note(reading(3))
    with pytest.raises(AssertionError):
        watch.note(replace(reading(3)))
