"""Fifty steps in float32, however they are computed: the loss of every step stays within 1e-6.

What one batch gives in every layout is in test_train_forward.py (float64, 1e-12); here it is what training makes of the
rounding that is left. Two processes: test_train_processes.py.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers

from rlaif.train.dpo import DpoTask
from rlaif.train.forward import LogprobModel, RewardModel, sum_by_sequence
from rlaif.train.loop import train
from rlaif.train.packing import pad
from rlaif.train.reference import reference_sums
from rlaif.train.reward import RewardTask
from rlaif.train.settings import DpoSettings, LoopSettings, OptimiserSettings
from rlaif.train.sft import SftTask
from rlaif.train.task import Layout
from tests.train_models import llama, random_pairs
from tests.unit.test_train_forward import LAYOUTS
from tests.unit.test_train_loop import some_rows

torch.set_num_threads(1)
CLASSIFIER = {"kind": transformers.LlamaForSequenceClassification, "num_labels": 1}
END = 2
SCALE = 0.1  # of weights at which the rounding of fifty steps is well inside the bound: at 0.3 it is half of it


class PaddedOnTheLeft(Layout):
    """By seventeen more than needed."""

    def batch(self, families):
        longest = max(len(one) for family in families for one in family)
        return pad(families, side="left", to_length=longest + 17)


class PaddedWithTheEnd(Layout):
    """The pad token is the end of sequence, which answers hold too."""

    def batch(self, families):
        batch = pad(families)
        batch.ids[batch.attention_mask == 0] = END
        return batch


WAYS = {
    "one row at a time": {"micro_batch_tokens": 1},
    "two passes a step": {"micro_batch_tokens": 70},
    "prompts repeated": {"layout": Layout("packed")},
    "idle tokens": {"layout": Layout("shared", 64)},
    "padded on the right": {"layout": Layout("off")},
    "padded on the left, too far": {"layout": PaddedOnTheLeft("off")},
    "padded with the end of sequence": {"layout": PaddedWithTheEnd("off")},
    "logits in chunks of three": {"chunk_rows": 3},
    "activations computed twice": {"is_checkpointed": True},
}


def trajectory(method, folder, *, layout=Layout(), chunk_rows=256, is_checkpointed=False, micro_batch_tokens=10_000):  # noqa: B008
    """Losses of fifty steps of four rows, twelve and a half epochs."""
    rows = some_rows(16)
    if method == "reward":
        module = RewardModel(llama(scale=SCALE, **CLASSIFIER))
        task = RewardTask(rows, layout)
    else:
        module = LogprobModel(llama(scale=SCALE), chunk_rows=chunk_rows)
        task = SftTask([replace(row, family=row.family[:1]) for row in rows], layout)
    if method == "dpo":
        sums = reference_sums(LogprobModel(llama(seed=1, scale=SCALE)), rows, Layout(), 10_000, cache=None)
        task = DpoTask(rows, layout, DpoSettings(model="m", data=[{"path": "d"}], output="o"), sums)
    if is_checkpointed:
        module.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    optimiser = OptimiserSettings(learning_rate=1e-3)
    settings = LoopSettings(batch_size=4, micro_batch_tokens=micro_batch_tokens, epochs=12.5, optimiser=optimiser)
    train(task, module, settings, folder=folder)
    return np.array([json.loads(line)["loss"] for line in (folder / "metrics.jsonl").open()])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sft", "reward", "dpo"])
def test_fifty_steps_have_the_same_losses_however_they_are_computed(method, tmp_path):
    wanted = trajectory(method, tmp_path / "wanted")
    assert len(wanted) == 50
    assert abs(wanted[-10:].mean() - wanted[:10].mean()) > 0.01  # something was learnt
    gaps = {name: np.abs(trajectory(method, tmp_path / name, **way) - wanted).max() for name, way in WAYS.items()}
    assert max(gaps.values()) < 1e-6, gaps


@pytest.mark.parametrize("layout", LAYOUTS)
def test_in_float32_a_reward_is_within_1e_5(layout):
    families = random_pairs(12, seed=3, prompt=(5, 30), answer=(5, 30))
    single, double = llama(**CLASSIFIER), llama(**CLASSIFIER, dtype=torch.float64)
    found = RewardModel(single)(LAYOUTS[layout](families))
    exact = torch.stack(
        [double(input_ids=torch.from_numpy(one.ids)[None]).logits[0] for family in families for one in family]
    )
    assert (found - exact).abs().max() < 1e-5


@pytest.mark.parametrize("layout", LAYOUTS)
def test_in_float32_a_log_probability_of_a_token_is_within_1e_5(layout):
    families = random_pairs(12, seed=3, prompt=(5, 30), answer=(5, 30))
    single, double = llama(), llama(dtype=torch.float64)
    batch = LAYOUTS[layout](families)
    found, exact = (LogprobModel(model)(batch).logprobs for model in (single, double))
    assert (found - exact).abs().max() < 1e-5
    assert sum_by_sequence(found, batch).dtype == torch.float64
