"""The loop: what a step is, whatever it is divided into; resume; evaluation; and stopping."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.errors import InputError, StoreError, TrainingStopped
from rlaif.train import checkpoint
from rlaif.train.batches import divide, learning_rate, plan_run
from rlaif.train.dpo import DpoTask
from rlaif.train.examples import TrainingRow
from rlaif.train.forward import LogprobModel, RewardModel, sum_by_sequence
from rlaif.train.kto import KtoTask, choose_partners, with_mismatched
from rlaif.train.loop import train
from rlaif.train.reference import reference_sums, weights_digest
from rlaif.train.reward import RewardTask
from rlaif.train.settings import DpoSettings, LoopSettings, OptimiserSettings
from rlaif.train.sft import SftTask
from rlaif.train.task import Layout, Outcome, accuracy_of
from tests.train_models import double_llama, llama, random_pairs

torch.set_num_threads(1)
CLASSIFIER = {"kind": transformers.LlamaForSequenceClassification, "num_labels": 1}


def some_rows(count=11, seed=0):
    draw = np.random.default_rng(seed)
    return [
        TrainingRow(
            family=family,
            probability=float(draw.choice([1.0, 0.8, 0.5, 0.3])),
            weight=float(draw.choice([0.5, 1.0, 2.0])),
            margin=float(draw.random()),
        )
        for family in random_pairs(count, seed)
    ]


def dpo_settings(**changes):
    return DpoSettings(model="m", data=[{"path": "d"}], output="o", **changes)


def make(method, rows, layout=Layout(), model=None, **changes):  # noqa: B008 - a frozen value
    """A task on a fresh float64 model."""
    if method == "reward":
        module = RewardModel(model or double_llama(**CLASSIFIER))
        return RewardTask(rows, layout, use_margin=True, centring=0.01), module
    module = LogprobModel(model or double_llama())
    if method == "sft":
        return SftTask([replace(row, family=row.family[:1]) for row in rows], layout), module
    chosen = dpo_settings(**{"loss": method, "sft_weight": 0.1, **changes})
    if method == "kto":
        answers = [replace(row, family=row.family[:1]) for row in rows]
        both = with_mismatched(answers, choose_partners(answers), chosen.max_length)
        return KtoTask(answers, layout, chosen, sums_of_reference(both)), module
    reference = None
    if method not in ("simpo", "orpo"):
        reference = sums_of_reference(rows)
    return DpoTask(rows, layout, chosen, reference), module


def sums_of_reference(rows):
    return reference_sums(LogprobModel(double_llama(seed=1)), rows, Layout(), 4096, cache=None)


def loop_settings(**changes):
    optimiser = OptimiserSettings(learning_rate=0.01, epsilon=1e-4, warmup_share=0.2, **changes.pop("optimiser", {}))
    return LoopSettings(**{"batch_size": 4, "micro_batch_tokens": 60, "epochs": 2, "optimiser": optimiser, **changes})


def weights_of(module):
    return torch.cat([weight.detach().flatten() for weight in module.parameters()])


def run(method, folder, rows=None, layout=Layout(), evaluation=None, **changes):  # noqa: B008
    task, module = make(method, rows or some_rows(), layout)
    report = train(task, module, loop_settings(**changes), folder=folder, evaluation=evaluation)
    return weights_of(module), report


METHODS = ("sft", "reward", "sigmoid", "ipo", "orpo", "kto")


@pytest.mark.parametrize("method", METHODS)
def test_how_a_step_is_divided_and_laid_out_changes_nothing(method, tmp_path):
    """Six optimizer steps on eleven rows of uneven weight: the last step of an epoch is smaller than the others."""
    wanted, report = run(method, tmp_path / "wanted")
    assert report.steps == 6
    ways = {
        "one row at a time": {"micro_batch_tokens": 1},
        "all rows at once": {"micro_batch_tokens": 10_000},
        "prompts repeated": {"layout": Layout("packed")},
        "padded": {"layout": Layout("off")},
        "idle tokens": {"layout": Layout("shared", 32)},
    }
    for name, changes in ways.items():
        found, _ = run(method, tmp_path / name.replace(" ", "-"), **changes)
        assert (found - wanted).abs().max() < 1e-10, name


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_the_data_file_matters_only_through_the_steps_it_makes(method, tmp_path):
    rows = some_rows(4)  # one step holds them all
    wanted, _ = run(method, tmp_path / "a", rows)
    found, _ = run(method, tmp_path / "b", rows[::-1])
    assert (found - wanted).abs().max() < 1e-10


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("sft", "kto")])
def test_a_soft_row_trains_like_its_hard_duplicates(method, tmp_path):
    """Two epochs on rows with p = 0.75 and weight 4, against three rows as labelled and one exchanged, weight 1."""
    base = [replace(row, weight=1.0, probability=1.0) for row in some_rows(3)]
    soft = [replace(row, probability=0.75, weight=4.0) for row in base]
    hard = [r for row in base for r in (row, row, row, replace(row, family=row.family[::-1]))]
    wanted, _ = run(method, tmp_path / "soft", soft, batch_size=3)
    found, _ = run(method, tmp_path / "hard", hard, batch_size=12)
    assert (found - wanted).abs().max() < 1e-10


@pytest.mark.parametrize("method", ["reward", "sigmoid"])
def test_who_labelled_a_row_cannot_change_a_bit(method, tmp_path):
    """Rows carry no name; the same labels give the same weights and the same log, byte for byte."""
    first, _ = run(method, tmp_path / "human")
    second, _ = run(method, tmp_path / "ai")
    assert torch.equal(first, second)
    assert (tmp_path / "human" / "metrics.jsonl").read_bytes() == (tmp_path / "ai" / "metrics.jsonl").read_bytes()


def test_a_step_is_adamw_on_the_weighted_mean(tmp_path):
    """Against torch's AdamW on a loss written out here: one batch, clipping, decay on matrices alone."""
    rows = some_rows(4)
    task, module = make("reward", rows)
    twin = RewardModel(double_llama(**CLASSIFIER))
    matrices = [w for w in twin.parameters() if w.dim() > 1]
    vectors = [w for w in twin.parameters() if w.dim() == 1]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}], lr=0.01, eps=1e-4
    )
    for _ in range(3):
        total = 0.0
        for row in rows:
            chosen, rejected = twin(Layout().batch([row.family])).double()[:, 0]
            gap, p = chosen - rejected, row.probability
            loss = -p * torch.log(torch.sigmoid(gap - row.margin)) - (1 - p) * torch.log(
                torch.sigmoid(-gap - row.margin)
            )
            total = total + row.weight * (loss + 0.01 * (chosen + rejected) ** 2)
        (total / sum(row.weight for row in rows)).backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.05)
        optimiser.step()
        optimiser.zero_grad()
    optimiser_settings = {"weight_decay": 0.1, "max_grad_norm": 0.05, "schedule": "constant"}
    chosen = loop_settings(epochs=3, optimiser=optimiser_settings)
    chosen = chosen.model_copy(update={"optimiser": chosen.optimiser.model_copy(update={"warmup_share": 0.0})})
    train(task, module, chosen, folder=tmp_path)
    assert (weights_of(module) - weights_of(twin)).abs().max() < 1e-10


def same(one, other):
    """Equal to the last bit, whatever it is made of."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, checkpoint.State):
        return all(same(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def test_dropout_follows_from_the_place_in_the_run_and_not_from_what_came_before(tmp_path):
    found = []
    for number in range(2):
        torch.manual_seed(number)
        module = LogprobModel(double_llama(attention_dropout=0.3))
        task, _ = make("sft", some_rows())
        train(task, module, loop_settings(), folder=tmp_path / str(number))
        found.append(weights_of(module))
    assert torch.equal(*found)
    without, _ = run("sft", tmp_path / "without")
    assert not torch.equal(found[0], without)


def test_the_loss_of_sft_is_the_weighted_mean_over_answer_tokens(tmp_path):
    task, module = make("sft", some_rows())
    report = train(task, module, loop_settings(batch_size=11, max_steps=1), folder=tmp_path)
    first, total, count = LogprobModel(double_llama()), 0.0, 0.0
    for row in task.rows:
        total -= row.weight * float(first(Layout().batch([row.family])).logprobs.detach().sum())
        count += row.weight * row.family[0].num_scored
    assert report.last["loss"] == pytest.approx(total / count, rel=1e-10)


def test_ties_are_half_right_and_undecided_rows_are_not_counted():
    gap = torch.tensor([1.0, -1.0, 0.0, 2.0, -1.0])
    total, count = accuracy_of(gap, torch.tensor([0.9, 1.0, 0.8, 0.5, 0.2]))
    assert (float(total), count) == (1 + 0 + 0.5 + 1, 4)


# --- resume within a process (killing one: tests/faults/test_train_kills.py)


@pytest.mark.parametrize("method", ["sigmoid", "kto"])
def test_a_run_goes_on_from_its_checkpoint_to_the_same_bits(method, tmp_path):
    wanted, _ = run(method, tmp_path / "whole", save_every=2)
    task, module = make(method, some_rows())
    stop_at = 5

    class Stopped(Exception):
        pass

    def watch(done, total, figures):
        if done == stop_at:
            raise Stopped

    with pytest.raises(Stopped):
        train(task, module, loop_settings(save_every=2), folder=tmp_path / "cut", watch=watch)
    task, module = make(method, some_rows())
    report = train(task, module, loop_settings(save_every=2), folder=tmp_path / "cut")
    assert report.resumed_at == 4
    assert torch.equal(weights_of(module), wanted)
    assert (tmp_path / "cut" / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert same(*(checkpoint.newest(tmp_path / name) for name in ("cut", "whole")))


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    task, module = make("reward", some_rows())
    train(task, module, loop_settings(), folder=tmp_path, identity={"data": "a", "model": "m"})
    with pytest.raises(InputError, match="another run: data was a, now it is b"):
        train(task, module, loop_settings(), folder=tmp_path, identity={"data": "b", "model": "m"})


def test_a_damaged_checkpoint_is_named(tmp_path):
    run("reward", tmp_path)
    newest = max(tmp_path.glob("checkpoint-*.pt"))
    newest.write_bytes(newest.read_bytes()[:100])
    with pytest.raises(StoreError, match=newest.name):
        run("reward", tmp_path)


def test_old_checkpoints_are_removed_and_no_partial_file_stays(tmp_path):
    run("reward", tmp_path, save_every=1, keep_checkpoints=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-00000005.pt",
        "checkpoint-00000006.pt",
        "metrics.jsonl",
    ]


# --- figures, evaluation, stopping


def test_metrics_are_means_over_rows_not_over_passes(tmp_path):
    """Ties count half, rows of p = 1/2 not at all; the same however a step is divided."""
    found = {}
    for tokens in (1, 50, 10_000):
        folder = tmp_path / str(tokens)
        run("reward", folder, micro_batch_tokens=tokens)
        found[tokens] = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    for lines in zip(*found.values(), strict=True):
        for line in lines[1:]:
            assert line == {name: pytest.approx(value, rel=1e-9, abs=1e-9) for name, value in lines[0].items()}


def test_evaluation_is_the_mean_over_the_held_out_rows(tmp_path):
    task, module = make("sigmoid", some_rows())
    held_out, _ = make("sigmoid", some_rows(7, seed=5))
    report = train(task, module, loop_settings(eval_every=3), folder=tmp_path, evaluation=held_out)
    module.eval()
    outcome = held_out.compute(module, range(7), torch.device("cpu"))
    assert report.evaluation["eval_loss"] == pytest.approx(
        float(outcome.loss.detach()) / sum(held_out.weights), rel=1e-9
    )
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert [line["step"] for line in lines if "eval_loss" in line] == [3, 6]
    assert "eval_entropy" in report.evaluation


def test_patience_ends_a_run_and_the_best_weights_stay(tmp_path):
    """Trained towards answers, evaluated on the same pairs exchanged: the first evaluation is the best one."""
    task, module = make("sigmoid", some_rows(), sft_weight=0.0)
    exchanged = [replace(row, family=row.family[::-1]) for row in task.rows]
    held_out = DpoTask(exchanged, Layout(), dpo_settings(), task.reference[:, ::-1].copy())
    chosen = loop_settings(epochs=20, eval_every=2, patience=2)
    report = train(task, module, chosen, folder=tmp_path, evaluation=held_out)
    assert report.stopped_early
    losses = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    losses = {line["step"]: line["eval_loss"] for line in losses if "eval_loss" in line}
    best = min(losses, key=losses.get)
    assert report.steps == best + 4
    module.eval()
    outcome = held_out.compute(module, range(11), torch.device("cpu"))
    assert float(outcome.loss.detach()) / sum(held_out.weights) == pytest.approx(losses[best], rel=1e-9)


def test_a_tracker_gets_every_figure_of_the_log(tmp_path):
    """A real event file of tensorboard, read back record by record (each: length, checksum, payload, checksum)."""
    from tensorboardX.proto.event_pb2 import Event

    run("reward", tmp_path, trackers=("tensorboard",))
    (file,) = (tmp_path / "rlaif").glob("events.out.tfevents.*")
    data, at, found = file.read_bytes(), 0, {}
    while at < len(data):
        length = int.from_bytes(data[at : at + 8], "little")
        event = Event.FromString(data[at + 12 : at + 12 + length])
        found |= {(event.step, value.tag): value.simple_value for value in event.summary.value}
        at += length + 16
    for line in (json.loads(line) for line in (tmp_path / "metrics.jsonl").open()):
        for name, value in line.items():
            if name != "step":
                assert found[line["step"], name] == pytest.approx(value, rel=1e-6), name


class Spoilt(RewardTask):
    """A task whose loss is not a number for row 3 from its second epoch on."""

    calls = 0

    def compute(self, module, rows, device):
        outcome = super().compute(module, rows, device)
        self.calls += 3 in rows
        return Outcome(outcome.loss * math.nan, outcome.metrics) if 3 in rows and self.calls > 1 else outcome


def test_a_loss_that_is_not_a_number_stops_before_the_weights_are_touched(tmp_path):
    module = RewardModel(double_llama(**CLASSIFIER))
    task = Spoilt(some_rows(), Layout())
    with pytest.raises(TrainingStopped, match=r"step [456]: the loss is not a number, among rows .*data:3\b"):
        train(task, module, loop_settings(save_every=1), folder=tmp_path, place_of=lambda row: f"data:{row}")
    assert torch.isfinite(weights_of(module)).all()
    state = checkpoint.newest(tmp_path)
    assert all(torch.isfinite(weight).all() for weight in state.weights.values())
    assert torch.equal(torch.cat([w.flatten() for w in state.weights.values()]), weights_of(module))


def test_under_bf16_weights_stay_float32_and_the_loss_falls(tmp_path):
    rows = [replace(row, probability=1.0) for row in some_rows()]
    module = LogprobModel(llama())
    reference = reference_sums(module, rows, Layout(), 200, cache=None, precision="bf16")
    task = DpoTask(rows, Layout("shared", 32), dpo_settings(), reference)
    report = train(task, module, loop_settings(precision="bf16", epochs=6), folder=tmp_path)
    first = json.loads((tmp_path / "metrics.jsonl").open().readline())
    assert first["loss"] == pytest.approx(math.log(2), abs=0.02)  # policy and reference are the same model
    assert report.last["loss"] < first["loss"] - 0.05
    assert {weight.dtype for weight in module.parameters()} == {torch.float32}


# --- the reference


def test_reference_log_probabilities_are_kept_by_content(tmp_path):
    rows, module = some_rows(), LogprobModel(double_llama())
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    first = reference_sums(module, rows, Layout(), 60, cache=tmp_path)
    computed = len(calls)
    assert computed > 3
    relabelled = [replace(row, probability=0.1, weight=9.0) for row in rows[::-1]]
    again = reference_sums(module, relabelled, Layout(), 500, cache=tmp_path)
    assert len(calls) == computed  # other labels, other order, other passes: nothing is computed
    assert np.array_equal(again, first[::-1])
    reference_sums(LogprobModel(double_llama(seed=3)), rows, Layout(), 60, cache=tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == 2  # another model, another file
    for row, kept in zip(rows, first, strict=True):
        batch = Layout("off").batch([row.family])
        assert np.abs(kept - sum_by_sequence(module(batch).logprobs, batch).detach().numpy()).max() < 1e-11


def test_the_reward_is_zero_where_policy_and_reference_are_one_model(tmp_path):
    rows, module = some_rows(), LogprobModel(llama())
    task = DpoTask(rows, Layout(), dpo_settings(), reference_sums(module, rows, Layout(), 60, cache=None))
    outcome = task.compute(module, range(len(rows)), torch.device("cpu"))
    for name in ("reward_chosen", "reward_rejected", "reward_gap"):
        assert abs(float(outcome.metrics[name][0])) < 1e-5


def test_the_digest_of_weights_tells_models_apart():
    assert weights_digest(llama()) == weights_digest(llama())
    assert len({weights_digest(llama()), weights_digest(llama(seed=1)), weights_digest(llama().double())}) == 3


# --- plans


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 3), st.integers(0, 5))
def test_every_epoch_takes_every_row_once(num_rows, batch_size, epochs, seed):
    plan = plan_run(num_rows, batch_size, epochs, None, seed)
    taken = [plan.rows(step) for step in range(plan.num_steps)]
    for epoch in range(epochs):
        of_epoch = taken[epoch * plan.steps_per_epoch : (epoch + 1) * plan.steps_per_epoch]
        assert sorted(row for rows in of_epoch for row in rows) == list(range(num_rows))
    assert plan.epoch(plan.num_steps) == epochs


def test_epochs_and_seeds_have_orders_of_their_own():
    plan, other = (plan_run(50, 50, 2, None, seed) for seed in (0, 1))
    assert len({tuple(order) for order in (plan.rows(0), plan.rows(1), other.rows(0))}) == 3


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=30), st.integers(1, 60), st.integers(1, 4))
def test_passes_hold_every_row_once_within_the_budget_and_are_equally_many(sizes, budget, num_processes):
    parts = divide(range(len(sizes)), sizes, budget, num_processes)
    assert len(parts) == num_processes
    assert len({len(passes) for passes in parts}) == 1
    assert sorted(row for passes in parts for one in passes for row in one) == list(range(len(sizes)))
    for one in (one for passes in parts for one in passes):
        assert len(one) <= 1 or sum(sizes[row] for row in one) <= budget


def test_the_learning_rate_climbs_to_its_peak_and_falls_to_its_share():
    def rates(schedule, **more):
        chosen = {"peak": 1.0, "warmup_share": 0.2, "final_share": 0.1, **more}
        return [learning_rate(step, 10, schedule=schedule, **chosen) for step in range(10)]

    assert rates("constant") == pytest.approx([1 / 3, 2 / 3] + [1.0] * 8)
    linear, cosine = rates("linear"), rates("cosine")
    assert linear[2] == cosine[2] == 1.0
    assert linear[9] == pytest.approx(0.1)
    assert cosine[9] == pytest.approx(0.1)
    assert linear[2:] == pytest.approx([1 - 0.9 * k / 7 for k in range(8)])
    assert rates("constant", warmup_share=0.0) == [1.0] * 10
