"""Policy, value and sampler formulas, their gradients and their weights, against a slow version that shares no code
with them: plain complex arithmetic, one token at a time, derivatives by complex steps. To 1e-10."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.train.ragged import spread
from rlaif.train.rl import objectives
from rlaif.train.rl.objectives import Clip
from tests.ragged_answers import Ragged, close, flat, ragged

torch.set_num_threads(1)
H = 1e-30
EXAMPLES = settings(max_examples=60, deadline=None)
CLIPS = st.sampled_from([Clip(), Clip(0.1, 0.3), Clip(0.2, 0.2, 3.0), Clip(0.2, 0.28, 1.5)])


def smaller(a, b):
    return a if a.real <= b.real else b


def larger(a, b):
    return a if a.real >= b.real else b


def held(value, low, high):
    """Clipped by its real part; a clipped value has no derivative."""
    return low if value.real < low else high if value.real > high else value


def slow_policy(log_ratio, advantage, clip):
    ratio = np.exp(log_ratio)
    gain = smaller(ratio * advantage, held(ratio, 1 - clip.low, 1 + clip.high) * advantage)
    if clip.dual is not None and advantage < 0:
        gain = larger(gain, clip.dual * advantage)
    return -gain


def by_complex_steps(formula, places):
    """Σ formula and its derivatives: f'(x) = Im f(x + ih) / h, one place at a time."""
    values = [formula(n, complex(one)) for n, one in enumerate(places)]
    slopes = [np.imag(formula(n, one + 1j * H)) / H for n, one in enumerate(places)]
    return [np.real(one) for one in values], slopes


@EXAMPLES
@given(ragged(scales=(0.05, 0.3, 2.0)), CLIPS)
def test_the_clipped_policy_loss_is_that_of_a_loop_and_so_is_its_gradient(answers, clip):
    log_ratio, advantage = answers.tokens().requires_grad_(), answers.tokens()
    found = objectives.clipped_policy(log_ratio, advantage, clip=clip)
    plain = advantage.tolist()
    values, slopes = by_complex_steps(lambda n, x: slow_policy(x, plain[n], clip), log_ratio.tolist())
    assert close(found.detach(), values)
    assert close(torch.autograd.grad(found.sum(), log_ratio)[0], slopes)


def test_the_clip_by_hand():
    """Ratios 1.5 and 0.5, ε = 0.2: gains stop at 1.2 and 0.8, losses do not, and only dual clip bounds the latter."""
    log_ratio = torch.tensor([1.5, 1.5, 0.5, 0.5, 5.0], dtype=torch.float64).log()
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    found = objectives.clipped_policy(log_ratio, advantage)
    assert found.tolist() == pytest.approx([-1.2, 1.5, -0.5, 0.8, 5.0])
    dual = objectives.clipped_policy(log_ratio, advantage, clip=Clip(dual=3.0))
    assert dual.tolist() == pytest.approx([-1.2, 1.5, -0.5, 0.8, 3.0])


@EXAMPLES
@given(ragged(scales=(0.3, 2.0)), st.sampled_from([None, 0.2, 1.0]))
def test_the_value_loss_is_that_of_a_loop_and_so_is_its_gradient(answers, clip):
    values, old, returns = answers.tokens().requires_grad_(), answers.tokens(), answers.tokens()

    def slow(n, value):
        error = (value - float(returns[n])) ** 2
        if clip is not None:
            near = float(old[n]) + held(value - float(old[n]), -clip, clip)
            error = larger(error, (near - float(returns[n])) ** 2)
        return 0.5 * error

    extra = {} if clip is None else {"old_values": old, "clip": clip}
    found = objectives.squared_value(values, returns, **extra)
    wanted, slopes = by_complex_steps(slow, values.tolist())
    assert close(found.detach(), wanted)
    assert close(torch.autograd.grad(found.sum(), values)[0], slopes)


@EXAMPLES
@given(ragged(scales=(0.1, 1.0)))
def test_ratios_of_whole_answers_and_their_gradients(answers):
    """RLOO's ratio is the product over the answer's tokens, GSPO's its geometric mean."""
    log_ratio, advantage = answers.tokens().requires_grad_(), answers.answers()
    owner = np.repeat(np.arange(answers.num_answers), answers.lengths.numpy())
    for of_answer, share in ((objectives.answer_log_ratio, 1.0), (objectives.mean_log_ratio, None)):
        loss = objectives.clipped_policy(of_answer(log_ratio, answers.lengths), advantage)
        sums = [math.fsum(each) for each in answers.apart(log_ratio.detach())]
        scale = [share or 1.0 / n for n in answers.lengths.tolist()]
        formula = [s * k for s, k in zip(sums, scale, strict=True)]
        values, slopes = by_complex_steps(lambda n, x: slow_policy(x, float(advantage[n]), Clip()), formula)
        assert close(loss.detach(), values)
        wanted = [slopes[q] * scale[q] for q in owner]
        assert close(torch.autograd.grad(loss.sum(), log_ratio)[0], wanted)


def test_the_first_step_on_a_fresh_rollout_is_the_policy_gradient():
    """REINFORCE: -A ∇log π (Williams 1992), before any ratio has moved."""
    answers = Ragged([3, 1, 4])
    logprobs, advantage = answers.logprobs().requires_grad_(), answers.tokens()
    loss = objectives.clipped_policy(logprobs - logprobs.detach(), advantage).sum()
    assert close(torch.autograd.grad(loss, logprobs)[0], (-advantage).tolist())


@EXAMPLES
@given(ragged(), st.sampled_from([1.0, 2.0, 5.0]))
def test_weights_for_the_samplers_mismatch_are_truncated_and_carry_no_gradient(answers, most):
    old, sampler = answers.logprobs().requires_grad_(), answers.logprobs()
    found = objectives.sampler_weights(old, sampler, most=most)
    assert not found.requires_grad
    wanted = [min(math.exp(a - b), most) for a, b in zip(old.tolist(), sampler.tolist(), strict=True)]
    assert close(found, wanted)


# --- weights


@st.composite
def grouped(draw):
    answers = draw(ragged(most_answers=6))
    places = draw(st.lists(st.integers(0, 2), min_size=answers.num_answers, max_size=answers.num_answers))
    return answers, torch.tensor(places)


def slow_mean(losses, places, how):
    """The mean that the docstring promises, from lists of lists."""
    if how == "tokens":
        return math.fsum(flat(losses)) / len(flat(losses))
    if how == "groups":
        per_prompt = []
        for place in sorted(set(places)):
            own = flat(each for each, where in zip(losses, places, strict=True) if where == place)
            per_prompt.append(math.fsum(own) / len(own))
        return math.fsum(per_prompt) / len(per_prompt)
    divisor = {"answers": None, "constant": 20, "sum": 1}[how]
    return math.fsum(math.fsum(each) / (divisor or len(each)) for each in losses) / len(losses)


@EXAMPLES
@given(grouped(), st.sampled_from(["tokens", "groups", "answers", "constant", "sum"]), st.integers(1, 6))
def test_every_mean_is_the_one_it_says_however_the_answers_are_spread_over_passes(drawn, how, stretch):
    answers, places = drawn
    losses = answers.tokens()
    weights = objectives.answer_weights(answers.lengths, how, max_length=20, groups=places)
    parts = zip(losses.split(answers.lengths.tolist()), answers.lengths, strict=True)
    each = list(enumerate(parts))
    total = torch.zeros((), dtype=torch.float64)
    for start in range(0, len(each), stretch):
        some = each[start : start + stretch]
        rows = [number for number, _ in some]
        lengths = answers.lengths[rows]
        part = torch.cat([one for _, (one, _) in some])
        total += objectives.weighted_sum(part, spread(weights.per_token[rows], lengths))
    found = total / weights.total.sum()
    wanted = slow_mean(answers.apart(losses), places.tolist(), how)
    assert close(found, wanted)


# --- figures


@EXAMPLES
@given(ragged(scales=(0.1, 1.0)), CLIPS)
def test_figures_of_an_update_are_those_of_a_loop(answers, clip):
    log_ratio, advantage = answers.tokens(), answers.tokens()
    figures = objectives.policy_figures(log_ratio, advantage, clip=clip)
    pairs = list(zip(log_ratio.tolist(), advantage.tolist(), strict=True))
    ratios = [math.exp(x) for x, _ in pairs]
    # clipped: where moving the ratio does not move the gain, dual clip aside
    moved = [
        by_complex_steps(lambda _, x, a=a: slow_policy(x, a, Clip(clip.low, clip.high)), [x])[1][0] for x, a in pairs
    ]
    wanted = {
        "ratio": math.fsum(ratios),
        "clip_fraction": sum(slope == 0 for slope in moved),
        "approx_kl": math.fsum(r - 1 - x for r, (x, _) in zip(ratios, pairs, strict=True)),
    }
    for name, (total, count) in figures.items():
        assert count == len(pairs)
        assert float(total) == pytest.approx(wanted[name], rel=1e-9, abs=1e-9)


def test_the_first_pass_over_a_fresh_rollout_has_ratio_one_and_nothing_else():
    answers = Ragged([3, 2])
    figures = objectives.policy_figures(torch.zeros(5, dtype=torch.float64), answers.tokens())
    assert {name: float(total) / count for name, (total, count) in figures.items()} == {
        "ratio": 1.0,
        "clip_fraction": 0.0,
        "approx_kl": 0.0,
    }


def test_figures_of_the_sampler_by_hand():
    old = torch.tensor([-1.0, -2.0, -1.0], dtype=torch.float64)
    sampler = torch.tensor([-1.0, -1.0, -3.0], dtype=torch.float64)
    means = {name: float(t) / n for name, (t, n) in objectives.sampler_figures(old, sampler, most=2.0).items()}
    e = math.exp
    assert means["sampler_gap"] == pytest.approx(1.0)
    assert means["sampler_kl"] == pytest.approx((0 + e(-1) - 1 + 1 + e(2) - 1 - 2) / 3)
    assert means["sampler_weight"] == pytest.approx((1 + e(-1) + 2) / 3)
    assert means["sampler_cut"] == pytest.approx(1 / 3)


@EXAMPLES
@given(ragged(scales=(1.0, 30.0)), st.integers(1, 20))
def test_explained_variance_is_that_of_all_tokens_together(answers, stretch):
    values, returns = answers.tokens(), answers.tokens()
    passes = [
        objectives.value_figures(v, r) for v, r in zip(values.split(stretch), returns.split(stretch), strict=True)
    ]
    means = {name: sum(float(p[name][0]) for p in passes) / len(values) for name in passes[0]}
    if returns.var(unbiased=False) < 1e-6:
        return
    wanted = 1 - (returns - values).var(unbiased=False) / returns.var(unbiased=False)
    assert objectives.explained_variance(means) == pytest.approx(float(wanted), rel=1e-8, abs=1e-8)
