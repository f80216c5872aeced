"""How long a browser takes with the page of `rlaif compare --html`: to open it, and to filter.

    python -m benchmarks.compare_page                  # 5,000 pairs, 7 openings, 9 filters in each
    python -m benchmarks.compare_page --pairs 20000 --times 3
    python -m benchmarks.compare_page --keep page.html # to look at

The pairs are made up: four votes and six principles each, answers of 40 to 400 words, critiques. A fresh headless
Chromium opens the file each time. `open` is from the start of the navigation to the first frame after the list stands
there; `filter` from the event to the next frame painted, `of it ours` without the wait for that frame.
"""

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.labels import WORDS
from rlaif.evaluate.comparison.gathering import gather
from rlaif.evaluate.comparison.report import make_report
from rlaif.evaluate.comparison.rows import compared_rows
from rlaif.evaluate.comparison.terms import Terms
from rlaif.evaluate.comparison_page.page import html_page
from rlaif.labels.file import write_votes
from rlaif.labels.label import Mark, Vote
from rlaif.labels.votes import Found, make_vote
from rlaif.records import Message

PRINCIPLES = ("brief", "honest", "kind", "no-preaching", "on-topic", "safe")
PEOPLE = ("ann", "ben", "cat")
JUDGES = ("judge a", "judge b")
TAGS = ("harmful", "craft", "opinion", "borderline")
TARGETS = {"open": 2000.0, "filter": 100.0}  # milliseconds
FILTERS = {
    "all pairs": {"show": ""},
    "tag": {"tag": "harmful"},
    "principle against people": {"principle": "honest"},
    "order decided": {"show": "", "principle": "honest", "how": "order"},
    "confidence": {"from": "80", "to": "95"},
    "length": {"size": "longer"},
    "another rater": {"judge": "judge:judge b"},
    "another order": {"sort": "divided"},
    "words": {"show": "", "words": "better answer"},
}


def text(chance: random.Random, words: int) -> str:
    return " ".join(chance.choices(WORDS, k=words)).capitalize() + "."


def made_votes(number: int, longest: int) -> Iterator[Vote]:
    """Every vote on one pair, answers of up to so many words. How good the first is, is drawn; people and judges see it
    through noise of their own."""
    chance = random.Random(number)
    worth = chance.random()
    prompt = (Message("user", f"{text(chance, chance.randint(8, 60))} ({number})"),)
    first, second = (f"{text(chance, chance.randint(longest // 10, longest))} {side}" for side in "ab")
    tags = frozenset(chance.sample(TAGS, k=chance.randint(0, 2)))
    pair = {
        "prompt": prompt,
        "first": first,
        "second": second,
        "tags": tags,
        "source": chance.choice(("forum", "survey")),
    }
    pair |= {"first_model": "model one", "second_model": "model two"}
    for name in PEOPLE:
        yield _vote(Found(**pair, rater=name, kind="human", **_person(chance, worth)))
    for name in JUDGES:
        yield _vote(Found(**pair, rater=name, kind="judge", **_judge(chance, worth)))


def _vote(found: Found) -> Vote:
    vote = make_vote(found, source="")
    assert isinstance(vote, Vote), vote
    return vote


def _person(chance: random.Random, worth: float) -> dict[str, Any]:
    drawn = chance.random()
    choice = "skipped" if drawn > 0.97 else "tie" if drawn > 0.9 else "first" if chance.random() < worth else "second"
    comment = text(chance, 12) if chance.random() < 0.2 else ""
    marks = (Mark(principle="kind", choice=choice),)
    return {"choice": choice, "comment": comment, "seconds": round(chance.uniform(3, 90), 1), "marks": marks}


def _judge(chance: random.Random, worth: float) -> dict[str, Any]:
    probability = _kept(worth + chance.gauss(0, 0.25))
    marks = []
    for principle in PRINCIPLES:
        orders = [_kept(probability + chance.gauss(0, 0.2)) for _ in range(2)]
        shown = {"shown_first": orders[0], "shown_second": orders[1], "probability": sum(orders) / 2}
        marks.append(Mark(principle=principle, weight=1.0, **shown))
    return {"probability": probability, "marks": tuple(marks)}


def _kept(probability: float) -> float:
    return min(max(probability, 0.01), 0.99)


def made_comparison(folder: Path, pairs: int, longest: int = 400) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(report, rows) of so many made-up pairs, by the whole road from label files; with made-up critiques."""
    votes = [vote for number in range(pairs) for vote in made_votes(number, longest)]
    files = {kind: folder / f"{kind}.jsonl" for kind in ("human", "judge")}
    for kind, path in files.items():
        write_votes(path, [vote for vote in votes if vote.label.kind == kind])
    people, judges = [files["human"]], [files["judge"]]
    gathered = gather(people, judges, Terms(num_resamples=100))
    rows = [row for judge in JUDGES for row in compared_rows(gathered.compared, judge, people, judges)]
    for number, row in enumerate(rows):
        row["judge"]["critique"] = text(random.Random(-1 - number), longest // 5)
    return make_report(gathered), rows


def opened(browser: Any, path: Path) -> tuple[Any, float]:
    """(the page, milliseconds until its list was painted)."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(path.as_uri(), wait_until="commit")
    page.wait_for_selector("html[data-ready=yes]", timeout=60_000)
    painted = page.evaluate(
        "() => new Promise(done => requestAnimationFrame(() => setTimeout(() => done(performance.now()))))"
    )
    return page, painted


_FILTER = """(values) => new Promise(done => {
  const controls = document.getElementById("filters").elements;
  for (const [name, value] of Object.entries(values)) controls[name].value = value;
  performance.clearMeasures("filter");
  const start = performance.now();
  controls.judge.dispatchEvent(new Event("input", { bubbles: true }));
  requestAnimationFrame(() => setTimeout(() =>
    done([performance.now() - start, performance.getEntriesByName("filter")[0].duration])));
})"""


def measure(path: Path, chromium: str, times: int) -> dict[str, list[float]]:
    """Milliseconds by what was measured."""
    from playwright.sync_api import sync_playwright

    found: dict[str, list[float]] = {"open": []}
    with sync_playwright() as playwright:
        for _ in range(times):
            browser = playwright.chromium.launch(executable_path=chromium)
            page, painted = opened(browser, path)
            found["open"].append(painted)
            for name, values in FILTERS.items():
                whole, ours = page.evaluate(_FILTER, values)
                found.setdefault(f"filter: {name}", []).append(whole)
                found.setdefault(f"filter: {name}, of it ours", []).append(ours)
                page.evaluate("() => document.getElementById('filters').reset()")
                page.wait_for_timeout(50)
            browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5000)
    parser.add_argument("--times", type=int, default=7, help="fresh browsers")
    parser.add_argument("--keep", type=Path, help="write the page here")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no Chromium here: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        path = options.keep or Path(folder) / "page.html"
        path.write_text(html_page(*made_comparison(Path(folder), options.pairs)), encoding="utf-8")
        size = path.stat().st_size
        found = measure(path.absolute(), chromium, options.times)
    if options.json:
        print(json.dumps({"pairs": options.pairs, "bytes": size, "ms": found}))
    else:
        print(f"{options.pairs:,} pairs, {size / 1e6:.1f} MB, n {options.times}; milliseconds: least, median, most")
        for name, every in found.items():
            print(f"{name:<46}{min(every):>9.1f}{statistics.median(every):>9.1f}{max(every):>9.1f}")
    slow = [name for name, every in found.items() if statistics.median(every) > TARGETS[name.partition(":")[0]]]
    if slow:
        sys.exit(f"slower than wanted: {', '.join(slow)}")


if __name__ == "__main__":
    main()
