"""Traps between a rollout and a policy's step: where the score is placed, what is averaged and whitened over what, at
which temperature, and which way a KL pulls."""

import math

import numpy as np
import pytest
import torch

from rlaif.train import task
from rlaif.train.forward import LogprobModel
from rlaif.train.head import TokenScores, token_logprobs
from rlaif.train.packing import pack, pad
from rlaif.train.rl import advantages, kl, objectives, shaping
from rlaif.train.rl.rollouts import Rollout
from tests.ragged_answers import Processes, close
from tests.train_models import double_llama
from tests.traps.planted import planted, trap

torch.set_num_threads(1)
STOP, END = 2, 5  # the tokenizer's end of sequence, and a template's end of turn


def rollouts():
    """Answers that end with either stop token, one that is cut off, and a prompt that holds the stop token itself."""
    said = [([7, STOP, 8], [9, 10, STOP], True), ([7, 11], [END], True), ([12, STOP], [9, 9, 9, 9], False)]
    return [
        Rollout(np.array(prompt), np.array(answer), np.zeros(len(answer), np.float32), is_ended)
        for prompt, answer, is_ended in said
    ]


def batches():
    families = [(one.sequence(),) for one in rollouts()]
    return pack(families), pad(families), pad(families, side="left")


# --- 11: where the score lies


def one_further(lengths):
    """On what follows the last token: the next answer, or a padding token."""
    return lengths.cumsum(0).clamp(max=int(lengths.sum()) - 1)


def one_too_early(lengths):
    return lengths.cumsum(0) - lengths.clamp(max=2)


@trap(
    11,
    planted("rlaif.train.rl.shaping.ends_of", one_further),
    planted("rlaif.train.rl.shaping.ends_of", one_too_early),
)
def test_the_score_lies_on_the_stop_token_or_on_the_last_one_written():
    scores = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    for batch in batches():
        rewards = shaping.token_rewards(scores, batch.lengths)
        assert rewards.tolist() == [0, 0, 1, 2, 0, 0, 0, 3]
        assert batch.targets[rewards != 0].tolist() == [STOP, END, 9]
        # and it reaches every token of its own answer, none of another's
        assert advantages.rewards_to_go(rewards, batch.lengths).tolist() == [1, 1, 1, 2, 3, 3, 3, 3]


# --- 12: who is penalised for not ending


def by_the_tokenizers_end(scores, is_ended, value):
    """The end of a sequence is looked for, not what sampling stopped at."""
    ended = torch.tensor([STOP in one.answer for one in rollouts()])
    return torch.where(ended, scores, torch.full_like(scores, value))


def by_the_whole_sequence(scores, is_ended, value):
    """The prompt's own stop token counts: nobody is ever penalised."""
    ended = torch.tensor([STOP in one.sequence().ids or END in one.answer for one in rollouts()])
    return torch.where(ended, scores, torch.full_like(scores, value))


@trap(
    12,
    planted("rlaif.train.rl.shaping.replace_unended", by_the_tokenizers_end),
    planted("rlaif.train.rl.shaping.replace_unended", by_the_whole_sequence),
)
def test_an_answer_that_was_cut_off_is_penalised_and_no_other():
    is_ended = torch.tensor([one.is_ended for one in rollouts()])
    scores = torch.tensor([1.0, 2.0, 3.0])
    assert shaping.replace_unended(scores, is_ended, -1.0).tolist() == [1.0, 2.0, -1.0]


# --- 13: figures over padding


def as_a_padded_mean(values):
    """Mean over [answers, longest]: 3 · 4 places, of which 4 hold nothing."""
    return values.detach().double().sum(), 12.0


def with_what_is_written_on_padding(values):
    """TRL's INVALID_LOGPROB of 1.0 at the four empty places."""
    return values.detach().double().sum() + 4.0, 12.0


@trap(
    13,
    planted("rlaif.train.rl.objectives.mean_of", as_a_padded_mean),
    planted("rlaif.train.rl.objectives.mean_of", with_what_is_written_on_padding),
    planted("rlaif.train.task.mean_of", with_what_is_written_on_padding),
)
def test_figures_are_means_over_the_answers_tokens_however_they_are_laid_out():
    model = LogprobModel(double_llama(seed=2))
    old = LogprobModel(double_llama(seed=3))
    found = []
    for batch in batches():
        scores, before = model(batch, with_stats=True), old(batch).logprobs.detach()
        figures = objectives.policy_figures(scores.logprobs - before, torch.ones_like(before))
        figures |= {"entropy": task.token_metrics(scores)["entropy"]}
        found.append({name: float(total) / count for name, (total, count) in figures.items()})
    slow = {name: [] for name in found[0]}
    for one in rollouts():  # each answer alone, in a batch without neighbours
        batch = pack([(one.sequence(),)])
        scores, before = model(batch, with_stats=True), old(batch).logprobs
        gaps = (scores.logprobs - before).tolist()
        slow["ratio"] += [math.exp(gap) for gap in gaps]
        slow["approx_kl"] += [math.exp(gap) - 1 - gap for gap in gaps]
        slow["clip_fraction"] += [float(math.exp(gap) > 1.2) for gap in gaps]
        slow["entropy"] += scores.entropy.tolist()
    wanted = {name: math.fsum(values) / 8 for name, values in slow.items()}
    for each in found:
        assert each == pytest.approx(wanted, rel=1e-9)


# --- 14: whitening


WHITEN, MOMENTS = advantages.whiten, shaping.Moments.with_more


def by_process(values, *, sum_over=shaping.alone, **others):
    return WHITEN(values, **others)


def own_moments(self, values, sum_over=shaping.alone):
    return MOMENTS(self, values)


@trap(
    14,
    planted("rlaif.train.rl.advantages.whiten", by_process),
    planted("rlaif.train.rl.shaping.Moments.with_more", own_moments),
)
def test_several_processes_whiten_and_scale_by_what_one_would():
    values = torch.from_numpy(np.random.default_rng(0).normal(1, 2, 23))
    parts = [values[:3], values[3:4], values[4:]]
    white = Processes(3).run(lambda part, sum_over: advantages.whiten(part, sum_over=sum_over), parts)
    assert close(torch.cat(white), advantages.whiten(values))
    moments = Processes(3).run(lambda part, sum_over: shaping.Moments().with_more(part, sum_over), parts)
    assert all(one.deviation == pytest.approx(float(values.std(unbiased=False)), rel=1e-10) for one in moments)


# --- 16: the temperature


def not_at_all(self, temperature):
    return self


def of_the_logprobs(hidden, head, targets, **others):
    """log π / T: no distribution at all."""
    found = token_logprobs(hidden, type(head)(head.weight, head.bias), targets, **others)
    return TokenScores(found.logprobs * head.scale, found.entropy, found.is_greedy)


@trap(
    16,
    planted("rlaif.train.head.Head.at_temperature", not_at_all),
    planted("rlaif.train.forward.token_logprobs", of_the_logprobs),
)
def test_log_probabilities_are_those_of_the_distribution_that_was_sampled():
    """Of divided logits, renormalised: over the whole vocabulary they add up to one, and the first ratio is 1."""
    model, temperature = double_llama(seed=2), 0.5
    prompt = np.array([7, 8, 9])
    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(prompt)[None], use_cache=False).logits[0, -1]
    sampled = (logits / temperature).log_softmax(-1)  # what a sampler draws from
    families = [tuple(Rollout(prompt, np.array([token]), None, False).sequence() for token in range(50))]
    read = LogprobModel(model, temperature=temperature)(pack(families)).logprobs.detach()
    assert float(read.exp().sum()) == pytest.approx(1.0, abs=1e-9)
    figures = objectives.sampler_figures(read, sampled, most=2.0)
    assert {name: float(total) / count for name, (total, count) in figures.items()} == {
        "sampler_kl": pytest.approx(0, abs=1e-12),
        "sampler_gap": pytest.approx(0, abs=1e-9),
        "sampler_weight": pytest.approx(1),
        "sampler_cut": 0.0,
    }


# --- 22: the KL


ESTIMATE = kl.estimate


def clamped(estimator, policy, reference):
    return ESTIMATE(estimator, policy, reference).clamp(-10, 10)


def k1_whatever_is_asked(estimator, policy, reference):
    return kl.k1(policy, reference)


def k3_whatever_is_asked(estimator, policy, reference):
    return kl.k3(policy, reference)


def reference_first(estimator, policy, reference):
    return ESTIMATE(estimator, reference, policy)


def expected_step(estimator, logits, reference):
    """Gradient of the estimator in the loss, over all tokens by their probability."""
    logits = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    logprobs = logits.log_softmax(-1)
    terms = kl.in_loss(estimator, logprobs, reference)
    return torch.autograd.grad((logprobs.detach().exp() * terms).sum(), logits)[0]


def true_step(logits, reference):
    logits = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    logprobs = logits.log_softmax(-1)
    return torch.autograd.grad((logprobs.exp() * (logprobs - reference)).sum(), logits)[0]


@trap(
    22,
    planted("rlaif.train.rl.kl.estimate", clamped),
    planted("rlaif.train.rl.kl.estimate", k1_whatever_is_asked),
    planted("rlaif.train.rl.kl.estimate", k3_whatever_is_asked),
    planted("rlaif.train.rl.kl.estimate", reference_first),
)
def test_the_kl_in_the_loss_pulls_back_and_the_further_the_harder():
    reference = torch.tensor([0.0, -40.0, 1.0], dtype=torch.float64).log_softmax(-1)
    for logits in ([0.5, 0.1, -1.0], [0.0, 2.0, 1.0]):  # near by, and where a clamp's gradient would be 0
        assert close(expected_step("k2", logits, reference), true_step(logits, reference))
    policy = torch.tensor([0.5, 0.1, -1.0], dtype=torch.float64).log_softmax(-1)
    mean = float((policy.exp() * kl.in_reward("k1", policy, reference)).sum())
    assert mean == pytest.approx(float((policy.exp() * (policy - reference)).sum()))
    assert mean > 10
