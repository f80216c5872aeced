"""Our trainers beside TRL's: the same rows, first weights, threads and rows per step; time, memory, useful work.

    python -m benchmarks.train                          # everything; two hours or more on two cores
    python -m benchmarks.train --quick                  # small model, one repeat; minutes
    python -m benchmarks.train --only dpo-s-float32     # one cell (--list names them); --repeats 5
    python -m benchmarks.train --only grid --keep grid.jsonl      # stopped and started again, it goes on from there
    python -m benchmarks.train --clock cpu --threads 1  # ratios of processor time, on a machine that is not quiet
    python -m benchmarks.train --json

Every run is a process of its own (`benchmarks.train_sides`), ours and TRL's in turn, so that neither side has the
better minutes. A ratio is TRL's seconds over ours, of runs next to each other: median, smallest and largest. One epoch,
DPO's reference counted, checkpoints and tokenising not; `keep_memory` for both. `useful` is the share of what a matrix
product reaches in the same process that goes into arithmetic nobody can do without (`train_setups.useful_flops`).

    *-float32   float32 against float32, TRL without activation checkpointing; ours at M in passes of 1,024 tokens
    *-best      bf16 autocast against TRL's default: bf16 autocast with activation checkpointing
    sft-*-bf16  bf16 against bf16, TRL without activation checkpointing
    gradient-*  how far a step's gradient under bf16 is from float32's: ours beside TRL's
    vocabulary  what peak memory gains from a vocabulary of 32k to one of 248k, weights and optimizer taken off
    grid        vocabulary x share of the prompt x rows of a step, small model, best against default, one run each;
                grid-131072-4-32 is one of its cells. Where TRL asks for more memory than there is, that is the finding

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

from benchmarks.train_report import misses, table
from benchmarks.train_setups import SIZES, rows, with_vocabulary

ROWS = {"s": 48, "m": 16}
QUICK_ROWS = {"s": 24, "m": 8}
GRADIENT_ROWS = {"s": 8, "m": 4}
GRID_ROWS = 32
CHUNK_ROWS = 256
VOCABULARIES = (32_768, 253_952)  # 32k and 248k


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Two ways to do the same training, and what is expected of the ratio of their times."""

    method: str
    size: str
    ours: str = "bf16"
    theirs: str = "bf16"
    checkpointing: bool = False  # TRL's
    micro_batch_tokens: int = 4096  # ours
    target: float | None = None
    least_useful: float | None = None


CELLS = {
    "dpo-s-float32": Cell(method="dpo", size="s", ours="float32", theirs="float32", target=5.5, least_useful=0.85),
    "dpo-s-best": Cell(method="dpo", size="s", checkpointing=True, target=12, least_useful=0.6),
    "reward-s-best": Cell(method="reward", size="s", checkpointing=True, target=8),
    "sft-s-bf16": Cell(method="sft", size="s", target=3.5),
    "dpo-m-float32": Cell(
        method="dpo",
        size="m",
        ours="float32",
        theirs="float32",
        micro_batch_tokens=1024,
        target=4.2,
        least_useful=0.85,
    ),
    "dpo-m-best": Cell(method="dpo", size="m", checkpointing=True, target=12, least_useful=0.6),
    "reward-m-best": Cell(method="reward", size="m", checkpointing=True, target=8),
    "sft-m-bf16": Cell(method="sft", size="m", target=3.5),
}
GRADIENTS = tuple(f"gradient-{method}-{size}" for size in "sm" for method in ("dpo", "reward"))
GRID = {
    f"grid-{vocabulary}-{prompt_scale:g}-{batch}": {
        "vocabulary": vocabulary,
        "prompt_scale": prompt_scale,
        "batch": batch,
    }
    for vocabulary, prompt_scale, batch in itertools.product((4096, 32768, 131072), (0.2, 1.0, 4.0), (1, 8, 32))
}
NAMES = (*CELLS, *GRADIENTS, "vocabulary", *GRID)
QUICK = ("dpo-s-float32", "dpo-s-best", "reward-s-best", "sft-s-bf16", "gradient-dpo-s")


_ASKED = ("quick", "repeats", "rows", "threads", "clock", "precision")  # what a figure depends on beside its cell


class OutOfMemory(Exception):
    """A training asked for more memory than the machine has."""


def run(side: str, options: argparse.Namespace, **arguments: Any) -> dict[str, float]:
    """The figures of one training in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.train_sides", "--side", side, "--threads", str(options.threads)]
    for name, value in arguments.items():
        flag = "--" + name.replace("_", "-")
        command += [flag] if value is True else [flag, str(value)] if value not in (False, None) else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        if done.returncode == -9 or "can't allocate memory" in done.stderr or "MemoryError" in done.stderr:
            raise OutOfMemory(f"{side} asks for more memory than is free")
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {}


def compare(cell: Cell, options: argparse.Namespace, num_rows: int, repeats: int, **more: Any) -> dict[str, Any]:
    """Ours and TRL's in turn; without a ratio where TRL does not fit into the machine."""
    shared = {"method": cell.method, "size": cell.size, "rows": num_rows, **more}
    ours: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []
    for _ in range(repeats):
        ours.append(run("ours", options, precision=cell.ours, micro_batch_tokens=cell.micro_batch_tokens, **shared))
        try:
            theirs.append(run("trl", options, precision=cell.theirs, checkpointing=cell.checkpointing, **shared))
        except OutOfMemory:
            break
    ratios = [t[f"{options.clock}_s"] / o[f"{options.clock}_s"] for o, t in zip(ours, theirs, strict=False)]
    return {
        "repeats": len(ours),
        "rows": num_rows,
        "ratio": statistics.median(ratios) if ratios else None,
        "ratio_low": min(ratios, default=None),
        "ratio_high": max(ratios, default=None),
        "target": cell.target,
        "least_useful": cell.least_useful,
        "ours": _side(ours, options.clock),
        "trl": _side(theirs, options.clock) if theirs else None,
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


def grid_cell(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """DPO at our best beside TRL's default, for one vocabulary, length of prompts and number of rows of a step."""
    where = GRID[name]
    vocabulary = with_vocabulary(SIZES["s"], where["vocabulary"]).vocabulary
    given = rows(GRID_ROWS, vocabulary, prompt_scale=where["prompt_scale"])
    of_prompts = sum(len(row.prompt) for row in given)
    of_answers = sum(len(row.chosen) + len(row.rejected) for row in given) / 2
    figures = compare(CELLS["dpo-s-best"], options, GRID_ROWS, options.repeats or 1, **where)
    found = {**where, "prompt_share": of_prompts / (of_prompts + of_answers), **figures, "target": None}
    return found | {"least_useful": None}


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of one cell."""
    if name in GRID:
        return grid_cell(name, options)
    if name in GRADIENTS:
        return gradient_distances(name, options)
    if name == "vocabulary":
        return vocabulary_memory(options)
    size = CELLS[name].size
    num_rows = options.rows or (QUICK_ROWS if options.quick else ROWS)[size]
    return compare(CELLS[name], options, num_rows, options.repeats or (1 if options.quick else 3))


class Kept:
    """Cells measured so far, a line of JSON each, with what they were asked for; nothing where no file is named."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._file: Path | None = options.keep
        self._asked = {name: getattr(options, name) for name in _ASKED}

    def read(self, name: str) -> dict[str, Any] | None:
        lines = self._file.read_text().splitlines() if self._file and self._file.exists() else []
        found = [one["found"] for one in map(json.loads, lines) if (one["name"], one["asked"]) == (name, self._asked)]
        return found[-1] if found else None

    def add(self, name: str, found: dict[str, Any]) -> None:
        if self._file:
            with self._file.open("a") as file:
                file.write(json.dumps({"name": name, "asked": self._asked, "found": found}) + "\n")


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=(*NAMES, "grid"), metavar="CELL")
    parser.add_argument("--list", action="store_true", help="print the cells' names")
    parser.add_argument("--quick", action="store_true", help="small model, fewer rows, one repeat")
    parser.add_argument("--repeats", type=int, help="runs of each side per cell (default 3, with --quick and grid 1)")
    parser.add_argument("--rows", type=int, help="rows per run, outside the grid")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="what ratios are taken of")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="bf16", help="of the vocabulary cell")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="add finished cells here, and do not repeat them")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    return parser.parse_args()


def main() -> int:
    options = parse()
    if options.list:
        print("\n".join(NAMES))
        return 0
    kept, found = Kept(options), {}
    wanted = options.only or (QUICK if options.quick else NAMES)
    for name in (part for one in wanted for part in (GRID if one == "grid" else (one,))):
        measured = kept.read(name)
        if measured is None:
            say(name)
            try:
                measured = measure(name, options)
            except OutOfMemory as error:
                raise SystemExit(f"{name}: {error}. Nothing else should run beside it.") from error
            kept.add(name, measured)
        found[name] = measured
    print(json.dumps(found) if options.json else table(found))
    for line in (missed := misses(found)):
        print(f"missed: {line}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
