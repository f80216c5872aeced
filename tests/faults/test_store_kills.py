"""`kill -9` at random moments of writers, sealers and merges; several of them at once, and a reader beside them."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from rlaif.identity import digest
from rlaif.store import Store
from rlaif.store.upkeep import compact, verify

# A process that has imported everything and started no thread: it forks one worker per line, at once.
NURSERY = """
import os, sys
from rlaif.errors import StoreError
from rlaif.identity import digest
from rlaif.store import Store, merging
from rlaif.store.upkeep import compact
import duckdb, pyarrow
pyarrow.array([{"of": "anything"}])  # the first array ever looks for pandas, which takes a second to load

def write(root, said, name, count):
    with Store(root) as store:
        out = os.open(said, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        for n in range(int(count)):
            store.append("judgments", digest([name, n]), {"logprob_a": -float(n), "name": name})
            os.write(out, f"{name} {n}\\n".encode())

def seal(root):
    Store(root).seal("judgments")

def close(root):
    merging.CROWD = 2
    with Store(root) as store:
        store.append("judgments", digest("closed"), {})

def merge(root):
    try:
        compact(Store(root), full_rows=10**6)
    except StoreError as error:
        assert "another compaction" in str(error)

for line in sys.stdin:
    job, *words = line.split()
    child = os.fork()
    if not child:
        try:
            globals()[job](*words)
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    print(child, flush=True)
"""


class Nursery:
    """Starts workers and kills them."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def start(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        return int(self.process.stdout.readline())

    def is_alive(self, worker):
        stat = Path(f"/proc/{worker}/stat")
        return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"

    def kill(self, worker):
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
        while self.is_alive(worker):
            time.sleep(0.0005)


@pytest.fixture(scope="module")
def nursery():
    found = Nursery()
    yield found
    found.process.stdin.close()
    found.process.wait()


def said_in(path):
    """The keys a writer said it had appended; the last line may be unfinished."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    names = [line.split() for line in lines if line.endswith("\n")]
    return {digest([name, int(n)]) for name, n in names}


def check_kills_of_writers(nursery, folder, times, chance):
    said = folder / "said"
    reader = Store(folder / "store")
    for turn in range(times):
        worker = nursery.start("write", folder / "store", said, f"writer-{turn}", 10**6)
        time.sleep(chance.uniform(0.0005, 0.02))
        nursery.kill(worker)
        if turn % 5 == 4:
            reader.seal("judgments")
    found = reader.read("judgments")
    assert said_in(said) <= found.keys()
    assert len(found) <= len(said_in(said)) + times  # at most the line that was not yet said of each
    assert len(found) > times
    reader.seal("judgments")
    assert not list((folder / "store" / "judgments" / "journals").iterdir())
    assert Store(folder / "store").read("judgments") == found


def check_kills_of_sealers(nursery, folder, times, chance):
    """Each worker is killed at a moment of the time that an undisturbed one, the first three, takes.

    `close` appends, seals and merges as a run does at its end.
    """
    expected, closed = {}, {digest("closed"): {}}
    reader = Store(folder)
    takes = {}
    for turn in range(times):
        for writer in range(2):
            store = Store(folder)
            rows = [(digest([turn, writer, n]), {"logprob_a": -1.0 * n}) for n in range(200)]
            store.append_many("judgments", rows)
            expected |= dict(rows)
            store.close(is_clean=False)
        job = ["seal", "close", "merge"][turn % 3]
        start = time.monotonic()
        worker = nursery.start(job, folder)
        if job in takes:
            time.sleep(chance.uniform(0, takes[job]))
            nursery.kill(worker)
        else:
            while nursery.is_alive(worker):
                time.sleep(0.0005)
            takes[job] = time.monotonic() - start
        if turn == 1:
            expected |= closed
        if turn % 4 == 0:
            assert reader.read("judgments") == expected
    assert reader.read("judgments") == expected
    assert reader.damage == []
    compact(reader)
    assert verify(reader).damage == []
    assert reader.read("judgments") == expected
    left = [path.name for path in (folder / "judgments").rglob("*") if path.is_file()]
    assert len(left) == 1, left  # one segment, nothing of the dead


def test_kills_of_writers(nursery, tmp_path):
    check_kills_of_writers(nursery, tmp_path, 10, random.Random(1))


def test_kills_of_sealers_and_merges(nursery, tmp_path):
    check_kills_of_sealers(nursery, tmp_path, 16, random.Random(2))


@pytest.mark.slow
def test_two_hundred_kills_of_writers(nursery, tmp_path):
    check_kills_of_writers(nursery, tmp_path, 200, random.Random(3))


@pytest.mark.slow
def test_two_hundred_kills_of_sealers_and_merges(nursery, tmp_path):
    check_kills_of_sealers(nursery, tmp_path, 200, random.Random(4))


def test_writers_sealers_merges_and_a_reader_at_once(nursery, tmp_path):
    root = tmp_path / "store"
    said = [tmp_path / f"said-{n}" for n in range(2)]
    writers = [nursery.start("write", root, path, path.name, 1000) for path in said]
    helpers = []
    reader = Store(root)
    while any(nursery.is_alive(worker) for worker in writers):
        helpers = [worker for worker in helpers if nursery.is_alive(worker)]
        if len(helpers) < 3:
            helpers.append(nursery.start(random.choice(["seal", "close", "merge"]), root))
        before = said_in(said[0]) | said_in(said[1])
        assert before <= reader.read("judgments").keys()
    for worker in helpers:
        while nursery.is_alive(worker):
            time.sleep(0.001)
    reader.seal("judgments")
    assert len(reader.read("judgments").keys() - {digest("closed")}) == 2000
    assert reader.damage == verify(reader).damage == []
