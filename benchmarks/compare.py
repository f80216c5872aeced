"""What a comparison costs: `rlaif compare` from two label files to the report, everything in it.

    python benchmarks/compare.py                    # 1 thousand and 100 thousand pairs
    python benchmarks/compare.py --pairs 1000
    python benchmarks/compare.py --profile 100000   # where the time goes

Three people and a judge with six principles and both orders, four pairs to a prompt, answers of 60 words. Each size is
the command itself in a process of its own, from start to exit; writing the files is not counted.
"""

import argparse
import cProfile
import json
import pstats
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.labels import text
from rlaif.identity import canonical_json

SIZES = (1_000, 100_000)
TARGETS = {1_000: 5.0, 100_000: 60.0}
PAIRS_PER_PROMPT, ANSWER_WORDS = 4, 60
PRINCIPLES = ("honest", "kind", "brief", "careful", "useful", "plain")
TAGS = ("harmful", "craft", "opinion", "borderline")
PEOPLE = ("ann", "ben", "cat")


def sides(number: int) -> tuple[list[dict[str, str]], str, str, float]:
    """A pair's prompt and two answers, and how much better the first is in log-odds."""
    chance = random.Random(-1 - number)
    prompt = [{"content": text(random.Random(number // PAIRS_PER_PROMPT), 20), "role": "user"}]
    words = [chance.randint(ANSWER_WORDS // 2, 3 * ANSWER_WORDS // 2) for _ in range(2)]
    first, second = (f"{text(chance, own)} {number} {side}" for own, side in zip(words, "ab", strict=True))
    marked = f"**{first}**\n- one\n- two" if number % 7 == 0 else first
    return prompt, marked, second, chance.gauss(0, 2)


def rows(pairs: int, is_judge: bool) -> Iterator[dict[str, Any]]:
    for number in range(pairs):
        prompt, first, second, better = sides(number)
        base = {"prompt": prompt, "first": first, "second": second, "tags": [TAGS[number % 4]], "source": "bench"}
        chance = random.Random(f"{number} {is_judge}")
        if is_judge:
            yield base | judged(better, chance)
            continue
        for person in PEOPLE:
            noise = better + chance.gauss(0, 1)
            choice = "tie" if abs(noise) < 0.2 else "first" if noise > 0 else "second"
            yield base | {"rater": person, "kind": "human", "choice": choice, "is_order_known": True}


def judged(better: float, chance: random.Random) -> dict[str, Any]:
    marks = []
    for name in PRINCIPLES:
        orders = [1 / (1 + 2.718281828 ** -(better + chance.gauss(0, 1) + lean)) for lean in (0.2, -0.2)]
        mark = {"principle": name, "probability": sum(orders) / 2, "weight": 1.0}
        marks.append(mark | {"shown_first": orders[0], "shown_second": orders[1]})
    probability = sum(mark["probability"] for mark in marks) / len(marks)
    return {"rater": "judge", "kind": "judge", "probability": probability, "marks": marks}


def write(folder: Path, pairs: int) -> None:
    for name in ("people", "judge"):
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as stream:
            stream.writelines(canonical_json(row) + "\n" for row in rows(pairs, name == "judge"))


def command(folder: Path) -> list[str]:
    return ["compare", "--ai", str(folder / "judge.jsonl"), "--human", str(folder / "people.jsonl"), "--json"]


def measure(pairs: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="compare-bench-") as place:
        folder = Path(place)
        write(folder, pairs)
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "rlaif.cli.main", *command(folder)], check=True, stdout=subprocess.PIPE
        )
        seconds = time.perf_counter() - start
        report = json.loads(done.stdout)
        assert report["compared"]["things"] == pairs, report["compared"]
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            "pairs": pairs,
            "seconds": seconds,
            "peak_bytes": used.ru_maxrss * 1024,
            "report_bytes": len(done.stdout),
        }


def profile(pairs: int) -> None:
    from rlaif.evaluate.comparison.gathering import gather
    from rlaif.evaluate.comparison.report import as_bytes, make_report
    from rlaif.evaluate.comparison.terms import Terms

    with tempfile.TemporaryDirectory(prefix="compare-bench-") as place:
        folder = Path(place)
        write(folder, pairs)
        with cProfile.Profile() as found:
            gathered = gather([folder / "people.jsonl"], [folder / "judge.jsonl"], Terms())
            as_bytes(make_report(gathered))
        pstats.Stats(found).sort_stats("cumulative").print_stats(45)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--profile", type=int, help="print where the time of so many pairs goes")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args()
    if options.profile:
        profile(options.profile)
        return
    results = [measure(pairs) for pairs in options.pairs]
    if options.json:
        print(json.dumps(results))
    else:
        print("     pairs   seconds   peak MB   report KB")
        for own in results:
            sizes = f"{own['peak_bytes'] / 1e6:>10,.0f}{own['report_bytes'] / 1e3:>12,.0f}"
            print(f"{own['pairs']:>10,}{own['seconds']:>10.2f}{sizes}")
    missed = [
        f"{own['pairs']:,} pairs took {own['seconds']:.1f} s"
        for own in results
        if own["seconds"] > TARGETS.get(int(own["pairs"]), 1e9)
    ]
    if missed:
        sys.exit("\n".join(missed))


if __name__ == "__main__":
    main()
