"""The reward model: a batch is pairs of answers, its loss Bradley-Terry's, with each row's probability and margin.

A reward is read at a sequence's last token, in float32, by a head without bias whose first weights are drawn from
N(0, 1 / (width + 1)) (Stiennon et al., arXiv:2009.01325). What is saved is transformers' own classification model with
one label; its config also holds the rewards' mean and deviation on held-out rows (without any: on the training rows).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from rlaif.errors import InputError
from rlaif.identity import seed_from
from rlaif.train.batches import divide
from rlaif.train.examples import TrainingRow
from rlaif.train.forward import inner_model
from rlaif.train.losses import bradley_terry, centring, weighted_sum
from rlaif.train.settings import LoopSettings
from rlaif.train.task import Layout, Outcome, RowsTask, accuracy_of, mean_of


class RewardTask(RowsTask):
    """Rows of (chosen, rejected), read by a `RewardModel`."""

    def __init__(
        self, rows: Sequence[TrainingRow], layout: Layout, *, use_margin: bool = False, centring: float = 0.0
    ) -> None:
        super().__init__(rows, layout)
        self.use_margin, self.centring = use_margin, centring

    def compute(self, module: nn.Module, rows: Sequence[int], device: torch.device) -> Outcome:
        rewards = module(self.batch(rows, device)).double().view(-1, 2)
        chosen, rejected = rewards[:, 0], rewards[:, 1]
        probability = self.column("probability", rows, device)
        margin = self.column("margin", rows, device) if self.use_margin else None
        losses = bradley_terry(chosen, rejected, probability, margin)
        if self.centring:
            losses = losses + self.centring * centring(chosen, rejected)
        metrics = {
            "accuracy": accuracy_of(chosen - rejected, probability),
            "reward_gap": mean_of(chosen - rejected),
            "reward": mean_of(rewards),
            "reward_squared": mean_of(rewards**2),
        }
        return Outcome(weighted_sum(losses, self.column("weight", rows, device)), metrics)


def load_reward_model(base: str, tokenizer: Any, *, seed: int, dtype: torch.dtype = torch.float32) -> Any:
    """A classification model with one label on `base`'s backbone; its head is new unless `base` has one."""
    from transformers import AutoModelForSequenceClassification

    check_pad_token(tokenizer)
    model, about = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=1, dtype=dtype, output_loading_info=True
    )
    model.config.pad_token_id = tokenizer.pad_token_id
    if any("score" in name for name in about["missing_keys"]):
        init_head(model, seed)
    return model


@torch.no_grad()
def note_statistics(module: nn.Module, task: RewardTask, settings: LoopSettings) -> None:
    """Put the rewards' mean and standard deviation into the model's config, as `reward_mean` and `reward_std`.

    Rewards are free up to a constant; who uses them as numbers subtracts the one and divides by the other.
    """
    device = next(module.parameters()).device
    module.eval()
    found = []
    for part in divide(range(len(task.rows)), task.sizes, settings.micro_batch_tokens)[0]:
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            found.append(module(task.batch(part, device)).double().flatten())
    rewards = torch.cat(found)
    config = inner_model(module.model).config
    config.reward_mean, config.reward_std = float(rewards.mean()), float(rewards.std(correction=0))


def check_pad_token(tokenizer: Any) -> None:
    """transformers' classifiers read the last token that is not padding: with pad = end-of-sequence they would read
    the token before the end, and others than we trained."""
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        found = "has no pad token" if tokenizer.pad_token_id is None else "pads with its end-of-sequence token"
        raise InputError(
            f"the tokenizer {found}: a reward would be read at the wrong place.",
            do="Give it a pad token of its own (`pad_token` in tokenizer_config.json), one that no text contains.",
        )


def init_head(model: Any, seed: int) -> None:
    """Draw the head's weights from N(0, 1 / (width + 1)), so that a normalised last state gives rewards of size 1."""
    weight = inner_model(model).score.weight
    generator = torch.Generator().manual_seed(seed_from(f"reward head|{seed}"))
    drawn = torch.randn(weight.shape, generator=generator) * (weight.shape[1] + 1) ** -0.5
    with torch.no_grad():
        weight.copy_(drawn)
