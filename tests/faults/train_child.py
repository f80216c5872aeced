"""Trains in forked children that die by SIGKILL at chosen moments, resumes each, and says how it ended.

    python -m tests.faults.train_child FOLDER METHOD=DEATHS …

METHOD is sft, reward, dpo or a loss of its family, with "-lora" behind it for adapters.

One process for all, because importing torch costs more than the trainings. Every child trains
in float32 with dropout (a wrong random state would show) and dies at one of these moments:

    compute N    before the N-th forward pass: at a step's beginning, between its passes, or in an evaluation
    half N       the N-th file half written
    rename N     the N-th file written but not yet in its place
    line N       half a line of the metrics log written
    sums N       in the N-th pass over what a step has to know beforehand (KTO)

Beside what the trainer writes, every child keeps the order of its data: `order/STEP` has the rows of each pass.
"""

import json
import os
import random
import signal
import sys
import traceback
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import transformers

from rlaif.train import checkpoint, loop
from rlaif.train.dpo import DpoTask
from rlaif.train.examples import TrainingRow
from rlaif.train.forward import LogprobModel, RewardModel
from rlaif.train.journal import Journal
from rlaif.train.kto import KtoTask, choose_partners, with_mismatched
from rlaif.train.reference import reference_sums
from rlaif.train.reward import RewardTask
from rlaif.train.settings import WITHOUT_REFERENCE, DpoSettings, LoopSettings, OptimiserSettings
from rlaif.train.sft import SftTask
from rlaif.train.task import Layout
from tests.train_models import llama, random_pairs

MOMENTS = {"compute": 40, "half": 5, "rename": 5, "line": 14}
SETTINGS = LoopSettings(
    batch_size=4,
    micro_batch_tokens=40,
    epochs=4,
    save_every=3,
    eval_every=5,
    patience=9,
    optimiser=OptimiserSettings(learning_rate=0.01),
)


def die(folder, moment):
    """Say in `deaths` where it was, then die as by `kill -9`."""
    with (folder / "deaths").open("a") as stream:
        stream.write(moment + "\n")
    os.kill(os.getpid(), signal.SIGKILL)


def keep_order():
    """Have the loop note which rows every pass of a step takes; a step that is done again begins its file anew."""

    def step(self, number):
        self.at, self.passes = number, 0
        (self.folder / "order").mkdir(exist_ok=True)
        (self.folder / "order" / f"{number:03}").write_text("")
        return STEP(self, number)

    def compute(self, task, rows):
        if task is self.task:
            self.passes += 1
            with (self.folder / "order" / f"{self.at:03}").open("a") as stream:
                stream.write(f"{list(rows)}\n")
        return COMPUTE(self, task, rows)

    loop._Loop.step, loop._Loop.compute = step, compute


def build(method, folder):
    draw = np.random.default_rng(0)
    rows = [TrainingRow(family=f, probability=float(draw.random()), weight=float(1 + draw.random())) for f in PAIRS]
    if method.startswith("reward"):
        model = llama(kind=transformers.LlamaForSequenceClassification, num_labels=1, attention_dropout=0.2)
        return RewardTask(rows, Layout()), RewardModel(with_lora(model, method, "SEQ_CLS"))
    model = with_lora(llama(attention_dropout=0.2), method, "CAUSAL_LM")
    if method.startswith("sft"):
        return SftTask([TrainingRow(family=row.family[:1]) for row in rows], Layout()), LogprobModel(model)
    loss = method.removesuffix("-lora").replace("dpo", "sigmoid")
    settings = DpoSettings(model="m", data=[{"path": "d"}], output="o", loss=loss)
    module = LogprobModel(model)
    if loss == "kto":
        rows = [TrainingRow(family=row.family[:1], probability=row.probability, weight=row.weight) for row in rows]
        partners = choose_partners(rows)
        both = with_mismatched(rows, partners, settings.max_length)
        sums = reference_sums(module, both, Layout(), 40, cache=folder / "reference")
        return KtoTask(rows, Layout(), settings, sums, partners), module
    sums = None
    if loss not in WITHOUT_REFERENCE:
        sums = reference_sums(module, rows, Layout(), 40, cache=folder / "reference")
    return DpoTask(rows, Layout(), settings, sums), module


def with_lora(model, method, kind):
    if not method.endswith("lora"):
        return model
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    return get_peft_model(model, LoraConfig(task_type=kind, r=2, lora_dropout=0.1, target_modules=["q_proj", "v_proj"]))


def arm(folder, moment, number):
    """Make this process die at the moment."""
    count = iter(range(1, 10_000))
    compute = loop._Loop.compute

    def in_a_pass(self, task, rows):
        if next(count) == number:
            is_between = task is self.task and self.passes
            die(folder, "between passes" if is_between else "first pass" if task is self.task else "evaluation")
        return compute(self, task, rows)

    def before_a_step(self, module, rows, device):
        if next(count) == number:
            die(folder, "sums")
        return STEP_SUMS(self, module, rows, device)

    if moment == "compute":
        loop._Loop.compute = in_a_pass
    elif moment == "sums":
        KtoTask.step_sums = before_a_step
    else:
        arm_files(folder, moment, number)


def arm_files(folder, moment, number):
    """Make it die while the N-th file is written, or before the N-th is in its place, or in the N-th line."""
    count = iter(range(1, 10_000))

    def before_it_is_in_place(path, target):
        if next(count) == number:
            die(folder, "before rename")
        return REPLACE(path, target)

    def half_written(value, stream):
        import io

        whole = io.BytesIO()
        SAVE(value, whole)
        stream.write(whole.getvalue()[: whole.tell() // 2] if (last := next(count) == number) else whole.getvalue())
        if last:
            stream.flush()
            die(folder, "half a file")

    def half_a_line(self, done, figures):
        if next(count) == number:
            with self.log.open("a") as stream:
                stream.write(json.dumps({"step": done, **figures})[:20])
            die(folder, "half a line")
        return WRITE(self, done, figures)

    if moment == "half":
        torch.save = half_written
    elif moment == "rename":
        Path.replace = before_it_is_in_place
    elif moment == "line":
        Journal.write = half_a_line


def train(method, folder, deaths):
    """One run from start or checkpoint, in a child; True when it came to its end."""

    def run():
        keep_order()
        if deaths:
            arm(folder, *deaths)
        task, module = build(method, folder)
        held_out = type(task).__new__(type(task))
        held_out.__dict__.update(task.__dict__)
        loop.train(task, module, SETTINGS, folder=folder, evaluation=held_out)
        SAVE({"weights": checkpoint.trained_weights(module)}, folder / "final.pt")

    return in_a_child(folder, run)


def in_a_child(folder, run):
    """Fork, run, and say whether the child came to its end; it may die, but not fail."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            run()
            status = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(status)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert ended in (0, -signal.SIGKILL), f"the child ended with {ended}"
    return ended == 0


def kill_and_resume(method, folder, count, *, train=train, moments=MOMENTS):
    """Train undisturbed in `whole`, then killed and resumed in `0`, `1`, …; how often they died, by moment."""
    chance = random.Random(method)
    train(method, folder / "whole", None)
    for number in range(count):
        cut = folder / str(number)
        for _ in range(chance.choice([1, 1, 2])):  # some are killed again while they go on
            moment = chance.choice(sorted(moments))
            place = (moment, chance.randint(1, moments[moment]))
            if train(method, cut, place):
                break
        train(method, cut, None)
    lines = [line for path in sorted(folder.glob("*/deaths")) for line in path.read_text().splitlines()]
    return dict(sorted(Counter(lines).items()))


SAVE, REPLACE = torch.save, Path.replace
STEP, COMPUTE, WRITE, STEP_SUMS = loop._Loop.step, loop._Loop.compute, Journal.write, KtoTask.step_sums
PAIRS = random_pairs(11, 0)

if __name__ == "__main__":
    torch.set_num_threads(1)
    top, *wanted = sys.argv[1:]
    died = {}
    for method, deaths in (one.split("=") for one in wanted):
        moments = MOMENTS | ({"sums": 30} if method.startswith("kto") else {})
        died[method] = kill_and_resume(method, Path(top) / method, int(deaths), moments=moments)
    sys.stdout.write(json.dumps(died) + "\n")
