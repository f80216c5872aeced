"""One process of a training by several; see test_train_processes.py.

`python -m tests.unit.process_child FOLDER [sharded]`
"""

import signal
import sys
from pathlib import Path

import torch

from rlaif.train import loop
from rlaif.train.checkpoint import trained_weights
from rlaif.train.loop import train
from tests.unit.test_train_loop import loop_settings, make, run, some_rows

METHODS = ("sft", "reward", "sigmoid", "kto")


def train_all(folder):
    """Train every method for six steps on rows of uneven weight, and keep the weights."""
    folder.mkdir(exist_ok=True)
    for method in METHODS:
        held_out, _ = make(method, some_rows(5, seed=9))
        found, _ = run(method, folder / method, evaluation=held_out, micro_batch_tokens=40)
        torch.save(found, folder / f"{method}.pt")


def sharded_accelerator():
    """FSDP2 on gloo. accelerate offers it on accelerators alone, so its state is told after it was made; what shards,
    gathers and clips is accelerate's and torch's own code."""
    from accelerate import Accelerator, FullyShardedDataParallelPlugin
    from accelerate.utils import DistributedType

    accelerator = Accelerator(cpu=True)
    accelerator.state.distributed_type = DistributedType.FSDP
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=["LlamaDecoderLayer"],
        cpu_ram_efficient_loading=False,
    )
    return accelerator


REALLY = loop._Loop.step


def with_a_signal_to_the_second_process(self, step):
    if step == 3 and not self.accelerator.is_main_process:
        signal.raise_signal(signal.SIGINT)
    return REALLY(self, step)


def train_all_sharded(folder):
    """The same, with every parameter spread over the processes; each training is asked to stop once and goes on."""
    accelerator = sharded_accelerator()
    for method in METHODS:
        held_out, _ = make(method, some_rows(5, seed=9))
        settings = loop_settings(micro_batch_tokens=40, save_every=20)
        common = {"folder": folder / method, "evaluation": held_out, "accelerator": accelerator}
        for step in (with_a_signal_to_the_second_process, REALLY):
            loop._Loop.step = step
            task, module = make(method, some_rows())
            try:
                report = train(task, module, settings, **common)
            except KeyboardInterrupt:
                continue
        assert report.resumed_at == 4
        weights = trained_weights(module)  # an exchange: by every process
        if accelerator.is_main_process:
            torch.save(torch.cat([one.flatten() for one in weights.values()]), folder / f"{method}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    (train_all_sharded if "sharded" in sys.argv else train_all)(Path(sys.argv[1]))
