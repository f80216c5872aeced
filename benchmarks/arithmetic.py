"""GRPO teaches a model of half a million weights to add: from under 30 % right to over 90 %, on two cores.

    python -m benchmarks.arithmetic outputs/arithmetic                # minutes
    python -m benchmarks.arithmetic outputs/arithmetic --seeds 0 1 2 --figure docs/arithmetic.svg

Everything goes through the commands that people type: a model of random weights imitates some worked sums (`rlaif
train sft`) until it is right in a fifth of them, and learns the rest from its own answers, told only whether the number
is the right one (`rlaif train grpo`, a check of kind `number`). Accuracy is that on sums which neither has seen. The
figure shows every update's share of right answers, and the held-out accuracy.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.sums import Accuracy, all_sums, measure, write_demonstrations, write_model, write_prompts
from rlaif.documents import write_yaml

ROOT = Path(__file__).resolve().parents[1]
SFT_SUMS = 2200


@dataclass
class Outcome:
    """One seed: accuracy on held-out sums before and after GRPO, and the curve as (update, share right)."""

    seed: int
    before: Accuracy
    after: Accuracy
    updates: int
    drawn: list[tuple[int, float]]
    held_out: list[tuple[int, float]]
    seconds: dict[str, float] = field(default_factory=dict)


def sft_settings(folder: Path, seed: int) -> dict[str, Any]:
    return {
        "model": str(folder / "empty"),
        "data": [{"path": str(folder / "demonstrations.jsonl")}],
        "output": str(folder / "sft"),
        "max_length": 32,
        "loop": {
            "epochs": 5,
            "batch_size": 64,
            "seed": seed,
            "save_every": 1000,
            "optimiser": {"learning_rate": 2e-3, "schedule": "linear", "beta2": 0.98},
        },
    }


def grpo_settings(folder: Path, seed: int, iterations: int) -> dict[str, Any]:
    check = {"kind": "number"}
    return {
        "model": str(folder / "sft"),
        "prompts": [{"path": str(folder / "prompts.jsonl")}],
        "output": str(folder / "grpo"),
        "max_length": 32,
        "reward": [{"kind": "check", "check": check}],
        "iterations": iterations,
        "advantage": "dr_grpo",
        "rollout": {"prompts": 256, "group_size": 4, "max_new_tokens": 4},
        "kl": {"coefficient": 0.0},
        "watch": {
            "held_out_every": 20,
            "held_out": {"prompts": [{"path": str(folder / "held-out.jsonl")}], "check": check},
            "stop": False,  # a check cannot be gamed here, and knowing the answers looks like having only one
        },
        "loop": {
            "seed": seed,
            "save_every": 50,
            "optimiser": {"learning_rate": 6e-4, "schedule": "linear", "warmup_share": 0.15, "beta2": 0.98},
        },
    }


def run(folder: Path, seed: int, iterations: int) -> Outcome:
    """Make the data and the model, imitate, learn, measure."""
    sums = all_sums()
    held_out, seen = ([one for one in sums if one.is_held_out == wanted] for wanted in (True, False))
    write_model(folder / "empty", seed=seed)
    write_demonstrations(folder / "demonstrations.jsonl", seen[:SFT_SUMS])
    write_prompts(folder / "prompts.jsonl", seen)
    write_prompts(folder / "held-out.jsonl", held_out)
    seconds: dict[str, float] = {}
    train(folder, "sft", sft_settings(folder, seed), seconds)
    before = measure(folder / "sft", held_out)
    train(folder, "grpo", grpo_settings(folder, seed, iterations), seconds)
    after = measure(folder / "grpo", held_out)
    lines = [json.loads(line) for line in (folder / "grpo" / "training" / "metrics.jsonl").read_text().splitlines()]
    curve = [(one["step"], one["watch_reward"]) for one in lines if "watch_reward" in one]
    scores = [(one["step"], one["watch_held_out"]) for one in lines if "watch_held_out" in one]
    return Outcome(seed, before, after, curve[-1][0], curve, scores, seconds)


def train(folder: Path, method: str, settings: dict[str, Any], seconds: dict[str, float]) -> None:
    """One command, in a process of its own, as a person would type it."""
    config = folder / f"{method}.yaml"
    config.write_text(write_yaml(settings), encoding="utf-8")
    command = [sys.executable, "-m", "rlaif.cli.main", "train", method, "--config", str(config), "--anew", "--json"]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    seconds[method] = round(time.perf_counter() - began, 1)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-3000:]}")


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """The learning curves: thin, the share right among an update's own answers; thick, the held-out accuracy."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "rlaif"  # the same curve gives the same file
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots()
    for one in outcomes:
        (line,) = axes.plot(*zip(*one.drawn, strict=True), lw=0.5, alpha=0.5)
        label = f"seed {one.seed}: {one.before.greedy:.0%} → {one.after.greedy:.1%} (greedy)"
        axes.plot(*zip(*one.held_out, strict=True), lw=1.8, color=line.get_color(), label=label)
    for height in (0.3, 0.9):
        axes.axhline(height, color="grey", lw=0.6, ls=":")
    axes.set(xlabel="updates", ylabel="share of right sums", ylim=(0, 1))
    axes.legend(loc="lower right")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def report(one: Outcome) -> str:
    reached = next((step for step, share in one.held_out if share > 0.9), None)
    return (
        f"seed {one.seed}: after SFT {one.before}\n        after GRPO {one.after}; {one.updates} updates, drawn "
        f"above 90 % at update {reached}; seconds {one.seconds}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where data and models go")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--figure", type=Path, help="draw the learning curves: .svg or .png")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    outcomes = []
    for seed in chosen.seeds:
        outcomes.append(run(chosen.folder.resolve() / f"seed-{seed}", seed, chosen.updates))
        print(report(outcomes[-1]), file=sys.stderr, flush=True)
    if chosen.figure:
        draw(outcomes, chosen.figure)
    if chosen.json:
        print(json.dumps([asdict(one) for one in outcomes], indent=1))
    is_as_promised = all(one.before.greedy < 0.3 and one.after.greedy > 0.9 for one in outcomes)
    return 0 if is_as_promised else 1


if __name__ == "__main__":
    raise SystemExit(main())
