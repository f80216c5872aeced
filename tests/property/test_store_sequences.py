"""After any sequence of appends, seals, merges and deaths the store holds the first writer's value of every key."""

import shutil
import tempfile
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlaif.identity import digest
from rlaif.store import Store, journal, merging
from rlaif.store import store as store_module
from rlaif.store.gc import collect
from rlaif.store.keys import hex_of
from rlaif.store.shelf import LocalShelf
from rlaif.store.upkeep import compact, verify
from rlaif.store.wanted import write_wanted

KEYS = [digest(n) for n in range(12)]
BATCH = 4  # patched: from so many rows on, a batch is sealed at once

writers = st.integers(0, 2)
values = st.fixed_dictionaries(
    {}, optional={"logprob_a": st.floats(-9, 0) | st.none() | st.integers(), "more": st.text(max_size=4)}
)
results = st.tuples(st.sampled_from(KEYS), values)
steps = st.one_of(
    st.tuples(st.just("append"), writers, st.lists(results, min_size=1, max_size=2)),
    st.tuples(st.just("append"), writers, st.lists(results, min_size=BATCH, max_size=8)),
    st.tuples(st.sampled_from(["close", "kill"]), writers),
    st.tuples(st.sampled_from(["seal", "compact"])),
    st.tuples(st.sampled_from(["seal", "compact"]), st.sampled_from(["place", "placed", "remove"]), st.integers(1, 3)),
)


class Killed(BaseException):
    """Stands for `kill -9` at one point of sealing or merging."""


@contextmanager
def killed_at(point, nth):
    """Die at the nth time a file is about to be placed, was just placed, or is about to be removed."""
    name = "remove" if point == "remove" else "place"
    real, calls = getattr(LocalShelf, name), []

    def fatal(shelf, *arguments):
        calls.append(arguments)
        if point == "placed":
            real(shelf, *arguments)
        if len(calls) == nth:
            raise Killed
        if point != "placed":
            real(shelf, *arguments)

    with mock.patch.object(LocalShelf, name, fatal), suppress(Killed):
        yield


class World:
    """A store under several writers, and what it should hold: (order of the writer's journal, value) by key."""

    def __init__(self, root):
        self.root, self.reader = root, Store(root)
        self.open, self.order, self.expected = {}, {}, {}
        self.count = 0

    def run(self, step):
        match step:
            case ("append", writer, rows):
                if writer not in self.open:
                    self.open[writer] = Store(self.root)
                store = self.open[writer]
                before = self.count
                store.append_many("judgments", rows)
                order = before + 1 if len(rows) >= BATCH else self.order.setdefault(writer, before + 1)
                for key, value in rows:
                    if key not in self.expected or order < self.expected[key][0]:
                        self.expected[key] = (order, value)
            case ("close" | "kill" as how, writer):
                store = self.open.pop(writer, None)
                self.order.pop(writer, None)
                if store:
                    store.close(is_clean=how == "close")
            case ("seal", *death):
                with killed_at(*death) if death else nullcontext():
                    self.reader.seal("judgments")
            case ("compact", *death):
                with killed_at(*death) if death else nullcontext():
                    compact(self.reader, full_rows=6)

    def check(self):
        expected = {key: value for key, (_, value) in self.expected.items()}
        assert self.reader.read("judgments") == expected
        assert self.reader.get("judgments", KEYS[:5]) == {k: v for k, v in expected.items() if k in KEYS[:5]}
        absent = {key for chunk in self.reader.missing("judgments", KEYS) for key in hex_of(chunk)}
        assert absent == set(KEYS) - expected.keys()
        assert self.reader.damage == []


@contextmanager
def world():
    root = Path(tempfile.mkdtemp())
    here = World(root)
    real = store_module.new_source

    def counted():
        here.count += 1
        return f"{here.count:016x}-{real().split('-', 1)[1]}"

    with (
        mock.patch.object(store_module, "_BATCH_ROWS", BATCH),
        mock.patch.object(merging, "CROWD", 3),
        mock.patch.object(store_module, "new_source", counted),
        mock.patch.object(journal, "new_source", counted),
    ):
        yield here
    here.reader.close()
    shutil.rmtree(root)


def check_sequence(sequence, wanted):
    with world() as here:
        for step in sequence:
            here.run(step)
            here.check()
        for writer in list(here.open):
            here.run(("close", writer))
        assert verify(here.reader).damage == []
        write_wanted(here.root / "runs" / "one", {"judgments": wanted})
        collect(here.reader, [here.root])
        here.expected = {key: entry for key, entry in here.expected.items() if key in wanted}
        here.check()
        assert verify(here.reader).damage == []
        if here.expected:
            compact(here.reader)
            here.check()
            assert verify(here.reader).rows == len(here.expected)


quick = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
long = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
sequences = st.lists(steps, max_size=12)


@quick
@given(sequences, st.sets(st.sampled_from(KEYS)))
def test_any_sequence_leaves_the_same_mapping(sequence, wanted):
    check_sequence(sequence, wanted)


@pytest.mark.slow
@long
@given(st.lists(steps, max_size=30), st.sets(st.sampled_from(KEYS)))
def test_any_long_sequence_leaves_the_same_mapping(sequence, wanted):
    check_sequence(sequence, wanted)
