"""Online DPO: DPO's loss on pairs the policy sampled itself, and where it leads in a world that can be written down."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from benchmarks.rl_training import answer_logprobs, make_model, merged, train_on
from benchmarks.rl_world import divergence, make_world, reverse_kl_optimum
from rlaif.errors import TrainingStopped
from rlaif.records import Prompt
from rlaif.train.dpo import DpoTask
from rlaif.train.examples import TrainingRow
from rlaif.train.forward import LogprobModel
from rlaif.train.rl.experience import Experience, TokenReadings
from rlaif.train.rl.online_dpo import OnlineDpoTask, probabilities
from rlaif.train.rl.policy import PolicyModel
from rlaif.train.rl.rewards import Answer, Rewards
from rlaif.train.rl.rollouts import Rollout
from rlaif.train.rl.settings import OnlineDpoSettings
from rlaif.train.settings import DpoSettings
from rlaif.train.task import Layout
from tests.train_models import double_llama, random_pairs

torch.set_num_threads(1)


def online(**more):
    plain = {"model": "m", "output": "o", "prompts": [{"path": "p"}], "reward": [{"kind": "length", "per_token": 0}]}
    return OnlineDpoSettings.model_validate(merged(plain, more))


# --- the loss


def experience(pairs, rewards, reference):
    """What the learner would have gathered: these pairs, with these rewards and reference log-probabilities (S,)."""
    prompt = Prompt(messages=())
    answers, readings, at = [], [], 0
    for family in pairs:
        for one in family:
            ids, asked = one.ids[one.scored], one.ids[~one.scored]
            answers.append(Answer(prompt, Rollout(asked, ids, np.zeros(len(ids), np.float32), True), ""))
        count = sum(one.num_scored for one in family)
        part = reference[at : at + count]
        readings.append(TokenReadings(part, part, np.zeros(count), np.zeros(count)))
        at += count
    return Experience(0, answers, Rewards(np.asarray(rewards, dtype=np.float64)), 2, readings)


@pytest.mark.parametrize("loss", ["sigmoid", "conservative", "robust", "ipo", "hinge"])
@pytest.mark.parametrize("length_normalised", [False, True])
def test_the_loss_and_its_gradient_are_offline_dpos_on_the_same_pairs(loss, length_normalised):
    pairs, draw = random_pairs(6), np.random.default_rng(1)
    first = draw.uniform(0, 1, len(pairs))
    num_tokens = sum(one.num_scored for family in pairs for one in family)
    reference = draw.uniform(-4, -1, num_tokens)
    sums = np.add.reduceat(reference, np.cumsum([0, *(one.num_scored for family in pairs for one in family)])[:-1])
    same = {"loss": loss, "beta": 0.7, "length_normalised": length_normalised, "flip_rate": 0.2}
    rows = [TrainingRow(family=family, probability=p) for family, p in zip(pairs, first, strict=True)]
    offline_settings = DpoSettings(model="m", data=[{"path": "d"}], output="o", **same)
    offline = DpoTask(rows, Layout(), offline_settings, sums.reshape(-1, 2))
    rewards = np.stack([first, 1 - first], axis=1).ravel()
    mine = OnlineDpoTask(experience(pairs, rewards, reference), online(labels="shares", **same), Layout())
    found = []
    for task, wrap in ((offline, LogprobModel), (mine, PolicyModel)):
        model = double_llama()
        loss_sum = task.compute(wrap(model).train(), [4, 1, 3], torch.device("cpu")).loss
        loss_sum.backward()
        found.append(
            (float(loss_sum.detach()), torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None]))
        )
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-10)
    assert torch.allclose(found[1][1], found[0][1], rtol=1e-8, atol=1e-12)
    assert mine.weights == offline.weights
    assert mine.sizes == offline.sizes


# --- who is preferred


def test_two_rewards_become_a_probability():
    rewards = torch.tensor([[0.8, 0.2], [0.5, 0.5], [0.0, 1.0]], dtype=torch.float64)
    assert probabilities(rewards, online(labels="shares")).tolist() == [0.8, 0.5, 0.0]
    assert probabilities(rewards, online(labels="hard")).tolist() == [1.0, 0.5, 0.0]
    logistic = probabilities(rewards, online(labels="logistic"))
    assert logistic.tolist() == pytest.approx([1 / (1 + np.exp(-0.6)), 0.5, 1 / (1 + np.e)])


@pytest.mark.parametrize("rewards", [[[0.8, 0.3]], [[1.5, -0.5]], [[2.0, 1.0]]])
def test_shares_are_of_rewards_that_add_up_to_one(rewards):
    with pytest.raises(TrainingStopped, match="add up to 1"):
        probabilities(torch.tensor(rewards, dtype=torch.float64), online(labels="shares"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kl": {"coefficient": 0.1}}, "`beta` here"),
        ({"kl": {"target": 3.0}}, "`beta` here"),
        ({"entropy": 0.1}, "no entropy bonus"),
        ({"rollout": {"group_size": 4}}, "group_size"),
    ],
)
def test_settings_that_mean_nothing_here_are_refused(wrong, said):
    with pytest.raises((ValidationError, ValueError), match=said):
        online(**wrong)


# --- where it leads


@pytest.mark.slow
def test_it_reaches_the_optimum_of_reward_and_kl(tmp_path):
    """With p = σ(r₁ - r₂) online DPO's fixed point is PPO's optimum, π_ref exp(r / β) normalised (arXiv:2305.18290
    eq. 4), since every answer is sampled again and again. Sampling noise is what is left."""
    world = make_world(0, max_new_tokens=2)
    model = make_model(world, seed=1)
    reference = answer_logprobs(world, model)
    wanted = reverse_kl_optimum(world, reference, beta=1.0)
    settings = online(
        labels="logistic",
        beta=1.0,
        iterations=100,
        max_length=16,
        rollout={"prompts": 64, "max_new_tokens": 2},
        loop={"save_every": 10_000, "optimiser": {"learning_rate": 5e-3, "schedule": "cosine", "warmup_share": 0.02}},
        stop={"unended": None, "constant_rewards": None},
    )
    train_on(world, model, settings, tmp_path)
    found = answer_logprobs(world, model)
    assert divergence(wanted, reference).min() > 0.05  # there is something to learn
    assert divergence(wanted, found).max() < 0.01
