"""The one training loop, for every method: torch for the arithmetic, accelerate for processes, devices and trackers.

    report = train(task, module, settings, folder=..., identity=..., evaluation=held_out_task)

A step takes `batch_size` rows, divides them into forward passes by tokens, and adds up the gradients of
Σ weight · loss, divided by the Σ weight of the *whole* step over all processes. So the size of a pass, the number of
passes and the number of processes change the arithmetic's rounding and nothing else.

Exact resume: which rows a step takes follows from seed and step, random numbers from seed, step, pass and process, the
learning rate from the step. What is left is the checkpoint's content. A run that was killed anywhere and started again
ends, on a CPU with as many threads, in the same weights, optimizer state and metrics log to the last bit.

`folder` gets checkpoints, `metrics.jsonl` (`journal`) and `best.pt` when `patience` is set. How a step changes the
weights is in `stepping`; what a method is, where rows come from and how a model is saved is decided elsewhere.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from rlaif.train import checkpoint
from rlaif.train.batches import Plan, divide, plan_run
from rlaif.train.interrupting import interruptions
from rlaif.train.journal import Journal
from rlaif.train.memory import keep_memory, limit_threads
from rlaif.train.settings import LoopSettings
from rlaif.train.stepping import Figures, Stepper, make_accelerator
from rlaif.train.task import Outcome, StepTask, Task

Watcher = Callable[[int, int, Figures], None]  # steps done, steps in all, the figures just written


@dataclass(frozen=True, slots=True)
class Report:
    """How a training ended. `last` are the last step's figures, `evaluation` those of the weights that are left: with
    `patience` the best evaluation's. `evaluated_at` is its step."""

    steps: int
    resumed_at: int
    last: Figures
    evaluation: Figures | None
    stopped_early: bool
    evaluated_at: int | None = None


def train(
    task: Task,
    module: nn.Module,
    settings: LoopSettings,
    *,
    folder: Path,
    identity: Mapping[str, str] | None = None,
    evaluation: Task | None = None,
    accelerator: Accelerator | None = None,
    watch: Watcher = lambda done, total, figures: None,
    place_of: Callable[[int], str] = str,
    say: Callable[[str], None] = lambda text: None,
) -> Report:
    """Train `module` on the task's rows, from the folder's newest checkpoint or from the start. `place_of` names a row
    in an error, by default by its number. Ctrl-C keeps the step at hand before it ends the run."""
    keep_memory()
    limit_threads()
    stepper = Stepper(module, settings, accelerator or make_accelerator(settings, folder))
    loop = _Loop(task, stepper, settings, folder, dict(identity or {}), evaluation, watch)
    loop.place_of, loop.say = place_of, say
    return loop.run()


class _Loop:
    def __init__(
        self,
        task: Task,
        stepper: Stepper,
        settings: LoopSettings,
        folder: Path,
        identity: dict[str, str],
        evaluation: Task | None,
        watch: Watcher,
    ) -> None:
        self.task, self.settings, self.folder = task, settings, folder
        self.evaluation, self.watch = evaluation, watch
        self.stepper, self.module, self.accelerator = stepper, stepper.module, stepper.accelerator
        self.journal = Journal(folder, settings, identity, stepper)
        self.plan: Plan = plan_run(
            len(task.sizes), settings.batch_size, settings.epochs, settings.max_steps, settings.seed
        )
        self.best_loss, self.evaluations_since_best = math.inf, 0
        self.place_of: Callable[[int], str] = str
        self.say: Callable[[str], None] = lambda text: None

    def run(self) -> Report:
        done = first = self.resume()
        if first:
            how = "all steps were taken already" if first == self.plan.num_steps else "going on"
            self.say(f"{how}, after step {first} of {self.plan.num_steps}")
        is_over = done == self.plan.num_steps or self.is_patience_spent()
        self.module.train()
        told = self.settings.model_dump(mode="json")
        with self.journal.tracking(told), interruptions(self.accelerator) as is_asked:
            while not is_over:
                self.write(done + 1, self.step(done))
                done += 1
                is_over = done == self.plan.num_steps
                if self.evaluation and (is_over or done % (self.settings.eval_every or self.plan.num_steps) == 0):
                    self.evaluate(done)
                    is_over = is_over or self.is_patience_spent()
                is_stopped = is_asked()
                if is_over or is_stopped or done % self.settings.save_every == 0:
                    self.save(done)
                if is_stopped:
                    self.say(f"stopped after step {done} of {self.plan.num_steps}, which is kept in {self.folder}")
                    raise KeyboardInterrupt
        self.restore_best()
        return self.report(first, done)

    def report(self, first: int, done: int) -> Report:
        """How the run ended, also when another call of it took the last step."""
        last, evaluated = self.journal.reached(is_best=bool(self.settings.patience))
        at = None if evaluated is None else int(evaluated.pop("step"))
        return Report(done, first, last, evaluated, done < self.plan.num_steps, at)

    # --- one step

    def step(self, step: int) -> Figures:
        """One optimizer step; the figures of its rows, over all processes."""
        rows = self.plan.rows(step)
        passes = self.divide(self.task, rows)
        self.prepare(self.task, passes, rows)
        total_weight = sum(self.task.weights[row] for row in rows)
        rate = self.stepper.rate(step, self.plan.num_steps)
        outcomes, norm = self.stepper.step(
            step,
            passes,
            lambda part: self.compute(self.task, part),
            spare=rows[:1],
            total_weight=total_weight,
            rate=rate,
            where=self.folder,
            place_of=self.place_of,
        )
        figures = self.stepper.means(outcomes, total_weight)
        return {"epoch": round(self.plan.epoch(step + 1), 6), "learning_rate": rate, "grad_norm": norm, **figures}

    def compute(self, task: Task, rows: Sequence[int]) -> Outcome:
        with self.stepper.autocast():
            return task.compute(self.module, rows, self.accelerator.device)

    @torch.no_grad()
    def prepare(self, task: Task, passes: Sequence[Sequence[int]], rows: Sequence[int]) -> None:
        """Tell a task what it has to know of the whole step (KTO: how far the policy has moved)."""
        if not isinstance(task, StepTask):
            return
        device, was_training = self.accelerator.device, self.module.training
        sums = torch.zeros(2, dtype=torch.float64, device=device)
        self.module.eval()
        with self.stepper.autocast():
            for part in passes:
                sums += torch.stack(task.step_sums(self.module, part or rows[:1], device)) * bool(part)
        self.module.train(was_training)
        if self.accelerator.num_processes > 1:
            sums = self.accelerator.reduce(sums, "sum")
        task.note_step(sums[0] / sums[1])

    def divide(self, task: Task, rows: Sequence[int]) -> list[list[int]]:
        """This process's forward passes."""
        parts = divide(rows, task.sizes, self.settings.micro_batch_tokens, self.accelerator.num_processes)
        return parts[self.accelerator.process_index]

    # --- evaluation

    def evaluate(self, done: int) -> Figures:
        """Means over the held-out rows, without dropout."""
        assert self.evaluation is not None
        self.module.eval()
        rows = range(len(self.evaluation.sizes))
        passes = self.divide(self.evaluation, rows)
        self.prepare(self.evaluation, passes, rows)
        with torch.no_grad():
            outcomes = [self.compute(self.evaluation, part) for part in passes if part]
        self.module.train()
        found = self.stepper.means(outcomes, sum(self.evaluation.weights))
        figures = {f"eval_{name}": value for name, value in found.items()}
        self.write(done, figures)
        self.evaluations_since_best += 1
        if found["loss"] < self.best_loss:
            self.best_loss, self.evaluations_since_best = found["loss"], 0
            if self.settings.patience:
                weights = checkpoint.trained_weights(self.stepper.plain)
                if self.accelerator.is_main_process:
                    checkpoint.write_whole(self.folder / "best.pt", weights)
        return figures

    def is_patience_spent(self) -> bool:
        return bool(self.settings.patience) and self.evaluations_since_best >= (self.settings.patience or 0)

    def restore_best(self) -> None:
        """With `patience`, the trained model is the one of the best evaluation."""
        best = self.folder / "best.pt"
        if self.settings.patience and best.is_file():
            checkpoint.load_weights(self.stepper.plain, checkpoint.read_whole(best))

    # --- what is written

    def write(self, done: int, figures: Figures) -> None:
        self.journal.write(done, figures)
        if self.accelerator.is_main_process:
            self.watch(done, self.plan.num_steps, figures)

    def save(self, done: int) -> None:
        self.journal.save(done, best_loss=self.best_loss, evaluations_since_best=self.evaluations_since_best)

    def resume(self) -> int:
        """Go on from the newest checkpoint of this run; the step it stands at."""
        state = self.journal.resume()
        if state is None:
            return 0
        self.best_loss, self.evaluations_since_best = state.best_loss, state.evaluations_since_best
        return state.step
