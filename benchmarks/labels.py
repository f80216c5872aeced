"""What labels cost in bulk: two files of N pairs each, read, checked, counted and matched.

    python benchmarks/labels.py                    # 100 thousand and 1 million pairs; minutes
    python benchmarks/labels.py --pairs 100000     # a moment
    python benchmarks/labels.py --json

Each size runs in a process of its own, so peak memory is that size's. One file has people's choices, the other a
judge's probabilities on the same pairs, in another order and with the sides swapped; a hundredth of the pairs is in
one file only. `read` turns the files into tables and checks every id against the texts; `summarise` counts both;
`align` matches them and makes the report. Writing the files is not counted.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlaif.identity import canonical_json, digest
from rlaif.labels.align import align, report
from rlaif.labels.summary import summarise
from rlaif.labels.table import label_table
from rlaif.records import pair_id

SIZES = (100_000, 1_000_000)
TARGETS = {"total_s": 60.0, "peak_bytes": 2 * 10**9}
PAIRS_PER_PROMPT = 4
ANSWER_WORDS = 60
WORDS = (
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "that",
    "for",
    "it",
    "was",
    "with",
    "not",
    "you",
    "which",
    "answer",
    "better",
)
TAGS = ("harmful", "craft", "opinion", "borderline")


def text(chance: random.Random, words: int) -> str:
    return " ".join(chance.choices(WORDS, k=words))


def rows(pairs: int, who: str) -> Iterator[dict[str, Any]]:
    """The votes of one source on pairs 0 to N; each source leaves out a hundredth, another one."""
    is_judge = who == "judge"
    order = range(pairs) if not is_judge else (number * 7919 % pairs for number in range(pairs))  # a prime: each once
    for number in order:
        if number % 100 == is_judge:
            continue
        prompt = [{"content": text(random.Random(number // PAIRS_PER_PROMPT), 20), "role": "user"}]
        chance = random.Random(-1 - number)
        sides = [f"{text(chance, ANSWER_WORDS)} {number} {side}" for side in "ab"]
        prompt_id = digest({"prompt": prompt})
        ids = [digest({"response": side, "prompt": prompt_id}) for side in sides]
        if is_judge:
            sides, ids = sides[::-1], ids[::-1]
        yield {
            "pair_id": pair_id(prompt_id, (ids[0], ids[1])),
            "prompt_id": prompt_id,
            "first_id": ids[0],
            "second_id": ids[1],
            "rater": who if is_judge else f"person {number % 5}",
            "kind": who,
            "choice": None if is_judge else chance.choices(("first", "second", "tie"), (5, 4, 1))[0],
            "probability": chance.random() if is_judge else None,
            "is_order_known": True,
            "prompt": prompt,
            "first": sides[0],
            "second": sides[1],
            "seconds": None if is_judge else round(chance.uniform(3, 90), 1),
            "tags": [TAGS[number % 4]],
            "source": "bench",
        }


def write(path: Path, pairs: int, who: str) -> None:
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(canonical_json(row) + "\n" for row in rows(pairs, who))


def measure(folder: Path, pairs: int) -> dict[str, float]:
    """The seconds of each step, and the most memory this process ever held."""
    start = time.perf_counter()
    tables = [label_table([folder / f"{who}.jsonl"]) for who in ("human", "judge")]
    read = time.perf_counter()
    counts = [summarise(table) for table in tables]
    counted = time.perf_counter()
    told = report(align(*tables))
    end = time.perf_counter()
    kept = pairs - pairs // 100
    assert [count["labels"] for count in counts] == [kept, kept], counts
    assert told["matched"]["pairs"] == pairs - 2 * (pairs // 100), told["matched"]
    assert told["unmatched"]["left"] == told["unmatched"]["right"] == pairs // 100, told["unmatched"]
    return {
        "pairs": pairs,
        "file_bytes": sum(path.stat().st_size for path in folder.iterdir()),
        "read_s": read - start,
        "summarise_s": counted - read,
        "align_s": end - counted,
        "total_s": end - start,
        "cpu_s": resource.getrusage(resource.RUSAGE_SELF).ru_utime + resource.getrusage(resource.RUSAGE_SELF).ru_stime,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def in_child(pairs: int, folder: Path | None) -> dict[str, float]:
    """The figures of one size from a process of its own; its files are removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="labels-bench-", dir=folder) as place:
        for who in ("human", "judge"):
            write(Path(place) / f"{who}.jsonl", pairs, who)
        command = [sys.executable, __file__, "--child", str(pairs), "--folder", place]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def table(results: list[dict[str, float]]) -> str:
    lines = ["     pairs   files MB   read s   summarise s   align s   total s   cpu s   peak MB"]
    lines += [
        f"{r['pairs']:>10,}{r['file_bytes'] / 1e6:>11,.0f}{r['read_s']:>9.2f}{r['summarise_s']:>14.2f}"
        f"{r['align_s']:>10.2f}{r['total_s']:>10.2f}{r['cpu_s']:>8.1f}{r['peak_bytes'] / 1e6:>10,.0f}"
        for r in results
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=list(SIZES), help="multiples of 100")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--folder", type=Path, help="where the files are made (default: the temporary folder)")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.folder, options.child)))
        return
    results = [in_child(pairs, options.folder) for pairs in options.pairs]
    print(json.dumps(results) if options.json else table(results))
    missed = [
        f"{r['pairs']:,} pairs: {n} above {most:,}" for r in results for n, most in TARGETS.items() if r[n] > most
    ]
    if missed:
        sys.exit("\n".join(missed))


if __name__ == "__main__":
    main()
