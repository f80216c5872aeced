"""Do PPO, GRPO and RLOO reach the optimum of what they say they optimise? On a world where it is known exactly.

    python -m benchmarks.rl_optimum                     # three β, twenty seeds, five methods: five hours of one core
    python -m benchmarks.rl_optimum --methods ppo rloo --max-new-tokens 2 --share 0.4       # twelve minutes each
    python -m benchmarks.rl_optimum --methods "grpo as published" --group 256               # an hour and a quarter
    python -m benchmarks.rl_optimum --seeds 3 --methods ppo --betas 1
    python -m benchmarks.rl_optimum --json

Every seed has a world, a reference and draws of its own. Reported: KL(π ‖ optimum) in nats, summed over all answers of
each of two prompts (the larger of the two counts), of the reference before and of the policy after training; how many
of the runs end within 1e-3; seconds. What each method's optimum is: docs/rl-mathematics.md. With the KL in the reward
the gradient's noise vanishes at the optimum, and the world has forty answers; with the KL in the loss it does not, the
distance at the end is what the noise leaves (about parameters / samples), and the world has thirteen.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.rl_training import answer_logprobs, make_model, train_on, world_settings
from benchmarks.rl_world import (
    Array,
    World,
    by_k2,
    by_k3,
    divergence,
    loss_side_optimum,
    make_world,
    reverse_kl_optimum,
)

BETAS = (1.0, 2.0, 4.0)
LIMIT = 1e-3  # nats
GROUP = 128  # answers per prompt and iteration


@dataclass(frozen=True)
class Method:
    """What is trained, by which settings, and which distribution has to come out."""

    trainer: str
    changes: Mapping[str, Any]
    optimum: Callable[[World, Array, float, int], Array]  # of the world, the reference, β and the group's size
    max_new_tokens: int = 3


def own_mean(beta: float, group: int) -> float:
    """A group's mean holds the answer it is taken from: the score's step is (K - 1) / K of what it would be."""
    return beta * group / (group - 1)


METHODS = {
    "ppo": Method(
        "ppo",
        {
            "iterations": 400,
            "epochs": 2,
            "minibatches": 1,
            "value_clip": None,
            "value_weight": 1.0,
            "whiten_advantages": False,
            "lam": 1.0,
        },
        lambda world, reference, beta, group: reverse_kl_optimum(world, reference, beta),
    ),
    "rloo": Method(
        "grpo",
        {
            "iterations": 400,
            "epochs": 2,
            "advantage": "rloo",
            "ratio": "answer",
            "kl": {"place": "reward", "estimator": "k1"},
        },
        lambda world, reference, beta, group: reverse_kl_optimum(world, reference, beta),
    ),
    "grpo without std, k3": Method(
        "grpo",
        {"iterations": 400, "advantage": "dr_grpo", "mean": "sum"},
        lambda world, reference, beta, group: loss_side_optimum(world, reference, own_mean(beta, group), by_k3),
        2,
    ),
    "grpo without std, k2": Method(
        "grpo",
        {"iterations": 400, "advantage": "dr_grpo", "mean": "sum", "kl": {"estimator": "k2"}},
        lambda world, reference, beta, group: loss_side_optimum(world, reference, own_mean(beta, group), by_k2),
        2,
    ),
    "grpo as published": Method(
        "grpo",
        {"iterations": 600, "advantage": "grpo", "mean": "answers"},
        lambda world, reference, beta, group: loss_side_optimum(
            world, reference, own_mean(beta, group), by_k3, by_std=True, by_length=True
        ),
        2,
    ),
}


@dataclass(frozen=True)
class Run:
    method: str
    beta: float
    seed: int
    before: float  # nats
    after: float
    seconds: float


def run(
    name: str, beta: float, seed: int, *, share: float = 1.0, group: int = GROUP, max_new_tokens: int | None = None
) -> Run:
    """One training. `share` of the iterations, other groups, a smaller world: for a quick look."""
    method = METHODS[name]
    world = make_world(seed, max_new_tokens=max_new_tokens or method.max_new_tokens)
    began = time.perf_counter()
    changes = {**method.changes, "iterations": max(1, round(share * method.changes["iterations"]))}
    changes["kl"] = {**changes.get("kl", {}), "coefficient": beta}
    changes["rollout"] = {"group_size": group}
    model = make_model(world, seed)
    reference = answer_logprobs(world, model)
    wanted = method.optimum(world, reference, beta, group)
    with tempfile.TemporaryDirectory() as folder:
        train_on(world, model, world_settings(world, method.trainer, changes, seed=seed), Path(folder))
    reached = answer_logprobs(world, model)
    before, after = (float(divergence(found, wanted).max()) for found in (reference, reached))
    return Run(name, beta, seed, before, after, time.perf_counter() - began)


def table(runs: Sequence[Run]) -> str:
    lines = ["| method | β | KL before | KL after: median | largest | within 1e-3 | seconds, largest |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name, beta in dict.fromkeys((one.method, one.beta) for one in runs):
        some = [one for one in runs if (one.method, one.beta) == (name, beta)]
        after = np.array([one.after for one in some])
        before = np.median([one.before for one in some])
        cells = [
            name,
            f"{beta:g}",
            f"{before:.2f}",
            f"{np.median(after):.1e}",
            f"{after.max():.1e}",
            f"{int((after <= LIMIT).sum())} of {len(some)}",
            f"{max(one.seconds for one in some):.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--betas", nargs="+", type=float, default=BETAS)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="share of the iterations")
    parser.add_argument("--group", type=int, default=GROUP, help="answers per prompt and iteration")
    parser.add_argument("--max-new-tokens", type=int, help="2: thirteen answers, 3: forty; default: the method's own")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    runs = []
    for name in asked.methods:
        for beta in asked.betas:
            for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
                size = {"group": asked.group, "max_new_tokens": asked.max_new_tokens}
                runs.append(run(name, beta, seed, share=asked.share, **size))
                if not asked.json:
                    one = runs[-1]
                    shown = f"{one.before:.3g} -> {one.after:.2e}, {one.seconds:.0f} s"
                    print(f"{name}, β {beta:g}, seed {seed}: {shown}", flush=True)
    print(json.dumps([asdict(one) for one in runs], indent=1) if asked.json else table(runs))


if __name__ == "__main__":
    main()
