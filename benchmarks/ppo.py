"""Our PPO and GRPO beside TRL's: episodes per second end to end, memory, and where the time goes.

    python -m benchmarks.ppo                        # PPO and GRPO, small model, float32
    python -m benchmarks.ppo --only ppo --updates 5 --repeats 5
    python -m benchmarks.ppo --precision bf16 --json
    python -m benchmarks.ppo --value shared         # ours with a value on the policy's trunk: one model fewer than TRL
    python -m benchmarks.ppo --clock cpu --threads 1      # ratios of processor time, on a machine that is not quiet

Every run is a process of its own (`benchmarks.ppo_sides`), ours and TRL's in turn; ratios are of runs next to each
other: median, smallest and largest. The same models, prompts, lengths, precision, threads and (`keep_memory`) allocator
on both sides. An episode is a prompt sampled, scored and learnt from; loading and the first update are not counted.
Peak memory is taken above what a process holds with all models loaded.

TRL's PPO is trl 1.12.0's `trl.experimental.ppo`, the last release that has one. The command installs it, without what
it depends on, into a folder of its own (--peers), and runs it beside the environment's torch and transformers. TRL's
GRPO is the environment's trl.

Exit code 1 when a target is missed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peer_packages import PEERS_FOLDER, install_into
from benchmarks.train_setups import SIZES

TRL_WITH_PPO = "trl==1.12.0"


@dataclass(frozen=True)
class Target:
    """At least so many times as fast; at most this share of the memory above the models."""

    speed: float
    memory: float | None


TARGETS = {"ppo": Target(8.0, 0.2), "grpo": Target(3.0, None)}


def main() -> int:
    options = parse()
    folder = options.peers / TRL_WITH_PPO.replace("==", "-")
    if "ppo" in options.only and not (folder / "trl").is_dir() and (problem := install_into(folder, [TRL_WITH_PPO])):
        print(f"{TRL_WITH_PPO} is not there {problem}", file=sys.stderr)
        return 2
    found = {method: compare(method, options, folder) for method in options.only}
    print(json.dumps(found) if options.json else "\n\n".join(told(method, one) for method, one in found.items()))
    missed = [line for method, one in found.items() for line in misses(method, one)]
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if missed else 0


def run(side: str, method: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The figures of one training in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.ppo_sides", "--side", side, "--method", method]
    for name in ("size", "precision", "episodes", "updates", "new_tokens", "threads", "value"):
        command += ["--" + name.replace("_", "-"), str(getattr(options, name))]
    path = [str(folder)] if (side, method) == ("trl", "ppo") else []
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([*path, *filter(None, [os.environ.get("PYTHONPATH")])])}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environ)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    figures["seconds"] = figures[f"{options.clock}_s"]
    rate = figures["episodes"] / figures["seconds"]
    print(f"{method}, {side}: {rate:.2f} episodes/s (load average {figures['load_average']:.1f})", file=sys.stderr)
    return figures


def compare(method: str, options: argparse.Namespace, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Ours and TRL's in turn."""
    found: dict[str, list[dict[str, Any]]] = {"ours": [], "trl": []}
    for number in range(options.repeats):
        sides = ("ours", "trl") if number % 2 == 0 else ("trl", "ours")
        for side in (one for one in sides if one in options.sides):
            found[side].append(run(side, method, options, folder))
    return found


def ratios(found: dict[str, list[dict[str, Any]]]) -> list[float]:
    """How many times as fast ours was, run by run."""
    pairs = zip(found["ours"], found["trl"], strict=False)
    return [trl["seconds"] / trl["episodes"] / (ours["seconds"] / ours["episodes"]) for ours, trl in pairs]


def above(one: dict[str, Any]) -> float:
    return float(one["peak_bytes"] - one["loaded_bytes"])


def spread(values: Sequence[float], form: str = ".2f") -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}}, n = {len(values)})"


def told(method: str, found: dict[str, list[dict[str, Any]]]) -> str:
    lines = [f"{method}: episodes/s, median (least to most, runs)"]
    for side, runs in found.items():
        if not runs:
            continue
        lines.append(
            f"  {side:5} {spread([one['episodes'] / one['seconds'] for one in runs])}; peak above loaded models"
            f" {max(map(above, runs)) / 1e6:,.0f} MB (the process {max(one['peak_bytes'] for one in runs) / 1e6:,.0f})"
        )
        lines.append("        " + phases(runs))
    if all(found.values()):
        memory = max(map(above, found["ours"])) / max(map(above, found["trl"]))
        lines.append(f"  ours is {spread(ratios(found))} times as fast, with {memory:.0%} of the memory")
    return "\n".join(lines)


def phases(runs: Sequence[dict[str, Any]]) -> str:
    """Shares of the time, the largest first."""
    total = sum(one["wall_s"] for one in runs)
    names = dict.fromkeys(name for one in runs for name in one["phases"])
    shares = {name: sum(one["phases"].get(name, 0.0) for one in runs) / total for name in names}
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {share:.0%}" for name, share in ordered)


def misses(method: str, found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Targets that were not reached, in words."""
    if not all(found.values()):
        return []
    target, lines = TARGETS[method], []
    if (ratio := statistics.median(ratios(found))) < target.speed:
        lines.append(f"{method}: {ratio:.2f} times as fast as TRL, target {target.speed:g}")
    memory = max(map(above, found["ours"])) / max(map(above, found["trl"]))
    if target.memory is not None and memory > target.memory:
        lines.append(f"{method}: {memory:.0%} of TRL's memory, target {target.memory:.0%}")
    return lines


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=tuple(TARGETS), default=list(TARGETS))
    parser.add_argument("--sides", nargs="+", choices=("ours", "trl"), default=["ours", "trl"])
    parser.add_argument("--size", choices=SIZES, default="s")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    parser.add_argument("--episodes", type=int, default=32, help="answers of an update")
    parser.add_argument("--updates", type=int, default=3, help="counted updates of a run")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--value", choices=("separate", "shared"), default="separate", help="of our PPO; TRL: separate")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="what seconds are counted")
    parser.add_argument("--peers", type=Path, default=PEERS_FOLDER)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
