"""A trained reward model at work: answers to numbers, with the mean and deviation that were stored applied.

    scorer = RewardScorer.load("outputs/models/reward")
    scores = scorer.score([row.family for row in rows])      one Scores per family, a number per answer

A reward is (r - reward_mean) / reward_std: on the rows the figures come from it has mean 0 and deviation 1, so that a
coefficient beside it (PPO's KL) means the same for every reward model. `disagreement` is the deviation over the members
of an ensemble, in the same unit; `principles` are the single principles' rewards, as their heads give them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from rlaif.errors import InputError
from rlaif.train.batches import divide
from rlaif.train.examples import TrainingRow
from rlaif.train.forward import RewardModel, prepare_model
from rlaif.train.heads import FILE, Array, Heads
from rlaif.train.packing import Family
from rlaif.train.task import Layout, accuracy_of

_WANTED = "Give a folder that `rlaif train reward` wrote."


@dataclass(frozen=True, slots=True)
class Scores:
    """Of the answers of one family, in their order: rewards, members' disagreement (None of a single head), each
    principle's own reward, and each member's reward (answers, members)."""

    rewards: Array
    disagreement: Array | None = None
    principles: Mapping[str, Array] = field(default_factory=dict)
    members: Array | None = None


class RewardScorer:
    """A reward model's folder, loaded for use."""

    def __init__(self, model: Any, tokenizer: Any, heads: Heads, combination: Array, layout: Layout) -> None:
        self.module, self.tokenizer, self.layout = RewardModel(model).eval(), tokenizer, layout
        self.heads, self.combination = heads, combination
        self.mean, self.std = model.config.reward_mean, model.config.reward_std or 1.0

    @classmethod
    def load(
        cls, folder: str | Path, *, device: torch.device | str = "cpu", packing: str = "shared", name: str | None = None
    ) -> "RewardScorer":
        """`name`: what it is called in errors."""
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        path = Path(folder)
        _check_kind(path, name or str(folder))
        model = AutoModelForSequenceClassification.from_pretrained(path, num_labels=1, dtype=torch.float32)
        if getattr(model.config, "reward_mean", None) is None:
            raise InputError(
                "this model does not say what its rewards' mean is.",
                where=str(path),
                do=_WANTED,
            )
        heads = Heads(tuple(getattr(model.config, "reward_principles", ())), getattr(model.config, "reward_members", 1))
        combination = np.array(getattr(model.config, "reward_combination", [1.0]))
        if heads.num_outputs > 1:
            _put_heads_back(model, path / FILE)
        if packing != "off":
            prepare_model(model)
        return cls(model.to(device), AutoTokenizer.from_pretrained(path), heads, combination, Layout(packing))

    @torch.no_grad()
    def score(self, families: Sequence[Family], *, budget: int = 4096) -> list[Scores]:
        """Scores of every family, at most `budget` tokens at a time (a longer family goes alone)."""
        device = next(self.module.parameters()).device
        found: dict[int, Scores] = {}
        (passes,) = divide(range(len(families)), [self.layout.size(one) for one in families], budget)
        for part in passes:
            batch = self.layout.batch([families[place] for place in part]).to(device)
            outputs = self.heads.split(self.module(batch).double()).cpu().numpy()  # (Q, M, K)
            stops = np.cumsum([len(families[place]) for place in part])[:-1]
            for place, values in zip(part, np.split(outputs, stops), strict=True):
                found[place] = self._scores(values)
        return [found[place] for place in range(len(families))]

    def _scores(self, values: Array) -> Scores:
        """values (answers, members, rewards)."""
        together = (values @ self.combination - self.mean) / self.std  # (answers, members)
        by_name = {name: values[:, :, k].mean(axis=1) for k, name in enumerate(self.heads.principles)}
        if self.heads.members == 1:
            return Scores(together.mean(axis=1), None, by_name)
        return Scores(together.mean(axis=1), together.std(axis=1), by_name, together)


def _check_kind(folder: Path, name: str) -> None:
    """Raise InputError for what is no reward model; transformers would give a language model a head of noise."""
    from transformers import AutoConfig

    if not folder.is_dir() and len(folder.parts) != 2:  # two parts may be a hub's org/name
        raise InputError("there is no such folder.", where=str(folder), do=_WANTED)
    try:
        kinds = AutoConfig.from_pretrained(folder).architectures or []
    except (OSError, ValueError) as error:
        found = f"no model can be read there: {str(error).partition(chr(10))[0]}"
        raise InputError(found, where=str(folder), do=_WANTED) from error
    if not any(kind.endswith("ForSequenceClassification") for kind in kinds):
        raise InputError(f"{name!r} is no reward model ({', '.join(kinds) or 'of no known kind'}).", do=_WANTED)


def as_line(place: str, scores: Scores) -> str:
    """One row's scores as a JSON object."""
    spread = None if scores.disagreement is None else scores.disagreement.tolist()
    principles = {name: values.tolist() for name, values in scores.principles.items()}
    said = {"place": place, "rewards": scores.rewards.tolist(), "disagreement": spread, "principles": principles}
    return json.dumps(said, ensure_ascii=False)


def share_ranked_right(rows: Sequence[TrainingRow], scores: Sequence[Scores]) -> tuple[float, float]:
    """How often the likelier answer of a comparison has the higher reward, and of how many; ties as in training."""
    pairs = [(pair, one.rewards) for row, one in zip(rows, scores, strict=True) for pair in row.pairs]
    gaps = torch.tensor([float(rewards[pair.first] - rewards[pair.second]) for pair, rewards in pairs])
    total, count = accuracy_of(gaps, torch.tensor([pair.probability for pair, _ in pairs]))
    return float(total) / max(count, 1.0), count


def _put_heads_back(model: Any, file: Path) -> None:
    """All heads in the place of their combination."""
    from safetensors.torch import load_file

    stacked = load_file(file)["heads"].flatten(0, 1)
    model.score = nn.Linear(stacked.shape[1], stacked.shape[0], bias=False)
    model.num_labels = model.config.num_labels = len(stacked)
    with torch.no_grad():
        model.score.weight.copy_(stacked)
