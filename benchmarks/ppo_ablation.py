"""Every detail of "The N implementation details of RLHF with PPO", changed in turn, where the optimum is known.

    python -m benchmarks.ppo_ablation                    # every row, five seeds: an hour on one core
    python -m benchmarks.ppo_ablation --seeds 3 --rows base "no value clip"
    python -m benchmarks.ppo_ablation --json

The measure is KL(π ‖ π*) in nats after a fixed number of iterations, exactly, on the enumerable world: β times it is
what is missing of the best E[score] - β KL. Answers that were cut off are worth -1 there; what the reward says of them
is noise that only the fixed score keeps out. Per row the geometric mean over seeds and the ratio to the row `base`,
paired by seed, each with a 95 % t-interval on the logarithm. Rows whose change makes another optimum (a KL in the loss,
γ under 1, whitened rewards) are expected to end away from π*: that is what the row is for.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from benchmarks.rl_training import answer_logprobs, make_model, merged, train_on, world_settings
from benchmarks.rl_world import World, divergence, make_world, reverse_kl_optimum

BETA, GROUP = 0.5, 64
BASE: dict[str, Any] = {
    "iterations": 100,
    "kl": {"coefficient": BETA},
    "rollout": {"group_size": GROUP},
    "shape": {"unended": -1.0},
    "epochs": 4,
    "value_weight": 1.0,
}
ROWS: dict[str, dict[str, Any]] = {
    "base": {},
    "policy 2: value head not 0 at the start": {"value": "noisy"},
    "policy 5: no fixed score for endless answers": {"shape": {"unended": None}},
    "policy 6: γ = 0.9": {"gamma": 0.9},
    "GAE: λ = 1": {"lam": 1.0},
    "GAE: λ = 0": {"lam": 0.0},
    "policy 7: 1 epoch": {"epochs": 1},
    "policy 8: k2 in the loss": {"kl": {"place": "loss"}},
    "policy 8: k3 in the loss": {"kl": {"place": "loss", "estimator": "k3"}},
    "policy 8: k1 in the loss": {"kl": {"place": "loss", "estimator": "k1"}},
    "policy 8: k3 in the reward": {"kl": {"estimator": "k3"}},
    "policy 8: no KL": {"kl": {"coefficient": 0.0}},
    "policy 9: advantages not whitened": {"whiten_advantages": False},
    "policy 9: rewards whitened": {"whiten_rewards": True},
    "policy 10: values not clipped": {"value_clip": None},
    "policy 11: adaptive KL, at the optimum's": {"kl": {"target": "of the optimum"}},
    "ratio not clipped": {"clip": {"low": 0.999, "high": 1e9}},
    "dual clip": {"clip": {"dual": 3.0}},
    "entropy bonus": {"entropy": 0.01},
    "scores scaled and centred": {"shape": {"scale": True, "centre": True}},
    "general 5: constant learning rate": {"loop": {"optimiser": {"schedule": "constant"}}},
    "Adam: ε = 1e-5": {"loop": {"optimiser": {"epsilon": 1e-5}}},
    "value on the policy's trunk": {"value": "shared"},
    "policy 1: temperature 0.7": {"rollout": {"temperature": 0.7}},
    "policy 1: temperature 0.7, forgotten in learning": {"rollout": {"temperature": 0.7}, "forgets": True},
}


@dataclass(frozen=True)
class Run:
    row: str
    seed: int
    kl: float  # nats
    seconds: float


def truth(world: World) -> World:
    """The world as it is meant: an answer that was cut off is worth -1."""
    is_ended = np.array([world.is_ended(answer) for answer in world.answers])
    return replace(world, scores=np.where(is_ended, world.scores, -1.0))


def run(row: str, seed: int, *, share: float = 1.0) -> Run:
    world, began = make_world(seed), time.perf_counter()
    changes = merged(BASE, {name: value for name, value in ROWS[row].items() if name != "forgets"})
    changes["iterations"] = max(1, round(share * changes["iterations"]))
    temperature = changes["rollout"].get("temperature", 1.0)
    model = make_model(world, seed)
    reference = answer_logprobs(world, model, temperature=temperature)
    wanted = reverse_kl_optimum(truth(world), reference, BETA)
    if "target" in changes["kl"]:
        changes["kl"]["target"] = float(divergence(wanted, reference).mean())
    is_noisy = changes.get("value") == "noisy"
    settings = world_settings(world, "ppo", {**changes, "value": "separate"} if is_noisy else changes, seed=seed)
    learnt_at = 1.0 if ROWS[row].get("forgets") else temperature
    with tempfile.TemporaryDirectory() as folder:
        train_on(world, model, settings, Path(folder), noisy_value=is_noisy, learnt_at=learnt_at)
    reached = answer_logprobs(world, model, temperature=temperature)
    return Run(row, seed, float(divergence(reached, wanted).mean()), time.perf_counter() - began)


def interval(logs: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    """Geometric mean and 95 % t-interval."""
    mean, width = float(logs.mean()), 0.0
    if len(logs) > 1:
        width = float(stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs)))
    return float(np.exp(mean)), float(np.exp(mean - width)), float(np.exp(mean + width))


def table(runs: Sequence[Run]) -> str:
    by_row: Mapping[str, dict[int, float]] = {
        name: {one.seed: one.kl for one in runs if one.row == name} for name in dict.fromkeys(one.row for one in runs)
    }
    lines = ["| changed | KL(π ‖ π*) | ratio to base |", "|---|---|---|"]
    for name, found in by_row.items():
        logs = np.log([found[seed] for seed in sorted(found)])
        own = "{:.1e} ({:.1e} to {:.1e})".format(*interval(logs))
        ratio = ""
        if name != "base" and "base" in by_row:
            against = np.log([by_row["base"][seed] for seed in sorted(found)])
            ratio = "{:.2g} ({:.2g} to {:.2g})".format(*interval(logs - against))
        lines.append(f"| {name} | {own} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--share", type=float, default=1.0, help="share of the iterations")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    runs = []
    for row in asked.rows:
        for seed in range(asked.seeds):
            runs.append(run(row, seed, share=asked.share))
            if not asked.json:
                print(f"{row}, seed {seed}: {runs[-1].kl:.2e}, {runs[-1].seconds:.0f} s", flush=True)
    print(json.dumps([asdict(one) for one in runs], indent=1) if asked.json else table(runs))


if __name__ == "__main__":
    main()
