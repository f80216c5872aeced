"""Checkpoints: one file each, whole or not there, and only continued by the run that wrote them.

    save(folder, state, keep=2)     training/checkpoint-000100.pt
    newest(folder)                  the state to go on from, or None
    State.check(identity)           raises when it belongs to another run

A file is written beside its place, forced to the disk and moved there, so a kill at any moment leaves the old ones. It
holds weights, optimizer state, the step, the evaluation's memory, and how long the metrics log was: the log is cut
back to that length, so a resumed run's log has each step once. Random numbers are no state: they follow from the seed,
the step and the process (`rlaif.train.loop`).
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rlaif.errors import InputError, StoreError
from rlaif.train.sharding import resharded, spread, spread_state, whole_weights

_NAME = re.compile(r"checkpoint-(\d+)\.pt")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything a run needs to go on. `identity` says which run it is: settings, data and first weights; `memory` is
    what else a loop knows (in RL: the KL's coefficient, how often a reward was constant)."""

    step: int
    weights: dict[str, torch.Tensor]
    optimiser: dict[str, Any]
    log_bytes: int
    best_loss: float
    evaluations_since_best: int
    identity: dict[str, str]
    memory: dict[str, Any] = field(default_factory=dict)

    def check(self, identity: Mapping[str, str], folder: Path) -> None:
        """Raise InputError when this is not the state of the run that `identity` describes."""
        check_identity(self.identity, identity, folder)


def check_identity(kept: Mapping[str, str], identity: Mapping[str, str], folder: Path, more: str = "") -> None:
    """Raise InputError when what is kept is not of the run that `identity` describes; `more` is known of it."""
    differing = sorted(name for name in {*identity, *kept} if identity.get(name) != kept.get(name))
    if differing:
        name, others = differing[0], differing[1:]
        raise InputError(
            f"the checkpoint is of another run: {name} was {_short(kept.get(name))}, "
            f"now it is {_short(identity.get(name))}" + (f" (also {', '.join(others)})." if others else ".") + more,
            where=str(folder),
            do="Choose another output folder, or begin anew in this one: --anew.",
        )


def _short(value: str | None) -> str:
    """A digest by its beginning."""
    return value[:12] if value and _DIGEST.fullmatch(value) else str(value)


def trained_weights(module: nn.Module) -> dict[str, torch.Tensor]:
    """What training changes, whole: parameters with a gradient (under LoRA the adapters and heads alone)."""
    return whole_weights(module)


def restore(module: nn.Module, optimiser: torch.optim.Optimizer, state: State) -> None:
    """Put a state's weights and optimizer back."""
    load_weights(module, state.weights)
    optimiser.load_state_dict(spread_state(optimiser, state.optimiser))


def load_weights(module: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    own = {name: weight for name, weight in resharded(module).named_parameters() if weight.requires_grad}
    assert own.keys() == weights.keys(), "the identity check covers the model"
    with torch.no_grad():
        for name, weight in own.items():
            weight.copy_(spread(weights[name], weight))


def save(folder: Path, state: State, *, keep: int, reach: int = 0) -> None:
    """Write a checkpoint and remove all but the newest `keep`, and those from the newest that is `reach` steps back."""
    write_whole(folder / f"checkpoint-{state.step:08d}.pt", asdict_shallow(state))
    found = _checkpoints(folder)
    first = max((step for step, _ in found if step <= state.step - reach), default=0)
    for step, old in found[:-keep]:
        if step < first:
            old.unlink()


def newest(folder: Path, *, at_most: int | None = None) -> State | None:
    """The state of the newest checkpoint, or of the newest one at a step of at most so much."""
    found = [path for step, path in _checkpoints(folder) if at_most is None or step <= at_most]
    return State(**read_whole(found[-1])) if found else None


def newest_identity(folder: Path) -> dict[str, str] | None:
    """Which run the newest checkpoint is of; its tensors are not read."""
    found = _checkpoints(folder)
    return dict(read_whole(found[-1][1], is_mapped=True)["identity"]) if found else None


def oldest_step(folder: Path) -> int:
    """The step of the oldest checkpoint that is kept; 0 without any."""
    return min((step for step, _ in _checkpoints(folder)), default=0)


def asdict_shallow(state: State) -> dict[str, Any]:
    """Its fields by name; `dataclasses.asdict` would copy every tensor."""
    return {name: getattr(state, name) for name in state.__dataclass_fields__}


def write_whole(path: Path, value: Any) -> None:
    """torch.save that a kill or a full disk cannot leave half done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as stream:
        torch.save(value, stream)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_whole(path: Path, *, is_mapped: bool = False) -> Any:
    """What `write_whole` wrote; `is_mapped`: tensors are read when they are looked at."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_mapped)
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        do = "Remove this file; the run then goes on from the checkpoint before it."
        raise StoreError(f"the checkpoint cannot be read: {error}", where=str(path), do=do) from error


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    named = ((_NAME.fullmatch(path.name), path) for path in folder.glob("checkpoint-*.pt"))
    return sorted((int(match.group(1)), path) for match, path in named if match)
