"""One process of a data-parallel training; see test_train_processes.py. `python -m tests.unit.process_child FOLDER`"""

import sys
from pathlib import Path

import torch

from tests.unit.test_train_loop import make, run, some_rows


def train_all(folder):
    """Train every method for six steps on rows of uneven weight, and keep the weights."""
    folder.mkdir(exist_ok=True)
    for method in ("sft", "reward", "sigmoid", "kto"):
        held_out, _ = make(method, some_rows(5, seed=9))
        found, _ = run(method, folder / method, evaluation=held_out, micro_batch_tokens=40)
        torch.save(found, folder / f"{method}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    train_all(Path(sys.argv[1]))
