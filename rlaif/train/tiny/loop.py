"""The training loop of both tiny models: resumable, quiet, one thread.

A checkpoint holds weights, optimizer and step. Batches are functions of the step, so nothing else is state.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from rlaif.train.memory import keep_memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the loop needs to know of a training."""

    name: str
    folder: Path
    steps: int
    losses: Callable[[int], dict[str, Tensor]]
    rate: Callable[[int], float]
    evaluate: Callable[[], str] | None = None
    evaluate_every: int = 400
    print_every: int = 50
    save_every: int = 200


def train(job: Job, model: nn.Module) -> None:
    """Run the job from its last checkpoint, or from the start."""
    keep_memory()
    torch.set_num_threads(1)
    decayed = [weight for weight in model.parameters() if weight.dim() >= 2]
    plain = [weight for weight in model.parameters() if weight.dim() < 2]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.97), eps=1e-8, fused=True)
    first = resume(job, model, optimizer)
    begun, sums = time.monotonic(), defaultdict[str, float](float)
    for step in range(first, job.steps):
        for group in optimizer.param_groups:
            group["lr"] = job.rate(step)
        losses = job.losses(step)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        for name, loss in losses.items():
            sums[name] += loss.item()
            sums[f"#{name}"] += 1
        done = step + 1
        if done % job.print_every == 0:
            spent = (time.monotonic() - begun) / (done - first)
            means = " ".join(f"{n} {sums[n] / sums[f'#{n}']:.3f}" for n in sums if not n.startswith("#"))
            left = spent * (job.steps - done) / 60
            say(f"{job.name} {done}/{job.steps}  {spent:.2f} s/step, {left:.0f} min left  {means}")
            sums.clear()
        if job.evaluate and (done % job.evaluate_every == 0 or done == job.steps):
            say(f"{job.name} {done}  {job.evaluate()}")
        if done % job.save_every == 0 or done == job.steps:
            save(job, model, optimizer, done)


def checkpoint_path(folder: Path) -> Path:
    return folder / "checkpoint.pt"


def save(job: Job, model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Replace the checkpoint in one move, so that a kill leaves the old one."""
    job.folder.mkdir(parents=True, exist_ok=True)
    path = checkpoint_path(job.folder)
    partial = path.with_suffix(".partial")
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, partial)
    partial.replace(path)


def resume(job: Job, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load the last checkpoint and say at which step it stands; 0 when there is none."""
    path = checkpoint_path(job.folder)
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    say(f"{job.name} goes on from step {state['step']}")
    return int(state["step"])


def say(line: str) -> None:
    """Progress goes to standard error at once, also into a file."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
