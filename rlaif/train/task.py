"""What the loop needs of a method, and what all methods share: rows, their layout, and sums that become means.

A method is a `Task`: which rows there are, what each counts for, and the loss of some of them as a *sum*. The loop
divides by the weights of the whole optimizer step, so a step's gradient does not depend on how its rows were spread
over forward passes and processes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from rlaif.train.examples import TrainingRow
from rlaif.train.head import TokenScores
from rlaif.train.packing import Batch, Family, pack, packed_size, pad
from rlaif.train.settings import StepSettings

Sums = Mapping[str, tuple[Tensor | float, Tensor | float]]  # name -> (sum, number of things summed)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Some rows' Σ weight · loss (differentiable), and metrics as sums: means over any set of rows are then exact."""

    loss: Tensor
    metrics: Sums


class Task(Protocol):
    """A method on its rows. `weights[i]` is what row i adds to the loss's denominator, `sizes[i]` its tokens."""

    sizes: Sequence[int]
    weights: Sequence[float]

    def compute(self, module: nn.Module, rows: Sequence[int], device: torch.device) -> Outcome: ...


@runtime_checkable
class StepTask(Protocol):
    """A task whose losses depend on a mean over the whole step: asked for its sums, without gradient, before the first
    loss, and told the mean over all passes and processes."""

    def step_sums(self, module: nn.Module, rows: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]: ...

    def note_step(self, mean: Tensor) -> None: ...


@dataclass(frozen=True, slots=True)
class Layout:
    """How rows become batches."""

    packing: str = "shared"
    multiple_of: int = 1

    @classmethod
    def of(cls, settings: StepSettings, device: torch.device) -> "Layout":
        """Steady shapes for bfloat16 on a CPU, where a matrix kernel is built for each new one."""
        is_steady = settings.precision == "bf16" and device.type == "cpu"
        return cls(settings.packing, 128 if is_steady else 1)

    def batch(self, families: Sequence[Family]) -> Batch:
        if self.packing == "off":
            return pad(families)
        return pack(families, share_prefix=self.packing == "shared", multiple_of=self.multiple_of)

    def size(self, family: Family) -> int:
        """Tokens a family costs. Of a padded batch an estimate: its rows are as long as the longest one."""
        return packed_size(family, share_prefix=self.packing == "shared")


class RowsTask:
    """The rows of a method in their layout; what a batch is."""

    def __init__(self, rows: Sequence[TrainingRow], layout: Layout) -> None:
        self.rows, self.layout = rows, layout
        self.sizes: Sequence[int] = [layout.size(row.family) for row in rows]
        self.weights: Sequence[float] = [row.weight for row in rows]

    def batch(self, rows: Sequence[int], device: torch.device) -> Batch:
        return self.layout.batch([self.rows[row].family for row in rows]).to(device)

    def column(self, name: str, rows: Sequence[int], device: torch.device) -> Tensor:
        """One number per row (`probability`, `weight`, `margin`), float64."""
        values: list[Any] = [getattr(self.rows[row], name) for row in rows]
        return torch.tensor(values, dtype=torch.float64, device=device)


def mean_of(values: Tensor) -> tuple[Tensor, float]:
    """A metric's sum and count; what is summed carries no gradient."""
    return values.detach().double().sum(), float(values.numel())


def accuracy_of(gap: Tensor, probability: Tensor) -> tuple[Tensor, float]:
    """How often the likelier answer is ranked first. A gap of 0 is half right; rows with p = 1/2 are not counted."""
    decided = probability != 0.5
    side = torch.sign(gap.detach()) * torch.sign(probability - 0.5)
    return (0.5 + 0.5 * side[decided]).sum(), float(decided.sum())


def token_metrics(scores: TokenScores) -> dict[str, tuple[Tensor, float]]:
    """Entropy and accuracy per token, where they were asked for: evaluations do, training steps do not, because they
    read the whole vocabulary once more."""
    if scores.entropy is None or scores.is_greedy is None:
        return {}
    return {"entropy": mean_of(scores.entropy), "token_accuracy": mean_of(scores.is_greedy)}


def trimmed(rows: Sequence[TrainingRow]) -> list[TrainingRow]:
    """Rows without the tokens after the last scored one, which no log-probability needs."""
    return [replace(row, family=tuple(one.until_last_scored() for one in row.family)) for row in rows]
