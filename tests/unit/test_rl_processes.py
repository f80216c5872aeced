"""Two processes (gloo) sample, reward, read and learn what one does: the same weights and the same log."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.ports import free_port
from tests.unit.rl_process_child import CHOSEN, train_all

ROOT = Path(__file__).resolve().parents[2]


def start(folder, **environ):
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT), **environ}
    command = [sys.executable, "-W", "ignore", "-m", "tests.unit.rl_process_child", str(folder)]
    return subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_processes_train_what_one_trains(tmp_path):
    port = str(free_port())
    alone, both = tmp_path / "alone", tmp_path / "both"
    for folder in (alone, both):
        folder.mkdir()
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    children = [start(both, RANK=rank, LOCAL_RANK=rank, **shared) for rank in ("0", "1")]
    train_all(alone)
    for child in children:
        _, errors = child.communicate(timeout=500)
        assert child.returncode == 0, errors[-3000:]
    for method, settings in CHOSEN.items():
        one, two = (torch.load(folder / f"{method}.pt") for folder in (alone, both))
        assert (one - two).abs().max() < 1e-6, method
        logs = [(folder / method / "metrics.jsonl").read_text().splitlines() for folder in (alone, both)]
        assert len(logs[0]) == len(logs[1]) == settings.iterations + 1
        for left, right in zip(*(map(json.loads, log) for log in logs), strict=True):
            assert right == {name: pytest.approx(value, rel=1e-6, abs=1e-6) for name, value in left.items()}
