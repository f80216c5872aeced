"""What the store costs as it grows: append, plan and merge at 100 thousand, 1 million and 10 million judgments.

    python benchmarks/store_scale.py                  # the table; some minutes
    python benchmarks/store_scale.py --sizes 100000   # a moment
    python benchmarks/store_scale.py --json

Each size runs in a process of its own over a fresh store, so peak memory is that size's. Columns:
`append` batched appends, on disk and synced; `one by one` single appends, each with the kernel on return, and what one
takes of the processor (the best of five, which says more where the machine is shared); `plan` a wish of as many keys,
1 % of them not there, minus the store as it was appended (a new process's first: every checksum is computed); `merge` a
compaction; `plan after` the same plan on the merged store; `bytes/row` sealed and merged.

A second table has the processor time of one look-up of 10,000 keys among 100,000 rows that lie in 1, 10, 100 and 1000
segments: why a store merges the small segments of many runs when it is closed.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from rlaif.store import Store
from rlaif.store.keys import KEY
from rlaif.store.upkeep import compact

SIZES = (100_000, 1_000_000, 10_000_000)
BATCH = 100_000
SINGLES = 100_000
SEGMENTS = (1, 10, 100, 1000)
TARGETS = {"append_rows_per_s": 100_000, "plan_s": 30.0, "peak_bytes": 2 * 10**9}


def keys_of(batch: int, count: int) -> pa.Array:
    """As random as digests, and the same at every call with this number."""
    raw = np.random.default_rng(batch).bytes(32 * count)
    return pa.FixedSizeBinaryArray.from_buffers(KEY, count, [None, pa.py_buffer(raw)])


def judgments(batch: int, count: int) -> pa.Table:
    chance = np.random.default_rng([batch, 1])
    p = chance.uniform(0.01, 0.98, count)
    return pa.table(
        {
            "key": keys_of(batch, count),
            "logprob_a": np.log(p),
            "logprob_b": np.log(0.99 - p),
            "uncovered": np.full(count, 0.01) * chance.uniform(0.5, 1.0, count),
            "prompt_tokens": chance.integers(300, 900, count),
            "output_tokens": np.ones(count, np.int64),
            "choice_method": ["token ids"] * count,
        }
    )


def wish(size: int) -> Iterator[pa.Array]:
    """The keys of all judgments, but of every hundredth a key that is not there."""
    for batch in range(size // BATCH):
        yield keys_of(batch, BATCH).slice(BATCH // 100)
        yield keys_of(10**6 + batch, BATCH // 100)


def measure(size: int, folder: Path) -> dict[str, float]:
    """The figures of one size."""
    tables = size // BATCH
    seconds = 0.0
    with Store(folder) as store:
        for batch in range(tables):
            table = judgments(batch, BATCH)
            start = time.perf_counter()
            store.append_many("judgments", table)
            seconds += time.perf_counter() - start
    figures: dict[str, float] = {"rows": size, "append_rows_per_s": size / seconds}
    figures["plan_s"] = plan(size, folder)
    start = time.perf_counter()
    with Store(folder) as store:
        (merged,) = compact(store)
    figures["merge_s"] = time.perf_counter() - start
    figures["segments"] = merged.after
    figures["bytes_per_row"] = merged.bytes_after / size
    figures["plan_after_s"] = plan(size, folder)
    figures["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    figures["single_appends_per_s"], figures["single_cpu_us"] = singles(folder)
    return figures


def plan(size: int, folder: Path) -> float:
    """Seconds of a plan, the making of the wish included; the answer must be the hundredth that is not there."""
    start = time.perf_counter()
    with Store(folder) as store:
        found = sum(len(chunk) for chunk in store.missing("judgments", wish(size)))
    assert found == size // 100, found
    return time.perf_counter() - start


def singles(folder: Path) -> tuple[float, float]:
    """Rows a second, and microseconds of the processor for each: both of the best of five."""
    rows = [(key.hex(), {"logprob_a": -0.123456789, "logprob_b": -2.3456789, "uncovered": 1e-4, "prompt_tokens": 512,
                         "output_tokens": 1}) for key in keys_of(-1 % 2**32, SINGLES).to_pylist()]  # fmt: skip
    seconds, cpu_seconds = [], []
    for again in range(5):
        store = Store(folder / f"single-{again}")
        start, cpu_start = time.perf_counter(), time.process_time()
        for key, value in rows:
            store.append("judgments", key, value)
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
        store.close(is_clean=False)
    return SINGLES / min(seconds), min(cpu_seconds) / SINGLES * 1e6


def look_up(segments: int, folder: Path) -> dict[str, float]:
    """Processor time of a look-up by the number of segments that the same rows lie in."""
    rows = judgments(0, BATCH)
    with Store(folder) as store:
        for n in range(segments):
            store.append_many("judgments", rows.slice(n * BATCH // segments, BATCH // segments))
        wish = rows["key"].combine_chunks().slice(0, BATCH // 10)
        assert len(store.get("judgments", wish)) == BATCH // 10  # checksums are computed
        start = time.process_time()
        store.get("judgments", wish)
        seconds = time.process_time() - start
        store.close(is_clean=False)  # or they would be merged
    return {"segments": segments, "look_up_cpu_s": seconds}


def in_child(what: str, size: int, folder: Path | None) -> dict[str, float]:
    """The figures of one size from a process of its own; its store is removed afterwards."""
    place = Path(tempfile.mkdtemp(prefix="store-scale-", dir=folder))
    try:
        command = [sys.executable, __file__, f"--{what}", str(size), "--folder", str(place)]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    finally:
        shutil.rmtree(place)


def table(results: list[dict[str, float]]) -> str:
    lines = [
        "      rows   append/s  one by one/s  (cpu µs)   plan s   plan after s   merge s   segments   bytes/row"
        "   peak MB",
        *(
            f"{r['rows']:>10,}{r['append_rows_per_s']:>11,.0f}{r['single_appends_per_s']:>14,.0f}{r['single_cpu_us']:>10.1f}"
            f"{r['plan_s']:>9.2f}"
            f"{r['plan_after_s']:>15.2f}{r['merge_s']:>10.2f}{r['segments']:>11,}{r['bytes_per_row']:>12.1f}"
            f"{r['peak_bytes'] / 1e6:>10,.0f}"
            for r in results
        ),
    ]
    if len(results) > 1:
        first, last = results[0], results[-1]
        grown = last["rows"] / first["rows"]
        ratio = last["plan_s"] / first["plan_s"]
        lines.append(f"{grown:,.0f} times the rows: {ratio:,.1f} times the plan's seconds")
    return "\n".join(lines)


def missed(results: list[dict[str, float]]) -> list[str]:
    """The targets that were not met."""
    found = []
    for r in results:
        found += [
            f"{r['rows']:,} rows: {n} below {TARGETS['append_rows_per_s']:,}"
            for n in ("append_rows_per_s", "single_appends_per_s")
            if r[n] < TARGETS["append_rows_per_s"]
        ]
        found += [
            f"{r['rows']:,} rows: {n} above {TARGETS[n]:,}" for n in ("plan_s", "peak_bytes") if r[n] > TARGETS[n]
        ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help=f"multiples of {BATCH}")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--folder", type=Path, help="where the stores are made (default: the temporary folder)")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--look-up", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child or options.look_up:
        found = measure(options.child, options.folder) if options.child else look_up(options.look_up, options.folder)
        print(json.dumps(found))
        return
    results = [in_child("child", size, options.folder) for size in options.sizes]
    look_ups = [in_child("look-up", segments, options.folder) for segments in SEGMENTS]
    if options.json:
        print(json.dumps({"sizes": results, "segments": look_ups}))
    else:
        print(table(results))
        print("\n  segments   look-up cpu s")
        print("\n".join(f"{one['segments']:>10,}{one['look_up_cpu_s']:>16.3f}" for one in look_ups))
    if faults := missed(results):
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
