"""The optima that trainings are held against are those: at each of them the expected step of the method's own formulas
is nothing, summed over all forty answers, and nowhere near it anything."""

import numpy as np
import pytest
import torch

from benchmarks.rl_world import (
    all_answers,
    by_answer,
    by_k2,
    by_k3,
    by_state,
    divergence,
    loss_side_optimum,
    reverse_kl_optimum,
)
from rlaif.train.ragged import spread, sums_of
from rlaif.train.rl import advantages, kl
from rlaif.train.rl.objectives import answer_weights, clipped_policy
from rlaif.train.rl.shaping import token_rewards
from tests.ragged_answers import close
from tests.tabular_policy import LENGTHS, STATES, WORLD, Tabular, expectation

torch.set_num_threads(1)
REFERENCE = Tabular(100, scale=0.7)
WHOLE = REFERENCE.answers.detach().numpy()[None].repeat(len(WORLD.prompts), axis=0)  # the same for both prompts
SCORES = torch.from_numpy(WORLD.scores[0])
BETAS = pytest.mark.parametrize("beta", [0.7, 1.0, 2.0])


def largest(step):
    return float(step.abs().max())


def test_the_world_holds_every_answer_once():
    assert len(WORLD.answers) == len(set(WORLD.answers)) == 1 + 3 + 9 + 27
    assert all_answers(5, 1) == ((3,), (0,), (1,), (2,), (4,))
    assert close(torch.from_numpy(by_answer(WORLD, by_state(WORLD, WHOLE[0]))), WHOLE[0])
    assert sorted(by_state(WORLD, WHOLE[0])) == sorted(STATES)


# --- KL in the reward


@BETAS
def test_at_the_optimum_of_ppo_no_token_of_any_answer_has_an_advantage(beta):
    """With the soft value, whatever λ is: the noise of the gradient vanishes there, too."""
    optimum = Tabular.of(reverse_kl_optimum(WORLD, WHOLE, beta)[0])
    earned = SCORES - beta * (optimum.answers - REFERENCE.answers).detach()
    assert close(earned, [float(earned[0])] * len(earned))  # β log Z
    penalty = kl.in_reward("k1", optimum.tokens, REFERENCE.tokens)
    rewards = token_rewards(SCORES, LENGTHS, penalty, coefficient=beta)
    values = advantages.rewards_to_go(rewards, LENGTHS)  # the soft value: equal for every answer through the state
    assert values[0] == pytest.approx(float(earned[0]))
    for lam in (0.0, 0.95):
        found = advantages.gae(rewards, values, LENGTHS, gamma=1.0, lam=lam)
        assert largest(found) < 1e-10
    assert largest(advantages.leave_one_out(earned, torch.zeros(len(earned)))) < 1e-10


@BETAS
def test_the_optimum_is_the_maximum_of_score_less_kl(beta):
    optimum = reverse_kl_optimum(WORLD, WHOLE, beta)

    def objective(logprobs):
        return np.exp(logprobs) @ WORLD.scores[0] - beta * float(divergence(logprobs[None], WHOLE[:1])[0])

    best, random = objective(optimum[0]), np.random.default_rng(0)
    for _ in range(50):
        other = optimum[0] + random.normal(0, random.choice([0.01, 1.0]), len(WORLD.answers))
        other -= np.logaddexp.reduce(other)
        gap = beta * float(divergence(other[None], optimum[:1])[0])
        assert best - objective(other) == pytest.approx(gap, rel=1e-6, abs=1e-12)


# --- KL in the loss


def expected_step(policy, estimator, beta, *, by_std, mean):
    """The gradient of the loss over all answers of a large group: their advantages, ratios of 1, the KL per token."""
    shares = policy.answers.detach().exp()
    centred = SCORES - shares @ SCORES
    of_answers = centred / (shares @ centred**2).sqrt() if by_std else centred
    losses = clipped_policy(policy.tokens - policy.tokens.detach(), spread(of_answers, LENGTHS))
    losses = losses + beta * kl.in_loss(estimator, policy.tokens, REFERENCE.tokens)
    weights = answer_weights(LENGTHS, mean)
    return policy.gradient(expectation(policy, sums_of(losses * spread(weights.per_token, LENGTHS), LENGTHS)))


@BETAS
@pytest.mark.parametrize("mean", ["sum", "answers"])
@pytest.mark.parametrize(("estimator", "by_std"), [("k2", False), ("k3", False), ("k3", True)])
def test_at_the_optimum_of_a_kl_in_the_loss_the_expected_step_is_nothing(estimator, mean, by_std, beta):
    choose = {"k2": by_k2, "k3": by_k3}[estimator]
    found = loss_side_optimum(WORLD, WHOLE, beta, choose, by_std=by_std, by_length=mean == "answers")[0]
    assert np.logaddexp.reduce(found) == pytest.approx(0.0, abs=1e-9)
    at_optimum = expected_step(Tabular.of(found), estimator, beta, by_std=by_std, mean=mean)
    at_start = expected_step(Tabular.of(WHOLE[0]), estimator, beta, by_std=by_std, mean=mean)
    assert largest(at_optimum) < 1e-8
    assert largest(at_start) > 1e-2


@BETAS
def test_the_optima_differ_so_that_reaching_one_means_something(beta):
    reverse = reverse_kl_optimum(WORLD, WHOLE, beta)
    k2, k3 = (loss_side_optimum(WORLD, WHOLE, beta, choose) for choose in (by_k2, by_k3))
    published = loss_side_optimum(WORLD, WHOLE, beta, by_k3, by_std=True, by_length=True)
    for one, other in ((reverse, k2), (reverse, k3), (k2, k3), (k3, published)):
        assert float(divergence(one, other).max()) > 2e-3


def test_of_answers_of_one_token_k2_in_the_loss_has_the_optimum_of_ppo():
    """Later choices are what a KL in the loss forgets; here there are none."""
    reference, scores = WHOLE[0][:4] - np.logaddexp.reduce(WHOLE[0][:4]), WORLD.scores[0][:4]
    wanted = reference + scores / 0.7
    assert close(torch.from_numpy(by_k2(reference, scores, np.full(4, 0.7))), wanted - np.logaddexp.reduce(wanted))


def test_a_groups_own_mean_takes_a_share_of_the_score_away():
    """E[(r - mean) ∇ log π] = (1 - 1/K) ∇E[r], by all groups of two over the forty answers; leaving one out has all."""
    policy = Tabular(3)
    shares, number = policy.answers.detach().exp(), len(WORLD.answers)
    first, second = (one.flatten() for one in torch.meshgrid(*[torch.arange(number)] * 2, indexing="ij"))
    places = torch.arange(number**2)
    steps = {}
    for name, formula in (
        ("mean", lambda scores, groups: advantages.group_advantages(scores, groups, divide_by_std=False)),
        ("others", advantages.leave_one_out),
    ):
        found = formula(SCORES[torch.cat([first, second])], torch.cat([places, places]))
        gains = (found * policy.answers[torch.cat([first, second])]).view(2, -1).mean(0)
        steps[name] = policy.gradient((shares[first] * shares[second] * gains).sum())
    whole = policy.gradient((policy.answers.exp() * SCORES).sum())
    assert close(steps["others"], whole)
    assert close(steps["mean"], 0.5 * whole)
