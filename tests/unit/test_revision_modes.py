"""Revisions judged again in every mode of the judge: what is asked, how it is counted, and what comes of it."""

import json

import pytest

from rlaif.cli import main
from rlaif.engines.scripted import Faults
from rlaif.errors import EngineCrashed
from rlaif.feedback.mode_reasoned import LEAD_IN
from rlaif.pair_dataset import read_rows
from rlaif.records import OUTCOMES
from rlaif.settings import JudgeSettings, PolicySettings, SamplingSettings
from tests.revisions import Revisions, between, half_of, stage_of, writes
from tests.roads import follows_the_word, principle

N, ROUNDS, PRINCIPLES = 8, 2, 3
COMPARED = N * ROUNDS * PRINCIPLES * 2  # a pair per round, in both orders
ASKED = {
    "verdict": {"judge": COMPARED},
    "reasoned": {"reason": COMPARED, "judge": COMPARED},
    "score": {"judge": N * (1 + ROUNDS) * PRINCIPLES},  # the first answer and every revision of it, alone
}


def scores_the_word(request):
    """A judge's rule: the best score where the word between « » of the principle is in the response, else the worst."""
    if not request.choices or "<response>" not in request.messages[0].content:
        return None
    text = request.messages[0].content
    word = between(text, "principle").split("«")[1].split("»")[0]
    scores = [0.0] * len(request.choices)
    scores[-1 if word in between(text, "response").split() else 0] = 1.0
    return scores


def judge_in(mode, **more):
    return JudgeSettings(model="judge", mode=mode, **more)


def run_in(mode, folder, **more):
    return Revisions(folder, judge=judge_in(mode), judge_rules=(scores_the_word, follows_the_word), **more)


@pytest.mark.parametrize("mode", ASKED)
def test_a_mode_asks_what_was_planned_and_nothing_the_second_time(tmp_path, mode):
    run = run_in(mode, tmp_path)
    fresh = run.plan(N)
    run.run(N)
    asked = {"sample": N, "critique": N * ROUNDS, "revise": N * ROUNDS, **ASKED[mode]}
    assert run.asked() == asked == {stage: fresh.calls(stage) for stage in asked}
    told = fresh.as_json()
    assert told["revision_calls"] == N * ROUNDS
    assert told["judge_calls"] == ASKED[mode]["judge"]
    assert "revise_calls" not in told
    assert told["revision_calls_are_estimated"] is True  # the first critiques are not there yet
    assert run.plan(N).total_calls == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    run.run(N)
    assert run.requests == []
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(("mode", "probability"), [("verdict", 0.9), ("reasoned", 0.6), ("score", 1.0)])
def test_every_mode_finds_the_better_side_of_a_revision(tmp_path, mode, probability):
    """The writer adds the wanted word: the judge finds it, as surely as its mode says."""
    run = run_in(mode, tmp_path, rounds=1, principles=(principle("kind", "kind"),), rules=(writes("kind"), plain))
    run.run(N)
    everything, drawn = run.summary["preferences"]
    assert everything["by_label"]["revision"] == drawn["by_drawn_principle"]["revision"] == N
    kept = min(probability, 0.99)  # the label's floor of a principle's probability
    assert [row["probability"] for row in run.lines("sft.jsonl")] == pytest.approx([kept] * N)
    assert all(row["is_revision_chosen"] for row in run.lines("pairs.jsonl"))


def plain(request):
    return "a plain answer" if stage_of(request) == "sample" else None


def test_the_verdict_on_a_revision_is_read_behind_the_reasons(tmp_path):
    run = run_in("reasoned", tmp_path, rounds=1)
    run.judge_rules = (lambda request: None if request.choices else "Both have merits.", follows_the_word)
    run.run(2)
    begun = {request.prefill for request in run.requests if request.choices}
    assert begun == {f"Both have merits.\n\n{LEAD_IN}"}
    assert (tmp_path / "run/templates/mode.txt").read_text().startswith("---\nname: reason")


@pytest.mark.parametrize("mode", ASKED)
def test_books_balance_in_every_mode_whatever_fails(tmp_path, mode):
    faults = Faults(failed=0.15, refused=0.1, truncated=0.2, abstain=0.1)
    run = run_in(mode, tmp_path, faults=faults)
    run.run(20)
    stages = run.summary["stages"]
    for stage in stages.values():
        assert tuple(stage["outcomes"]) == OUTCOMES
        assert sum(stage["outcomes"].values()) == stage["planned"]
    for name in ASKED[mode]:
        assert 0 < stages[name]["outcomes"]["ok"] < stages[name]["planned"]
    labels = list(read_rows(tmp_path / "run/labels.parquet"))
    judged = sum(row["by_label"]["pairs"] for row in run.summary["preferences"] if row["principle"] is None)
    assert judged == len(labels)
    told = sum(n for why, n in run.summary["left_out"].items() if why.startswith(("no verdict", "margin", "tie")))
    assert run.summary["pairs"] + told == len(labels)


@pytest.mark.parametrize(("mode", "after"), [("reasoned", 45), ("reasoned", 120), ("score", 50)])
def test_a_run_that_died_while_judging_goes_on_and_ends_in_the_same_files(tmp_path, mode, after):
    """`after` counts the judge's answers: each model has an engine of its own."""
    whole, broken = run_in(mode, tmp_path / "whole"), run_in(mode, tmp_path / "broken")
    whole.run(N)
    broken.faults = Faults(crash_after=after)
    with pytest.raises(EngineCrashed):
        broken.run(N)
    begun = len(broken.requests)
    assert begun == N * (1 + 2 * ROUNDS) + after
    broken.faults = None
    broken.run(N)
    assert begun + len(broken.requests) == len(whole.requests)
    for path in (path for path in (whole.folder / "run").rglob("*") if path.is_file()):
        assert (broken.folder / path.relative_to(whole.folder)).read_bytes() == path.read_bytes()


def test_switching_the_mode_keeps_the_revisions_and_going_back_asks_nothing(tmp_path):
    run = run_in("verdict", tmp_path)
    run.run(N)
    for mode in ("reasoned", "score"):
        run.judge = judge_in(mode)
        run.run(N)
        assert {name for name, count in run.asked().items() if count} == set(ASKED[mode])
    run.judge = judge_in("verdict")
    run.run(N)
    assert run.requests == []


def test_a_drawn_principle_that_was_not_asked_about_is_not_counted_as_silent(tmp_path):
    """With one principle per pair the judge is asked about another one than the round's in most pairs."""
    run = run_in("verdict", tmp_path, rounds=1)
    run.judge = judge_in("verdict", principles_per_pair=1)
    run.run(30)
    (everything, *_) = run.summary["preferences"]
    assert everything["by_label"]["pairs"] == 30
    assert 0 < everything["by_drawn_principle"]["pairs"] < 30
    assert everything["by_drawn_principle"]["no_verdict"] == 0


# --- what is learnt from


def kind_in_half(request):
    """A writer that is of use for half of the prompts."""
    if half_of(request) != "revise":
        return None
    text = request.messages[-1].content
    before = between(text, "response")
    return f"{before} kind" if int(between(text, "conversation").split("number ")[1].split("?")[0]) % 2 else "short"


def test_only_revisions_the_judge_finds_good_enough_are_examples_where_that_is_wanted(tmp_path):
    first = lambda request: "a kind answer" if stage_of(request) == "sample" else None  # noqa: E731
    run = run_in("verdict", tmp_path, rounds=1, principles=(principle("kind", "kind"),), rules=(kind_in_half, first))
    run.run(N)
    assert run.summary["examples"] == N
    assert sorted({round(row["probability"], 6) for row in run.lines("sft.jsonl")}) == [0.1, 0.5]
    run.more = {"min_probability": 0.5}
    run.run(N)
    assert run.requests == []
    assert run.summary["examples"] == N // 2
    assert run.summary["no_examples"] == {"under min_probability 0.5": N // 2}
    assert {row["probability"] for row in run.lines("sft.jsonl")} == {0.5}
    assert "Those under 0.5 were left out." in (tmp_path / "run/sft/README.md").read_text()


def test_a_revision_without_a_verdict_is_an_example_only_where_none_is_wanted(tmp_path):
    run = run_in("verdict", tmp_path, rounds=1)
    run.judge_rules = (lambda request: (0.01, 0.01) if request.choices else None,)
    run.run(3)
    assert [row["probability"] for row in run.lines("sft.jsonl")] == [None] * 3
    run.more = {"min_probability": 0.1}
    run.run(3)
    assert (run.requests, run.summary["examples"]) == ([], 0)
    assert run.summary["no_examples"] == {"no verdict": 3}


def test_policies_that_revise_into_each_others_answers_both_have_their_examples(tmp_path):
    """One pair for the judge, two things to learn: each goes its own way."""

    def swapped(request):
        text = request.messages[-1].content
        if half_of(request) == "revise":
            return "a kind answer" if between(text, "response") == "a plain answer" else "a plain answer"
        if stage_of(request) == "sample":
            return "a plain answer" if request.sampling.temperature == 1.0 else "a kind answer"
        return None

    run = run_in("verdict", tmp_path, rounds=1, principles=(principle("kind", "kind"),), rules=(swapped,))
    run.policies = tuple(
        PolicySettings(model=f"policy-{number}", sampling=SamplingSettings(max_tokens=40, temperature=temperature))
        for number, temperature in enumerate((1.0, 0.9))
    )
    run.run(1)
    found = [(row["policy"], row["completion"][0]["content"], row["probability"]) for row in run.lines("sft.jsonl")]
    assert found == [
        ("policy-0", "a kind answer", pytest.approx(0.9)),
        ("policy-1", "a plain answer", pytest.approx(0.1)),
    ]
    assert run.asked()["judge"] == 2
    assert run.summary["left_out"] == {"round 1: the same pair as another": 1}


# --- degenerate pairs, and what does not fit


def test_what_does_not_fit_is_refused_with_its_length_and_never_cut(command):
    """A writer whose context holds some of what a revision rests on, and not all."""
    small = "revision.engine={kind: scripted, max_model_len: 135}"
    code, out, err = command("--json", "--set", "revision.model=writer", "--set", small)
    assert code == 0, err
    summary = json.loads(out)
    stage = summary["stages"]["revise, round 1"]
    refused = stage["outcomes"]["refused"]
    assert 0 < refused < stage["planned"]
    assert all("it must fit into 135" in reason for reason in stage["reasons"])
    assert summary["rounds"][0]["endings"]["revision refused"] == summary["no_examples"]["not changed"] == refused


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    (tmp_path / "rlaif.yaml").write_text(
        "name: said\nconstitution: small\nprompts: [{path: prompts.jsonl}]\npolicies: [{model: policy}]\n"
        "judge: {model: judge}\nengine: {kind: scripted}\n"
    )
    lines = [json.dumps({"prompt": f"Question number {n}?" + " word" * n}) for n in range(N)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = 0
        try:
            main.run(["revise", *arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, *capsys.readouterr()

    return run


def test_degenerate_revisions_never_reach_the_judge(tmp_path):
    """Equal, equal but for white space, empty and cut ones: each has its own outcome, and no verdict is asked."""

    def degenerate(request):
        if half_of(request) != "revise":
            return None
        text = request.messages[-1].content
        kinds = (between(text, "response"), f"\n{between(text, 'response')}  ", "  ", "word " * 500)
        return kinds[int(between(text, "conversation").split("number ")[1].split("?")[0]) % 4]

    run = run_in("verdict", tmp_path, rounds=1, rules=(degenerate,), more={"revision_max_tokens": 100})
    run.run(N)
    assert run.asked()["judge"] == 0
    (row,) = run.summary["rounds"]
    assert row["endings"] == {
        "revision equal to the answer before": N // 2,
        "revision abstained": N // 4,
        "revision truncated": N // 4,
    }
    assert run.summary["preferences"] == []
