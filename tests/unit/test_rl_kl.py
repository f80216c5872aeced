"""The KL estimators, their expectations and their gradients against a KL that is enumerated: a policy of free logits at
every state, all forty answers, every expectation a sum. And the controller."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.train.ragged import sums_of
from rlaif.train.rl import kl
from rlaif.train.rl.advantages import rewards_to_go
from rlaif.train.rl.kl import KlControl
from rlaif.train.rl.shaping import token_rewards
from tests.ragged_answers import close, ragged
from tests.tabular_policy import LENGTHS, PLACES, STATES, WORLD, Tabular, expectation

torch.set_num_threads(1)


@pytest.fixture(params=range(3))
def pair(request):
    policy, reference = Tabular(request.param), Tabular(request.param + 100)
    return policy, reference.tokens.detach(), reference.answers.detach()


def exact_kl(policy, reference):
    """KL(π ‖ π_ref) over whole answers, differentiable all through."""
    logprobs = policy.answers
    return (logprobs.exp() * (logprobs - reference)).sum()


def other_kl(policy, reference):
    """KL(π_ref ‖ π) over whole answers."""
    return (reference.exp() * (reference - policy.answers)).sum()


def by_tokens(policy, reference, direction):
    """Σ over states of how often π visits them (without gradient) times the KL of the choices there."""
    conditional = policy.conditional
    old = torch.zeros_like(conditional).index_put(PLACES, reference)
    visits = torch.zeros(len(STATES), dtype=torch.float64)
    shares = policy.answers.detach().exp().repeat_interleave(LENGTHS)
    visits = visits.index_add(0, PLACES[0], shares)
    if direction == "reverse":
        each = (conditional.exp() * (conditional - old)).sum(-1)
    else:
        each = (old.exp() * (old - conditional)).sum(-1)
    return (visits * each).sum()


def test_the_answers_are_all_there_are():
    assert Tabular(0).answers.exp().sum().item() == pytest.approx(1.0, abs=1e-12)


# --- values


def test_k1_and_k3_are_unbiased_and_k2_is_not(pair):
    policy, reference, _ = pair
    wanted = exact_kl(policy, sums_of(reference, LENGTHS)).item()
    found = {
        name: expectation(policy, sums_of(kl.estimate(name, policy.tokens, reference), LENGTHS)).item()
        for name in kl._FORMULAS
    }
    assert found["k1"] == pytest.approx(wanted, rel=1e-10)
    assert found["k3"] == pytest.approx(wanted, rel=1e-10)
    assert abs(found["k2"] - wanted) > 0.01 * wanted


def test_near_the_reference_k2_is_the_kl_too_and_k2_and_k3_vary_far_less_than_k1():
    policy = Tabular(0)
    nudge = np.random.default_rng(1).normal(0, 0.01, policy.logits.shape)
    near = (policy.logits + torch.from_numpy(nudge)).log_softmax(-1)[PLACES].detach()
    wanted = exact_kl(policy, sums_of(near, LENGTHS)).item()
    spread = {}
    for name in kl._FORMULAS:
        values = sums_of(kl.estimate(name, policy.tokens, near), LENGTHS)
        assert expectation(policy, values).item() == pytest.approx(wanted, rel=0.02)
        spread[name] = expectation(policy, (values - wanted) ** 2).item()
    assert max(spread["k2"], spread["k3"]) < 0.02 * spread["k1"]


@settings(max_examples=40, deadline=None)
@given(ragged(scales=(1e-4, 0.1, 3.0)))
def test_the_formulas_are_what_they_are_named_for(answers):
    policy, reference = answers.logprobs(), answers.logprobs()
    x = [a - b for a, b in zip(policy.tolist(), reference.tolist(), strict=True)]
    assert close(kl.k1(policy, reference), x)
    assert close(kl.k2(policy, reference), [one * one / 2 for one in x])
    assert close(kl.k3(policy, reference), [np.exp(-one) - 1 + one for one in x])
    assert bool((kl.k3(policy, reference) >= 0).all())


# --- gradients


def test_in_the_loss_k1_does_nothing_k2_is_right_and_k3_pulls_along_the_other_kl(pair):
    policy, reference, _ = pair

    def step(name, reference=reference):
        return policy.gradient(expectation(policy, sums_of(kl.in_loss(name, policy.tokens, reference), LENGTHS)))

    assert float(step("k1").abs().max()) < 1e-12
    assert close(step("k2"), policy.gradient(by_tokens(policy, reference, "reverse")))
    assert close(step("k3"), policy.gradient(by_tokens(policy, reference, "forward")))


def test_of_whole_answers_k2_in_the_loss_is_the_gradient_of_the_kl_of_whole_answers(pair):
    policy, _, reference = pair
    found = policy.gradient(expectation(policy, kl.in_loss("k2", policy.answers, reference)))
    assert close(found, policy.gradient(exact_kl(policy, reference)))
    found = policy.gradient(expectation(policy, kl.in_loss("k3", policy.answers, reference)))
    assert close(found, policy.gradient(other_kl(policy, reference)))


def test_in_the_reward_k1_is_right_and_k2_and_k3_are_not(pair):
    """The score function of what a token earns from there on, as the trainer uses it."""
    policy, reference, whole = pair

    def step(name):
        penalty = kl.in_reward(name, policy.tokens, reference)
        rewards = token_rewards(torch.zeros(len(LENGTHS), dtype=torch.float64), LENGTHS, penalty, coefficient=1.0)
        earned = rewards_to_go(rewards, LENGTHS)
        return -policy.gradient(expectation(policy, sums_of(earned * policy.tokens, LENGTHS)))

    wanted = policy.gradient(exact_kl(policy, whole))
    assert close(step("k1"), wanted)
    for wrong in ("k2", "k3"):
        assert float((step(wrong) - wanted).abs().max()) > 0.01 * float(wanted.abs().max())


def test_of_whole_answers_k3_in_the_reward_is_one_kl_less_the_other(pair):
    policy, _, reference = pair
    value = kl.in_reward("k3", policy.answers, reference)
    found = policy.gradient(expectation(policy, value * policy.answers))
    wanted = policy.gradient(exact_kl(policy, reference)) - policy.gradient(other_kl(policy, reference))
    assert close(found, wanted)


@pytest.mark.parametrize("name", ["k1", "k3"])
def test_with_the_ratio_to_what_was_sampled_value_and_gradient_are_those_of_the_kl(pair, name):
    """Answers of another policy than the one that learns: without the ratio, even k2 would be wrong."""
    policy, _, reference = pair
    sampled = Tabular(77)
    terms = kl.in_loss(name, policy.answers, reference, sampled.answers.detach())
    mean = (sampled.answers.detach().exp() * terms).sum()
    wanted = exact_kl(policy, reference)
    assert mean.item() == pytest.approx(wanted.item(), rel=1e-10)
    assert close(policy.gradient(mean), policy.gradient(wanted))


def test_nothing_flows_to_the_reference_nor_through_the_reward():
    policy, reference = (torch.tensor([-1.0, -2.0], requires_grad=True) for _ in range(2))
    assert not kl.in_reward("k1", policy, reference).requires_grad
    kl.in_loss("k3", policy, reference, reference).sum().backward()
    assert reference.grad is None
    assert policy.grad is not None


# --- the controller


def test_the_controller_by_hand():
    control = KlControl(coefficient=0.2, target=6.0, gain=0.1, clip=0.2)
    assert control.after(6.6).coefficient == pytest.approx(0.2 * 1.01)  # e = 0.1
    assert control.after(60.0).coefficient == pytest.approx(0.2 * 1.02)  # clipped at 0.2
    assert control.after(0.0).coefficient == pytest.approx(0.2 * 0.98)
    assert control.after(6.0) == control
    assert KlControl(coefficient=0.2).after(60.0).coefficient == 0.2


@given(st.floats(0.05, 20.0), st.floats(0.01, 5.0), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_the_controller_settles_at_the_target_from_either_side(target_share, start, lag):
    """A policy that always stands at the optimum, of E[r] - β KL on the enumerated world, of the β of `lag` updates
    ago."""
    scores = WORLD.scores[0]
    reference = np.full(len(scores), -np.log(len(scores)))

    def settled(beta):
        tilted = scores / beta
        tilted = tilted - np.logaddexp.reduce(tilted)
        return float((np.exp(tilted) * (tilted - reference)).sum())

    target = settled(1.0 / target_share)
    control, past = KlControl(coefficient=start, target=target), []
    for _ in range(1500):
        past.append(control.coefficient)
        control = control.after(settled(past[max(0, len(past) - 1 - lag)]))
    assert settled(control.coefficient) == pytest.approx(target, rel=0.1)
