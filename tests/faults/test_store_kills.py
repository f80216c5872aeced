"""`kill -9` at random moments of writers, sealers and merges; several of them at once, and a reader beside them."""

import random
import time

import pytest

from rlaif.identity import digest
from rlaif.store import Store
from rlaif.store.upkeep import compact, verify
from tests.faults.nursery import Nursery
from tests.scale import times


@pytest.fixture(scope="module")
def nursery():
    found = Nursery("tests.faults.store_workers")
    yield found
    found.close()


def said_in(path):
    """The keys writers said they had appended; a line that its writer did not finish lacks the point."""
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return {digest([words[0], int(words[1])]) for words in lines if len(words) == 3 and words[2] == "."}


def check_kills_of_writers(nursery, folder, times, chance):
    said = folder / "said"
    reader = Store(folder / "store")
    for turn in range(times):
        before = said.stat().st_size if said.exists() else 0
        worker = nursery.start("write", root=str(folder / "store"), said=str(said), name=f"writer-{turn}", count=10**6)
        while turn % 2 and (not said.exists() or said.stat().st_size == before):  # every other one has begun to write
            time.sleep(0.0005)
        time.sleep(chance.uniform(0.0005, 0.06))
        nursery.kill(worker)
        if turn % 5 == 4:
            reader.seal("judgments")
    found = reader.read("judgments")
    assert said_in(said) <= found.keys()
    assert len(found) <= len(said_in(said)) + times  # at most the line that was not yet said of each
    assert len(found) >= times // 2
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
        worker = nursery.start(job, root=str(folder))
        if job in takes:
            time.sleep(chance.uniform(0, takes[job]))
            nursery.kill(worker)
        else:
            assert nursery.wait(worker) == 0
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
def test_many_kills_of_writers(nursery, tmp_path):
    check_kills_of_writers(nursery, tmp_path, times(100, full=200), random.Random(3))


@pytest.mark.slow
def test_many_kills_of_sealers_and_merges(nursery, tmp_path):
    check_kills_of_sealers(nursery, tmp_path, times(50, full=200), random.Random(4))


def test_writers_sealers_merges_and_a_reader_at_once(nursery, tmp_path):
    root = tmp_path / "store"
    said = [tmp_path / f"said-{n}" for n in range(2)]
    writers = [nursery.start("write", root=str(root), said=str(path), name=path.name, count=1000) for path in said]
    helpers = []
    reader = Store(root)
    while any(nursery.is_alive(worker) for worker in writers):
        helpers = [worker for worker in helpers if nursery.is_alive(worker)]
        if len(helpers) < 3:
            helpers.append(nursery.start(random.choice(["seal", "seal", "merge"]), root=str(root)))
        before = said_in(said[0]) | said_in(said[1])
        assert before <= reader.read("judgments").keys()
    assert [nursery.wait(worker) for worker in helpers] == [0] * len(helpers)
    reader.seal("judgments")
    assert len(reader.read("judgments").keys() - {digest("closed")}) == 2000
    assert reader.damage == verify(reader).damage == []
