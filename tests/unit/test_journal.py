"""The store: what was appended is there, whatever happened to the process or to the end of a file."""

import errno
import subprocess
import sys
import time

import pytest

from rlaif.errors import StoreError
from rlaif.store.journal import Store


def test_what_was_appended_is_read_back_by_key(tmp_path):
    with Store(tmp_path) as store:
        store.append("judgments", "k1", {"logprob_a": -0.5})
        store.append("judgments", "k2", {"text": "line\nbreak and ünïcode"})
        store.append("responses", "k1", {"text": "another kind"})
    again = Store(tmp_path)
    assert again.read("judgments") == {"k1": {"logprob_a": -0.5}, "k2": {"text": "line\nbreak and ünïcode"}}
    assert again.read("responses") == {"k1": {"text": "another kind"}}
    assert again.damage == []


def test_an_unfinished_last_line_is_announced_and_its_key_is_missing(tmp_path):
    with Store(tmp_path) as store:
        store.append("judgments", "whole", {"n": 1})
        store.append("judgments", "cut", {"n": 2})
    (journal,) = (tmp_path / "judgments").glob("*.jsonl")
    whole = journal.read_bytes()
    first_line = whole.index(b"\n") + 1
    for end in range(first_line + 1, len(whole)):  # cut at every byte of the second line
        journal.write_bytes(whole[:end])
        store = Store(tmp_path)
        assert store.read("judgments") == {"whole": {"n": 1}}
        (damage,) = store.damage
        assert str(damage).startswith(f"{journal}:2: ")


def test_nothing_is_appended_behind_a_damaged_end(tmp_path):
    with Store(tmp_path) as store:
        store.append("judgments", "a", {"n": 1})
    (journal,) = (tmp_path / "judgments").glob("*.jsonl")
    journal.write_bytes(journal.read_bytes()[:-3])
    with Store(tmp_path) as store:
        store.append("judgments", "b", {"n": 2})
    assert Store(tmp_path).read("judgments") == {"b": {"n": 2}}
    assert len(list((tmp_path / "judgments").glob("*.jsonl"))) == 2


def test_a_damaged_line_in_the_middle_costs_only_itself(tmp_path):
    with Store(tmp_path) as store:
        for name in "abc":
            store.append("judgments", name, {"n": name})
    (journal,) = (tmp_path / "judgments").glob("*.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + b"\x00garbage\xff\n" + lines[2])
    store = Store(tmp_path)
    assert store.read("judgments") == {"a": {"n": "a"}, "c": {"n": "c"}}
    assert [damage.line for damage in store.damage] == [2]


def test_results_survive_a_kill(tmp_path):
    """Every key the child said it had appended is there after `kill -9`."""
    code = (
        "import sys; from pathlib import Path; from rlaif.store.journal import Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for n in range(10**9):\n"
        "    store.append('judgments', str(n), {'n': n}); print(n, flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    said = [child.stdout.readline() for _ in range(50)]
    time.sleep(0.02)
    child.kill()
    said += child.stdout.readlines()
    child.wait()
    complete = [int(line) for line in said if line.endswith("\n")]
    found = Store(tmp_path).read("judgments")
    assert len(complete) >= 50
    assert {str(n) for n in complete} <= found.keys()


def test_a_full_disk_is_one_clear_error(tmp_path):
    class FullDisk:
        def write(self, line):
            raise OSError(errno.ENOSPC, "No space left on device")

    store = Store(tmp_path)
    store._writers["judgments"] = FullDisk()
    with pytest.raises(StoreError, match=r"the disk is full\.\nMake space and run the same command again"):
        store.append("judgments", "k", {"n": 1})


def test_a_line_taken_in_parts_is_written_whole(tmp_path):
    class Slow:
        def __init__(self):
            self.taken = b""

        def write(self, line):
            self.taken += line[:3]
            return min(3, len(line))

    store, slow = Store(tmp_path), Slow()
    store._writers["judgments"] = slow
    store.append("judgments", "k", {"n": 1})
    assert slow.taken == b'{"key":"k","value":{"n":1}}\n'
