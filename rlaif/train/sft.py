"""Supervised fine-tuning: a batch is conversations, its loss the cross-entropy of the answers' tokens.

Every scored token counts alike (times its row's weight), over the whole optimizer step: a long answer weighs more than
a short one, as in the log-likelihood of the data.
"""

from collections.abc import Sequence

import torch
from torch import nn

from rlaif.train.examples import TrainingRow
from rlaif.train.losses import cross_entropy, weighted_sum
from rlaif.train.task import Layout, Outcome, RowsTask, mean_of, token_metrics, trimmed


class SftTask(RowsTask):
    """Rows of one sequence each, read by a `LogprobModel`."""

    def __init__(self, rows: Sequence[TrainingRow], layout: Layout) -> None:
        super().__init__(trimmed(rows), layout)
        self.weights = [row.weight * row.family[0].num_scored for row in rows]

    def compute(self, module: nn.Module, rows: Sequence[int], device: torch.device) -> Outcome:
        batch = self.batch(rows, device)
        scores = module(batch, with_stats=not module.training)
        weights = self.column("weight", rows, device).repeat_interleave(batch.lengths)
        loss = weighted_sum(cross_entropy(scores.logprobs.double()), weights)
        return Outcome(loss, {"answer_tokens": mean_of(batch.lengths), **token_metrics(scores)})
