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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlaif.train import checkpoint
from rlaif.train.settings import StepSettings
from rlaif.train.sharding import whole
from rlaif.train.stepping import Figures, Stepper
from rlaif.train.tracking import begin_tracking


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
        """The log's line of a step; empty where it has none, and on other processes than the first."""
        found: Figures = next((line for line in self._lines() if line["step"] == done), {})
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

    def reached(self, *, is_best: bool = False) -> tuple[Figures, Figures | None]:
        """The figures of the last step, and those of the last evaluation with its step; with `is_best`, of the first
        evaluation with the least loss. On other processes than the first there are none."""
        lines = self._lines()
        steps = [line for line in lines if "loss" in line]
        last = {name: value for name, value in steps[-1].items() if name != "step"} if steps else {}
        evaluations = [line for line in lines if "eval_loss" in line]
        if not evaluations:
            return last, None
        return last, min(evaluations, key=lambda line: line["eval_loss"]) if is_best else evaluations[-1]

    def _lines(self) -> list[Figures]:
        """The log; nothing on other processes than the first, which writes it: their machine may not have it."""
        if not self.accelerator.is_main_process:
            return []
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    @contextmanager
    def tracking(self, settings: Mapping[str, Any]) -> Iterator[None]:
        """Trackers are told what is written from here on. Afterwards each is ended by itself: accelerate's end_training
        would also end the process group, and there would be no second run."""
        if self.settings.trackers:
            begin_tracking(self.accelerator, self.folder, self.identity, settings)
        try:
            yield
        finally:
            for tracker in self.accelerator.trackers:
                tracker.finish()
