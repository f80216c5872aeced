"""The temporary folder of an open store: gone when it is closed, swept when its process was killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlaif.errors import StoreError
from rlaif.store import Store
from rlaif.store.scratch import Scratch

OPEN = """
import time
from rlaif.store import Store
store = Store("store")
print(store.scratch, flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("rlaif.store.scratch._YOUNG_S", 0.0)


def test_a_closed_store_leaves_nothing(tmp_path):
    with Store(tmp_path / "store") as store:
        store.append("judgments", "0" * 64, {"n": 1})
        store.read("judgments")
        assert store.scratch.parent == tmp_path / "tmp"
        assert store.scratch.is_dir()
    assert not list((tmp_path / "tmp").iterdir())


def test_what_a_killed_process_left_is_removed_by_the_next_and_what_a_living_one_holds_is_not(tmp_path):
    processes = [
        subprocess.Popen([sys.executable, "-c", OPEN], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    dead, living = (Path(process.stdout.readline().strip()) for process in processes)
    os.kill(processes[0].pid, signal.SIGKILL)
    processes[0].wait()
    assert dead.is_dir()
    with Store(tmp_path / "other") as store:
        assert not dead.is_dir()
        assert living.is_dir()
        assert store.scratch.is_dir()
    processes[1].kill()
    processes[1].wait()


def test_one_that_is_new_is_left_alone(tmp_path, monkeypatch):
    """Between a folder's making and its lock there is a moment."""
    monkeypatch.setattr("rlaif.store.scratch._YOUNG_S", 60.0)
    new, old = tmp_path / "tmp" / "rlaif-scratch-new", tmp_path / "tmp" / "rlaif-scratch-old"
    for folder in (new, old):
        folder.mkdir()
    os.utime(old, (time.time() - 100, time.time() - 100))
    scratch = Scratch()
    assert new.is_dir()
    assert not old.is_dir()
    del scratch  # nobody refers to it any more
    assert list((tmp_path / "tmp").iterdir()) == [new]


def test_no_room_for_temporary_files_says_what_to_do(monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", full)
    with pytest.raises(StoreError, match=r"(?s)the disk is full.*TMPDIR"):
        Store("anywhere")
