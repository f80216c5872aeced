"""`rlaif compare`, `compare diff` and `labels judge` as a person types them, on the scripted engine."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest

from rlaif.cli import main
from rlaif.cli.compare import report_view
from rlaif.labels.file import read_votes
from tests.compare_kit import Pairs, choices, erring, write

SETTINGS = """
constitution: constitution.yaml
prompts: [{path: none.jsonl}]
policies: [{model: policy}]
judge: {model: judge}
engine: {kind: scripted}
"""
CONSTITUTION = """
name: test
principles:
- {id: kind, text: A good answer is kind., question: "Which response is kinder?"}
- {id: plain, text: A good answer is plain., question: "Which response is plainer?", weight: 2.0}
- {id: short, text: A good answer is short., check: {kind: length, max_words: 30}}
"""
NUM_PAIRS, CALLS = 60, 60 * 2 * 2


@pytest.fixture
def rlaif(capsys):
    """Run a command line; gives (exit code, stdout, stderr)."""

    def run(*arguments):
        code = 0
        try:
            main.run(list(arguments))
        except SystemExit as exit_:
            code = exit_.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rlaif.yaml").write_text(SETTINGS)
    (tmp_path / "constitution.yaml").write_text(CONSTITUTION)
    pairs, chance = Pairs(NUM_PAIRS, 20, tags=("a", "b")), np.random.default_rng(1)
    for name in ("ann", "ben"):
        write(tmp_path / f"{name}.jsonl", choices(pairs, name, erring(pairs.better, 0.2, chance)))
    return tmp_path


# --- labels judge


def test_labels_judge_plans_asks_once_and_writes_the_judges_votes(project, rlaif):
    code, out, _ = rlaif("labels", "judge", "ann.jsonl", "--plan")
    assert code == 0
    assert re.search(rf"\b{CALLS}\b", out)
    assert not (project / "ann-judged.jsonl").exists()
    code, out, err = rlaif("labels", "judge", "ann.jsonl")
    assert code == 0, err
    assert f"plan: {CALLS} judge calls" in err
    assert f"judge: {CALLS} = " in out
    votes = list(read_votes(project / "ann-judged.jsonl"))
    assert len(votes) == NUM_PAIRS
    for vote in votes:
        assert (vote.label.rater, vote.label.kind) == ("judge", "judge")
        assert [mark.principle for mark in vote.label.marks] == ["kind", "plain", "short"]
        for mark in vote.label.marks[:2]:
            assert mark.probability == pytest.approx((mark.shown_first + mark.shown_second) / 2)
    assert {mark.weight for vote in votes for mark in vote.label.marks if mark.principle == "plain"} == {2.0}
    first = (project / "ann-judged.jsonl").read_bytes()
    code, _, err = rlaif("labels", "judge", "ann.jsonl", "--json")
    assert (code, "Nothing to ask" in err) == (0, True)
    assert (project / "ann-judged.jsonl").read_bytes() == first


def test_a_label_file_that_is_not_there_is_not_looked_for_among_the_runs(project, rlaif):
    code, _, err = rlaif("compare", "--ai", "anne.jsonl", "--human", "ben.jsonl")
    assert code == 2
    assert "anne.jsonl: there is no such file" in err
    assert "ann.jsonl?" in err
    assert "there is no run 'anne'" in rlaif("compare", "--ai", "anne", "--human", "ben.jsonl")[2]


def test_one_edited_principle_is_all_that_is_asked_again(project, rlaif):
    rlaif("labels", "judge", "ann.jsonl")
    (project / "new.yaml").write_text(CONSTITUTION.replace("is kind.", "is kind and warm."))
    code, _, err = rlaif("labels", "judge", "ann.jsonl", "--constitution", "new.yaml", "--output", "new.jsonl")
    assert code == 0, err
    assert f"plan: {CALLS // 2} judge calls" in err


def test_what_was_stopped_goes_on_and_ends_in_the_same_bytes(project, rlaif):
    code, _, err = rlaif("labels", "judge", "ann.jsonl", "--budget-calls", "100")
    assert code == 6, err
    assert not (project / "ann-judged.jsonl").exists()
    code, _, err = rlaif("labels", "judge", "ann.jsonl")
    assert code == 0, err
    assert f"plan: {CALLS - 100} judge calls" in err
    code, _, err = rlaif("labels", "judge", "ann.jsonl", "--set", "output=elsewhere", "--output", "undisturbed.jsonl")
    assert (code, f"plan: {CALLS} judge calls" in err) == (0, True)
    assert (project / "undisturbed.jsonl").read_bytes() == (project / "ann-judged.jsonl").read_bytes()


UNHURRIED = """
import sys, time
from rlaif.cli import main
from rlaif.engines.scripted import ScriptedEngine

complete = ScriptedEngine.complete

def unhurried(self, requests):  # so that whoever kills it in the middle need not be quick
    for number, answer in enumerate(complete(self, requests)):
        yield answer
        time.sleep(0.02 * (number > 50))

ScriptedEngine.complete = unhurried
main.run(sys.argv[1:])
"""


def stored_bytes(store):
    found = 0
    for path in store.rglob("*"):
        with suppress(FileNotFoundError):  # it has another name by now
            found += path.stat().st_size * path.is_file()
    return found


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_and_kill_lose_nothing_that_was_answered(project, rlaif, how):
    pairs = Pairs(700, 100, seed=2)
    write(project / "many.jsonl", choices(pairs, "ann", pairs.better))
    command = [sys.executable, "-c", UNHURRIED, "labels", "judge", "many.jsonl"]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, cwd=project, env=environ, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    store = project / "outputs" / "store"
    deadline = time.monotonic() + 120
    while stored_bytes(store) < 12_000:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(how)
    assert process.wait(120) == (130 if how is signal.SIGINT else -how)
    assert not (project / "many-judged.jsonl").exists()
    code, _, err = rlaif("labels", "judge", "many.jsonl")
    assert code == 0, err
    left = int(re.search(r"plan: (?:about )?([\d,]+) judge calls", err)[1].replace(",", ""))
    assert 0 < left < 700 * 4
    code, _, _ = rlaif("labels", "judge", "many.jsonl", "--set", "output=elsewhere", "--output", "whole.jsonl")
    assert code == 0
    assert (project / "whole.jsonl").read_bytes() == (project / "many-judged.jsonl").read_bytes()


def test_the_store_keeps_what_judged_labels_rest_on(project, rlaif):
    rlaif("labels", "judge", "ann.jsonl")
    code, out, err = rlaif("store", "gc")
    assert code == 0, err + out
    _, _, err = rlaif("labels", "judge", "ann.jsonl")
    assert "Nothing to ask" in err


def test_a_run_that_judged_the_same_pairs_has_them_judged(project, rlaif):
    (project / "prompts.jsonl").write_text("".join(json.dumps({"prompt": f"Q {n}?"}) + "\n" for n in range(4)))
    more = ("--set", 'prompts=[{"path": "prompts.jsonl"}]', "--set", 'policies=[{"model": "policy", "samples": 3}]')
    code, _, err = rlaif("generate", *more)
    assert code == 0, err
    code, _, err = rlaif("labels", "judge", "outputs/runs/default", "--output", "again.jsonl")
    assert code == 0, err
    assert "Nothing to ask" in err


# --- compare


@pytest.fixture
def judged(project, rlaif):
    assert rlaif("labels", "judge", "ann.jsonl", "--output", "judge.jsonl")[0] == 0
    return project


def test_compare_prints_answers_first_and_figures_after(judged, rlaif):
    code, out, err = rlaif("compare", "--ai", "judge.jsonl", "--human", "ann.jsonl", "ben.jsonl")
    assert code == 0, err
    assert out.index("Does the judge agree with people") < out.index("How sure is this?") < out.index("Beside people")
    assert "60 judgments of 60 pairs of 20 prompts; 2 people, 1 judge" in out
    code, out, err = rlaif("compare", "--ai", "judge.jsonl", "--human", "ann.jsonl", "--human", "ben.jsonl", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert set(report["rater_pairs"]["ann / ben"]["cohen_kappa"]) >= {"value", "low", "high", "n"}
    assert report["judges"]["judge"]["position"]["swap_consistency"]["n"] == 60


def test_same_input_same_bytes_and_the_files_say_the_same(judged, rlaif):
    asked = ("compare", "--ai", "judge.jsonl", "--human", "ann.jsonl", "ben.jsonl", "--resamples", "200")
    outs = {rlaif(*asked, "--json", "--md", "report.md")[1] for _ in range(2)}
    assert len(outs) == 1
    report, text = json.loads(outs.pop()), (judged / "report.md").read_text()
    for said in report["sentences"].values():
        assert said.replace("<", "&lt;") in text


def test_people_alone(judged, rlaif):
    code, out, _ = rlaif("compare", "--human", "ann.jsonl", "ben.jsonl")
    assert code == 0
    assert "Two people give the same answer on" in out
    code, _, err = rlaif("compare", "--human", "ann.jsonl")
    assert code == 2
    assert "one rater, 'ann'" in err
    code, _, err = rlaif("compare", "--human", "ann.jsonl", "ann.jsonl")
    assert (code, "given twice" in err) == (2, True)
    code, _, err = rlaif("compare", "--ai", "judge.jsonl")
    assert (code, "found no --human" in err) == (2, True)


def test_soft_labels_can_be_read_again(judged, rlaif):
    asked = ("compare", "--ai", "judge.jsonl", "--human", "ann.jsonl", "ben.jsonl", "--resamples", "200")
    code, _, err = rlaif(*asked, "--soft-labels", "soft.jsonl", "--recalibration", "platt")
    assert code == 0, err
    assert len(list(read_votes(judged / "soft.jsonl"))) == NUM_PAIRS


def test_diff_of_two_judges_and_of_two_reports(judged, rlaif):
    asked = ("labels", "judge", "ann.jsonl", "--set", "judge.model=other", "--output", "other.jsonl")
    assert rlaif(*asked)[0] == 0
    people = ("--human", "ann.jsonl", "ben.jsonl")
    code, of_labels, err = rlaif("compare", "diff", "judge.jsonl", "other.jsonl", *people, "--json")
    assert code == 0, err
    for name in ("judge", "other"):
        (judged / f"{name}.json").write_text(rlaif("compare", "--ai", f"{name}.jsonl", *people, "--json")[1])
    code, of_reports, err = rlaif("compare", "diff", "judge.json", "other.json", "--json")
    assert code == 0, err
    assert json.loads(of_reports) == json.loads(of_labels)
    code, out, _ = rlaif("compare", "diff", "judge.json", "other.json")
    assert (code, "p clustered" in out) == (0, True)
    code, _, err = rlaif("compare", "diff", "judge.jsonl", "other.jsonl")
    assert (code, "Name two reports" in err) == (2, True)


def test_two_alphabets_in_one_file_stop_before_anything_is_compared(judged, rlaif):
    rows = [{"q": f"{n}?", "a": "x", "b": "y", "vote": vote} for n, vote in enumerate([0, 1, 2, 1])]
    (judged / "votes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, _, err = rlaif(
        "labels", "import", "votes.jsonl", "--columns", "prompt=q,first=a,second=b,choice=vote", "--output", "v.jsonl"
    )
    assert (code, "--choices" in err) == (2, True)
    code, _, err = rlaif("compare", "--human", "votes.jsonl", "ann.jsonl")
    assert code == 2
    assert "votes.jsonl" in err


def test_another_answer_under_a_pairs_id_is_an_error_with_its_place(judged, rlaif):
    rows = [json.loads(line) for line in (judged / "ben.jsonl").read_text().splitlines()]
    rows[3]["first"] += " and more"
    (judged / "ben.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, _, err = rlaif("compare", "--ai", "judge.jsonl", "--human", "ann.jsonl", "ben.jsonl")
    assert code == 2
    assert "ben.jsonl:4" in err
    assert "Another text stands under this id" in err


def test_a_label_for_a_pair_that_is_nowhere_else_is_listed(judged, rlaif):
    rows = [json.loads(line) for line in (judged / "ben.jsonl").read_text().splitlines()]
    stray = {key: value for key, value in rows[0].items() if not key.endswith("_id")} | {"first": "nobody's answer"}
    (judged / "ben.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, stray]))
    code, out, err = rlaif("compare", "--ai", "judge.jsonl", "--human", "ann.jsonl", "ben.jsonl", "--json")
    assert code == 0, err
    unmatched = json.loads(out)["left_out"]["unmatched"]
    assert (unmatched["people"], unmatched["first"][0]["raters"]) == (1, ["ben"])


def test_a_hostile_name_does_not_reach_the_terminal(judged, rlaif):
    rows = [
        json.loads(line) | {"rater": "\x1b[31mann[bold]"} for line in (judged / "ann.jsonl").read_text().splitlines()
    ]
    (judged / "ann.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = rlaif("compare", "--ai", "judge.jsonl", "--human", "ann.jsonl", "ben.jsonl")
    assert code == 0, err
    assert "\x1b" not in out
    assert "[bold]" in re.sub(r"\s", "", out)
    assert callable(report_view)
