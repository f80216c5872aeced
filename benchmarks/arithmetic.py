"""GRPO teaches a tiny model to add: from under 30 % right to over 90 %, greedy, in under ten minutes on two cores.

    python -m benchmarks.arithmetic outputs/arithmetic                # three seeds, ten minutes each
    python -m benchmarks.arithmetic outputs/arithmetic --figure docs/arithmetic.svg
    python -m benchmarks.arithmetic outputs/arithmetic --seeds 0 --part validation       # while choosing settings

Everything goes through the commands that people type: a model of half a million random weights imitates some worked
sums (`rlaif train sft`) until it is right in a quarter of them, and learns the rest from its own answers, told only
whether each is the right number (`rlaif train grpo`, a check of kind `number`). Sums are divided in three: those that
are learnt from, those on which settings were chosen (the curve that `grpo` writes is of these), and those held out, on
which the result is measured: once, at the end. The exit code says whether every seed did what the first line promises.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.sums import (
    CHECK,
    Accuracy,
    Part,
    all_sums,
    measure,
    write_demonstrations,
    write_model,
    write_prompts,
)
from rlaif.documents import write_yaml

ROOT = Path(__file__).resolve().parents[1]
SFT_SUMS = 2500
MOST_SECONDS = 600.0


@dataclass
class Outcome:
    """One seed: accuracy on `part` before and after GRPO; curves as (update, share right): of an update's own answers,
    and of answers drawn to the validation sums; seconds by the clock and of processors, of each command."""

    seed: int
    part: Part
    before: Accuracy
    after: Accuracy
    updates: int
    drawn: list[tuple[int, float]]
    validation: list[tuple[int, float]]
    seconds: dict[str, float] = field(default_factory=dict)
    processor_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def is_as_promised(self) -> bool:
        is_quick = sum(self.seconds.values()) < MOST_SECONDS
        return self.before.greedy < 0.3 and self.after.greedy > 0.9 and is_quick


def sft_settings(folder: Path, seed: int) -> dict[str, Any]:
    return {
        "model": str(folder / "empty"),
        "data": [{"path": str(folder / "demonstrations.jsonl")}],
        "output": str(folder / "sft"),
        "max_length": 32,
        "loop": {
            "epochs": 4.5,
            "batch_size": 64,
            "seed": seed,
            "save_every": 1000,
            "optimiser": {"learning_rate": 2e-3, "schedule": "linear", "beta2": 0.98},
        },
    }


def grpo_settings(folder: Path, seed: int, iterations: int) -> dict[str, Any]:
    check = CHECK.model_dump(mode="json")
    return {
        "model": str(folder / "sft"),
        "prompts": [{"path": str(folder / "prompts.jsonl")}],
        "output": str(folder / "grpo"),
        "max_length": 32,
        "reward": [{"kind": "check", "check": check}],
        "iterations": iterations,
        "advantage": "dr_grpo",
        "epochs": 2,  # a second use of the same answers costs a third of an update: nothing is sampled or read for it
        "entropy": 0.005,  # groups whose answers are all alike teach nothing
        "rollout": {"prompts": 256, "group_size": 4, "max_new_tokens": 4},
        "kl": {"coefficient": 0.0},
        "watch": {
            "held_out_every": 20,
            "held_out": {"prompts": [{"path": str(folder / "validation.jsonl")}], "check": check},
            "stop": False,  # a check cannot be gamed here, and knowing the answers looks like having only one
        },
        "loop": {
            "seed": seed,
            "save_every": 50,
            "micro_batch_tokens": 16384,
            "optimiser": {"learning_rate": 4e-4, "schedule": "linear", "warmup_share": 0.1, "beta2": 0.98},
        },
    }


def run(folder: Path, seed: int, iterations: int, part: Part) -> Outcome:
    """Make the data and the model, imitate, learn, measure."""
    sums = all_sums()
    training, asked = ([one for one in sums if one.part == wanted] for wanted in ("training", part))
    write_model(folder / "empty", seed=seed)
    write_demonstrations(folder / "demonstrations.jsonl", training[:SFT_SUMS])
    write_prompts(folder / "prompts.jsonl", training)
    write_prompts(folder / "validation.jsonl", [one for one in sums if one.part == "validation"])
    sft = train(folder, "sft", sft_settings(folder, seed))
    grpo = train(folder, "grpo", grpo_settings(folder, seed, iterations))
    lines = [json.loads(line) for line in (folder / "grpo" / "training" / "metrics.jsonl").read_text().splitlines()]
    # a line's figures are of the policy before its update
    drawn = [(one["step"] - 1, one["watch_reward"]) for one in lines if "watch_reward" in one]
    scores = [(one["step"] - 1, one["watch_held_out"]) for one in lines if "watch_held_out" in one]
    seconds, processor_seconds = ({"sft": of_sft, "grpo": of_grpo} for of_sft, of_grpo in zip(sft, grpo, strict=True))
    before, after = (measure(folder / name, asked) for name in ("sft", "grpo"))
    return Outcome(seed, part, before, after, iterations, drawn, scores, seconds, processor_seconds)


def train(folder: Path, method: str, settings: dict[str, Any]) -> tuple[float, float]:
    """One command, in a process of its own, as a person would type it; its seconds by the clock and of processors."""
    config = folder / f"{method}.yaml"
    config.write_text(write_yaml(settings), encoding="utf-8")
    command = [sys.executable, "-m", "rlaif.cli.main", "train", method, "--config", str(config), "--anew", "--json"]
    began, used = time.perf_counter(), processor_seconds()
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    return round(time.perf_counter() - began, 1), round(processor_seconds() - used, 1)


def processor_seconds() -> float:
    """Of all commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """The learning curves: thin, the share right among an update's own answers; thick, among answers drawn to the
    validation sums; dots, greedy on the part that was measured."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "rlaif"  # the same curve gives the same file
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots()
    for one in outcomes:
        (line,) = axes.plot(*zip(*one.drawn, strict=True), lw=0.5, alpha=0.5)
        label = f"seed {one.seed}: {one.before.greedy:.1%} → {one.after.greedy:.1%} greedy, {one.part}"
        axes.plot(*zip(*one.validation, strict=True), lw=1.8, color=line.get_color(), label=label)
        axes.plot([0, one.updates], [one.before.greedy, one.after.greedy], "o", color=line.get_color(), ms=5)
    for height in (0.3, 0.9):
        axes.axhline(height, color="grey", lw=0.6, ls=":")
    axes.set(xlabel="updates", ylabel="share of right sums", ylim=(0, 1))
    axes.legend(loc="lower right")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def report(one: Outcome) -> str:
    clock, used = (
        ", ".join(f"{name} {spent:.0f} s" for name, spent in seconds.items())
        for seconds in (one.seconds, one.processor_seconds)
    )
    kept = "as promised" if one.is_as_promised else "NOT as promised"
    return (
        f"seed {one.seed}, {one.part} sums\n"
        f"  after SFT                {one.before}\n"
        f"  after {one.updates:3} updates of GRPO {one.after}\n"
        f"  by the clock {clock}; of processors {used}\n"
        f"  {kept}: greedy from under 30 % to over 90 % within {MOST_SECONDS:.0f} s"
    )


def surroundings() -> str:
    """What the seconds depend on."""
    threads = os.environ.get("OMP_NUM_THREADS", "as torch chooses")
    return f"{os.cpu_count()} cores, OMP_NUM_THREADS {threads}, load {os.getloadavg()[0]:.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where data and models go")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--updates", type=int, default=340)
    parser.add_argument("--part", choices=("validation", "held-out"), default="held-out", help="what is measured")
    parser.add_argument("--figure", type=Path, help="draw the learning curves: .svg or .png")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    outcomes = []
    for seed in chosen.seeds:
        print(f"seed {seed} begins: {surroundings()}", file=sys.stderr, flush=True)
        outcomes.append(run(chosen.folder.resolve() / f"seed-{seed}", seed, chosen.updates, chosen.part))
        print(report(outcomes[-1]), file=sys.stderr, flush=True)
    if chosen.figure:
        draw(outcomes, chosen.figure)
    if chosen.json:
        print(json.dumps([asdict(one) for one in outcomes], indent=1))
    return 0 if all(one.is_as_promised for one in outcomes) else 1


if __name__ == "__main__":
    raise SystemExit(main())
