"""Traps between a batch's numbers and the step that is taken: means, accumulation, the optimizer, overflow."""

import json
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from rlaif.train import loop, losses, stepping
from rlaif.train.settings import LoopSettings, OptimiserSettings
from rlaif.train.task import Layout, Outcome
from tests.traps import test_traps_data, test_traps_models, test_traps_rl
from tests.traps.planted import planted, trap
from tests.unit.test_train_loop import make, some_rows, weights_of

torch.set_num_threads(1)
LEFT_FOR_PPO = {
    24: "a reward model's tokenizer that is not the policy's",
}


def steps(folder, **changes):
    """Two epochs on eleven rows of uneven weight; the metrics log and the weights."""
    folder = Path(tempfile.mkdtemp(dir=folder))  # never one that an earlier run of the same test has finished
    task, module = make("reward", some_rows())
    optimiser = OptimiserSettings(learning_rate=0.01, epsilon=1e-4)
    chosen = LoopSettings(**{"batch_size": 6, "epochs": 2, "optimiser": optimiser, **changes})
    loop.train(task, module, chosen, folder=folder)
    log = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    return log, weights_of(module)


# --- 10: metrics


MEANS = stepping.Stepper.means


def mean_of_means(self, outcomes, total_weight):
    each = [MEANS(self, [outcome], total_weight) for outcome in outcomes]
    return {name: sum(one[name] for one in each if name in one) / len(each) for name in each[0]}


def ties_are_wrong(gap, probability):
    return ((gap > 0) == (probability > 0.5)).double().sum(), float(len(gap))


@trap(
    10,
    planted("rlaif.train.stepping.Stepper.means", mean_of_means),
    planted("rlaif.train.reward.accuracy_of", ties_are_wrong),
)
def test_metrics_are_means_over_rows_and_a_tie_is_half_right(tmp_path):
    (few, _), (many, _) = (steps(tmp_path, micro_batch_tokens=n) for n in (70, 10_000))
    for one, other in zip(few, many, strict=True):
        assert one == {name: pytest.approx(value, rel=1e-9, abs=1e-9) for name, value in other.items()}
    task, module = make("reward", some_rows())
    torch.nn.init.zeros_(module.model.score.weight)  # every gap is 0
    total, count = task.compute(module, range(11), torch.device("cpu")).metrics["accuracy"]
    assert float(total) / count == 0.5


# --- 15: accumulation


COMPUTE = loop._Loop.compute


def mean_of_its_own_pass(self, task, rows):
    outcome = COMPUTE(self, task, rows)
    return Outcome(outcome.loss / len(rows), outcome.metrics)


@trap(15, planted("rlaif.train.loop._Loop.compute", mean_of_its_own_pass))
def test_how_often_gradients_are_added_up_changes_neither_weights_nor_loss_nor_norm(tmp_path):
    found = [steps(tmp_path, micro_batch_tokens=n) for n in (1, 60, 10_000)]
    for log, weights in found[1:]:
        assert (weights - found[0][1]).abs().max() < 1e-10
        for one, other in zip(log, found[0][0], strict=True):
            assert one["loss"] == pytest.approx(other["loss"], rel=1e-9)
            assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-9)


# --- 23: Adam


class EpsilonBeforeTheCorrection(torch.optim.Optimizer):
    """TensorFlow's Adam: lr · √(1 - β₂ᵗ) / (1 - β₁ᵗ) · m / (√v + ε)."""

    def __init__(self, weights, settings):
        super().__init__(weights, {"lr": settings.learning_rate})
        self.settings, self.time = settings, 0

    @torch.no_grad()
    def step(self):
        s, self.time = self.settings, self.time + 1
        for weight in self.param_groups[0]["params"]:
            state = self.state[weight]
            m = state["m"] = s.beta1 * state.get("m", 0) + (1 - s.beta1) * weight.grad
            v = state["v"] = s.beta2 * state.get("v", 0) + (1 - s.beta2) * weight.grad**2
            scale = s.learning_rate * (1 - s.beta2**self.time) ** 0.5 / (1 - s.beta1**self.time)
            weight -= scale * m / (v.sqrt() + s.epsilon)


def as_in_tensorflow(module, settings):
    return EpsilonBeforeTheCorrection(module.parameters(), settings)


@trap(23, planted("rlaif.train.stepping.make_optimiser", as_in_tensorflow))
def test_adams_epsilon_is_added_after_the_correction():
    """Three steps by hand: m̂ / (√v̂ + ε), hats divided by 1 - βᵗ."""
    settings = OptimiserSettings(learning_rate=0.1, epsilon=0.01)
    module = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
    torch.nn.init.ones_(module.weight)
    optimiser = stepping.make_optimiser(module, settings)
    w, m, v = 1.0, 0.0, 0.0
    for time, gradient in enumerate((0.3, -0.02, 0.001), 1):
        module.weight.grad = torch.tensor([[gradient]], dtype=torch.float64)
        optimiser.step()
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        w -= 0.1 * (m / (1 - 0.9**time)) / ((v / (1 - 0.999**time)) ** 0.5 + 0.01)
        assert module.weight.item() == pytest.approx(w, rel=1e-12)


# --- 25: overflow


AS_WRITTEN = SimpleNamespace(logsigmoid=lambda x: -torch.log(1 + torch.exp(-x)), relu=torch.relu)


@trap(25, planted("rlaif.train.losses.F", AS_WRITTEN))
def test_a_loss_far_out_is_large_and_not_infinite():
    """log(1 + exp(x)) is infinite from x = 89 on in float32, and its gradient no number."""
    far = torch.tensor([-500.0], requires_grad=True)
    zero, one = torch.zeros(1), torch.ones(1)
    found = (losses.bradley_terry(far, zero, one), losses.dpo(far, zero, one, beta=1.0))
    for loss in found:
        (slope,) = torch.autograd.grad(loss, far)
        assert loss.item() == pytest.approx(500.0)
        assert slope.item() == pytest.approx(-1.0)


# --- the list, and the test of these tests


def test_every_trap_has_a_test_or_waits_for_ppo():
    here = globals().values()
    tests = [*vars(test_traps_data).values(), *vars(test_traps_models).values(), *vars(test_traps_rl).values(), *here]
    tested = {one.trap for one in tests if isinstance(getattr(one, "trap", None), int)}
    assert tested | set(LEFT_FOR_PPO) == set(range(1, 26))
    assert not tested & set(LEFT_FOR_PPO)


def test_a_mistake_that_nobody_notices_is_noticed():
    @trap(0, planted("rlaif.train.losses.dpo", losses.dpo))
    def looks_the_other_way():
        assert losses.dpo is not None

    with pytest.raises(pytest.fail.Exception, match="nothing was noticed"):
        looks_the_other_way()


def test_a_layout_is_what_traps_are_planted_in():
    """`task.pad` and `task.pack` are what batches are made with, or half of the traps would plant nothing."""
    from rlaif.train import task

    called = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("pad", "pack"):
            patch.setattr(task, name, lambda *_, name=name, **__: called.append(name))
        Layout("off").batch([])
        Layout().batch([])
    assert called == ["pad", "pack"]
