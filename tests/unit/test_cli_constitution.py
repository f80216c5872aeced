"""`rlaif constitution`: what it prints, and how it exits."""

import json

import pytest
from typer.testing import CliRunner

from rlaif.cli.constitution import app
from rlaif.errors import ConstitutionError

GOOD = """\
name: good
principles:
  - {id: kind, text: "Be [kind].", question: "Which answer is kinder?", tags: [b, a]}
  - {id: brief, text: Be brief., question: "Which answer is shorter?", weight: 2}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "odd.yaml").write_text(GOOD.replace("Which answer is shorter?", "Is it short?"))
    (tmp_path / "bad.yaml").write_text("name: bad\n")
    return tmp_path


def run(*arguments: str):
    return CliRunner().invoke(app, arguments)


def test_check_says_that_all_is_well():
    result = run("check", "good.yaml", "--strict")
    assert (result.exit_code, result.output) == (0, "good.yaml: good, 2 principles, no warnings\n")


def test_check_names_warnings_with_their_place_and_fails_on_them_only_when_strict():
    result = run("check", "odd.yaml")
    assert result.exit_code == 0
    assert "odd.yaml: good, 2 principles, 1 warning\n" in result.output
    assert 'odd.yaml:4:44: principle "brief": the question does not ask for a choice' in result.output
    assert run("check", "odd.yaml", "--strict").exit_code == 1


def test_check_reports_the_good_files_too_and_then_raises_for_the_bad_ones():
    result = run("check", "bad.yaml", "good.yaml", "gone.yaml")
    assert "good.yaml: good" in result.output
    assert isinstance(result.exception, ConstitutionError)
    assert "bad.yaml:1:1: the constitution has no `principles`." in str(result.exception)
    assert "gone.yaml: there is no such file." in str(result.exception)


def test_check_as_json_has_every_file():
    result = run("check", "--json", "bad.yaml", "odd.yaml")
    assert result.exit_code == 2
    bad, odd = json.loads(result.stdout)
    assert bad["file"] == "bad.yaml"
    assert "has no `principles`" in bad["error"]
    assert (odd["name"], odd["num_principles"], odd["num_enabled"]) == ("good", 2, 2)
    assert [w["rule"] for w in odd["warnings"]] == ["no-choice"]
    assert run("check", "--json", "--strict", "odd.yaml").exit_code == 1


def test_show_prints_principles_and_does_not_take_brackets_for_markup():
    output = run("show", "good.yaml").output
    assert "Be [kind]." in output
    assert "a, b" in output
    shown = json.loads(run("show", "good.yaml", "--json").stdout)
    assert shown["principles"][0]["tags"] == ["a", "b"]


def test_diff_names_changes_and_what_they_cost(folder):
    (folder / "new.yaml").write_text(GOOD.replace("weight: 2", "weight: 3").replace("[kind]", "very kind"))
    output = run("diff", "good.yaml", "new.yaml").output
    assert "judge calls" in output
    assert "nothing" in output
    assert "To be judged anew: 1 of 2 principles, 50% of them: kind." in output
    compared = json.loads(run("diff", "good.yaml", "new.yaml", "--json").stdout)
    assert [(c["kind"], c["principle_id"], c["cost"]) for c in compared["changes"]] == [
        ("text", "kind", "judgments"),
        ("weight", "brief", "nothing"),
    ]
    assert (compared["to_judge"], compared["num_principles"]) == (["kind"], 2)
    assert run("diff", "good.yaml", "good.yaml").output == "No difference.\n"


def test_an_edit_of_anchors_is_said_to_ask_a_judge_that_scores(folder):
    (folder / "new.yaml").write_text(GOOD.replace("weight: 2", "weight: 2, anchors: {1: long, 5: brief}"))
    output = run("diff", "good.yaml", "new.yaml").output
    assert "To be judged anew: 0 of 2 principles, 0% of them.\n" in output
    assert "With judge.mode score: 1 of 2 principles, 50% of them: brief." in output
    compared = json.loads(run("diff", "good.yaml", "new.yaml", "--json").stdout)
    assert [(c["kind"], c["cost"]) for c in compared["changes"]] == [("anchors", "scores")]
    assert (compared["to_judge"], compared["to_score"]) == ([], ["brief"])


def test_an_edit_of_weights_alone_is_said_to_ask_no_judge(folder):
    (folder / "new.yaml").write_text(GOOD.replace("weight: 2", "weight: 3"))
    assert "To be judged anew: 0 of 2 principles, 0% of them." in run("diff", "good.yaml", "new.yaml").output


def test_schema_is_json_and_names_every_key():
    schema = json.loads(run("schema").stdout)
    assert {"name", "extends", "principles"} <= set(schema["properties"])
    assert {"id", "text", "question", "weight", "tags", "enabled"} <= set(schema["$defs"]["Principle"]["properties"])


def test_shipped_constitutions_are_known_by_name():
    assert run("check", "default").exit_code == 0


@pytest.mark.parametrize("command", ["check", "show", "diff", "schema"])
def test_every_command_shows_an_example(command):
    assert f"rlaif constitution {command}" in " ".join(run(command, "--help").output.split())
