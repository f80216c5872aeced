"""Two processes (gloo), each with all parameters or with half of them (FSDP2), train what one trains: the same weights
and the same log."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.ports import free_port
from tests.unit.process_child import METHODS, train_all

ROOT = Path(__file__).resolve().parents[2]


def start(folder, *flags, **environ):
    folder.mkdir(exist_ok=True)
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT), **environ}
    command = [sys.executable, "-W", "ignore", "-m", "tests.unit.process_child", str(folder), *flags]
    return subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    train_all(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("sharded",)], ids=["data parallel", "sharded, and resumed"])
def test_two_processes_train_what_one_trains(flags, alone, tmp_path):
    port = str(free_port())
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    children = [start(tmp_path, *flags, RANK=rank, LOCAL_RANK=rank, **shared) for rank in ("0", "1")]
    for child in children:
        _, errors = child.communicate(timeout=500)
        assert child.returncode == 0, errors[-3000:]
    for method in METHODS:
        one, two = (torch.load(folder / f"{method}.pt") for folder in (alone, tmp_path))
        assert (one - two).abs().max() < 1e-10, method
        logs = [(folder / method / "metrics.jsonl").read_text().splitlines() for folder in (alone, tmp_path)]
        assert len(logs[0]) == len(logs[1]) == 7
        for left, right in zip(*(map(json.loads, log) for log in logs), strict=True):
            assert right == {name: pytest.approx(value, rel=1e-8, abs=1e-9) for name, value in left.items()}
