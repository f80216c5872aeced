"""The watch over a training by sampled answers: what it measures, when it stops a run, and that it can be resumed."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress, norm, permutation_test

from benchmarks.watch_rates import KINDS, SLOPES_ALONE, first_alarm, rates, simulated
from rlaif.train.rl.readings import Reading, read
from rlaif.train.rl.repetition import longest_repeat, measure_repetition
from rlaif.train.rl.trend import best_window, drops, fitted, lengths, paired, slopes
from rlaif.train.rl.watch import Alarm, Watch, WatchSettings

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
    assert slopes(steps, down, up, shortest=5, level=0.001).p == 0.0
    assert slopes(steps, flat, up, shortest=5, level=0.001) is None
    assert slopes(steps, up, up, shortest=5, level=0.001) is None
    assert slopes(steps, down, down, shortest=5, level=0.001) is None  # a reward that falls too is no hacked one
    assert slopes(steps[:4], down[:4], up[:4], shortest=5, level=0.001) is None


def test_windows_double():
    assert lengths(4, 5) == []
    assert lengths(41, 5) == [5, 10, 20, 40]


# --- the drop


def coins(draw, shape, share=0.5):
    return (draw.random(shape) < share).astype(float)


@pytest.mark.parametrize("seed", range(12))
def test_a_drops_p_is_never_below_that_of_all_sign_patterns_and_not_far_above(seed):
    """Where nothing changed, every prompt's change is as likely the other way round: 4,096 patterns of 12 prompts,
    counted by scipy."""
    draw = np.random.default_rng(seed)
    is_coin, share = seed % 2, draw.uniform(0.2, 0.7)
    before, after = (coins(draw, (2, 12), one) if is_coin else draw.beta(2, 1 / one, (2, 12)) for one in (0.8, share))
    changes = after.mean(axis=0) - before.mean(axis=0)
    exact = permutation_test(
        (changes,), np.sum, permutation_type="samples", alternative="less", n_resamples=np.inf, vectorized=True
    ).pvalue
    change, p, count = paired(before, after)
    assert (change, count) == (pytest.approx(changes.mean()), 12)
    assert exact <= p <= 12 * exact


def test_a_prompt_counts_by_the_scores_that_it_has():
    draw = np.random.default_rng(0)
    before, after = coins(draw, (4, 40), 0.7), coins(draw, (4, 40), 0.5)
    before[0, 0] = after[:, 1] = np.nan  # a prompt with a verdict fewer, and one without any
    changes = [after[:, n].mean() - np.nanmean(before[:, n]) for n in range(40) if n != 1]
    change, p, count = paired(before, after)
    assert (change, count) == (pytest.approx(np.mean(changes)), 39)
    assert p == pytest.approx(3.1787 * norm.sf(-np.sum(changes) / np.sqrt(np.square(changes).sum())), rel=1e-4)


def test_few_prompts_prove_little_however_alike_they_are():
    ones, zeros = np.ones((3, 6)), np.zeros((3, 6))
    assert paired(ones, zeros)[1] > 2**-6
    assert paired(zeros, ones) == (1.0, 1.0, 6)
    assert paired(ones, ones) == (0.0, 1.0, 6)
    assert paired(ones, zeros * np.nan) == (0.0, 1.0, 0)


@given(st.integers(2, 14), st.integers(0, 1000))
@settings(max_examples=40)
def test_a_drop_is_what_trying_every_window_finds(count, seed):
    draw = np.random.default_rng(seed)
    scores, rewards = list(draw.random((count, 5))), list(draw.normal(size=count))
    steps, windows = list(range(0, 3 * count, 3)), [n for n in (2, 4, 8) if 2 * n <= count]
    comparisons = sum(len(range(count - 2 * n + 1)) for n in windows)
    wanted = []
    for n in windows:
        tried = [(np.mean(scores[at : at + n]), -at) for at in range(count - 2 * n + 1)]
        at = -max((round(mean, 9), place) for mean, place in tried)[1]
        change, p, _ = paired(np.stack(scores[at : at + n]), np.stack(scores[-n:]))
        if change < -0.1 and p < 0.9 / comparisons and np.mean(rewards[-n:]) >= np.mean(rewards[at : at + n]):
            wanted.append((p, steps[at]))
    found = drops(steps, scores, rewards, least=0.1, level=0.9)
    assert (found and found.p) == (min(wanted)[0] if wanted else None)


def test_looking_at_every_window_costs_no_more_than_the_level():
    """Scores that only chance moves: at level 0.2 a look finds a drop in at most a fifth of the runs (3 standard
    errors are 0.03)."""
    found, draw = 0, np.random.default_rng(0)
    for _ in range(1500):
        scores = list(coins(draw, (12, 40)))
        found += drops(range(12), scores, [0.0] * 12, least=0.0, level=0.2) is not None
    assert found / 1500 < 0.2 + 0.03


def test_the_best_scores_in_a_row_lie_before_the_newest():
    assert best_window(np.array([1.0, 5, 4, 0, 9, 9]), 2) == 1
    assert best_window(np.array([3.0, 3, 3, 3]), 2) == 0


def test_a_drop_needs_a_reward_that_holds_and_to_be_as_large_as_asked():
    high, low, up = np.full(30, 0.9), np.full(30, 0.6), [0.0, 0.0, 1.0, 1.0]
    scores = [high, high, low, low]
    found = drops(range(4), scores, up, least=0.05, level=0.001)
    assert (found.since, found.num_prompts) == (0, 30)
    assert found.p < 1e-6
    assert (found.score_from, found.score_to) == pytest.approx((0.9, 0.6))
    assert drops(range(4), scores, up[::-1], least=0.05, level=0.001) is None
    assert drops(range(4), scores, up, least=0.31, level=0.001) is None
    assert drops(range(4), scores[::-1], up, least=0.05, level=0.001) is None
    assert drops(range(3), scores[:3], up[:3], least=0.05, level=0.001) is None


# --- the rules, over seeds


@pytest.mark.parametrize("kind", KINDS[:3], ids=lambda kind: kind.name)
def test_healthy_runs_are_left_alone(kind):
    """At many more runs: benchmarks/watch_rates.py, figures in docs/reward-hacking.md."""
    assert sum(first_alarm(kind, seed, 64) is not None for seed in range(8)) <= 1


@pytest.mark.parametrize("kind", KINDS[3:], ids=lambda kind: kind.name)
def test_a_planted_fault_is_caught_by_its_rule(kind):
    found = rates(kind, runs=10, prompts=256)
    assert found.caught.successes >= 9, found.rules
    assert found.too_soon.successes <= 1, found.rules


def test_a_quick_collapse_is_seen_while_it_lasts():
    """0.69 to 0.42 within three scores, then a plateau: by the fifth score after the top. Slopes alone need ten."""
    early = next(kind for kind in KINDS if kind.name == "hacked early")
    assert np.median(rates(early, runs=10, prompts=256).delays) <= 50
    assert np.median(rates(early, runs=10, prompts=256, settings=SLOPES_ALONE).delays) >= 80


# --- one by one


def reading(step, **more):
    plain = {"reward": 0.0, "kl": 1.0, "length": 50.0, "entropy": 1.0, "disagreement": 0.1}
    return Reading(step=step, **(plain | more))


def run(watch, readings):
    return next((alarms[0] for one in readings if (alarms := watch.note(one))), None)


def test_one_odd_batch_stops_nothing():
    odd = {"kl": 250.0, "length": 300.0, "repeated": 0.9, "disagreement": 0.9}
    steps = [reading(n, **(odd if n == 20 else {})) for n in range(1, 40)]
    assert run(Watch(WatchSettings()), steps) is None


def test_a_kl_that_is_no_number_stops_at_once():
    alarm = run(Watch(WatchSettings()), [reading(1), reading(2, kl=math.nan)])
    assert (alarm.rule, alarm.step, alarm.good_until) == ("kl", 2, 1)


def test_an_alarm_says_what_was_seen_and_where_to_go_back_to():
    steps = [reading(n, kl=1.0 if n <= 30 else 130.0) for n in range(1, 60)]
    alarm = run(Watch(WatchSettings(window=5, max_kl=100)), steps)
    assert alarm == Alarm("kl", 34, 30, "The KL to the reference is 104 nats per answer; the limit is 100.")
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
    watch = Watch(WatchSettings(held_out_every=10), held_out=lambda: asked.append(1) or np.full(4, 0.5))
    for n in range(1, 41):
        watch.note(reading(n))
    assert [one.step for one in watch.readings if one.held_out is not None] == [1, 10, 20, 30, 40]
    assert len(asked) == 5


def test_the_reward_beside_a_score_is_the_mean_since_the_one_before():
    watch = Watch(WatchSettings(held_out_every=2), held_out=lambda: np.full(4, 0.5))
    for n in range(1, 6):
        watch.note(reading(n, reward=float(n)))
    assert watch.scored() == ([1, 2, 4], [0.5, 0.5, 0.5], [1.0, 2.0, 3.5])


def test_every_prompts_score_is_kept_and_its_standard_error_logged():
    watch = Watch(WatchSettings(), held_out=lambda: np.array([1.0, 0.0, 1.0, math.nan]))
    assert watch.note(reading(1)) == []
    (one,) = watch.readings
    assert one.held_out == pytest.approx(2 / 3)
    assert one.figures()["watch_held_out_error"] == pytest.approx(1 / 3)
    assert "watch_each" not in one.figures()
    assert "watch_held_out_error" not in reading(1, held_out=0.5).figures()


def test_the_limit_of_the_kl_is_what_one_typical_answer_of_the_start_would_cost():
    """1 nat of entropy per token at the start, 50 tokens per answer, later 30: beyond 50 and 30 nats it is too far."""
    for length, kl, is_far in ((50.0, 49.0, False), (50.0, 51.0, True), (30.0, 29.0, False), (30.0, 31.0, True)):
        steps = [reading(n, **({"kl": kl, "length": length, "entropy": 0.3} if n > 5 else {})) for n in range(1, 13)]
        alarm = run(Watch(WatchSettings()), steps)
        assert (alarm is not None) == is_far, (length, kl)
    assert alarm.why == (
        "The KL to the reference is 31 nats per answer; the limit is 30, the entropy of such an answer at the start: "
        "these are answers that the reference would not give."
    )


def test_where_answers_hardly_vary_the_limit_of_the_kl_is_ten_nats():
    def far(kl):
        return [reading(n, length=1.0, entropy=0.3, kl=kl) for n in range(1, 9)]

    assert run(Watch(WatchSettings()), far(9.0)) is None
    assert run(Watch(WatchSettings()), far(11.0)).why.endswith("is 11 nats per answer; the limit is 10.")


def test_several_rules_at_once_are_all_named_and_the_held_out_score_comes_first():
    watch = Watch(WatchSettings(baseline=5))
    for n in range(1, 30):
        found = watch.note(reading(n, reward=n / 10, held_out=0.8 - n / 100, kl=5e3, length=50.0 if n < 6 else 900.0))
    assert [one.rule for one in found] == ["held_out", "kl", "length"]
    assert not watch.is_best
    assert watch.best_step() == 1


@pytest.mark.parametrize("cut", [1, 40, 233])
def test_a_watch_that_is_resumed_ends_as_one_that_was_not(cut):
    steps = list(simulated(KINDS[3], seed=3, prompts=64))
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
