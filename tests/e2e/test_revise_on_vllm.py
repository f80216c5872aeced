"""`rlaif revise` on real vLLM with the bundled tiny models.

The tiny policy was taught to answer prompts of its small world, not to criticise or rewrite: what it writes in a round
is no critique and no better answer. So this looks at the structure alone: the stages, the books, the lineage, the
files, and that a second run asks nothing.
"""

import json
import subprocess
import sys

import pytest

from rlaif.bundled import project_file
from rlaif.pair_dataset import read_rows

pytestmark = pytest.mark.vllm

SETTINGS = """
name: road
constitution: small
prompts: [{{path: {prompts}, limit: 8}}]
policies: [{{model: tiny-policy, sampling: {{max_tokens: 120}}}}]
judge: {{model: tiny-judge}}
revision: {{rounds: 2, critique_max_tokens: 120, revision_max_tokens: 120}}
"""


def rlaif(folder, *arguments):
    command = [sys.executable, "-m", "rlaif.cli.main", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("revise")
    prompts = project_file("prompts/sets/tiny-world.jsonl")
    (folder / "rlaif.yaml").write_text(SETTINGS.format(prompts=prompts))
    done = rlaif(folder, "revise")
    return folder / "outputs/runs/road-revisions", done


def test_the_rounds_end_in_books_that_balance_and_lineage_that_holds_together(made):
    run, done = made
    assert done.returncode == 0, done.stderr
    summary = json.loads((run / "revisions.json").read_text())
    for stage in summary["stages"].values():
        assert sum(stage["outcomes"].values()) == stage["planned"]
    assert summary["stages"]["sample"]["planned"] == 8
    assert summary["stages"]["judge"]["outcomes"]["ok"] > 0
    for row in summary["rounds"]:
        assert sum(row["endings"].values()) == row["answers"] == summary["stages"]["sample"]["outcomes"]["ok"]
    rows = list(read_rows(run / "rounds.parquet"))
    assert len(rows) == 2 * summary["answers"]
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert second["before_id"] == first["after_id"]
        assert (first["after_id"] != first["before_id"]) == (first["ending"] == "revised")
    examples = [json.loads(line) for line in (run / "sft.jsonl").read_text().splitlines()]
    assert len(examples) == summary["examples"] > 0
    assert all(example["probability"] is not None for example in examples)


def test_a_second_run_starts_no_model_and_writes_the_same_bytes(made):
    run, _ = made
    plan = json.loads(rlaif(run.parents[2], "revise", "--plan", "--json").stdout)
    assert sum(plan[f"{stage}_calls"] for stage in ("sample", "critique", "revision", "judge")) == 0
    before = {name: (run / name).read_bytes() for name in ("sft.jsonl", "pairs.jsonl", "revisions.json")}
    done = rlaif(run.parents[2], "revise")
    assert "loading" not in done.stderr
    assert {name: (run / name).read_bytes() for name in before} == before
