"""DPO and its relatives: a batch is pairs of answers, its loss one of `rlaif.train.losses` on their log-probabilities.

The reference's log-probabilities are numbers that `rlaif.train.reference` computed before the first step; there is no
second model here. Sums, means per token and log-ratios are float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlaif.train import losses
from rlaif.train.examples import TrainingRow
from rlaif.train.forward import sum_by_sequence
from rlaif.train.settings import WITHOUT_REFERENCE, DpoSettings
from rlaif.train.task import Layout, Outcome, RowsTask, accuracy_of, mean_of, token_metrics, trimmed


@dataclass(frozen=True, slots=True)
class Side:
    """The chosen or the rejected answers of a batch, (B,) each: log-probabilities in nats and their reference."""

    total: Tensor
    reference: Tensor
    length: Tensor

    @property
    def ratio(self) -> Tensor:
        return self.total - self.reference

    @property
    def mean(self) -> Tensor:
        return self.total / self.length


class PairLoss(Protocol):
    """Which formula with a reference, and its numbers; `DpoSettings` and online DPO's have them."""

    @property
    def loss(self) -> str: ...
    @property
    def beta(self) -> float: ...
    @property
    def length_normalised(self) -> bool: ...
    @property
    def flip_rate(self) -> float: ...


def pair_losses(s: PairLoss, chosen: Side, rejected: Side, probability: Tensor) -> Tensor:
    """The chosen formula on log-ratios to the reference, one loss per row."""
    c, r = (side.ratio / side.length if s.length_normalised else side.ratio for side in (chosen, rejected))
    match s.loss:
        case "sigmoid":
            return losses.dpo(c, r, probability, beta=s.beta)
        case "conservative":
            return losses.conservative_dpo(c, r, probability, beta=s.beta, flip_rate=s.flip_rate)
        case "robust":
            return losses.robust_dpo(c, r, probability, beta=s.beta, flip_rate=s.flip_rate)
        case "ipo":
            return losses.ipo(c, r, probability, beta=s.beta)
        case "hinge":
            return losses.hinge(c, r, probability, beta=s.beta)
    raise AssertionError(f"no pair loss with a reference: {s.loss}")


class DpoTask(RowsTask):
    """Rows of (chosen, rejected), read by a `LogprobModel`. `reference` (rows, 2): their sums under the reference."""

    def __init__(
        self,
        rows: Sequence[TrainingRow],
        layout: Layout,
        settings: DpoSettings,
        reference: NDArray[np.float64] | None,
    ) -> None:
        super().__init__(trimmed(rows), layout)
        assert (reference is None) == (settings.loss in WITHOUT_REFERENCE), "a reference where the loss has one"
        self.settings = settings
        self.reference = np.zeros((len(rows), 2)) if reference is None else reference
        assert self.reference.shape == (len(rows), 2), "two sums per row"

    def compute(self, module: nn.Module, rows: Sequence[int], device: torch.device) -> Outcome:
        batch = self.batch(rows, device)
        scores = module(batch, with_stats=not module.training)
        totals = sum_by_sequence(scores.logprobs, batch).view(-1, 2)
        references = torch.from_numpy(self.reference[list(rows)]).to(device)
        lengths = batch.lengths.view(-1, 2)
        chosen, rejected = (Side(totals[:, i], references[:, i], lengths[:, i]) for i in range(2))
        probability = self.column("probability", rows, device)
        per_row = self.losses(chosen, rejected, probability)
        gap = self.implicit_reward(chosen) - self.implicit_reward(rejected)
        metrics = {
            "accuracy": accuracy_of(gap, probability),
            "reward_gap": mean_of(gap),
            "reward_chosen": mean_of(self.implicit_reward(chosen)),
            "reward_rejected": mean_of(self.implicit_reward(rejected)),
            "logprob_chosen": mean_of(chosen.total),
            "logprob_rejected": mean_of(rejected.total),
            "length_chosen": mean_of(chosen.length),
            "length_rejected": mean_of(rejected.length),
            **token_metrics(scores),
        }
        return Outcome(losses.weighted_sum(per_row, self.column("weight", rows, device)), metrics)

    def losses(self, chosen: Side, rejected: Side, probability: Tensor) -> Tensor:
        """One loss per row."""
        s = self.settings
        if s.loss == "simpo":
            found = losses.simpo(chosen.mean, rejected.mean, probability, beta=s.beta, gamma=s.gamma)
        elif s.loss == "orpo":
            found = losses.orpo(chosen.mean, rejected.mean, probability, strength=s.strength)
        else:
            found = pair_losses(s, chosen, rejected, probability)
        if s.sft_weight:
            found = found + s.sft_weight * losses.better_answer(chosen.mean, rejected.mean, probability)
        return found

    def implicit_reward(self, side: Side) -> Tensor:
        """What the loss compares, in units of reward: β·ratio, or β·mean without a reference."""
        if self.settings.loss in WITHOUT_REFERENCE:
            return self.settings.beta * side.mean
        return self.settings.beta * (side.ratio / side.length if self.settings.length_normalised else side.ratio)
