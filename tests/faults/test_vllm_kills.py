"""Six `kill -9` (ten in `make test-full`) of the driver and of its vLLM at moments of chance, on one store that goes on
being resumed.

vLLM is not batch-invariant, so the bytes of an undisturbed run are not the promise here. The promise is that nothing
that was stored is asked again or changes, that the books balance, and that the files are what the store says.
"""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rlaif.bundled import project_file
from rlaif.pair_dataset import read_rows
from rlaif.store import Store
from tests.scale import times

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

SETTINGS = """
name: killed
constitution: small
prompts: [{{path: {prompts}, limit: 12}}]
policies: [{{model: tiny-policy, samples: 3, sampling: {{max_tokens: 160}}}}]
judge: {{model: tiny-judge}}
engine: {{max_num_seqs: 4, kv_cache_gib: 0.5}}
"""
NUM_SAMPLES, NUM_JUDGMENTS = 12 * 3, 12 * 3 * 6 * 2  # three pairs a prompt, six principles, both orders
KINDS = ("responses", "judgments", "critiques")
KILLS = times(6, full=10)


def rlaif(folder, *arguments):
    command = [sys.executable, "-m", "rlaif.cli.main", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=(folder / "said.txt").open("ab"))


def num_in_journals(folder):
    """Results by the journals' lines: all there are before a run has ended well, which seals what it appended to."""
    journals = (folder / "outputs/store").glob("*/journals/*.journal")
    return sum(journal.read_bytes().count(b"\n") for journal in journals)


def stored(folder):
    return {kind: Store(folder / "outputs/store").read(kind) for kind in KINDS}


def child_of(driver):
    """The process that holds vLLM; None while there is none."""
    with suppress(OSError):
        children = Path(f"/proc/{driver.pid}/task/{driver.pid}/children").read_text().split()
        return next((int(one) for one in children if "vllm_child" in Path(f"/proc/{one}/cmdline").read_text()), None)
    return None


def is_running(process):
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    return False


def moments(chance):
    """(results in the store, who dies), spread over sampling, judging and what comes after, one while loading."""
    counts = [0, *sorted(chance.sample(range(1, NUM_SAMPLES), KILLS // 2 - 2))]
    counts += [NUM_SAMPLES + n for n in sorted(chance.sample(range(int(0.8 * NUM_JUDGMENTS)), KILLS // 2))]
    counts.append(NUM_SAMPLES + NUM_JUDGMENTS - 20)
    who = ["driver", "child"] * (KILLS // 2)
    chance.shuffle(who)
    return list(zip(counts, who, strict=True))


def wait_until(folder, driver, count, chance):
    """Until the store holds so many results, and a child lives; then a moment more."""
    deadline = time.monotonic() + 300
    begun = num_in_journals(folder)
    while num_in_journals(folder) < max(count, begun + (count > 0)) or child_of(driver) is None:
        assert driver.poll() is None, (folder / "said.txt").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.003)
    time.sleep(chance.uniform(0, 3.0 if count == 0 else 0.02))


def test_many_kills_of_the_driver_and_of_vllm(tmp_path):
    seed = 7
    print(f"seed {seed}")
    chance = random.Random(seed)
    prompts = project_file("prompts/sets/tiny-world.jsonl")
    (tmp_path / "rlaif.yaml").write_text(SETTINGS.format(prompts=prompts))
    seen, children, driver = [], [], rlaif(tmp_path, "generate", "--yes")
    for count, who in moments(chance):
        wait_until(tmp_path, driver, count, chance)
        child = child_of(driver)
        children.append(child)
        if who == "child":
            os.kill(child, signal.SIGKILL)
        else:
            driver.kill()
            assert driver.wait() == -signal.SIGKILL
        seen.append((num_in_journals(tmp_path), who, stored(tmp_path)))
        if who == "child" and count == 0:  # killed while it loads: that ends the run, with a reason
            assert driver.wait(60) in (3, 0)
        if driver.poll() is not None:
            driver = rlaif(tmp_path, "generate", "--yes")
    assert driver.wait(300) == 0, (tmp_path / "said.txt").read_text()
    print([(count, who) for count, who, _ in seen])
    assert len(seen) == KILLS
    assert not [child for child in children if is_running(child)]

    final = stored(tmp_path)
    for _, _, before in seen:
        assert all(final[kind][key] == value for kind in KINDS for key, value in before[kind].items())
    check_nothing_was_asked_twice(tmp_path, final)
    check_books(tmp_path, final)
    check_files_are_what_the_store_says(tmp_path, final)


def check_nothing_was_asked_twice(folder, final):
    """A result that was asked for again would be there twice: nothing is ever rewritten."""
    segments = (folder / "outputs/store").glob("*/segments/*.parquet")
    rows = sum(pq.read_metadata(segment).num_rows for segment in segments) + num_in_journals(folder)
    assert rows == sum(map(len, final.values()))


def check_books(folder, final):
    stages = json.loads((folder / "outputs/runs/killed/run.json").read_text())["stages"]
    for stage in stages.values():
        assert sum(stage["outcomes"].values()) == stage["planned"] > 0
    assert (stages["sample"]["planned"], len(final["responses"])) == (NUM_SAMPLES, NUM_SAMPLES)
    assert stages["judge"]["planned"] == len(final["judgments"])
    assert stages["critique"]["planned"] == len(final["critiques"])


def check_files_are_what_the_store_says(folder, final):
    """Every probability in the labels from a stored judgment and every judgment in the labels, worked out here; and a
    run of another name that asks nobody anything writes the same rows."""
    in_labels = []
    for row in read_rows(folder / "outputs/runs/killed/labels.parquet"):
        for verdict in row["principles"]:
            in_labels += [verdict["shown_first"], 1 - verdict["shown_second"]]
    odds = [math.exp(value["logprob_b"] - value["logprob_a"]) for value in final["judgments"].values()]
    assert sorted(in_labels) == pytest.approx(sorted(1 / (1 + one) for one in odds), abs=1e-12)
    assert rlaif(folder, "generate", "--set", "name=again").wait(100) == 0
    runs = folder / "outputs/runs"
    assert not (runs / "again/log.txt").exists()  # no model was loaded
    for name in ("pairs.jsonl", "labels.parquet"):
        assert (runs / "again" / name).read_bytes() == (runs / "killed" / name).read_bytes()
