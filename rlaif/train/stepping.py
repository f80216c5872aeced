"""One optimizer step, the same for every loop: gradients added up over passes and processes, clipped and applied.

    stepper = Stepper(module, settings, accelerator)
    outcomes, norm = stepper.step(number, passes, compute, total_weight=…, rate=…, …)
    figures = stepper.means(outcomes, total_weight)

A pass computes Σ weight · loss; the step divides by the Σ weight of all its passes on all processes. So the size of a
pass, the number of passes and the number of processes change the arithmetic's rounding and nothing else. Random numbers
of a pass follow from seed, step, pass and process, and from nothing that came before. Which rows a step takes and what
is written about it is decided elsewhere.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from rlaif.errors import TrainingStopped
from rlaif.identity import seed_from
from rlaif.train.batches import learning_rate
from rlaif.train.settings import OptimiserSettings, StepSettings
from rlaif.train.task import Outcome

Figures = dict[str, float]
Rows = Sequence[int]


def make_accelerator(settings: StepSettings, folder: Path) -> Accelerator:
    """What accelerate is told; `accelerate launch` adds processes, devices and sharding. Precision is not its affair:
    its state is one per process, and two runs of a process may differ in it."""
    return Accelerator(log_with=list(settings.trackers) or None, project_dir=str(folder))


class Stepper:
    """A module with its optimizer, as accelerate prepared them. `plain` is the module without accelerate's wrapper: for
    names and saving."""

    def __init__(self, module: nn.Module, settings: StepSettings, accelerator: Accelerator) -> None:
        self.plain, self.settings, self.accelerator = module, settings, accelerator
        self.optimiser = make_optimiser(module, settings.optimiser)
        self.module, self.prepared = accelerator.prepare(module, self.optimiser)

    def step(
        self,
        number: int,
        passes: Sequence[Rows],
        compute: Callable[[Rows], Outcome],
        *,
        spare: Rows,
        total_weight: float,
        rate: float,
        where: Path,
        place_of: Callable[[int], str] = str,
    ) -> tuple[list[Outcome], float]:
        """Change the weights once; the passes' outcomes and the gradient's norm. `spare` are rows for a process whose
        pass has none: it still takes part in the exchange of gradients."""
        scale = self.accelerator.num_processes / total_weight  # processes' gradients are averaged, not summed
        outcomes = []
        for place, part in enumerate(passes):
            self.seed(number, place)
            is_last = place == len(passes) - 1
            with nullcontext() if is_last else self.accelerator.no_sync(self.module):
                outcome = compute(part or spare)
                self.accelerator.backward(outcome.loss * (scale if part else 0.0))
            if part:
                outcomes.append(outcome)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        norm = float(self.accelerator.clip_grad_norm_(self.module.parameters(), self.settings.optimiser.max_grad_norm))
        _stop_unless_finite(number, [part for part in passes if part], outcomes, norm, where, place_of)
        self.prepared.step()
        self.prepared.zero_grad(set_to_none=True)
        return outcomes, norm

    def autocast(self) -> Any:
        """The precision of forward passes."""
        kind = self.accelerator.device.type
        return torch.autocast(kind, torch.bfloat16, enabled=self.settings.precision == "bf16")

    def seed(self, step: int, number: int) -> None:
        """Random numbers (dropout) of a pass depend on its place in the run and on nothing that came before."""
        name = f"pass|{self.settings.seed}|{step}|{number}|{self.accelerator.process_index}"
        torch.default_generator.manual_seed(seed_from(name))  # torch.manual_seed takes milliseconds to say the same
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(seed_from(name))

    def rate(self, step: int, num_steps: int) -> float:
        chosen = self.settings.optimiser
        return learning_rate(
            step,
            num_steps,
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


def _stop_unless_finite(
    step: int,
    parts: Sequence[Rows],
    outcomes: Sequence[Outcome],
    norm: float,
    where: Path,
    place_of: Callable[[int], str],
) -> None:
    """Stop before the weights are touched; the last checkpoint stays the last good one."""
    bad = [part for part, one in zip(parts, outcomes, strict=True) if not math.isfinite(float(one.loss.detach()))]
    if not bad and math.isfinite(norm):
        return
    rows = sorted(row for part in bad or parts for row in part)
    shown = ", ".join(place_of(row) for row in rows[:20]) + (" …" if len(rows) > 20 else "")
    raise TrainingStopped(
        f"step {step + 1}: the {'loss' if bad else 'gradient'} is not a number, among rows {shown}.",
        where=str(where),
        do="The checkpoints before it are kept. Lower optimiser.learning_rate, or look at these rows.",
    )


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
