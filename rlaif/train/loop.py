"""The one training loop, for every method: torch for the arithmetic, accelerate for processes, devices and trackers.

    report = train(task, module, settings, folder=..., identity=..., evaluation=held_out_task)

A step takes `batch_size` rows, divides them into forward passes by tokens, and adds up the gradients of
Σ weight · loss, divided by the Σ weight of the *whole* step over all processes. So the size of a pass, the number of
passes and the number of processes change the arithmetic's rounding and nothing else.

Exact resume: which rows a step takes follows from seed and step, random numbers from seed, step, pass and process, the
learning rate from the step. What is left is the checkpoint's content. A run that was killed anywhere and started again
ends, on a CPU with as many threads, in the same weights, optimizer state and metrics log to the last bit.

`folder` gets checkpoints, `metrics.jsonl` (one line per step and evaluation; no times, so that it can be compared) and
`best.pt` when `patience` is set. What a method is, where rows come from and how a model is saved is decided elsewhere.
"""

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from rlaif.errors import TrainingStopped
from rlaif.identity import seed_from
from rlaif.train import checkpoint
from rlaif.train.batches import Plan, divide, learning_rate, plan_run
from rlaif.train.memory import keep_memory
from rlaif.train.settings import LoopSettings, OptimiserSettings
from rlaif.train.sharding import whole
from rlaif.train.task import Outcome, StepTask, Task

Figures = dict[str, float]
Watcher = Callable[[int, int, Figures], None]  # steps done, steps in all, the figures just written


@dataclass(frozen=True, slots=True)
class Report:
    """How a training ended."""

    steps: int
    resumed_at: int
    last: Figures
    evaluation: Figures | None
    stopped_early: bool


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
) -> Report:
    """Train `module` on the task's rows, from the folder's newest checkpoint or from the start. `place_of` names a row
    in an error, by default by its number."""
    keep_memory()
    loop = _Loop(task, module, settings, folder, dict(identity or {}), evaluation, accelerator, watch)
    loop.place_of = place_of
    return loop.run()


def make_accelerator(settings: LoopSettings, folder: Path) -> Accelerator:
    """What accelerate is told; `accelerate launch` adds processes, devices and sharding. Precision is not its affair:
    its state is one per process, and two runs of a process may differ in it."""
    return Accelerator(log_with=list(settings.trackers) or None, project_dir=str(folder))


class _Loop:
    def __init__(
        self,
        task: Task,
        module: nn.Module,
        settings: LoopSettings,
        folder: Path,
        identity: dict[str, str],
        evaluation: Task | None,
        accelerator: Accelerator | None,
        watch: Watcher,
    ) -> None:
        self.task, self.settings, self.folder, self.identity = task, settings, folder, identity
        self.evaluation, self.watch = evaluation, watch
        self.accelerator = accelerator or make_accelerator(settings, folder)
        self.plain = module  # the module without accelerate's wrapper: for names and saving
        self.optimiser = make_optimiser(module, settings.optimiser)
        self.module, self.prepared = self.accelerator.prepare(module, self.optimiser)
        self.plan: Plan = plan_run(
            len(task.sizes), settings.batch_size, settings.epochs, settings.max_steps, settings.seed
        )
        self.best_loss, self.evaluations_since_best = math.inf, 0
        self.place_of: Callable[[int], str] = str

    def run(self) -> Report:
        first = self.resume()
        if self.settings.trackers:
            self.accelerator.init_trackers("rlaif", config=flat(self.settings.model_dump(mode="json")))
        last: Figures = {}
        evaluated: Figures | None = None
        done = first
        is_over = self.is_patience_spent()
        self.module.train()
        while done < self.plan.num_steps and not is_over:
            last = self.step(done)
            done += 1
            self.write(done, last)
            is_last = done == self.plan.num_steps
            if self.evaluation and (is_last or done % (self.settings.eval_every or self.plan.num_steps) == 0):
                evaluated = self.evaluate(done)
                is_over = self.is_patience_spent()
            if is_last or is_over or done % self.settings.save_every == 0:
                self.save(done)
        self.restore_best()
        for tracker in self.accelerator.trackers:  # end_training would also end the process group: no second run
            tracker.finish()
        return Report(done, first, last, evaluated, is_over)

    # --- one step

    def step(self, step: int) -> Figures:
        """One optimizer step; the figures of its rows, over all processes."""
        rows = self.plan.rows(step)
        passes = self.divide(self.task, rows)
        self.prepare(self.task, passes, rows)
        total_weight = sum(self.task.weights[row] for row in rows)
        scale = self.accelerator.num_processes / total_weight  # processes' gradients are averaged, not summed
        outcomes = []
        for number, part in enumerate(passes):
            self.seed(step, number)
            is_last = number == len(passes) - 1
            with nullcontext() if is_last else self.accelerator.no_sync(self.module):
                # a process without rows still takes part in the exchange of gradients
                outcome = self.compute(self.task, part or rows[:1])
                self.accelerator.backward(outcome.loss * (scale if part else 0.0))
            if part:
                outcomes.append(outcome)
        rate = self.rate(step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        norm = self.accelerator.clip_grad_norm_(self.module.parameters(), self.settings.optimiser.max_grad_norm)
        self.stop_unless_finite(step, passes, outcomes, float(norm))
        self.prepared.step()
        self.prepared.zero_grad(set_to_none=True)
        figures = self.means(outcomes, total_weight)
        return {
            "epoch": round(self.plan.epoch(step + 1), 6),
            "learning_rate": rate,
            "grad_norm": float(norm),
            **figures,
        }

    def compute(self, task: Task, rows: Sequence[int]) -> Outcome:
        device = self.accelerator.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            return task.compute(self.module, rows, device)

    @torch.no_grad()
    def prepare(self, task: Task, passes: Sequence[Sequence[int]], rows: Sequence[int]) -> None:
        """Tell a task what it has to know of the whole step (KTO: how far the policy has moved)."""
        if not isinstance(task, StepTask):
            return
        device, was_training = self.accelerator.device, self.module.training
        sums = torch.zeros(2, dtype=torch.float64, device=device)
        self.module.eval()
        with torch.autocast(device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
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

    def seed(self, step: int, number: int) -> None:
        """Random numbers (dropout) of a pass depend on its place in the run and on nothing that came before."""
        name = f"pass|{self.settings.seed}|{step}|{number}|{self.accelerator.process_index}"
        torch.default_generator.manual_seed(seed_from(name))  # torch.manual_seed takes milliseconds to say the same
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(seed_from(name))

    def rate(self, step: int) -> float:
        chosen = self.settings.optimiser
        return learning_rate(
            step,
            self.plan.num_steps,
            peak=chosen.learning_rate,
            schedule=chosen.schedule,
            warmup_share=chosen.warmup_share,
            final_share=chosen.final_share,
        )

    def means(self, outcomes: Sequence[Outcome], total_weight: float) -> Figures:
        """Loss and metrics as means over all rows of all processes."""
        names = sorted({name for outcome in outcomes for name in outcome.metrics})
        sums = [sum(float(outcome.loss.detach()) for outcome in outcomes)]
        for name in names:
            found = [outcome.metrics[name] for outcome in outcomes if name in outcome.metrics]
            sums += [sum(float(total) for total, _ in found), sum(float(count) for _, count in found)]
        if self.accelerator.num_processes > 1:
            together = torch.tensor(sums, dtype=torch.float64, device=self.accelerator.device)
            sums = self.accelerator.reduce(together, "sum").tolist()
        figures = {"loss": sums[0] / total_weight}
        for number, name in enumerate(names):
            total, count = sums[1 + 2 * number : 3 + 2 * number]
            if count:
                figures[name] = total / count
        return figures

    def stop_unless_finite(
        self, step: int, passes: Sequence[Sequence[int]], outcomes: Sequence[Outcome], norm: float
    ) -> None:
        """Stop before the weights are touched; the last checkpoint stays the last good one."""
        parts = [part for part in passes if part]
        bad = [part for part, one in zip(parts, outcomes, strict=True) if not math.isfinite(float(one.loss.detach()))]
        if not bad and math.isfinite(norm):
            return
        rows = sorted(row for part in bad or parts for row in part)
        shown = ", ".join(self.place_of(row) for row in rows[:20]) + (" …" if len(rows) > 20 else "")
        raise TrainingStopped(
            f"step {step + 1}: the {'loss' if bad else 'gradient'} is not a number, among rows {shown}.",
            where=str(self.folder),
            do="The checkpoints before it are kept. Lower optimiser.learning_rate, or look at these rows.",
        )

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
        found = self.means(outcomes, sum(self.evaluation.weights))
        figures = {f"eval_{name}": value for name, value in found.items()}
        self.write(done, figures)
        self.evaluations_since_best += 1
        if found["loss"] < self.best_loss:
            self.best_loss, self.evaluations_since_best = found["loss"], 0
            if self.settings.patience:
                weights = checkpoint.trained_weights(self.plain)
                if self.accelerator.is_main_process:
                    checkpoint.write_whole(self.folder / "best.pt", weights)
        return figures

    def is_patience_spent(self) -> bool:
        return bool(self.settings.patience) and self.evaluations_since_best >= (self.settings.patience or 0)

    def restore_best(self) -> None:
        """With `patience`, the trained model is the one of the best evaluation."""
        best = self.folder / "best.pt"
        if self.settings.patience and best.is_file():
            checkpoint.load_weights(self.plain, checkpoint.read_whole(best))

    # --- what is written

    @property
    def log(self) -> Path:
        return self.folder / "metrics.jsonl"

    def write(self, done: int, figures: Figures) -> None:
        if self.accelerator.is_main_process:
            with self.log.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"step": done, **figures}) + "\n")
            self.watch(done, self.plan.num_steps, figures)
        if self.settings.trackers:
            self.accelerator.log(figures, step=done)

    def save(self, done: int) -> None:
        weights, optimiser = checkpoint.trained_weights(self.plain), whole(self.optimiser.state_dict())
        if self.accelerator.is_main_process:
            with self.log.open("ab") as stream:
                os.fsync(stream.fileno())
            state = checkpoint.State(
                step=done,
                weights=weights,
                optimiser=optimiser,
                log_bytes=self.log.stat().st_size,
                best_loss=self.best_loss,
                evaluations_since_best=self.evaluations_since_best,
                identity=self.identity,
            )
            checkpoint.save(self.folder, state, keep=self.settings.keep_checkpoints)
        self.accelerator.wait_for_everyone()

    def resume(self) -> int:
        """Go on from the newest checkpoint of this run; the step it stands at."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state: Any = checkpoint.newest(self.folder)
        if state is not None:
            state.check(self.identity, self.folder)
            checkpoint.restore(self.plain, self.optimiser, state)
            self.best_loss, self.evaluations_since_best = state.best_loss, state.evaluations_since_best
        if self.accelerator.is_main_process:
            if state is None:
                (self.folder / "best.pt").unlink(missing_ok=True)  # of a run whose checkpoints are gone
            self.log.touch()
            os.truncate(self.log, 0 if state is None else state.log_bytes)
        self.accelerator.wait_for_everyone()
        return 0 if state is None else int(state.step)


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, int | float | str | bool]:
    """Nested settings as one level of scalars, which is what trackers take."""
    found: dict[str, int | float | str | bool] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value if isinstance(value, int | float | str) else str(value)
    return found


def make_optimiser(module: nn.Module, settings: OptimiserSettings) -> torch.optim.Optimizer:
    """AdamW; weight decay on matrices alone."""
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in trained if weight.dim() >= 2], "weight_decay": settings.weight_decay},
        {"params": [weight for weight in trained if weight.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=True,
    )
