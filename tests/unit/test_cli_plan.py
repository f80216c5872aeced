"""`plan`, `diff`, `explain`, `constitution test` and `ablate` as a person types them, on the scripted engine."""

import json

import pytest

from rlaif.cli import generate as generate_command
from tests.unit.test_cli_generate import CONSTITUTION, project, rlaif  # noqa: F401  # fixtures

EDITED = CONSTITUTION.replace("answer is kind.", "answer is warm.")
TESTED = CONSTITUTION.replace(
    "  question: Which response is kinder?\n",
    "  question: Which response is kinder?\n  tests:\n"
    "  - {conversation: Hi., response_a: Hello., response_b: Go., better: BETTER}\n",
)


@pytest.fixture
def run(project, rlaif):  # noqa: F811
    """Run a command line that must end with this exit code; gives (stdout, stderr)."""

    def run(*arguments, code=0):
        ended, out, err = rlaif(*arguments)
        assert ended == code, err
        return out, err

    run.folder = project
    return run


def test_a_plan_before_after_and_after_an_edit(run):
    plan = json.loads(run("plan", "--json")[0])
    assert {name: plan[f"{name}_calls"] for name in ("sample", "judge", "critique", "revision")} == {
        "sample": 24,
        "judge": 144,
        "critique": 6,
        "revision": 0,
    }
    assert plan["judge_calls_are_estimated"]
    assert plan["seconds"] is None
    assert not (run.folder / "outputs").exists()
    run("generate")
    assert "Nothing to ask" in run("plan")[0]
    empty = json.loads(run("plan", "--json")[0])
    assert (empty["judge_calls"], empty["seconds"], empty["reasons"]) == (0, 0.0, [])
    (run.folder / "constitution.yaml").write_text(EDITED)
    edited = json.loads(run("plan", "--json")[0])
    assert (edited["sample_calls"], edited["judge_calls"], edited["judge_calls_are_estimated"]) == (0, 72, False)
    assert edited["reasons"][0] == "principle 'kind' changed: text (72 judge calls)"
    assert edited["seconds"] >= 0.0
    assert 0 < edited["shared_tokens"] < edited["prompt_tokens"]
    assert "principle 'kind' changed: text: 72 judge calls" in run("plan")[0]


def test_a_fresh_plan_is_that_of_an_empty_store(run):
    before = json.loads(run("plan", "--json")[0])
    run("generate")
    fresh = json.loads(run("plan", "--fresh", "--json")[0])
    calls = ("sample_calls", "judge_calls", "critique_calls")
    assert [fresh[name] for name in calls] == [before[name] for name in calls]


def test_a_run_of_a_new_name_is_compared_with_the_last(run):
    run("generate")
    (run.folder / "constitution.yaml").write_text(EDITED)
    reasons = json.loads(run("plan", "--set", "name=other", "--json")[0])["reasons"]
    assert reasons[0] == "principle 'kind' changed: text (72 judge calls)"


def test_a_comment_costs_nothing(run):
    run("generate")
    (run.folder / "constitution.yaml").write_text(CONSTITUTION.replace("- id", "# a comment\n- id"))
    assert "Nothing to ask" in run("plan")[0]


def test_prices_are_counted(run):
    prices = ("--set", "judge.price_per_million_output_tokens=1000000", "--set", "pairs.critiques=none")
    plan = json.loads(run("plan", "--json", *prices)[0])
    assert plan["money"] == 144.0
    assert "144.00" in run("plan", *prices)[0]
    assert json.loads(run("plan", "--json")[0])["money"] is None


def test_generate_shows_the_plan_and_keeps_to_its_limits(run):
    err = run("generate", "--budget-calls", "50", code=6)[1]
    assert "plan: 24 sample calls, about 144 judge calls" in err
    assert "the same command continues" in err
    assert "118 judge calls" in run("generate")[1]
    assert "Nothing to ask" in run("generate")[1]
    run("generate", "--set", "name=other", "--set", "judge.model=other", "--max-minutes", "0", code=6)
    run("generate", "--set", "name=other", "--set", "judge.model=other", "--budget-tokens", "10", code=6)


def test_a_large_run_needs_a_yes(run, monkeypatch):
    monkeypatch.setattr(generate_command, "LARGE", 100)
    err = run("generate", code=2)[1]
    assert "wants 174 model calls" in err
    assert "Add --yes" in err
    assert not (run.folder / "outputs").exists()
    run("generate", "--yes")
    run("generate")  # nothing is left to ask, so nothing is asked of the person


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1)])
def test_a_person_is_asked_before_a_large_run(run, monkeypatch, answer, code):
    import io

    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True
    monkeypatch.setattr(generate_command, "LARGE", 100)
    monkeypatch.setattr("sys.stdin", terminal)
    run("generate", code=code)
    assert (run.folder / "outputs/runs/test/run.json").exists() is (code == 0)


def test_diff_of_two_runs(run):
    run("generate")
    (run.folder / "constitution.yaml").write_text(EDITED)
    run("generate", "--set", "name=after")
    found = json.loads(run("diff", "test", "after", "--json")[0])
    assert sum(found["counts"].values()) == 36
    assert found["counts"]["flipped"] == len(found["flipped"]) > 0
    assert {one["id"]: one["turned"] for one in found["principles"]} == {"kind": len(found["flipped"]), "plain": 0}
    for example in found["examples"]:
        moved = example["log_odds_after"] - example["log_odds_before"]
        assert sum(example["contributions"].values()) == pytest.approx(moved, abs=1e-9)
    assert f"{len(found['flipped'])} flipped" in run("diff", "test", "after")[0]
    assert "there is no run 'aftr' (did you mean 'after'?)" in run("diff", "test", "aftr", code=2)[1]


def test_explain_a_pair(run):
    run("generate")
    pair = json.loads((run.folder / "outputs/runs/test/pairs.jsonl").read_text().splitlines()[0])["pair_id"]
    found = json.loads(run("explain", "test", pair[:8], "--json")[0])
    assert found["pair_id"] == pair
    assert found["probability_x"] == found["recorded"]
    out = run("explain", "test", pair)[0]
    assert out.count("what the judge saw") == 1
    assert "A good answer is kind." in out
    assert "Sum of the shares" in out
    assert run("explain", "test", pair, "--prompts")[0].count("what the judge saw") == 4
    assert "no pair begins with 'zz'" in run("explain", "test", "zz", code=2)[1]


def test_ablate_asks_no_model_and_names_every_principle(run):
    run("generate")
    (run.folder / "outputs/store").rename(run.folder / "outputs/elsewhere")
    found = json.loads(run("constitution", "ablate", "test", "--json")[0])
    assert [one["principle_id"] for one in found] == ["kind", "plain"]
    assert all(one["labels"] == 36 for one in found)
    assert "kind" in run("constitution", "ablate", "test")[0]
    assert not (run.folder / "outputs/store").exists()


def test_a_constitutions_tests_pass_or_fail_and_are_asked_once(run, rlaif):  # noqa: F811
    ended = {}
    for better in "AB":
        (run.folder / "constitution.yaml").write_text(TESTED.replace("BETTER", better))
        code, out, err = rlaif("constitution", "test", "constitution.yaml", "--json")
        ended[better] = (code, *json.loads(out))
        assert ("2 from the store" in err) is (better == "B")  # the other answer is better now; the judge said it all
    assert {code: one["passed"] for code, one in ended.values()} == {0: True, 1: False}
    assert ended["A"][1]["probability"] + ended["B"][1]["probability"] == pytest.approx(1.0)
    failing = next(better for better in "AB" if ended[better][0])
    (run.folder / "constitution.yaml").write_text(TESTED.replace("BETTER", failing))
    out = run("constitution", "test", "constitution.yaml", code=1)[0]
    assert "FAILED" in out
    assert "0 of 1 tests passed." in out


def test_tests_are_no_part_of_what_is_judged(run):
    run("generate")
    (run.folder / "constitution.yaml").write_text(TESTED.replace("BETTER", "A"))
    assert "Nothing to ask" in run("plan")[0]
    assert "1 tests" in run("constitution", "diff", "outputs/runs/test/constitution.yaml", "constitution.yaml")[0]


def test_a_constitution_without_tests_cannot_pass_them(run):
    err = run("constitution", "test", "constitution.yaml", code=2)[1]
    assert "no enabled principle has `tests`" in err
    same = TESTED.replace("BETTER", "A").replace("Go.", "Hello.")
    (run.folder / "constitution.yaml").write_text(same)
    assert "two answers are the same" in run("constitution", "test", "constitution.yaml", code=2)[1]
