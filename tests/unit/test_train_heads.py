"""Reward models of more than one head or more than two answers: ranked answers, principles, ensembles."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers

from rlaif.errors import DataError
from rlaif.numbers.logistic import fit_logistic
from rlaif.train.examples import Comparison, TrainingRow
from rlaif.train.forward import RewardModel
from rlaif.train.grouping import group_by_prompt
from rlaif.train.heads import Heads, bootstrap_counts, check_principles, fit_combination, fold
from rlaif.train.loop import train
from rlaif.train.reward import RewardTask, note_statistics
from rlaif.train.task import Layout
from tests.train_models import double_llama, sequence
from tests.unit.test_train_loop import loop_settings, some_rows, weights_of

torch.set_num_threads(1)
CPU = torch.device("cpu")


def classifier(num_outputs=1, seed=0):
    kind = transformers.LlamaForSequenceClassification
    return RewardModel(double_llama(seed, kind=kind, num_labels=num_outputs))


def rewards_alone(module, family):
    """Every answer by itself, through the model's own forward: (answers, outputs)."""
    with torch.no_grad():
        return np.array([module.model(input_ids=torch.from_numpy(one.ids)[None]).logits[0].numpy() for one in family])


def ranked_rows(count=5, answers=4):
    draw = np.random.default_rng(2)
    rows = []
    for _ in range(count):
        prompt = draw.integers(3, 50, 4)
        family = tuple(sequence(prompt, draw.integers(3, 50, draw.integers(1, 6))) for _ in range(answers))
        places = draw.permutation(answers)
        pairs = [(int(places[a]), int(places[b])) for a in range(answers) for b in range(a + 1, answers)]
        weight = float(draw.choice([0.5, 1.0, 2.0]))
        comparisons = tuple(Comparison(first=a, second=b, weight=weight / len(pairs)) for a, b in pairs)
        rows.append(TrainingRow(family=family, weight=weight, comparisons=comparisons))
    return rows


# --- ranked answers


def test_the_loss_of_ranked_answers_is_a_mean_over_prompts_of_means_over_pairs(tmp_path):
    rows, module = ranked_rows(), classifier()
    wanted = 0.0
    for row in rows:
        r = rewards_alone(module, row.family)[:, 0]
        terms = [math.log1p(math.exp(-(r[one.first] - r[one.second]))) for one in row.comparisons]
        wanted += row.weight * sum(terms) / math.comb(len(row.family), 2)
    wanted /= sum(row.weight for row in rows)
    settings = loop_settings(batch_size=5, max_steps=1, micro_batch_tokens=40)
    report = train(RewardTask(rows, Layout()), module, settings, folder=tmp_path)
    assert report.last["loss"] == pytest.approx(wanted, rel=1e-10)


def test_a_ranking_trains_like_its_pairs_one_by_one(tmp_path):
    rows = ranked_rows(3)
    pairs = [
        TrainingRow(family=(row.family[one.first], row.family[one.second]), weight=one.weight)
        for row in rows
        for one in row.comparisons
    ]
    found = []
    for number, some in enumerate((rows, pairs)):
        module = classifier()
        train(RewardTask(some, Layout()), module, loop_settings(batch_size=len(some)), folder=tmp_path / str(number))
        found.append(weights_of(module))
    assert (found[0] - found[1]).abs().max() < 1e-10


def test_pairs_of_one_prompt_become_one_row_that_says_the_same(tmp_path):
    (first, second) = some_rows(2)
    prompt = first.family[0].ids[: int(first.family[0].scored.argmax())]
    third, fourth = (sequence(prompt, answer) for answer in ([40, 41], [42]))
    rows = [
        first,
        second,
        TrainingRow(family=(first.family[1], third), probability=0.7, weight=3.0, margin=0.2),
        TrainingRow(family=(fourth, first.family[0]), principles={"kind": 0.4}),
    ]
    grouped, places = group_by_prompt(rows, ["a:1", "a:2", "a:3", "a:4"])
    assert places == ["a:1 and 2 more", "a:2"]
    assert grouped[1] is second
    assert len(grouped[0].family) == 4
    assert grouped[0].weight == first.weight + 3.0 + 1.0
    for pair, row in zip(grouped[0].pairs, (rows[0], rows[2], rows[3]), strict=True):
        assert grouped[0].family[pair.first] is row.family[0] or np.array_equal(
            grouped[0].family[pair.first].ids, row.family[0].ids
        )
        assert (pair.probability, pair.weight, pair.margin) == (row.probability, row.weight, row.margin)
        assert pair.principles == row.principles
    found = []
    for number, some in enumerate((rows, grouped)):
        module = classifier()
        task = RewardTask(some, Layout(), use_margin=True, centring=0.01)
        train(task, module, loop_settings(batch_size=len(some)), folder=tmp_path / str(number))
        found.append(weights_of(module))
    assert (found[0] - found[1]).abs().max() < 1e-10


# --- principles and members

HEADS = Heads(("kind", "brief", "never"), members=2)


def rows_with_principles(count=9):
    draw = np.random.default_rng(4)
    said = [{"kind": float(draw.random()), **({"brief": float(draw.random())} if n % 3 else {})} for n in range(count)]
    return [replace(row, principles=one) for row, one in zip(some_rows(count), said, strict=True)]


def test_each_head_learns_from_its_principle_and_each_member_from_its_bootstrap(tmp_path):
    """The loss by loops over rows, members and principles; rows without a verdict under a principle count nothing."""
    rows, module = rows_with_principles(), classifier(HEADS.num_outputs)
    counts = bootstrap_counts(rows, 2, seed=3)
    assert counts.min() == 0
    assert counts.max() > 1
    wanted = 0.0
    for row, seen in zip(rows, counts, strict=True):
        r = rewards_alone(module, row.family).reshape(2, 2, 3)  # answers, members, principles
        for member in range(2):
            for number, name in enumerate(HEADS.principles):
                if name in row.principles:
                    c, d = r[0, member, number], r[1, member, number]
                    p = row.principles[name]
                    loss = p * math.log1p(math.exp(d - c)) + (1 - p) * math.log1p(math.exp(c - d))
                    wanted += row.weight * seen[member] * (loss + 0.01 * (c + d) ** 2) / 6
    wanted /= sum(row.weight for row in rows)
    task = RewardTask(rows, Layout(), centring=0.01, heads=HEADS, seed=3)
    report = train(task, module, loop_settings(batch_size=9, max_steps=1, micro_batch_tokens=40), folder=tmp_path)
    assert report.last["loss"] == pytest.approx(wanted, rel=1e-10)
    assert {"accuracy_kind", "accuracy_brief", "disagreement"} < report.last.keys()
    assert "accuracy_never" not in report.last


def test_answers_to_one_prompt_are_in_a_members_sample_together():
    row = some_rows(1)[0]
    counts = bootstrap_counts([row, replace(row, probability=0.1), *some_rows(400, seed=7)], 3, seed=0)
    assert np.array_equal(counts[0], counts[1])
    assert counts.mean() == pytest.approx(1.0, abs=0.1)
    assert np.array_equal(bootstrap_counts([row], 1, seed=0), [[1.0]])


def test_a_principle_nobody_asked_about_is_an_error():
    with pytest.raises(DataError, match=r"no row has a verdict under the principle 'kin'.*did you mean 'kind'"):
        check_principles(rows_with_principles(), Heads(("kin",)))


def test_a_learnt_combination_is_the_logistic_regression_of_the_labels_on_the_gaps():
    draw = np.random.default_rng(0)
    gaps = draw.normal(0, [1.0, 3.0, 0.2], (4000, 3))
    truth = np.array([1.0, 0.3, -2.0])
    p = 1 / (1 + np.exp(-gaps @ truth))
    weight = draw.choice([0.5, 1.0, 2.0], 4000)
    names = ("a", "b", "c")
    other = fit_logistic(dict(zip(names, gaps.T, strict=True)), p, np.arange(4000), weights=weight)
    assert np.abs(fit_combination(gaps, p, weight, penalty=1e-9) - other.coefficients).max() < 1e-4
    assert np.abs(fit_combination(gaps, p, weight) - truth).max() < 0.05
    perfect = fit_combination(gaps[:50], (gaps[:50, 0] > 0).astype(float), np.ones(50))
    assert np.isfinite(perfect).all()
    assert perfect[0] > 1.0


def test_the_folded_head_gives_the_combination_of_all_heads():
    module, rows = classifier(HEADS.num_outputs), rows_with_principles()
    batch = Layout().batch([row.family for row in rows])
    outputs = HEADS.split(module(batch)).detach().numpy()
    weights = np.array([0.5, -1.0, 2.0])
    stacked = fold(module.model, HEADS, weights)
    assert stacked.shape == (2, 3, 16)
    assert module.model.config.num_labels == 1
    found = module(batch)[:, 0].detach().numpy()
    assert np.abs(found - outputs.mean(axis=1) @ weights).max() < 1e-12


@pytest.mark.parametrize("given", [None, {"kind": 2.0, "brief": -0.5, "never": 0.0}])
def test_the_figures_noted_are_those_of_the_combined_reward(given):
    rows, module = rows_with_principles(), classifier(HEADS.num_outputs)
    task = RewardTask(rows, Layout(), heads=HEADS)
    combination = note_statistics(module, task, loop_settings(), given)
    if given:
        assert combination.tolist() == list(given.values())
    r = np.concatenate([rewards_alone(module, row.family).reshape(2, 2, 3).mean(axis=1) @ combination for row in rows])
    config = module.model.config
    assert (config.reward_mean, config.reward_std) == (pytest.approx(r.mean()), pytest.approx(r.std()))
    assert json.loads(config.to_json_string())["reward_principles"] == list(HEADS.principles)
