"""KTO: single answers against a baseline that belongs to the whole step."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlaif.train.examples import TrainingRow
from rlaif.train.forward import LogprobModel
from rlaif.train.kto import KtoTask, choose_partners, with_mismatched
from rlaif.train.loop import train
from rlaif.train.task import Layout
from tests.train_models import double_llama, random_pairs, sequence
from tests.unit.test_train_loop import dpo_settings, loop_settings, some_rows, sums_of_reference, weights_of

torch.set_num_threads(1)


def answers(count=8):
    return [replace(row, family=row.family[:1]) for row in some_rows(count)]


def kto_task(rows, **changes):
    partners = choose_partners(rows)
    settings = dpo_settings(loss="kto", beta=0.3, desirable=1.2, undesirable=0.7, **changes)
    reference = sums_of_reference(with_mismatched(rows, partners, settings.max_length))
    return KtoTask(rows, Layout(), settings, reference, partners)


def logprob(model, ids, scored):
    """One sequence alone, one token at a time, from the model's own whole logits."""
    logits = model(input_ids=torch.from_numpy(ids)[None]).logits[0].detach().numpy()
    shares = logits - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True))
    shares -= logits.max(-1, keepdims=True)
    return sum(shares[at - 1, ids[at]] for at in range(1, len(ids)) if scored[at])


def test_the_loss_of_a_step_is_the_papers_with_the_baseline_of_all_its_rows(tmp_path):
    """arXiv:2402.01306 eq. 8 by hand: z0 from every row's prompt with its partner's answer, clamped at 0."""
    policy, reference, rows = double_llama(), double_llama(seed=1), answers()
    task = kto_task(rows, max_length=20)
    ratios, mismatched = [], []
    for row, partner in zip(rows, choose_partners(rows), strict=True):
        one, other = row.family[0], rows[partner].family[0]
        glued = np.concatenate([one.ids[~one.scored], other.ids[other.scored]])[:20]
        for found, ids, scored in (
            (ratios, one.ids, one.scored),
            (mismatched, glued, np.arange(len(glued)) >= (~one.scored).sum()),
        ):
            found.append(logprob(policy, ids, scored) - logprob(reference, ids, scored))
    weight, p = np.array([(row.weight, row.probability) for row in rows]).T
    baseline = max(0.0, (weight * mismatched).sum() / weight.sum())
    assert baseline > 0.1
    good, bad = (1 / (1 + np.exp(sign * 0.3 * (np.array(ratios) - baseline))) for sign in (1, -1))
    wanted = (weight * (p * 1.2 * good + (1 - p) * 0.7 * bad)).sum() / weight.sum()
    settings = loop_settings(batch_size=8, max_steps=1, micro_batch_tokens=30)
    report = train(task, LogprobModel(policy), settings, folder=tmp_path)
    assert report.last["loss"] == pytest.approx(wanted, rel=1e-10)
    assert report.last["kl"] == pytest.approx(baseline, rel=1e-10)


def test_a_partner_has_another_prompt_and_follows_from_the_content_alone():
    rows = answers()
    partners = choose_partners(rows)
    for row, partner in enumerate(partners):
        own, other = (rows[place].family[0] for place in (row, partner))
        assert not np.array_equal(own.ids[~own.scored], other.ids[~other.scored])
    backwards = choose_partners(rows[::-1])
    assert [len(rows) - 1 - place for place in backwards[::-1]] == partners
    two = [TrainingRow(family=(sequence([5], answer),)) for answer in ([6], [7])]
    assert choose_partners(two) == [1, 0]  # one prompt: the other answer is all there is


def test_a_mismatched_answer_is_cut_where_the_whole_grows_too_long():
    rows = [TrainingRow(family=pair[:1]) for pair in random_pairs(30, prompt=(1, 20), answer=(1, 20))]
    limit = 1 + max(int(row.family[0].scored.argmax()) for row in rows)
    whole, cut = (with_mismatched(rows, choose_partners(rows), length) for length in (100, limit))
    assert max(len(row.family[1]) for row in whole) > limit
    for one, other in zip(whole, cut, strict=True):
        assert np.array_equal(one.family[1].ids[:limit], other.family[1].ids)
    assert all(row.family[1].num_scored for row in cut)


def test_an_answer_of_uncertain_worth_trains_like_its_hard_duplicates(tmp_path):
    base = [replace(row, weight=1.0) for row in answers(3)]
    soft = [replace(row, probability=0.75, weight=4.0) for row in base]
    hard = [replace(row, probability=float(copy < 3)) for row in base for copy in range(4)]
    found = []
    for rows, name in ((soft, "soft"), (hard, "hard")):
        module = LogprobModel(double_llama())
        train(kto_task(rows, sft_weight=0.1), module, loop_settings(batch_size=len(rows)), folder=tmp_path / name)
        found.append(weights_of(module))
    assert (found[0] - found[1]).abs().max() < 1e-10


def test_training_raises_good_answers_and_lowers_bad_ones(tmp_path):
    rows = [replace(row, probability=float(number % 2), weight=1.0) for number, row in enumerate(answers())]
    report = train(kto_task(rows), LogprobModel(double_llama()), loop_settings(epochs=12), folder=tmp_path)
    assert report.last["reward_desirable"] > report.last["reward_undesirable"] + 0.5
