"""`rlaif watch` on real vLLM with the bundled tiny models: an edit's flips, and what it takes from save to line."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlaif.bundled import project_file

pytestmark = pytest.mark.vllm

SETTINGS = """
name: watched
constitution: constitution.yaml
prompts: [{{path: {prompts}, limit: 12}}]
policies: [{{model: tiny-policy, samples: 3, sampling: {{max_tokens: 120}}}}]
judge: {{model: tiny-judge}}
engine: {{dtype: float32}}
"""
POLITE, NOT_POLITE = "    text: A good answer is polite and kind.", "    text: A good answer is not polite and kind."


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "rlaif.yaml").write_text(SETTINGS.format(prompts=project_file("prompts/sets/tiny-world.jsonl")))
    (tmp_path / "constitution.yaml").write_text(project_file("constitution/small.yaml").read_text())
    return tmp_path


@pytest.fixture
def watched(folder):
    command = [sys.executable, "-m", "rlaif.cli.main", "watch", "--json"]
    with (folder / "stderr.txt").open("w") as err:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=err, text=True)
    yield process
    process.kill()
    process.communicate()


def next_round(process: "subprocess.Popen[str]", folder: Path) -> dict:
    line = process.stdout.readline()
    assert line, (folder / "stderr.txt").read_text()
    return json.loads(line)


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_turning_a_principle_round_shows_its_flips_while_the_judge_stays_loaded(folder, watched):
    file, start = folder / "constitution.yaml", next_round(watched, folder)
    text, judgments = file.read_text(), 2 * start["sampled"]["pairs"]
    assert start["asked"] == start["outcomes"]["ok"] == 6 * judgments
    engine = children(watched.pid)

    begun = time.monotonic()
    file.write_text(text.replace(POLITE, NOT_POLITE, 1))
    turned = next_round(watched, folder)
    seconds = time.monotonic() - begun
    print(f"{turned['asked']} verdicts: {seconds:.1f} s from save to line, {turned['seconds']:.1f} s by its own count")
    assert (turned["asked"], turned["reused"]) == (judgments, 5 * judgments)
    assert turned["reasons"] == [f"principle 'polite' changed: text ({judgments} judge calls)"]
    flipped = turned["difference"]["counts"]["flipped"]
    turns = {one["id"]: one["turned"] for one in turned["difference"]["principles"]}
    assert turns["polite"] == flipped == sum(turns.values()) > 0

    file.write_text(text)
    back = next_round(watched, folder)
    assert (back["asked"], back["difference"]["counts"]["flipped"]) == (0, flipped)
    assert back["since_start"]["flipped"] == []
    assert children(watched.pid) == engine != []

    watched.send_signal(signal.SIGINT)
    out, _ = watched.communicate(timeout=300)
    err = (folder / "stderr.txt").read_text()
    assert (watched.returncode, out) == (0, ""), err
    assert err.count("loading tiny-judge") == err.count("loading tiny-policy") == 1
    assert "INFO" not in err  # vLLM's own lines are in the log file
    assert "Loading safetensors" in (folder / "outputs" / "watch.log").read_text()
    assert not any(Path(f"/proc/{pid}").exists() for pid in engine)
