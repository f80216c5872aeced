"""`kill -9` at random moments of a training, and what the resumed run ends in: the undisturbed run's bits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scale import times

ROOT = Path(__file__).resolve().parents[2]
COUNTS = {  # runs per method, each killed once or twice
    **dict.fromkeys(("sft", "sft-lora", "reward", "reward-lora", "dpo", "dpo-lora"), times(2, full=30)),
    **dict.fromkeys(("kto", "kto-lora"), times(1, full=30)),
    **dict.fromkeys(("ipo", "simpo", "orpo"), times(0, full=30)),  # as dpo, with another formula
}
METHODS = {method: count for method, count in COUNTS.items() if count}


def same(one, other):
    """Equal to the last bit, whatever it is made of."""
    import torch

    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folder of all runs, and how often each method's runs died, by moment."""
    folder = tmp_path_factory.mktemp("killed")
    wanted = [f"{method}={count}" for method, count in METHODS.items()]
    command = [sys.executable, "-m", "tests.faults.train_child", str(folder), *wanted]
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    died = json.loads(result.stdout.splitlines()[-1])
    print("kills:", json.dumps(died, indent=2))  # shown with pytest -s: what docs/log.md reports
    return folder, died


def end(folder):
    """What a run left: every file of tensors, its log, and which rows each pass of each step took."""
    import torch

    found = {path.name: torch.load(path, weights_only=True) for path in sorted(folder.glob("*.pt"))}
    order = {path.name: path.read_text() for path in sorted((folder / "order").iterdir())}
    return found, (folder / "metrics.jsonl").read_bytes(), order


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_training_killed_anywhere_ends_in_the_same_bits(method, killed):
    folder, died = killed
    assert sum(died[method].values()) >= max(1, METHODS[method] // 2)
    wanted, wanted_log, wanted_order = end(folder / method / "whole")
    assert {"final.pt", "best.pt"} < wanted.keys()
    assert len(wanted_log.splitlines()) == 12 + 3  # 12 steps, evaluations at 5, 10 and 12
    assert len(wanted_order) == 12
    assert max(text.count("\n") for text in wanted_order.values()) > 1  # steps of several passes
    for number in range(METHODS[method]):
        found, log, order = end(folder / method / str(number))
        assert log == wanted_log, f"death {number}: another log"
        assert order == wanted_order, f"death {number}: other rows, or in another order"
        assert same(found, wanted), f"death {number}: other weights or optimizer state"
