"""Rewards, advantages, returns and whitening against slow versions: plain Python floats, one token at a time, on
answers of lengths that Hypothesis makes up. To 1e-10, relative to the largest number there is."""

import math
import statistics

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.errors import InputError
from rlaif.train import ragged as flat_arrays
from rlaif.train.rl import advantages, shaping
from rlaif.train.rl.shaping import Moments
from tests.ragged_answers import Processes, Ragged, close, flat, ragged

torch.set_num_threads(1)
RATES = st.sampled_from([0.0, 0.5, 0.95, 1.0])
EXAMPLES = settings(max_examples=60, deadline=None)


# --- flat arrays


@EXAMPLES
@given(ragged(longest=40), RATES)
def test_discounted_sums_are_those_of_a_loop_from_the_end(answers, rate):
    values = answers.tokens()
    wanted = []
    for each in answers.apart(values):
        total, sums = 0.0, []
        for value in reversed(each):
            total = value + rate * total
            sums.append(total)
        wanted += sums[::-1]
    assert close(flat_arrays.discounted_sums(values, answers.lengths, rate), wanted)


@EXAMPLES
@given(ragged())
def test_flat_arrays_know_where_answers_begin_and_end(answers):
    values, marks = answers.tokens(), answers.answers()
    each = answers.apart(values)
    assert values[flat_arrays.ends_of(answers.lengths)].tolist() == [one[-1] for one in each]
    assert close(flat_arrays.sums_of(values, answers.lengths), [math.fsum(one) for one in each])
    shared = flat([mark] * len(one) for mark, one in zip(marks.tolist(), each, strict=True))
    assert flat_arrays.spread(marks, answers.lengths).tolist() == shared
    after = flat(range(len(one) - 1, -1, -1) for one in each)
    assert flat_arrays.tokens_after(answers.lengths).tolist() == after
    following = flat([*one[1:], mark] for mark, one in zip(marks.tolist(), each, strict=True))
    assert flat_arrays.next_of(values, answers.lengths, marks).tolist() == following


# --- rewards


@EXAMPLES
@given(ragged(), st.booleans())
def test_rewards_are_the_kl_at_every_token_and_the_score_at_the_last(answers, with_kl):
    scores, kl, beta = answers.answers(), answers.tokens(), 0.3
    wanted = []
    for score, each in zip(scores.tolist(), answers.apart(kl), strict=True):
        rewards = [-beta * one if with_kl else 0.0 for one in each]
        rewards[-1] += score
        wanted += rewards
    found = shaping.token_rewards(scores, answers.lengths, kl if with_kl else None, coefficient=beta)
    assert close(found, wanted)


@EXAMPLES
@given(ragged(longest=12))
def test_endless_answers_have_one_score_and_scores_have_a_limit(answers):
    scores, is_ended = answers.answers(), answers.flags()
    each = list(zip(scores.tolist(), is_ended.tolist(), strict=True))
    replaced = [score if ended else -1.0 for score, ended in each]
    assert shaping.replace_unended(scores, is_ended, -1.0).tolist() == replaced
    assert shaping.clip_scores(scores, 0.5).tolist() == [max(-0.5, min(0.5, score)) for score, _ in each]


@EXAMPLES
@given(ragged(), st.integers(1, 5))
def test_running_moments_are_those_of_all_scores_together(answers, stretch):
    scores = answers.answers() + 5.0
    moments = Moments()
    for part in scores.split(stretch):
        moments = moments.with_more(part)
    assert moments.count == answers.num_answers
    assert moments.mean == pytest.approx(statistics.fmean(scores.tolist()), rel=1e-10)
    assert moments.deviation == pytest.approx(statistics.pstdev(scores.tolist()), rel=1e-8, abs=1e-10)
    if moments.deviation > 1e-6:
        wanted = (scores - moments.mean) / moments.deviation
        assert close(shaping.scale_scores(scores, moments, subtract_mean=True, epsilon=0.0), wanted.tolist())


def test_scores_that_never_differ_are_not_divided_by_nothing():
    same = torch.full((4,), 0.3, dtype=torch.float64)
    moments = Moments().with_more(same)
    assert shaping.scale_scores(same, moments, subtract_mean=False).tolist() == same.tolist()
    assert shaping.scale_scores(same, Moments(), subtract_mean=True).tolist() == same.tolist()
    assert Moments().with_more(same[:0]) == Moments()


# --- advantages


def slow_gae(rewards, values, last, gamma, lam):
    """Equation 11 with its sum written out: A_t = Σ_k (γλ)^k δ_{t+k}."""
    steps = len(rewards)
    deltas = [r + gamma * v_next - v for r, v, v_next in zip(rewards, values, [*values[1:], last], strict=True)]
    return [math.fsum((gamma * lam) ** k * deltas[t + k] for k in range(steps - t)) for t in range(steps)]


@EXAMPLES
@given(ragged(longest=20), RATES, RATES, st.booleans())
def test_advantages_are_the_sum_of_discounted_errors(answers, gamma, lam, cut):
    rewards, values, last = answers.tokens(), answers.tokens(), answers.answers()
    each = zip(answers.apart(rewards), answers.apart(values), last.tolist(), strict=True)
    wanted = flat(slow_gae(r, v, final if cut else 0.0, gamma, lam) for r, v, final in each)
    found = advantages.gae(rewards, values, answers.lengths, gamma=gamma, lam=lam, last_values=last if cut else None)
    assert close(found, wanted)
    assert close(
        advantages.lambda_returns(found, values), [a + v for a, v in zip(wanted, values.tolist(), strict=True)]
    )


@EXAMPLES
@given(ragged(), RATES)
def test_lambda_one_is_what_was_earned_less_what_was_expected_and_lambda_zero_one_step(answers, gamma):
    rewards, values = answers.tokens(), answers.tokens()
    long = advantages.gae(rewards, values, answers.lengths, gamma=gamma, lam=1.0)
    assert close(long, advantages.rewards_to_go(rewards, answers.lengths, gamma=gamma) - values)
    short = advantages.gae(rewards, values, answers.lengths, gamma=gamma, lam=0.0)
    following = flat_arrays.next_of(values, answers.lengths, torch.zeros(answers.num_answers))
    assert close(short, rewards + gamma * following - values)


def test_advantages_carry_no_gradient():
    answers = Ragged([2, 3])
    values = answers.tokens().requires_grad_()
    found = advantages.gae(answers.tokens(), values, answers.lengths, gamma=1.0, lam=0.95)
    assert not found.requires_grad
    assert not advantages.lambda_returns(found, values).requires_grad
    assert not advantages.whiten(values).requires_grad


@EXAMPLES
@given(ragged(), st.booleans())
def test_whitening_is_that_of_a_loop(answers, shift_mean):
    values = answers.tokens() + 3.0
    plain = values.tolist()
    mean, variance = statistics.fmean(plain), statistics.pvariance(plain)
    back = 0.0 if shift_mean else mean
    wanted = [(one - mean) / math.sqrt(variance + 1e-8) + back for one in plain]
    # a single value, or equal ones: their deviations are rounding errors, divided by 1e-4
    assert close(advantages.whiten(values, shift_mean=shift_mean), wanted, 1e-10)


def test_whitening_gives_the_numbers_published_for_openais():
    """ "The N implementation details of RLHF with PPO", policy training 9: `whiten_tf` of 1.2 to 2.0, printed there."""
    values = torch.arange(12, 21, dtype=torch.float64) / 10
    printed = [0.05080712, 0.4381051, 0.8254035, 1.2127019, 1.6000004, 1.9872988, 2.3745968, 2.7618952, 3.1491938]
    assert advantages.whiten(values, shift_mean=False).tolist() == pytest.approx(printed, abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(ragged(most_answers=9))
def test_processes_whiten_and_scale_by_what_all_of_them_have(answers):
    values = answers.tokens()
    cuts = sorted(answers.random.integers(0, len(values), 2).tolist())
    parts = list(values.tensor_split(cuts))  # a process may have none
    together = Processes(3).run(lambda part, sum_over: advantages.whiten(part, sum_over=sum_over), parts)
    assert close(torch.cat(together), advantages.whiten(values))
    moments = Processes(3).run(lambda part, sum_over: Moments().with_more(part, sum_over), parts)
    alone = Moments().with_more(values)
    for one in moments:
        assert (one.count, one.mean, one.squares) == pytest.approx((alone.count, alone.mean, alone.squares), rel=1e-9)


# --- groups


@st.composite
def groups(draw):
    sizes = draw(st.lists(st.integers(2, 5), min_size=1, max_size=4))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    places = random.permutation(np.repeat(np.arange(len(sizes)) * 7 + 3, sizes))  # any numbers, in any order
    scores = random.normal(0, draw(st.sampled_from([0.1, 1.0, 30.0])), len(places))
    return torch.from_numpy(scores), torch.from_numpy(places)


def slow_groups(scores, places):
    """For each answer its own score and those of its whole group."""
    pairs = list(zip(scores.tolist(), places.tolist(), strict=True))
    return [(score, [other for other, where in pairs if where == place]) for score, place in pairs]


@EXAMPLES
@given(groups())
def test_group_advantages_are_those_of_a_loop(drawn):
    scores, places = drawn
    slow = slow_groups(scores, places)
    plain = [one - statistics.fmean(group) for one, group in slow]
    assert close(advantages.group_advantages(scores, places, divide_by_std=False), plain)
    divided = [(one - statistics.fmean(group)) / (statistics.stdev(group) + 1e-4) for one, group in slow]
    assert close(advantages.group_advantages(scores, places, divide_by_std=True), divided)


@EXAMPLES
@given(groups())
def test_leave_one_out_compares_with_the_others_alone(drawn):
    scores, places = drawn
    wanted = []
    for one, group in slow_groups(scores, places):
        group.remove(one)
        wanted.append(one - statistics.fmean(group))
    assert close(advantages.leave_one_out(scores, places), wanted)


def test_groups_that_say_nothing_teach_nothing():
    scores, places = torch.tensor([1.0, 1.0, 1.0, 5.0], dtype=torch.float64), torch.tensor([0, 0, 0, 1])
    for divide in (False, True):
        assert advantages.group_advantages(scores, places, divide_by_std=divide).tolist() == [0.0] * 4
    with pytest.raises(InputError, match="single answer"):
        advantages.leave_one_out(scores, places)
