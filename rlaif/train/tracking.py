"""Trackers beside `metrics.jsonl`: tensorboard, Weights & Biases, trackio, all through accelerate.

    begin_tracking(accelerator, folder, identity, settings)

A training is one run in a tracker, also when it was interrupted: it is named after its output folder, and what it is
called inside follows from what it is. tensorboard's and wandb's files lie in the training's folder. How a tracker is
reached (WANDB_MODE=offline, WANDB_PROJECT's kin, TRACKIO_DIR, logins) is its own affair.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from rlaif.errors import EngineUnavailable
from rlaif.identity import digest

PROJECT = "rlaif"


def begin_tracking(
    accelerator: Accelerator, folder: Path, identity: Mapping[str, str], settings: Mapping[str, Any]
) -> None:
    """Start what the accelerator was told to log with; raises EngineUnavailable when one cannot be started."""
    told = flat(settings)
    name = folder.resolve().parent.name
    known = digest([name, dict(identity)])[:16]
    options: dict[str, dict[str, Any]] = {
        "wandb": {"name": name, "id": known, "resume": "allow", "dir": str(folder)},
        "trackio": {"name": f"{name}-{known[:6]}", "resume": "allow", "config": told, "embed": False},
    }
    try:
        accelerator.init_trackers(PROJECT, config=told, init_kwargs=options)
    except Exception as error:  # trackers raise what they like: their own classes, HTTP's, the system's
        raise EngineUnavailable(
            f"a tracker cannot be started ({type(error).__name__}): {str(error).strip().partition(chr(10))[0]}",
            do="Log in to it, use it offline (WANDB_MODE=offline), or leave it out of loop.trackers.",
        ) from error


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, int | float | str | bool]:
    """Nested settings as one level of scalars, which is what trackers take."""
    found: dict[str, int | float | str | bool] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value if isinstance(value, int | float | str) else str(value)
    return found
