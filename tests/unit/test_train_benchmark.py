"""The training benchmark's own work: ratios of runs, what is kept of a stopped measurement, what counts as missed. The
trainings themselves are `make bench-train`."""

import argparse
import subprocess
import sys

import pytest

from benchmarks import train as bench
from benchmarks.train_report import misses, table

OPTIONS = {
    "quick": False,
    "repeats": None,
    "rows": None,
    "threads": 1,
    "clock": "cpu",
    "precision": "bf16",
    "keep": None,
}


def options(**more):
    return argparse.Namespace(**{**OPTIONS, **more})


def figures(seconds, *, peak=100.0):
    return {
        "cpu_s": seconds,
        "wall_s": 2 * seconds,
        "rows": 8,
        "useful_flops": 1e9 * seconds,
        "peak_bytes": peak,
        "state_bytes": 1.0,
        "product_flops_per_cpu_s": 2e9,
    }


@pytest.fixture
def sides(monkeypatch):
    """What each side's next runs take, in place of trainings; an exception is raised."""
    taken = {"ours": [], "trl": []}

    def run(side, _options, **_more):
        found = taken[side].pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(bench, "run", run)
    return taken


def test_a_ratio_is_of_runs_next_to_each_other(sides):
    sides["ours"] = [figures(1.0), figures(2.0), figures(4.0)]
    sides["trl"] = [figures(3.0), figures(8.0), figures(8.0)]
    found = bench.compare(bench.CELLS["dpo-s-best"], options(), 8, 3)
    assert (found["ratio"], found["ratio_low"], found["ratio_high"]) == (3.0, 2.0, 4.0)
    assert found["ours"]["useful"] == 0.5
    assert found["ours"]["rows_per_s"] == 4.0
    assert misses({"dpo-s-best": found}) == [
        "dpo-s-best: 3.00 times as fast as TRL, target 12",
        "dpo-s-best: 50% useful, target 60%",
    ]


def test_where_the_other_side_has_no_memory_that_is_the_finding(sides):
    sides["ours"], sides["trl"] = [figures(1.0)], [bench.OutOfMemory()]
    found = {"grid-131072-4-32": bench.measure("grid-131072-4-32", options())}
    assert found["grid-131072-4-32"]["ratio"] is None
    assert "131,072" in table(found)
    assert "> memory" in table(found)
    assert misses(found) == []


def test_our_own_lack_of_memory_is_no_finding(sides):
    sides["ours"] = [bench.OutOfMemory()]
    with pytest.raises(bench.OutOfMemory):
        bench.measure("grid-131072-4-32", options())


def test_each_peak_has_the_target_of_its_own_cell(sides):
    sides["ours"], sides["trl"] = [figures(1.0, peak=23.0), figures(1.0, peak=39.0)], [figures(99.0)] * 2
    found = {name: bench.measure(name, options(repeats=1)) for name in ("dpo-m-float32", "dpo-m-best")}
    assert [line for line in misses(found) if "memory" in line] == [
        "dpo-m-float32: 23.0% of TRL's peak memory, target 22%"
    ]


def test_what_was_measured_is_not_measured_again_but_under_the_same_conditions(tmp_path):
    file = tmp_path / "kept.jsonl"
    bench.Kept(options(keep=file)).add("vocabulary", {"grown_bytes": 1})
    bench.Kept(options(keep=file)).add("vocabulary", {"grown_bytes": 2})
    assert bench.Kept(options(keep=file)).read("vocabulary") == {"grown_bytes": 2}
    assert bench.Kept(options(keep=file)).read("dpo-s-best") is None
    assert bench.Kept(options(keep=file, threads=2)).read("vocabulary") is None
    assert bench.Kept(options()).read("vocabulary") is None


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_side_that_asks_for_more_memory_than_is_free_fails_by_itself():
    code = (
        "from benchmarks.train_sides import stay_within_memory; stay_within_memory()\n"
        "import resource; limit, _ = resource.getrlimit(resource.RLIMIT_DATA); bytearray(limit)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "MemoryError" in done.stderr
