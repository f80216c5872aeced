"""KTO: a batch is single answers, each good or bad (or with the probability that it is good); no pairs are needed.

The loss compares an answer's log-ratio with z₀, an estimate of how far the policy has moved from the reference: the
mean log-ratio of answers under *other* prompts. It belongs to the optimizer step: the loop computes it over all rows of
the step and all processes before the first backward, without gradient, so that a step does not depend on how it is
divided (TRL takes it per forward pass, and refuses passes of one row). Which other answer a row is given follows from
the rows' content, once for the whole run, so that the reference's log-probabilities of it are computed once too.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlaif.train import losses
from rlaif.train.examples import TrainingRow
from rlaif.train.forward import sum_by_sequence
from rlaif.train.grouping import prompt_ids
from rlaif.train.packing import TokenSequence
from rlaif.train.settings import DpoSettings
from rlaif.train.task import Layout, Outcome, RowsTask, accuracy_of, mean_of, token_metrics, trimmed

_TRIES = 50  # other rows looked at for one with another prompt


class KtoTask(RowsTask):
    """Rows of one answer each, read by a `LogprobModel`.

    `reference` (rows, 2): the reference's sums of each answer, and of the answer to another prompt that
    `with_mismatched` put beside it.
    """

    def __init__(
        self,
        rows: Sequence[TrainingRow],
        layout: Layout,
        settings: DpoSettings,
        reference: NDArray[np.float64],
        partners: Sequence[int] | None = None,
    ) -> None:
        super().__init__(trimmed(rows), layout)
        assert reference.shape == (len(rows), 2), "two sums per row"
        self.settings, self.reference = settings, reference
        both = with_mismatched(rows, partners or choose_partners(rows), settings.max_length)
        self.mismatched = trimmed([TrainingRow(family=row.family[1:]) for row in both])
        self.baseline = torch.zeros((), dtype=torch.float64)

    def step_sums(self, module: nn.Module, rows: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
        """Σ w · log-ratio of the mismatched answers, and Σ w."""
        batch = self.layout.batch([self.mismatched[row].family for row in rows]).to(device)
        sums = sum_by_sequence(module(batch).logprobs, batch)
        weights = self.column("weight", rows, device)
        return losses.weighted_sum(sums - self._reference(rows, 1, device), weights), weights.sum()

    def note_step(self, mean_ratio: Tensor) -> None:
        """What the rows of a step are compared with, from now on."""
        one = torch.ones_like(mean_ratio)
        self.baseline = losses.kto_baseline(mean_ratio, one)

    def compute(self, module: nn.Module, rows: Sequence[int], device: torch.device) -> Outcome:
        batch = self.batch(rows, device)
        scores = module(batch, with_stats=not module.training)
        totals = sum_by_sequence(scores.logprobs, batch)
        ratio = totals - self._reference(rows, 0, device)
        probability, weight = self.column("probability", rows, device), self.column("weight", rows, device)
        s, baseline = self.settings, self.baseline.to(device)
        per_row = losses.kto(
            ratio, baseline, probability, beta=s.beta, desirable=s.desirable, undesirable=s.undesirable
        )
        if s.sft_weight:
            mean = totals / batch.lengths
            per_row = per_row + s.sft_weight * losses.better_answer(mean, torch.zeros_like(mean), probability)
        rewards = s.beta * ratio
        metrics = {
            "accuracy": accuracy_of(ratio - baseline, probability),
            "reward_desirable": mean_of(rewards[probability > 0.5]),
            "reward_undesirable": mean_of(rewards[probability < 0.5]),
            "kl": mean_of(baseline.expand(len(rows))),
            "logprob": mean_of(totals),
            "length": mean_of(batch.lengths),
            **token_metrics(scores),
        }
        return Outcome(losses.weighted_sum(per_row, weight), metrics)

    def _reference(self, rows: Sequence[int], column: int, device: torch.device) -> Tensor:
        return torch.from_numpy(self.reference[list(rows), column]).to(device)


def with_mismatched(rows: Sequence[TrainingRow], partners: Sequence[int], max_length: int) -> list[TrainingRow]:
    """Each answer, and beside it its prompt with its partner's answer, which is cut where the whole grows too long."""
    return [
        TrainingRow(family=(row.family[0], _answered(row.family[0], rows[partner].family[0], max_length)))
        for row, partner in zip(rows, partners, strict=True)
    ]


def choose_partners(rows: Sequence[TrainingRow]) -> list[int]:
    """For each row another one with another prompt (if there is none near, the next one): its successor in the order
    of the rows' digests, which is that of no file."""
    order = sorted(range(len(rows)), key=lambda row: _digest(rows[row].family[0]))
    prompts = [prompt_ids(rows[row].family[0]) for row in order]
    partners = [0] * len(rows)
    for at, row in enumerate(order):
        following = [(at + step) % len(order) for step in range(1, min(_TRIES, len(order)) + 1)]
        chosen = next((place for place in following if prompts[place] != prompts[at]), following[0])
        partners[row] = order[chosen]
    return partners


def _answered(asked: TokenSequence, said: TokenSequence, max_length: int) -> TokenSequence:
    """The prompt of one sequence and the answer of another. Its tokens are glued, not made anew: the mean of such
    log-ratios is all that is wanted of them."""
    prompt, answer = int(asked.scored.argmax()), int(said.scored.argmax())
    ids = np.concatenate([asked.ids[:prompt], said.ids[answer:]])[:max_length]
    return TokenSequence(ids, np.concatenate([asked.scored[:prompt], said.scored[answer:]])[:max_length])


def _digest(sequence: TokenSequence) -> bytes:
    return hashlib.sha256(sequence.ids.tobytes() + sequence.scored.tobytes()).digest()
