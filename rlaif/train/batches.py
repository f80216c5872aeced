"""Which rows an optimizer step takes, and how they are divided into forward passes: pure functions of seed and step.

Nothing here is state. A resumed run asks for step 412 and gets the rows an undisturbed run had there; the same holds
for every process, which all see the whole plan and take their own part of it.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlaif.identity import seed_from


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a run. Every row is taken once per epoch; an epoch's last step may be smaller, none is dropped."""

    num_rows: int
    batch_size: int
    num_steps: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.num_rows // self.batch_size)

    def epoch(self, step: int) -> float:
        """Passes over the data after `step` steps."""
        whole, rest = divmod(step, self.steps_per_epoch)
        return whole + min(rest * self.batch_size / self.num_rows, 1.0)

    def rows(self, step: int) -> list[int]:
        """The rows of a step, counted from 0."""
        epoch, number = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng(seed_from(f"order|{self.seed}|{epoch}")).permutation(self.num_rows)
        return [int(row) for row in order[number * self.batch_size : (number + 1) * self.batch_size]]


def plan_run(num_rows: int, batch_size: int, epochs: float, max_steps: int | None, seed: int) -> Plan:
    """As many steps as the epochs have, at least one."""
    per_epoch = -(-num_rows // batch_size)
    wanted = max(1, round(epochs * per_epoch))
    return Plan(num_rows, batch_size, min(wanted, max_steps or wanted), seed)


def divide(rows: Sequence[int], sizes: Sequence[int], budget: int, num_processes: int = 1) -> list[list[list[int]]]:
    """Per process its forward passes, each at most `budget` tokens (a longer row goes alone), equally many for all.

    The longest rows are placed first, each where the fewest tokens are: passes come out evenly filled. When there are
    fewer rows than processes, the last ones get passes without rows.
    """
    ordered = sorted(rows, key=lambda row: (-sizes[row], row))
    wanted = -(-sum(sizes[row] for row in rows) // budget)
    passes = -(-min(wanted, len(rows)) // num_processes) * num_processes
    while True:
        bins: list[list[int]] = [[] for _ in range(passes)]
        filled = [(0, place) for place in range(passes)]  # a heap: the emptiest first
        for row in ordered:
            total, place = filled[0]
            bins[place].append(row)
            heapq.heapreplace(filled, (total + sizes[row], place))
        if all(total <= budget or len(bins[place]) <= 1 for total, place in filled):
            return [bins[process::num_processes] for process in range(num_processes)]
        passes += num_processes


def learning_rate(
    step: int, num_steps: int, *, peak: float, schedule: str, warmup_share: float, final_share: float
) -> float:
    """The rate of a step, counted from 0. Warm-up climbs to the peak; the last step has the final share of it."""
    warmup = round(warmup_share * num_steps)
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if schedule == "constant":
        return peak
    done = (step - warmup) / max(1, num_steps - 1 - warmup)
    left = 1.0 - done if schedule == "linear" else 0.5 * (1.0 + float(np.cos(np.pi * done)))
    return peak * (final_share + (1.0 - final_share) * left)
