"""Our trainers beside TRL's: the same rows, first weights, threads and rows per step; time, memory, useful work.

    python -m benchmarks.train                          # everything; an hour or two on two cores
    python -m benchmarks.train --quick                  # small model, one repeat; minutes
    python -m benchmarks.train --only dpo-s-float32     # one cell (--list names them); --repeats 5
    python -m benchmarks.train --clock cpu --threads 1  # ratios of processor time, on a machine that is not quiet
    python -m benchmarks.train --json

Every run is a process of its own (`benchmarks.train_sides`), ours and TRL's in turn, so that neither side has the
better minutes. A ratio is TRL's seconds over ours, of runs next to each other: median, smallest and largest. One epoch,
DPO's reference counted, checkpoints and tokenising not; `keep_memory` for both. `useful` is the share of what a matrix
product reaches in the same process that goes into arithmetic nobody can do without (`train_setups.useful_flops`).

    *-float32   float32 against float32, TRL without activation checkpointing
    *-best      bf16 autocast against TRL's default: bf16 autocast with activation checkpointing
    sft-*-bf16  bf16 against bf16, TRL without activation checkpointing
    gradient-*  how far a step's gradient under bf16 is from float32's: ours beside TRL's
    vocabulary  what peak memory gains from a vocabulary of 32k to one of 248k, weights and optimizer taken off
    grid        vocabulary x share of the prompt x rows of a step, small model, best against default

Exit code 1 when a target is missed.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.train_setups import SIZES, rows, with_vocabulary

ROWS = {"s": 48, "m": 16}
QUICK_ROWS = {"s": 24, "m": 8}
GRADIENT_ROWS = {"s": 8, "m": 4}
GRID = {"vocabulary": (4096, 32768, 131072), "prompt_scale": (0.2, 1.0, 4.0), "batch": (1, 8, 32)}
CHUNK_ROWS = 256
VOCABULARIES = (32_768, 253_952)  # 32k and 248k


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Two ways to do the same training, and what is expected of the ratio of their times."""

    method: str
    size: str
    ours: str
    theirs: str
    checkpointing: bool = False
    target: float | None = None
    least_useful: float | None = None


CELLS = {
    "dpo-s-float32": Cell(method="dpo", size="s", ours="float32", theirs="float32", target=5.5, least_useful=0.85),
    "dpo-s-best": Cell(
        method="dpo", size="s", ours="bf16", theirs="bf16", checkpointing=True, target=12, least_useful=0.6
    ),
    "reward-s-best": Cell(method="reward", size="s", ours="bf16", theirs="bf16", checkpointing=True, target=8),
    "sft-s-bf16": Cell(method="sft", size="s", ours="bf16", theirs="bf16", target=3.5),
    "dpo-m-float32": Cell(method="dpo", size="m", ours="float32", theirs="float32", target=4.2, least_useful=0.85),
    "dpo-m-best": Cell(
        method="dpo", size="m", ours="bf16", theirs="bf16", checkpointing=True, target=12, least_useful=0.6
    ),
    "reward-m-best": Cell(method="reward", size="m", ours="bf16", theirs="bf16", checkpointing=True, target=8),
    "sft-m-bf16": Cell(method="sft", size="m", ours="bf16", theirs="bf16", target=3.5),
}
GRADIENTS = tuple(f"gradient-{method}-{size}" for size in "sm" for method in ("dpo", "reward"))
NAMES = (*CELLS, *GRADIENTS, "vocabulary", "grid")
QUICK = ("dpo-s-float32", "dpo-s-best", "reward-s-best", "sft-s-bf16", "gradient-dpo-s")
MEMORY_TARGETS = {"dpo-m-float32": 0.22, "dpo-m-best": 0.40}  # our best DPO at M, over TRL's


def run(side: str, options: argparse.Namespace, **arguments: Any) -> dict[str, float]:
    """The figures of one training in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.train_sides", "--side", side, "--threads", str(options.threads)]
    for name, value in arguments.items():
        flag = "--" + name.replace("_", "-")
        command += [flag] if value is True else [flag, str(value)] if value not in (False, None) else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {}


def compare(cell: Cell, options: argparse.Namespace, num_rows: int, repeats: int, **more: Any) -> dict[str, Any]:
    """Ours and TRL's in turn."""
    shared = {"method": cell.method, "size": cell.size, "rows": num_rows, **more}
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(run("ours", options, precision=cell.ours, **shared))
        theirs.append(run("trl", options, precision=cell.theirs, checkpointing=cell.checkpointing, **shared))
    ratios = [t[f"{options.clock}_s"] / o[f"{options.clock}_s"] for o, t in zip(ours, theirs, strict=True)]
    return {
        "repeats": repeats,
        "rows": num_rows,
        "ratio": statistics.median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "target": cell.target,
        "least_useful": cell.least_useful,
        "ours": _side(ours, options.clock),
        "trl": _side(theirs, options.clock),
    }


def _side(found: list[dict[str, float]], clock: str) -> dict[str, float]:
    return {
        "rows_per_s": statistics.median(one["rows"] / one[f"{clock}_s"] for one in found),
        "useful": statistics.median(
            one["useful_flops"] / one["cpu_s"] / one["product_flops_per_cpu_s"] for one in found
        ),
        "peak_bytes": max(one["peak_bytes"] for one in found),
        "state_bytes": found[0]["state_bytes"],
        "wall_s": statistics.median(one["wall_s"] for one in found),
        "cpu_s": statistics.median(one["cpu_s"] for one in found),
    }


def gradient_distances(name: str, options: argparse.Namespace) -> dict[str, float]:
    """‖g under bf16 - g in float32‖ / ‖g in float32‖; the two sides' float32 gradients must be the same."""
    import torch

    _, method, size = name.split("-")
    found = {}
    with tempfile.TemporaryDirectory(prefix="bench-train-") as folder:
        for side, precision in itertools.product(("ours", "trl"), ("float32", "bf16")):
            file = Path(folder) / f"{side}-{precision}.pt"
            run(side, options, method=method, size=size, precision=precision, rows=GRADIENT_ROWS[size], gradient=file)
            found[side, precision] = torch.load(file)
    exact = found["ours", "float32"]

    def distance(other: Any) -> float:
        return float((other - exact).norm() / exact.norm())

    return {
        "rows": GRADIENT_ROWS[size],
        "ours_bf16": distance(found["ours", "bf16"]),
        "trl_bf16": distance(found["trl", "bf16"]),
        "trl_float32": distance(found["trl", "float32"]),
    }


def vocabulary_memory(options: argparse.Namespace) -> dict[str, float]:
    """Peak memory of our DPO at two vocabularies, without weights, gradients and optimizer; one chunk of logits."""
    small, large = (
        run("ours", options, method="dpo", size="s", precision=options.precision, rows=16, vocabulary=number, cold=True)
        for number in VOCABULARIES
    )
    grown = (large["peak_bytes"] - large["state_bytes"]) - (small["peak_bytes"] - small["state_bytes"])
    return {
        "small_bytes": small["peak_bytes"],
        "large_bytes": large["peak_bytes"],
        "grown_bytes": grown,
        "chunk_bytes": CHUNK_ROWS * VOCABULARIES[1] * 4,
    }


def grid(options: argparse.Namespace) -> list[dict[str, Any]]:
    found = []
    for vocabulary, prompt_scale, batch in itertools.product(*GRID.values()):
        given = rows(32, with_vocabulary(SIZES["s"], vocabulary).vocabulary, prompt_scale=prompt_scale)
        shared, all_tokens = (
            sum(len(row.prompt) for row in given),
            sum(len(row.prompt) + (len(row.chosen) + len(row.rejected)) / 2 for row in given),
        )
        figures = compare(
            CELLS["dpo-s-best"], options, 32, 1, vocabulary=vocabulary, prompt_scale=prompt_scale, batch=batch
        )
        found.append({"vocabulary": vocabulary, "prompt_share": shared / all_tokens, "batch": batch, **figures})
        say(f"vocabulary {vocabulary}, prompt share {shared / all_tokens:.2f}, batch {batch}: {figures['ratio']:.1f}")
    return found


def misses(found: dict[str, Any]) -> list[str]:
    """Targets that were not reached, in words."""
    missed = []
    for name, one in found.items():
        if name in CELLS:
            if one["target"] and one["ratio"] < one["target"]:
                missed.append(f"{name}: {one['ratio']:.2f} times as fast as TRL, target {one['target']}")
            if one["least_useful"] and one["ours"]["useful"] < one["least_useful"]:
                missed.append(f"{name}: {one['ours']['useful']:.0%} useful, target {one['least_useful']:.0%}")
        if name in GRADIENTS and one["ours_bf16"] > one["trl_bf16"]:
            missed.append(f"{name}: {one['ours_bf16']:.2%} from float32, TRL {one['trl_bf16']:.2%}")
        if name in MEMORY_TARGETS and "dpo-m-best" in found:
            share = found["dpo-m-best"]["ours"]["peak_bytes"] / one["trl"]["peak_bytes"]
            if share > MEMORY_TARGETS[name]:
                missed.append(
                    f"{name}: our best has {share:.0%} of TRL's peak memory, target {MEMORY_TARGETS[name]:.0%}"
                )
    memory = found.get("vocabulary")
    if memory and memory["grown_bytes"] > memory["chunk_bytes"]:
        missed.append(
            f"vocabulary: {memory['grown_bytes'] / 1e6:.0f} MB more, a chunk is {memory['chunk_bytes'] / 1e6:.0f}"
        )
    return missed


def table(found: dict[str, Any]) -> str:
    lines = []
    if any(name in CELLS for name in found):
        lines.append(
            "cell            TRL/ours (low to high, n)   rows/s ours, TRL     useful ours, TRL   peak MB ours, TRL"
        )
    for name, one in found.items():
        if name in CELLS:
            ours, trl = one["ours"], one["trl"]
            lines.append(
                f"{name:15} {one['ratio']:6.2f} ({one['ratio_low']:.2f} to {one['ratio_high']:.2f}, {one['repeats']})"
                f"{ours['rows_per_s']:13.3f} {trl['rows_per_s']:8.3f}{ours['useful']:14.0%} {trl['useful']:6.0%}"
                f"{ours['peak_bytes'] / 1e6:14,.0f} {trl['peak_bytes'] / 1e6:9,.0f}"
            )
        elif name in GRADIENTS:
            lines.append(
                f"{name}: from float32 ours {one['ours_bf16']:.3%}, TRL {one['trl_bf16']:.3%}; "
                f"the two float32 gradients differ by {one['trl_float32']:.1e}"
            )
        elif name == "vocabulary":
            lines.append(
                f"vocabulary 32k -> 248k: peak grows by {one['grown_bytes'] / 1e6:,.0f} MB beside weights and AdamW; "
                f"a chunk of logits is {one['chunk_bytes'] / 1e6:,.0f} MB"
            )
        else:
            lines.append("vocabulary   prompt share   batch   TRL/ours   rows/s ours, TRL   peak MB ours, TRL")
            lines += [
                f"{cell['vocabulary']:>10,}{cell['prompt_share']:>15.2f}{cell['batch']:>8}{cell['ratio']:>11.2f}"
                f"{cell['ours']['rows_per_s']:>12.2f} {cell['trl']['rows_per_s']:>6.2f}"
                f"{cell['ours']['peak_bytes'] / 1e6:>12,.0f} {cell['trl']['peak_bytes'] / 1e6:>7,.0f}"
                for cell in one
            ]
    return "\n".join(lines)


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="CELL")
    parser.add_argument("--list", action="store_true", help="print the cells' names")
    parser.add_argument("--quick", action="store_true", help="small model, fewer rows, one repeat")
    parser.add_argument("--repeats", type=int, help="runs of each side per cell (default 3, with --quick 1)")
    parser.add_argument("--rows", type=int, help="rows per run")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="what ratios are taken of")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="bf16", help="of the vocabulary cell")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args()
    if options.list:
        print("\n".join(NAMES))
        return 0
    found: dict[str, Any] = {}
    for name in options.only or (QUICK if options.quick else NAMES):
        say(name)
        if name in CELLS:
            size = CELLS[name].size
            num_rows = options.rows or (QUICK_ROWS if options.quick else ROWS)[size]
            found[name] = compare(CELLS[name], options, num_rows, options.repeats or (1 if options.quick else 3))
        elif name in GRADIENTS:
            found[name] = gradient_distances(name, options)
        else:
            found[name] = vocabulary_memory(options) if name == "vocabulary" else grid(options)
    print(json.dumps(found) if options.json else table(found))
    for line in (missed := misses(found)):
        print(f"missed: {line}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
