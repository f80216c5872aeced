"""What a training leaves in its folder while it runs: `metrics.jsonl`, checkpoints, and what trackers are sent.

    journal = Journal(folder, settings, identity, stepper)
    state = journal.resume()                 # of the newest checkpoint, put back into module and optimizer; or None
    journal.write(done, figures)
    journal.save(done, memory={…})

The log has one line per step and evaluation and no times, so that two runs can be compared byte for byte. A resumed
run's log is cut back to where its checkpoint stood.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlaif.train import checkpoint
from rlaif.train.settings import StepSettings
from rlaif.train.sharding import whole
from rlaif.train.stepping import Figures, Stepper


class Journal:
    """The folder of one run; on several processes the first one writes."""

    def __init__(self, folder: Path, settings: StepSettings, identity: Mapping[str, str], stepper: Stepper) -> None:
        self.folder, self.settings, self.identity, self.stepper = folder, settings, dict(identity), stepper
        self.accelerator = stepper.accelerator
        self.log = folder / "metrics.jsonl"

    def write(self, done: int, figures: Figures) -> None:
        if self.accelerator.is_main_process:
            with self.log.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"step": done, **figures}) + "\n")
        if self.settings.trackers:
            self.accelerator.log(figures, step=done)

    def save(
        self,
        done: int,
        *,
        best_loss: float = 0.0,
        evaluations_since_best: int = 0,
        memory: Mapping[str, Any] = {},
        reach: int = 0,
    ) -> None:
        """A checkpoint; `memory` is what a loop has to know beside weights and optimizer state, `reach` how many steps
        back it may want to go."""
        weights = checkpoint.trained_weights(self.stepper.plain)
        optimiser = whole(self.stepper.optimiser.state_dict())
        if self.accelerator.is_main_process:
            with self.log.open("ab") as stream:
                os.fsync(stream.fileno())
            state = checkpoint.State(
                step=done,
                weights=weights,
                optimiser=optimiser,
                log_bytes=self.log.stat().st_size,
                best_loss=best_loss,
                evaluations_since_best=evaluations_since_best,
                identity=self.identity,
                memory=dict(memory),
            )
            checkpoint.save(self.folder, state, keep=self.settings.keep_checkpoints, reach=reach)
        self.accelerator.wait_for_everyone()

    def figures_of(self, done: int) -> Figures:
        """The log's line of a step; empty where it has none."""
        lines = map(json.loads, self.log.read_text(encoding="utf-8").splitlines())
        found: Figures = next((line for line in lines if line["step"] == done), {})
        found.pop("step", None)
        return found

    def resume(self) -> checkpoint.State | None:
        """Go on from the newest checkpoint of this run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = checkpoint.newest(self.folder)
        if state is not None:
            state.check(self.identity, self.folder)
            checkpoint.restore(self.stepper.plain, self.stepper.optimiser, state)
        if self.accelerator.is_main_process:
            if state is None:
                (self.folder / "best.pt").unlink(missing_ok=True)  # of a run whose checkpoints are gone
            self.log.touch()
            os.truncate(self.log, 0 if state is None else state.log_bytes)
        self.accelerator.wait_for_everyone()
        return state

    def begin_tracking(self, settings: Mapping[str, Any]) -> None:
        if self.settings.trackers:
            self.accelerator.init_trackers("rlaif", config=_flat(settings))

    def end_tracking(self) -> None:
        """Not accelerate's end_training: that would also end the process group, and there would be no second run."""
        for tracker in self.accelerator.trackers:
            tracker.finish()


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, int | float | str | bool]:
    """Nested settings as one level of scalars, which is what trackers take."""
    found: dict[str, int | float | str | bool] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value if isinstance(value, int | float | str) else str(value)
    return found
