"""How many cores a process may use, by control groups that are written here as Linux writes them."""

import os
import subprocess
import sys

import pytest
import torch

from rlaif.cores import usable_cores, wait_without_spinning
from rlaif.train import memory

WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@pytest.fixture
def board(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)


def groups(folder, own, **files):
    (folder / "own").write_text(own)
    for name, text in files.items():
        path = folder / "cgroup" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return usable_cores(folder / "cgroup", folder / "own")


def test_without_a_limit_all_cores_the_process_may_run_on(board, tmp_path):
    assert usable_cores(tmp_path / "nothing", tmp_path / "nothing") == 64
    assert groups(tmp_path, "0::/\n", **{"cpu.max": "max 100000\n"}) == 64


@pytest.mark.parametrize(("line", "wanted"), [("200000 100000", 2), ("250000 100000", 3), ("10000 100000", 1)])
def test_a_containers_share_of_time_counts_rounded_up(board, tmp_path, line, wanted):
    assert groups(tmp_path, "0::/\n", **{"cpu.max": line + "\n"}) == wanted


def test_the_narrowest_of_the_groups_above_counts(board, tmp_path):
    files = {"pods__one__cpu.max": "max 100000", "pods__cpu.max": "400000 100000", "cpu.max": "800000 100000"}
    assert groups(tmp_path, "0::/pods/one\n", **files) == 4


def test_the_older_control_groups_are_read_too(board, tmp_path):
    files = {"cpu__cpu.cfs_quota_us": "300000\n", "cpu__cpu.cfs_period_us": "100000\n"}
    assert groups(tmp_path, "5:memory:/x\n3:cpu,cpuacct:/a/b\n0::/\n", **files) == 3
    assert groups(tmp_path, "3:cpu,cpuacct:/\n", **(files | {"cpu__cpu.cfs_quota_us": "-1\n"})) == 64


def test_here_it_is_between_one_and_the_cores_of_the_board():
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(("had", "wanted"), [(4, 2), (2, 2), (1, 1)])
def test_a_training_takes_no_more_threads_than_cores_and_never_raises_a_number_that_was_set(monkeypatch, had, wanted):
    monkeypatch.setattr(memory, "usable_cores", lambda: 2)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(had)
        memory.limit_threads()
        assert torch.get_num_threads() == wanted
    finally:
        torch.set_num_threads(before)


def test_threads_sleep_soon_unless_somebody_chose_otherwise(monkeypatch):
    for given in ({}, {"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "active"}):
        for name in WAITING:
            monkeypatch.delenv(name, raising=False)
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        wait_without_spinning()
        wanted = given or {"GOMP_SPINCOUNT": "1000"}
        assert {
            name: os.environ[name] for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY") if name in os.environ
        } == wanted


def test_a_command_says_so_before_torch_is_loaded():
    """GNU's OpenMP reads it when it is loaded, and never again."""
    code = (
        "import os, sys; from rlaif.cli import main; import rlaif.cores; assert 'torch' not in sys.modules\n"
        "try: main.run(['--version'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules; print(os.environ['GOMP_SPINCOUNT'])"
    )
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "1000"
