"""`kill -9` at random moments of PPO and GRPO, and what the resumed run ends in: the undisturbed run's bits. Answers
and rewards that were there are not asked for again; the KL's coefficient, moments and observers go on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.test_train_kills import same
from tests.scale import times

ROOT = Path(__file__).resolve().parents[2]
METHODS = ("ppo", "ppo-lora", "grpo")
DEATHS = times(2, full=30)  # runs per method, each killed once or twice


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folder of all runs, and how often each method's runs died, by moment."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-m", "tests.faults.rl_child", str(folder), str(DEATHS), *METHODS]
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    died = json.loads(result.stdout.splitlines()[-1])
    print("kills:", json.dumps(died, indent=2))  # shown with pytest -s: what docs/log.md reports
    return folder, died


def end(folder):
    """What a run left: checkpoints, kept answers, weights and its log."""
    import torch

    found = {str(path.relative_to(folder)): torch.load(path, weights_only=True) for path in folder.rglob("*.pt")}
    return found, (folder / "metrics.jsonl").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_training_killed_anywhere_ends_in_the_same_bits(method, killed):
    folder, died = killed
    assert sum(died[method].values()) >= DEATHS // 2
    wanted, wanted_log = end(folder / method / "whole")
    assert {"final.pt", "checkpoint-00000004.pt", "rollouts/rollouts-00000004.pt"} <= wanted.keys()
    assert len(wanted_log.splitlines()) == 4 + 1
    for number in range(DEATHS):
        found, log = end(folder / method / str(number))
        assert log == wanted_log, f"death {number}: another log"
        assert same(found, wanted), f"death {number}: other weights, optimizer state or memory"
