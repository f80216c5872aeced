"""One process of an RL training by several; see test_rl_processes.py.

`python -m tests.unit.rl_process_child FOLDER`
"""

import sys
from pathlib import Path

import torch

from tests.rl_kit import grpo, make_learner, ppo
from tests.train_models import double_llama

CHOSEN = {
    "ppo": ppo(iterations=5, kl={"coefficient": 0.1, "target": 0.5}, rollout={"prompts": 5, "max_new_tokens": 4}),
    "grpo": grpo(iterations=10, rollout={"prompts": 3, "group_size": 2, "max_new_tokens": 4}),
}


def train_all(folder):
    """Twenty optimizer steps of each method."""
    for name, settings in CHOSEN.items():
        learner = make_learner(settings, folder / name, make=double_llama)
        learner.run()
        if learner.accelerator.is_main_process:
            weights = [one.detach().flatten() for one in learner.stepper.plain.parameters()]
            torch.save(torch.cat(weights), folder / f"{name}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    train_all(Path(sys.argv[1]))
