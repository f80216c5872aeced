"""The whole road as a user walks it, on real vLLM with the bundled tiny models: made, read, interrupted, killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from rlaif.bundled import project_file
from rlaif.cli.project import open_project
from rlaif.engines import open_engine
from rlaif.feedback.generate import ask_models
from rlaif.feedback.progress import Quiet
from rlaif.feedback.run import plan, read_inputs, road_of, run_folder, write_run
from rlaif.pair_dataset import read_rows
from rlaif.store import Store
from rlaif.tiny.properties import properties

pytestmark = pytest.mark.vllm

# What the principles of constitution/small.yaml are about, and whether they want it.
WANTED = {
    "polite": ("polite", True),
    "admits-doubt": ("doubt", True),
    "gives-reasons": ("reason", True),
    "no-flattery": ("flatters", False),
    "no-preaching": ("moralises", False),
    "brief": ("long", False),
}
TURNED = ("text: A good answer is polite and kind.", "text: A good answer is not polite and kind.")
SETTINGS = """
name: road
constitution: small
prompts: [{{path: {prompts}, limit: 12}}]
policies: [{{model: tiny-policy, samples: 3, sampling: {{max_tokens: 160}}}}]
judge: {{model: tiny-judge}}
"""


def rlaif(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "rlaif.cli.main", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def lay_out(folder: Path) -> Path:
    prompts = project_file("prompts/sets/tiny-world.jsonl")
    (folder / "rlaif.yaml").write_text(SETTINGS.format(prompts=prompts))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = lay_out(tmp_path_factory.mktemp("road"))
    done = rlaif(folder, "generate")
    assert done.returncode == 0, done.stderr
    return folder, done


def pairs_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "outputs/runs/road/pairs.jsonl").read_text().splitlines()]


def test_the_road_ends_in_pairs_with_critiques_and_books_that_balance(made):
    folder, done = made
    summary = json.loads((folder / "outputs/runs/road/run.json").read_text())
    for stage in summary["stages"].values():
        assert sum(stage["outcomes"].values()) == stage["planned"] > 0
    pairs = pairs_of(folder)
    assert len(pairs) == summary["pairs"] >= 6
    assert all(pair["critique"] for pair in pairs)
    assert all(len(pair["principles"]) == 6 for pair in pairs)
    assert "INFO" not in done.stderr  # vLLM's own lines are in log.txt
    assert "Loading safetensors" in (folder / "outputs/runs/road/log.txt").read_text()


def test_load_dataset_reads_the_run_folder(made):
    from datasets import load_dataset

    folder, _ = made
    loaded = load_dataset(str(folder / "outputs/runs/road/dataset"), cache_dir=str(folder / "cache"))["train"]
    assert loaded["pair_id"] == [pair["pair_id"] for pair in pairs_of(folder)]


def test_verdicts_follow_the_words_of_the_principle(made):
    """Against the grammar's ground truth, which no model sees, on the pairs that differ in the property asked about."""
    folder, _ = made
    right = total = 0
    for row in read_rows(folder / "outputs/runs/road/labels.parquet"):
        verdicts = {own["id"]: own["probability"] for own in row["principles"]}
        for principle, (name, is_wanted) in WANTED.items():
            has_x, has_y = (name in properties(row[side]) for side in ("response_x", "response_y"))
            if has_x != has_y:
                total += 1
                right += (verdicts[principle] > 0.5) == (has_x == is_wanted)
    assert total >= 30
    assert right / total >= 0.9


def test_a_second_run_starts_no_model_and_writes_the_same_bytes(made):
    folder, _ = made
    log = folder / "outputs/runs/road/log.txt"
    before, pairs = log.read_bytes(), (folder / "outputs/runs/road/pairs.jsonl").read_bytes()
    done = rlaif(folder, "generate")
    assert done.returncode == 0
    assert "loading" not in done.stderr
    assert log.read_bytes() == before
    assert (folder / "outputs/runs/road/pairs.jsonl").read_bytes() == pairs


def count_in_store(folder: Path, kind: str) -> int:
    """How many results are kept; may be asked while another process is writing."""
    return len(Store(folder / "outputs/store").read(kind))


def stop_while_judging(folder: Path, how: signal.Signals) -> "tuple[int, str, int]":
    """Start a run, send it a signal in the middle of judging; (exit code, stderr, judgments kept)."""
    already = count_in_store(folder, "judgments")
    command = [sys.executable, "-m", "rlaif.cli.main", "generate"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 200
    while count_in_store(folder, "judgments") < already + 20:
        assert process.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, how)
    _, err = process.communicate(timeout=60)
    return process.returncode, err, count_in_store(folder, "judgments")


def test_interrupted_and_killed_runs_continue(made, tmp_path):
    """Ctrl-C, then kill -9, each in the middle of judging: nothing that was answered is asked again."""
    folder = lay_out(tmp_path)
    planned = json.loads((made[0] / "outputs/runs/road/run.json").read_text())["stages"]["judge"]["planned"]
    code, err, kept = stop_while_judging(folder, signal.SIGINT)
    assert code == 130
    assert "the same command continues" in err
    assert "Traceback" not in err
    assert 20 <= kept <= planned
    samples = count_in_store(folder, "responses")
    if planned - kept > 60:  # the tiny judge is quick: it may have been nearly done when the signal arrived
        code, _, after = stop_while_judging(folder, signal.SIGKILL)
        assert code == -signal.SIGKILL
        assert after >= kept + 20
    done = rlaif(folder, "generate")
    assert done.returncode == 0, done.stderr
    assert count_in_store(folder, "responses") == samples == 12 * 3
    summary = json.loads((folder / "outputs/runs/road/run.json").read_text())
    assert count_in_store(folder, "judgments") == summary["stages"]["judge"]["planned"]


def test_an_edit_uses_the_tokens_its_plan_counted(made, tmp_path):
    """One principle turned round: the plan's calls exactly, its tokens within 5 % of what vLLM read."""
    folder = lay_out(tmp_path)
    shutil.copytree(made[0] / "outputs", folder / "outputs")
    edited = project_file("constitution/small.yaml").read_text().replace(*TURNED, 1)
    (folder / "edited.yaml").write_text(edited)
    settings = ("--set", "constitution=edited.yaml")
    plan = json.loads(rlaif(folder, "plan", "--json", *settings).stdout)
    before = Store(folder / "outputs/store").read("judgments")
    (told,) = [reason for reason in plan["reasons"] if "judge call" in reason]
    assert "polite" in told
    assert (plan["sample_calls"], plan["judge_calls"]) == (0, len(before) // 6)
    done = rlaif(folder, "generate", *settings)
    assert done.returncode == 0, done.stderr
    new = [value for key, value in Store(folder / "outputs/store").read("judgments").items() if key not in before]
    judge = next(bill for bill in plan["bills"] if bill["stage"] == "judge")
    assert len(new) == judge["calls"]
    assert judge["prompt_tokens"] == pytest.approx(sum(value["prompt_tokens"] for value in new), rel=0.05)
    assert judge["output_tokens"] == sum(value["output_tokens"] for value in new)
    measured = json.loads((folder / "outputs/runs/road/timings.json").read_text())["stages"]["judge with tiny-judge"]
    assert judge["shared_tokens"] == pytest.approx(measured["computed_tokens"], rel=0.15)  # vLLM shares whole blocks


def test_a_limit_on_calls_is_kept_to_on_a_real_engine(tmp_path):
    folder = lay_out(tmp_path)
    done = rlaif(folder, "generate", "--budget-calls", "20")
    assert done.returncode == 6
    assert "--budget-calls" in done.stderr
    assert count_in_store(folder, "responses") == 20
    done = rlaif(folder, "generate", "--budget-calls", str(12 * 3 - 20))
    assert (done.returncode, count_in_store(folder, "responses")) == (6, 12 * 3)


def test_a_second_judge_is_loaded_alone_and_a_cascade_of_both_asks_nobody(made, tmp_path):
    """The tiny judge beside itself under another identity: a panel costs its verdicts alone, and changes no label."""
    folder = lay_out(tmp_path)
    shutil.copytree(made[0] / "outputs", folder / "outputs")
    other = "judges.others=[{model: tiny-judge, engine: {chat_template_kwargs: {second: true}}}]"
    settings = ("--set", other, "--set", "name=panel")
    done = rlaif(folder, "generate", *settings)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("loading ") == 1
    alone, panel = (json.loads((folder / f"outputs/runs/{name}/run.json").read_text()) for name in ("road", "panel"))
    assert panel["stages"]["judge: tiny-judge"]["planned"] == alone["stages"]["judge"]["planned"]
    single, both = (list(read_rows(folder / f"outputs/runs/{name}/labels.parquet")) for name in ("road", "panel"))
    assert [row["probability_x"] for row in both] == pytest.approx([row["probability_x"] for row in single], abs=0.02)
    told = json.loads(rlaif(folder, "judges", "panel", "--at", "0.5", "--json").stdout)
    assert [row["calls_share"] for row in told["thresholds"]] == [0.5, 1.0]
    assert told["thresholds"][1]["agreement"]["value"] == 1.0
    cascade = rlaif(folder, "plan", "--json", *settings, "--set", "judges.ask=cascade", "--set", "judges.threshold=0.3")
    assert json.loads(cascade.stdout)["judge_calls"] == 0


def test_the_judges_card_is_read_from_what_it_said(made):
    """No model is loaded for it: where the tiny judge is clear, the place hardly ever decides."""
    folder, _ = made
    done = rlaif(folder, "judge-card", "road", "--html", "card.html", "--json")
    assert done.returncode == 0, done.stderr
    card = json.loads(done.stdout)
    assert [one["id"] for one in card["principles"]] == list(WANTED)
    assert card["overall"]["no_answer"]["all"]["value"] == 0
    assert card["overall"]["position"]["same_position_clear"]["value"] < 0.1
    assert card["self_preference"]["policies_of_the_family"] == {"tiny-policy": True}
    assert (folder / "card.html").read_text().startswith("<!doctype html>")


# --- the other ways of judging: the same answers, the judge loaded once

MODES = {
    "drawn": ("judge.mode=reasoned", "judge.principles_per_pair=2", "constitution=checked.yaml"),
    "reasoned": ("judge.mode=reasoned", "pairs.min_margin=0.02"),
    "score": ("judge.mode=score",),
}
CHECKED = """
name: checked
extends: small
principles:
  - {id: not-long, text: A good answer has at most 45 words., check: {kind: length, max_words: 45}, weight: 2}
"""


def sets_of(mode: str) -> list[str]:
    return [f"name={mode}", *MODES[mode]]


@pytest.fixture(scope="module")
def judged(made, tmp_path_factory):
    """A project in which every mode has been run, and how many requests each asked of the engine."""
    folder = lay_out(tmp_path_factory.mktemp("modes"))
    shutil.copytree(made[0] / "outputs", folder / "outputs")
    (folder / "checked.yaml").write_text(CHECKED)
    asked = {}
    settings = open_project(folder / "rlaif.yaml", []).settings
    with open_engine(settings.engine, "tiny-judge", log_file=folder / "log.txt") as engine:
        for mode in MODES:
            before = engine.counters().requests
            generate_on(engine, folder, sets_of(mode))
            asked[mode] = engine.counters().requests - before
    return folder, asked


def generate_on(engine, folder: Path, sets: list[str]) -> None:
    """`rlaif generate` with a judge that is loaded already; any other model must not be needed."""
    project = open_project(folder / "rlaif.yaml", sets)
    inputs = read_inputs(project.settings, project.base)
    run = run_folder(project.settings, project.base)
    run.mkdir(parents=True)
    road = road_of(project.settings, inputs, run)
    loaded = replace(road.models.judge, open=lambda: nullcontext(engine))
    road = replace(road, models=replace(road.models, judge=loaded))
    with Store(project.settings.store_place(project.base), will_append=True) as store:
        blocks = ask_models(road, inputs.prompts.prompts, store=store, progress=Quiet())
        write_run(run, blocks, road, inputs.prompts)


def agreement(folder: Path, mode: str) -> "tuple[float, int]":
    """How often a principle's verdict is on the side of the grammar's truth, and how many have such a side."""
    right = []
    for row in read_rows(folder / f"outputs/runs/{mode}/labels.parquet"):
        for own in row["principles"]:
            name, is_wanted = WANTED.get(own["id"], ("", True))
            has_x, has_y = (name in properties(row[side]) for side in ("response_x", "response_y"))
            if has_x != has_y:
                right.append(own["probability"] is not None and (own["probability"] > 0.5) == (has_x == is_wanted))
    return sum(right) / len(right), len(right)


@pytest.mark.parametrize(("mode", "stages"), [("reasoned", ("reason", "judge")), ("score", ("judge",))])
def test_every_mode_follows_the_words_of_the_principle(judged, mode, stages):
    folder, _ = judged
    summary = json.loads((folder / f"outputs/runs/{mode}/run.json").read_text())
    for stage in stages:
        counted = summary["stages"][stage]
        assert counted["planned"] == sum(counted["outcomes"].values()) > 0
        assert counted["outcomes"]["ok"] + counted["outcomes"]["tie"] >= 0.99 * counted["planned"]
    assert summary["pairs"] >= 6
    share, count = agreement(folder, mode)
    print(f"{mode}: {share:.3f} of {count} verdicts agree with the truth")
    assert count >= 30
    assert share >= 0.9


def test_a_second_run_and_another_label_ask_nothing_in_any_mode(judged):
    folder, asked = judged
    assert all(asked.values())
    for mode in MODES:
        for change in (("label.kind=hard",), ("label.kind=majority", "label.reasoned_range=[0.2, 0.8]")):
            project = open_project(folder / "rlaif.yaml", [*sets_of(mode), *change])
            found = plan(project.settings, read_inputs(project.settings, project.base), base=project.base)
            assert (found.calls("sample"), found.calls("reason"), found.calls("judge")) == (0, 0, 0)
    log = (folder / "log.txt").read_bytes()
    done = rlaif(folder, "generate", *flags(sets_of("reasoned")), "--set", "label.reasoned_range=null", *WITHOUT_WORDS)
    assert done.returncode == 0, done.stderr
    assert "loading" not in done.stderr
    assert (folder / "log.txt").read_bytes() == log
    rows = read_rows(folder / "outputs/runs/reasoned/labels.parquet")
    assert max(own["probability"] for row in rows for own in row["principles"]) > 0.9


WITHOUT_WORDS = ("--set", "pairs.critiques=none")  # another label may choose other pairs, which have no critique yet


def flags(sets: list[str]) -> list[str]:
    return [part for one in sets for part in ("--set", one)]


def test_two_principles_are_drawn_for_each_pair_beside_a_check(judged):
    folder, asked = judged
    rows = list(read_rows(folder / "outputs/runs/drawn/labels.parquet"))
    drawn = [[own["id"] for own in row["principles"]] for row in rows]
    assert all(len(own) == 3 and own[-1] == "not-long" for own in drawn)
    assert {name for own in drawn for name in own} == {*WANTED, "not-long"}
    summary = json.loads((folder / "outputs/runs/drawn/run.json").read_text())
    assert summary["stages"]["judge"]["planned"] == 2 * 2 * len(rows)
    for row in rows:
        fits = [len(row[side].split()) <= 45 for side in ("response_x", "response_y")]
        assert row["principles"][-1]["probability"] == 0.5 + 0.5 * (fits[0] - fits[1])
    pairs = [json.loads(line) for line in (folder / "outputs/runs/drawn/pairs.jsonl").read_text().splitlines()]
    by_check = [pair["critique"] for pair in pairs if pair["critique_principle"] == "not-long"]
    assert by_check
    assert all(said.startswith("The check length (max_words 45) gives response A") for said in by_check)
    share, count = agreement(folder, "drawn")
    print(f"drawn: {share:.3f} of {count}; requests by mode: {asked}")
    assert share >= 0.9
