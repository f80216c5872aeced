"""Tokens per second of sampled answers: our decode loop, vLLM and transformers' `generate`, in one table.

    python -m benchmarks.rollouts                    # small model, bf16 and float32
    python -m benchmarks.rollouts --size m --only batch-32 --precision bf16
    python -m benchmarks.rollouts --json

Llamas of random weights (`benchmarks.train_setups`), prompts of HH-RLHF's lengths (mean 118 tokens), answers of at most
64 tokens at temperature 1. The three sides take turns within every repetition, each time beginning with another; the
first repetition warms up. Reading the prompts counts, loading does not. vLLM is in its child, with its weights
synchronised once; it and torch have the same number of threads.

    batch-32, batch-128     nothing stops before 64 tokens
    stopping                128 answers that end at any token with probability 1/32: finished rows are worth leaving
    groups                  16 prompts with 8 answers each, as GRPO asks

A ratio is to `generate` in the same repetition: median, least, most. `generate` runs on weights in the same precision
(bf16: the weights themselves; ours and vLLM as they train and serve) and cannot seed single rows; the others do. The
mismatch is |log-probability of the sampler - of our training forward in the same precision| per token, in nats.
"""

import argparse
import copy
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.train_setups import FIRST_WORD, PAD, SIZES, model, rows

NEW_TOKENS = 64
SIDES = ("ours", "vllm", "generate")


@dataclass(frozen=True)
class Cell:
    """How many prompts, how many answers to each, and whether answers end early."""

    prompts: int
    group: int = 1
    is_stopping: bool = False


CELLS = {
    "batch-32": Cell(32),
    "batch-128": Cell(128),
    "stopping": Cell(128, is_stopping=True),
    "groups": Cell(16, group=8),
}


def main() -> int:
    options = parse()
    # before torch starts its threads; vLLM's child inherits it
    os.environ |= {"OMP_NUM_THREADS": str(options.threads), "TOKENIZERS_PARALLELISM": "false"}
    import torch

    from rlaif.train.memory import keep_memory

    keep_memory()
    torch.set_num_threads(options.threads)
    found: dict[str, Any] = {}
    for precision in options.precision:
        sides = Sides(options, precision)
        for name in options.only:
            found[f"{options.size} {precision} {name}"] = measure(sides, CELLS[name], options)
        sides.close()
    print(json.dumps(found, indent=2) if options.json else table(found))
    return 0


class Sides:
    """The same policy behind three samplers."""

    def __init__(self, options: argparse.Namespace, precision: str) -> None:
        import torch

        from rlaif.settings import EngineSettings
        from rlaif.train.forward import prepare_model
        from rlaif.train.rl.decode import DecodeSampler
        from rlaif.train.rl.vllm_sampler import VllmSampler

        self.precision, self.size = precision, SIZES[options.size]
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        plain = model(self.size, "policy").eval()
        self.plain = copy.deepcopy(plain).to(dtype)
        self.policy = prepare_model(plain)
        self._folder = tempfile.TemporaryDirectory(prefix="bench-rollouts-")
        self._own: dict[str, Any] = {"ours": DecodeSampler(self.policy, precision=precision, max_rows=options.rows)}
        if "vllm" in options.sides:
            self._own["vllm"] = VllmSampler(
                self.policy,
                dtype="bfloat16" if precision == "bf16" else "float32",
                settings=EngineSettings(kind="vllm", max_num_seqs=options.rows, kv_cache_gib=2.0),
                log_file=Path(self._folder.name) / "vllm.log",
            )
        self.ways: dict[str, Callable[..., Any]] = {name: own.sample for name, own in self._own.items()}
        self.ways["generate"] = self.generate
        self.ways = {name: self.ways[name] for name in options.sides}

    def generate(self, prompts: Sequence[Any], seeds: Sequence[int], how: Any) -> list[int]:
        """Lengths of the answers of transformers' own loop, with its own log-probabilities thrown away."""
        import torch

        from rlaif.engines.transformers_decode import left_pad

        inputs = left_pad([tuple(one.tolist()) for one in prompts], torch.device("cpu"))
        torch.manual_seed(seeds[0])
        with torch.inference_mode():
            written = self.plain.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=how.max_new_tokens,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                eos_token_id=list(how.stop_ids) or None,
                pad_token_id=PAD,
            )[:, inputs["input_ids"].shape[1] :]
        is_stop = torch.isin(written, torch.tensor(how.stop_ids or (-1,)))
        first = torch.where(is_stop.any(1), is_stop.int().argmax(1) + 1, written.shape[1])
        return first.tolist()

    def close(self) -> None:
        for own in self._own.values():
            own.close()
        self._folder.cleanup()


def measure(sides: Sides, cell: Cell, options: argparse.Namespace) -> dict[str, Any]:
    """Tokens per second of every side, repetition after repetition, and the samplers' mismatch to the learner."""
    from rlaif.train.rl.rollouts import Sampling

    vocabulary = sides.size.vocabulary
    stops = tuple(range(FIRST_WORD, FIRST_WORD + vocabulary // 32)) if cell.is_stopping else ()
    how = Sampling(max_new_tokens=NEW_TOKENS, stop_ids=stops)
    rates: dict[str, list[float]] = {side: [] for side in sides.ways}
    gaps: dict[str, dict[str, float]] = {}
    for number in range(options.repeats + 1):
        prompts = [row.prompt for row in rows(cell.prompts, vocabulary, seed=number) for _ in range(cell.group)]
        seeds = [number * 10_000 + place for place in range(len(prompts))]
        turn = number % len(rates)
        for side in [*rates][turn:] + [*rates][:turn]:
            begun = time.perf_counter()
            answers = sides.ways[side](prompts, seeds, how)
            seconds = time.perf_counter() - begun
            written = sum(one if isinstance(one, int) else len(one.answer) for one in answers)
            if number:
                rates[side].append(written / seconds)
            elif side != "generate":
                gaps[side] = mismatch(sides, answers)
    print(f"load average {os.getloadavg()[0]:.1f}", file=sys.stderr)
    beside = rates.get("generate", rates["ours"])
    return {
        side: {
            "tokens_per_s": spread(own),
            "times_generate": spread([one / other for one, other in zip(own, beside, strict=True)]),
            **gaps.get(side, {}),
        }
        for side, own in rates.items()
    } | {"repeats": options.repeats, "threads": options.threads}


def mismatch(sides: Sides, rollouts: Sequence[Any]) -> dict[str, float]:
    """What separates the sampler's log-probabilities from the learner's, and what truncated weights make of it."""
    import numpy as np
    import torch

    from rlaif.train.forward import LogprobModel
    from rlaif.train.packing import pack

    learner = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=sides.precision == "bf16"):
        for start in range(0, len(rollouts), 8):
            batch = pack([(one.sequence(),) for one in rollouts[start : start + 8]])
            learner.append(LogprobModel(sides.policy)(batch).logprobs.double().numpy())
    gap = np.concatenate(learner) - np.concatenate([one.logprobs for one in rollouts]).astype(np.float64)
    return {
        "mean_gap": float(np.abs(gap).mean()),
        "max_gap": float(np.abs(gap).max()),
        "kl_k3": float((np.exp(gap) - 1 - gap).mean()),
        "share_cut_at_2": float((np.exp(gap) > 2).mean()),
    }


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, least, most."""
    return statistics.median(values), min(values), max(values)


def table(found: dict[str, Any]) -> str:
    head = f"{'':24}{'':10}{'tokens/s':>24}{'times generate':>24}{'gap: mean, max, nats':>26}"
    lines = ["medians of the repetitions [least, most]", head]
    for name, cell in found.items():
        for side in (one for one in SIDES if one in cell):
            own = cell[side]
            rate, times = own["tokens_per_s"], own["times_generate"]
            gap = f"{own['mean_gap']:.1e}, {own['max_gap']:.1e}" if "mean_gap" in own else ""
            lines.append(
                f"{name:24}{side:10}{f'{rate[0]:,.0f} [{rate[1]:,.0f}, {rate[2]:,.0f}]':>24}"
                f"{f'{times[0]:.2f} [{times[1]:.2f}, {times[2]:.2f}]':>24}{gap:>26}"
            )
    repeats, threads = ({cell[name] for cell in found.values()} for name in ("repeats", "threads"))
    return "\n".join([*lines, f"{max(repeats)} repetitions, {max(threads)} threads"])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="s")
    parser.add_argument("--only", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--precision", nargs="+", choices=("float32", "bf16"), default=["bf16", "float32"])
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=128, help="rows decoded at once, ours and vLLM's")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
