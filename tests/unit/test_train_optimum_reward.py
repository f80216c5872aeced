"""The reward model where the truth is written down: answers with true rewards, labels drawn from Bradley and Terry.

With every label's probability known, so are the best accuracy anyone can reach (Bayes') and the expected negative
log-likelihood of a reward model on pairs it never saw.
"""

import itertools

import numpy as np
import pytest
import torch
import transformers

from rlaif.train.examples import TrainingRow
from rlaif.train.forward import RewardModel
from rlaif.train.loop import train
from rlaif.train.reward import RewardTask
from rlaif.train.settings import LoopSettings, OptimiserSettings
from rlaif.train.task import Layout
from tests.scale import times
from tests.train_models import llama, sequence

torch.set_num_threads(1)
WORLD = {"vocab_size": 8, "hidden_size": 32, "intermediate_size": 64, "head_dim": 8, "pad_token_id": None}
WORLD |= {"bos_token_id": None, "eos_token_id": None}
PROMPTS = ([4, 5], [6, 7])
SEEDS = times(3, full=20)


def answers(prompt):
    return [sequence(prompt, answer) for answer in itertools.product(range(4), repeat=2)]


def prefers(reward):
    """[a, b]: P(a is better than b)."""
    return 1 / (1 + np.exp(reward[None, :] - reward[:, None]))


def fit(rows, folder, *, steps=150, seed=3, layers=2):
    model = llama(
        seed=seed,
        scale=0.1,
        kind=transformers.LlamaForSequenceClassification,
        num_labels=1,
        **WORLD,
        num_hidden_layers=layers,
    )
    module = RewardModel(model)
    optimiser = OptimiserSettings(learning_rate=1e-2, warmup_share=0.05, schedule="cosine")
    settings = LoopSettings(
        batch_size=10_000, micro_batch_tokens=100_000, epochs=steps, save_every=10_000, optimiser=optimiser
    )
    train(RewardTask(rows, Layout()), module, settings, folder=folder)
    return module.eval()


@torch.no_grad()
def rewards_of(module, sequences):
    return module(Layout().batch([(one,) for one in sequences]))[:, 0].double().numpy()


@pytest.mark.slow
def test_the_true_reward_is_recovered_up_to_a_constant_per_prompt(tmp_path):
    truth = np.random.default_rng(1).normal(0, 1, (len(PROMPTS), 16))
    rows = [
        TrainingRow(family=(answers(prompt)[a], answers(prompt)[b]), probability=float(prefers(reward)[a, b]))
        for prompt, reward in zip(PROMPTS, truth, strict=True)
        for a, b in itertools.combinations(range(16), 2)
        if (b - a) % 16 in (1, 3, 6, 15)  # some pairs are enough, where they connect all answers
    ]
    module = fit(rows, tmp_path, steps=250)
    for prompt, reward in zip(PROMPTS, truth, strict=True):
        gaps = rewards_of(module, answers(prompt)) - reward
        assert np.abs(gaps - gaps.mean()).max() < 1e-2


@pytest.mark.slow
def test_on_noisy_labels_the_accuracy_comes_within_half_a_point_of_bayes(tmp_path):
    """Sixty votes on each pair, drawn; what counts is how often a new label would be foretold."""
    draw = np.random.default_rng(2)
    reward = draw.normal(0, 1, 16)
    truth, of = prefers(reward), answers(PROMPTS[0])
    pairs = list(itertools.combinations(range(16), 2))
    shares = [draw.binomial(60, truth[a, b]) / 60 for a, b in pairs]  # of sixty votes: a row of p is its hard rows
    rows = [TrainingRow(family=(of[a], of[b]), probability=float(p)) for (a, b), p in zip(pairs, shares, strict=True)]
    found = rewards_of(fit(rows, tmp_path, steps=80), of)
    foretold = np.mean([truth[a, b] if found[a] > found[b] else truth[b, a] for a, b in pairs])
    bayes = np.mean([max(truth[a, b], truth[b, a]) for a, b in pairs])
    assert bayes - foretold <= 0.005
    assert bayes < 0.8  # labels are noisy: a perfect ranking is far from always right


def held_out_nll(seed, label, folder):
    """Mean -log-likelihood in nats of new labels on the half of the pairs that was not learnt from."""
    draw = np.random.default_rng(seed)
    truth, of = prefers(draw.normal(0, 1, 16)), answers(PROMPTS[0])
    pairs = draw.permutation(list(itertools.combinations(range(16), 2)))
    votes = draw.random(len(pairs))
    rows = []
    for (a, b), vote in zip(pairs[:60], votes, strict=False):
        p = {"soft": truth[a, b], "drawn": float(vote < truth[a, b]), "rounded": float(truth[a, b] > 0.5)}[label]
        rows.append(TrainingRow(family=(of[a], of[b]), probability=float(p)))
    found = rewards_of(fit(rows, folder, steps=60, seed=seed, layers=1), of)
    gaps = np.array([found[a] - found[b] for a, b in pairs[60:]])
    p = np.array([truth[a, b] for a, b in pairs[60:]])
    return float(np.mean(p * np.logaddexp(0, -gaps) + (1 - p) * np.logaddexp(0, gaps)))


@pytest.mark.slow
def test_soft_labels_beat_hard_ones_on_pairs_that_were_held_out(tmp_path):
    """A judge's probability against one vote drawn from it, and against its favourite side."""
    found = {
        label: np.array([held_out_nll(seed, label, tmp_path / f"{label}-{seed}") for seed in range(SEEDS)])
        for label in ("soft", "drawn", "rounded")
    }
    print({label: f"{nll.mean():.3f} ({nll.min():.3f} to {nll.max():.3f})" for label, nll in found.items()})
    assert (found["soft"] < found["drawn"]).all()
    assert (found["soft"] < found["rounded"]).all()
