"""How an iteration's groups of answers are divided: into steps, into passes, and among processes. Pure functions of
seed and iteration; every process sees the whole division and takes its own part of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.utils import gather_object

from rlaif.identity import seed_from
from rlaif.train.batches import divide
from rlaif.train.rl.settings import RlSettings


@dataclass(frozen=True)
class Division:
    """Of the iterations of one run. A group is a prompt's answers, and is never divided."""

    settings: RlSettings
    accelerator: Accelerator

    def minibatches(self, iteration: int, epoch: int) -> list[list[int]]:
        """The groups of each step of an epoch, nearly equally many, in an order of the epoch's own."""
        name = f"minibatches|{self.settings.loop.seed}|{iteration}|{epoch}"
        order = np.random.default_rng(seed_from(name)).permutation(self.settings.rollout.prompts)
        return [part.tolist() for part in np.array_split(order, self.settings.minibatches)]

    def passes(self, rows: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
        """This process's passes of a step, each at most `micro_batch_tokens` long."""
        budget, count = self.settings.loop.micro_batch_tokens, self.accelerator.num_processes
        return divide(rows, sizes, budget, count)[self.accelerator.process_index]

    def share(self, count: int) -> range:
        """The groups that this process samples and rewards."""
        return range(self.accelerator.process_index, count, self.accelerator.num_processes)

    def together(self, own: dict[int, Any]) -> dict[int, Any]:
        """What all processes found, by group."""
        if self.accelerator.num_processes == 1:
            return own
        return dict(gather_object(list(own.items())))
