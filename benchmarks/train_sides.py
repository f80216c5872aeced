"""One training of one side in a process of its own: ours or TRL's, on the rows of `benchmarks.train_setups`.

    python -m benchmarks.train_sides --side trl --method dpo --size s --precision bf16 --rows 32

Prints one line of JSON: seconds (clock and processor) of one epoch, DPO's reference included, after a few rows of
warming up; the process's peak memory; what a matrix product reaches here, in the same precision and with as many
threads. Loading, tokenising and saving are counted on neither side. Both sides keep freed memory
(`keep_memory`) and wait as `rlaif` does (`wait_without_spinning`).

With --gradient FILE nothing is timed: the gradient of one step on all rows, before clipping, is written there.
"""

import argparse
import gc
import json
import logging
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.train_setups import SIZES, Row, Size, model, rows, tokenizer, useful_flops, with_vocabulary
from rlaif.cores import wait_without_spinning

WARM_ROWS = 4
RATE = 1e-5


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=("ours", "trl"), required=True)
    parser.add_argument("--method", choices=("dpo", "reward", "sft"), required=True)
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--precision", choices=("float32", "bf16"), required=True)
    parser.add_argument(
        "--checkpointing", action="store_true", help="compute activations twice, as TRL does by default"
    )
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8, help="rows of an optimizer step")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--vocabulary", type=int)
    parser.add_argument("--prompt-scale", type=float, default=1.0)
    parser.add_argument("--micro-batch-tokens", type=int, default=4096, help="ours only")
    parser.add_argument("--gradient", type=Path)
    parser.add_argument("--cold", action="store_true", help="no rows before the timed ones: for memory, not for time")
    return parser.parse_args()


def stay_within_memory() -> None:
    """An allocation that the machine has no memory for fails here, instead of ending some other process."""
    for line in Path("/proc/meminfo").read_text().splitlines() if sys.platform == "linux" else ():
        if line.startswith("MemAvailable"):
            free, (_, hard) = int(line.split()[1]) * 1024, resource.getrlimit(resource.RLIMIT_DATA)
            limit = free if hard == resource.RLIM_INFINITY else min(free, hard)
            resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def main() -> None:
    options = parse()
    stay_within_memory()
    wait_without_spinning()
    # before torch starts its threads
    os.environ |= {"OMP_NUM_THREADS": str(options.threads), "TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1"}
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    import torch

    from rlaif.train.memory import keep_memory

    keep_memory()
    torch.set_num_threads(options.threads)
    size = with_vocabulary(SIZES[options.size], options.vocabulary)
    given = rows(options.rows, size.vocabulary, prompt_scale=options.prompt_scale)
    train = _ours if options.side == "ours" else _trl
    with tempfile.TemporaryDirectory(prefix="bench-train-") as folder:
        if options.gradient:
            torch.save(train(options, size, given, Path(folder), with_gradient=True), options.gradient)
            return
        if not options.cold:
            train(options, size, rows(WARM_ROWS, size.vocabulary, seed=1), Path(folder) / "warm")
            gc.collect()  # a trainer refers to itself: its model would stay beside the next one
        begun = time.perf_counter(), time.process_time()
        spent = train(options, size, given, Path(folder) / "timed")
        ended = time.perf_counter(), time.process_time()
    figures = {
        "wall_s": ended[0] - begun[0] - spent[0],
        "cpu_s": ended[1] - begun[1] - spent[1],
        "rows": options.rows,
        "useful_flops": useful_flops(size, given, options.method),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "state_bytes": 16 * size.parameters,  # weights, gradients and AdamW's two means, in float32
        "product_flops_per_cpu_s": _product_speed(options.precision, options.threads),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


def _product_speed(precision: str, threads: int) -> float:
    """Operations per processor second of a product of two large matrices: the best of five."""
    import torch

    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = (torch.randn(2048, 2048).to(kind) for _ in range(2))
    seconds = []
    for _ in range(5):
        begun = time.process_time()
        left @ right
        seconds.append(time.process_time() - begun)
    return 2 * 2048**3 / min(seconds)


def _ours(
    options: argparse.Namespace, size: Size, given: Sequence[Row], folder: Path, *, with_gradient: bool = False
) -> Any:
    """Train, as `rlaif train` does after reading its data. What is returned are the seconds before training."""
    import numpy as np
    import torch

    from rlaif.train import loop
    from rlaif.train.dpo import DpoTask
    from rlaif.train.examples import TrainingRow
    from rlaif.train.forward import LogprobModel, RewardModel, prepare_model
    from rlaif.train.packing import TokenSequence
    from rlaif.train.reference import reference_sums
    from rlaif.train.reward import RewardTask
    from rlaif.train.settings import DpoSettings, LoopSettings, OptimiserSettings
    from rlaif.train.sft import SftTask
    from rlaif.train.task import Layout

    begun = time.perf_counter(), time.process_time()
    loaded = prepare_model(model(size, options.method))
    if options.checkpointing:
        loaded.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    module = RewardModel(loaded) if options.method == "reward" else LogprobModel(loaded)
    settings = LoopSettings(
        batch_size=options.batch,
        micro_batch_tokens=options.micro_batch_tokens,
        precision=options.precision,
        optimiser=OptimiserSettings(learning_rate=RATE, warmup_share=0.0),
    )
    layout = Layout.of(settings, torch.device("cpu"))

    def sequence(row: Row, answer: Any) -> TokenSequence:
        ids = np.concatenate((row.prompt, answer))
        return TokenSequence(ids, np.arange(len(ids)) >= len(row.prompt))

    def family(row: Row) -> tuple[TokenSequence, ...]:
        answers = (row.chosen,) if options.method == "sft" else (row.chosen, row.rejected)
        return tuple(sequence(row, answer) for answer in answers)

    train_rows = [TrainingRow(family=family(row)) for row in given]
    spent = time.perf_counter() - begun[0], time.process_time() - begun[1]
    if options.method == "dpo":
        sums = reference_sums(
            module, train_rows, layout, settings.micro_batch_tokens, cache=folder, precision=settings.precision
        )
        task: Any = DpoTask(train_rows, layout, DpoSettings(model="m", data=[{"path": "d"}], output="o"), sums)
    else:
        task = RewardTask(train_rows, layout) if options.method == "reward" else SftTask(train_rows, layout)
    if with_gradient:
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16"):
            loss = task.compute(module, range(len(given)), torch.device("cpu")).loss / sum(task.weights)
        loss.backward()
        return _gradient(module.model)
    loop.checkpoint.save = lambda *_, **__: None  # TRL's side writes none either
    loop.train(task, module, settings, folder=folder)
    return spent


def _trl(
    options: argparse.Namespace, size: Size, given: Sequence[Row], folder: Path, *, with_gradient: bool = False
) -> Any:
    """Train with TRL's trainer: padded batches in random order, its metrics, DPO's reference in the loop."""
    import copy

    import transformers
    import trl
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    begun = time.perf_counter(), time.process_time()
    loaded = model(size, options.method)
    kinds = {"dpo": trl.DPOConfig, "reward": trl.RewardConfig, "sft": trl.SFTConfig}
    arguments = kinds[options.method](
        output_dir=str(folder),
        per_device_train_batch_size=len(given) if with_gradient else options.batch,
        num_train_epochs=1,
        learning_rate=RATE,
        bf16=options.precision == "bf16",
        gradient_checkpointing=options.checkpointing,
        max_grad_norm=0.0 if with_gradient else 1.0,  # 0: not clipped
        max_length=None,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )

    class Tokenised(trl.DPOTrainer):
        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset  # the two other trainers take tokenised rows as they are

    more: dict[str, Any] = {"ref_model": copy.deepcopy(loaded)} if options.method == "dpo" else {}
    kept: list[Any] = []

    class Keeper(transformers.TrainerCallback):
        def on_pre_optimizer_step(self, *_: Any, **others: Any) -> None:
            if with_gradient:
                kept.append(_gradient(others["model"]))

    trainers = {"dpo": Tokenised, "reward": trl.RewardTrainer, "sft": trl.SFTTrainer}
    trainer = trainers[options.method](
        model=loaded,
        args=arguments,
        train_dataset=Dataset.from_list([_as_trl_reads_it(row, options.method) for row in given]),
        processing_class=tokenizer(size),
        callbacks=[Keeper()],
        **more,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    spent = time.perf_counter() - begun[0], time.process_time() - begun[1]
    trainer.train()
    return kept[0] if with_gradient else spent


def _as_trl_reads_it(row: Row, method: str) -> dict[str, list[int]]:
    prompt, chosen, rejected = (part.tolist() for part in (row.prompt, row.chosen, row.rejected))
    if method == "dpo":
        return {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected}
    if method == "reward":
        return {"chosen_ids": prompt + chosen, "rejected_ids": prompt + rejected}
    return {"input_ids": prompt + chosen, "labels": [-100] * len(prompt) + chosen}


def _gradient(loaded: Any) -> Any:
    import torch

    named = sorted((name, weight.grad) for name, weight in loaded.named_parameters() if weight.grad is not None)
    return torch.cat([part.flatten().float() for _, part in named])


if __name__ == "__main__":
    main()
