"""Rollouts on the disk: an iteration's answers and rewards, so that a resumed run asks neither sampler nor judge again.

    kept = Recorded(folder / "rollouts", identity)
    kept.write(iteration, rollouts, rewards)      whole or not there
    kept.read(iteration)                          None where there is none, or one of another run

An iteration is written once its rewards are known. A run that dies while it learns from it goes on with the same
answers, also where sampling or judging again would give others (vLLM, a server), and pays for none of it twice.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlaif.train import checkpoint
from rlaif.train.rl.rewards import Rewards
from rlaif.train.rl.rollouts import Rollout


class Recorded:
    """One file per iteration."""

    def __init__(self, folder: Path, identity: Mapping[str, str]) -> None:
        self.folder, self.identity = folder, dict(identity)

    def write(self, iteration: int, rollouts: Sequence[Rollout], rewards: Rewards) -> None:
        content = {
            "identity": self.identity,
            "prompts": _joined([one.prompt for one in rollouts]),
            "answers": _joined([one.answer for one in rollouts]),
            "logprobs": _joined([one.logprobs for one in rollouts]),
            "is_ended": [one.is_ended for one in rollouts],
            "values": torch.from_numpy(rewards.values),
            "parts": {name: torch.from_numpy(values) for name, values in rewards.parts.items()},
            "members": None if rewards.members is None else torch.from_numpy(rewards.members),
        }
        checkpoint.write_whole(self._file(iteration), content)

    def read(self, iteration: int) -> tuple[list[Rollout], Rewards] | None:
        file = self._file(iteration)
        if not file.is_file():
            return None
        kept = checkpoint.read_whole(file)
        if kept["identity"] != self.identity:
            return None
        return _rollouts(kept), _rewards(kept)

    def forget_before(self, iteration: int) -> None:
        """Remove what no checkpoint goes on from any more."""
        for file in self.folder.glob("rollouts-*.pt"):
            if int(file.stem.removeprefix("rollouts-")) < iteration:
                file.unlink()

    def _file(self, iteration: int) -> Path:
        return self.folder / f"rollouts-{iteration:08d}.pt"


def _joined(arrays: Sequence[NDArray[Any]]) -> dict[str, Tensor]:
    """Arrays of different lengths as one tensor and the lengths: a tensor for each takes a file ten times as long."""
    return {"flat": torch.from_numpy(np.concatenate(arrays)), "lengths": torch.tensor([len(one) for one in arrays])}


def _divided(joined: Mapping[str, Tensor]) -> list[NDArray[Any]]:
    return [one.numpy() for one in torch.split(joined["flat"], joined["lengths"].tolist())]


def _rollouts(kept: Mapping[str, Any]) -> list[Rollout]:
    columns = (*(_divided(kept[name]) for name in ("prompts", "answers", "logprobs")), kept["is_ended"])
    return [Rollout(*row) for row in zip(*columns, strict=True)]


def _rewards(kept: Mapping[str, Any]) -> Rewards:
    parts = {name: values.numpy() for name, values in kept["parts"].items()}
    return Rewards(kept["values"].numpy(), parts, None if kept["members"] is None else kept["members"].numpy())
