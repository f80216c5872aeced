"""A world small enough to write down: one prompt, the sixteen answers of two tokens over four, every pair labelled.

There the optimum of a loss is known in closed form, and a model with room for it, trained by the loop, has to reach it.
With labels p = σ(r(a) - r(b)) on all pairs:

    DPO   π*(a) ∝ π_ref(a) exp(r(a) / β)                                             arXiv:2305.18290 eq. 4
    IPO   π*(a) ∝ π_ref(a) exp(h(a)),  h(a) = mean over b of (2 p(a ≻ b) - 1) / 2β   least squares over all pairs

The reward model has a file of its own, test_train_optimum_reward.py.
"""

import itertools

import numpy as np
import pytest
import torch

from rlaif.train.dpo import DpoTask
from rlaif.train.examples import TrainingRow
from rlaif.train.forward import LogprobModel, sum_by_sequence
from rlaif.train.loop import train
from rlaif.train.reference import reference_sums
from rlaif.train.settings import DpoSettings, LoopSettings, OptimiserSettings
from rlaif.train.task import Layout
from tests.train_models import llama, sequence

torch.set_num_threads(1)
WORLD = {"vocab_size": 4, "hidden_size": 32, "intermediate_size": 64, "head_dim": 8, "pad_token_id": None}
WORLD |= {"bos_token_id": None, "eos_token_id": None}
# the prompt has two tokens: after (0, 0) attention has seen nothing but zeros, as after (0), and must predict the same
ANSWERS = [sequence([0, 1], answer) for answer in itertools.product(range(4), repeat=2)]
REWARD = np.random.default_rng(1).normal(0, 1, len(ANSWERS))
PREFERS = 1 / (1 + np.exp(REWARD[None, :] - REWARD[:, None]))  # [a, b]: P(a is better than b)


def rows():
    return [
        TrainingRow(family=(ANSWERS[a], ANSWERS[b]), probability=float(PREFERS[a, b]))
        for a, b in itertools.combinations(range(len(ANSWERS)), 2)
    ]


def logprobs(module):
    batch = Layout().batch([(one,) for one in ANSWERS])
    with torch.no_grad():
        return sum_by_sequence(module.eval()(batch).logprobs, batch).numpy()


def loop_settings(steps):
    optimiser = OptimiserSettings(learning_rate=1e-2, warmup_share=0.05, schedule="cosine")
    return LoopSettings(batch_size=120, micro_batch_tokens=10_000, epochs=steps, save_every=10_000, optimiser=optimiser)


def divergence(wanted, found):
    """KL(wanted ‖ found) in nats."""
    return float((np.exp(wanted) * (wanted - found)).sum())


def normalised(scores):
    return scores - np.logaddexp.reduce(scores)


@pytest.mark.slow
@pytest.mark.parametrize("beta", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("loss", ["sigmoid", "ipo"])
def test_the_policy_reaches_the_closed_form_optimum(loss, beta, tmp_path):
    module = LogprobModel(llama(seed=3, scale=0.1, **WORLD))
    reference = logprobs(module)
    assert np.logaddexp.reduce(reference) == pytest.approx(0, abs=1e-5)  # the sixteen answers are all there are
    settings = DpoSettings(model="m", data=[{"path": "d"}], output="o", loss=loss, beta=beta)
    task = DpoTask(rows(), Layout("off"), settings, reference_sums(module, rows(), Layout(), 1000, cache=None))
    push = REWARD / beta if loss == "sigmoid" else (2 * PREFERS - 1).mean(axis=1) / (2 * beta)
    wanted = normalised(reference + push)
    assert divergence(wanted, reference) > 1e-3  # there is something to learn
    train(task, module, loop_settings(150), folder=tmp_path)
    assert divergence(wanted, logprobs(module)) < 1e-5
