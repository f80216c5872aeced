"""RL trainings in forked children that die by SIGKILL at chosen moments; each is resumed until it has ended.

    python -m tests.faults.rl_child FOLDER DEATHS METHOD…

As `train_child`; the moments are

    compute N    before the N-th pass that learns
    sample N     before the N-th call of the sampler
    reward N     before the N-th answers are rewarded
    half N       the N-th file half written: a checkpoint, or an iteration's answers
    rename N     the N-th file written but not yet in its place
    line N       half a line of the metrics log written
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from rlaif.train import checkpoint
from rlaif.train.rl.decode import DecodeSampler
from rlaif.train.rl.learner import Learner
from rlaif.train.rl.policy import PolicyModel, Reference, value_head
from rlaif.train.rl.policy_task import PolicyTask
from rlaif.train.rl.rewards import Rewards
from tests.faults.train_child import SAVE, arm_files, die, in_a_child, kill_and_resume, with_lora
from tests.rl_kit import END, count_of_sevens, decode, grpo, ppo, some_prompts
from tests.train_models import llama

MOMENTS = {"compute": 40, "sample": 5, "reward": 5, "half": 9, "rename": 9, "line": 5}
COMMON = {
    "iterations": 4,
    "kl": {"coefficient": 0.1, "target": 0.5},  # a coefficient that moves
    "shape": {"scale": True},  # moments of all scores
    "loop": {"micro_batch_tokens": 40, "save_every": 1, "optimiser": {"learning_rate": 0.01}},
}


class Watching:
    """An observer with something to remember."""

    def __init__(self):
        self.kls = []

    def note(self, seen, figures):
        self.kls.append(figures["kl"])
        return {"highest_kl": max(self.kls)}, None

    def memory(self):
        return {"kls": list(self.kls)}

    def restore(self, memory):
        self.kls = list(memory["kls"])


def reward(answers):
    values = np.array(count_of_sevens(answers))
    return Rewards(values, {"sevens": values}, np.stack([values, values + 1.0], axis=1))


def build(method, folder):
    model = with_lora(llama(), method, "CAUSAL_LM")
    if method.endswith("lora"):
        for part in model.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
    is_ppo = method.startswith("ppo")
    value = value_head(model) if is_ppo else None
    reference = Reference() if method.endswith("lora") else Reference(llama())
    return Learner(
        PolicyModel(model, value=value),
        reference,
        some_prompts(),
        DecodeSampler(model),
        reward,
        (ppo if is_ppo else grpo)(**COMMON),
        decode=decode,
        stop_ids=(END,),
        folder=folder,
        identity={"method": method},
        observers=[Watching()],
    )


def before(folder, moment, number, function):
    """The function, which dies before its N-th call."""
    count = iter(range(1, 10_000))

    def dying(*args, **others):
        if next(count) == number:
            die(folder, f"before {moment}")
        return function(*args, **others)

    return dying


def arm(folder, moment, number):
    if moment == "compute":
        PolicyTask.compute = before(folder, moment, number, PolicyTask.compute)
    elif moment == "sample":
        DecodeSampler.sample = before(folder, moment, number, DecodeSampler.sample)
    elif moment == "reward":
        globals()["reward"] = before(folder, moment, number, reward)
    else:
        arm_files(folder, moment, number)


def train(method, folder, deaths):
    """One run from start or checkpoint, in a child; True when it came to its end."""

    def run():
        if deaths:
            arm(folder, *deaths)
        learner = build(method, folder)
        learner.run()
        SAVE({"weights": checkpoint.trained_weights(learner.stepper.plain)}, folder / "final.pt")

    return in_a_child(folder, run)


if __name__ == "__main__":
    torch.set_num_threads(1)
    top, deaths, *methods = sys.argv[1:]
    died = {
        method: kill_and_resume(method, Path(top) / method, int(deaths), train=train, moments=MOMENTS)
        for method in methods
    }
    sys.stdout.write(json.dumps(died) + "\n")
