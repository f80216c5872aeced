"""`rlaif generate` and `rlaif show` as a person types them, on the scripted engine: results, exit codes, messages."""

import json
import re

import pytest

from rlaif.cli import main

SETTINGS = """
name: test
constitution: constitution.yaml
prompts: [{path: prompts.jsonl}]
policies: [{model: policy, samples: 4}]
judge: {model: judge}
engine: {kind: scripted}
pairs: {min_margin: 0.0}
"""
CONSTITUTION = """
name: test
principles:
- id: kind
  text: A good answer is kind.
  question: Which response is kinder?
- id: plain
  text: A good answer is plain.
  question: Which response is plainer?
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rlaif.yaml").write_text(SETTINGS)
    (tmp_path / "constitution.yaml").write_text(CONSTITUTION)
    lines = [json.dumps({"prompt": f"Question {n}?", "tags": ["t"]}) for n in range(6)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.fixture
def rlaif(capsys):
    """Run a command line; gives (exit code, stdout, stderr)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = 0
        try:
            main.run(list(arguments))
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_generate_writes_the_run_and_says_what_it_made(project, rlaif):
    code, out, err = rlaif("generate")
    assert code == 0
    assert re.search(r"judge +144 +144", out)  # 6 prompts x 6 pairs x 2 principles x 2 orders
    assert "judge with judge: 144/144" in err
    folder = project / "outputs/runs/test"
    assert {path.name for path in folder.iterdir()} == {
        "constitution.yaml",
        "dataset",
        "labels.parquet",
        "pairs.jsonl",
        "run.json",
        "settings.yaml",
        "templates",
        "timings.json",
        "wanted.parquet",
    }
    assert (
        len((folder / "pairs.jsonl").read_text().splitlines()) == json.loads((folder / "run.json").read_text())["pairs"]
    )


def test_a_second_generate_takes_all_from_the_store_and_writes_the_same_bytes(project, rlaif):
    folder = project / "outputs/runs/test"

    def contents():
        return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "timings.json"}

    rlaif("generate")
    first = contents()
    code, _, err = rlaif("generate")
    assert code == 0
    assert "144 from the store" in err
    assert contents() == first


def test_the_settings_saved_with_the_run_are_the_ones_used(project, rlaif):
    rlaif("generate", "--set", "pairs.rule=all", "--set", "policies.0.samples=3")
    saved = project / "outputs/runs/test/settings.yaml"
    before = (project / "outputs/runs/test/pairs.jsonl").read_bytes()
    (project / "again.yaml").write_text(saved.read_text())
    assert "rule: all" in saved.read_text()
    code, _, _ = rlaif("generate", "--config", "again.yaml")
    assert code == 0
    assert (project / "outputs/runs/test/pairs.jsonl").read_bytes() == before


def test_gc_keeps_what_a_run_wants_and_removes_the_rest(project, rlaif):
    rlaif("generate")
    pairs = (project / "outputs/runs/test/pairs.jsonl").read_bytes()
    text = (project / "constitution.yaml").read_text()
    (project / "constitution.yaml").write_text(text.replace("is plain.", "is short."))
    rlaif("generate")
    code, out, err = rlaif("store", "gc", "--json")
    assert code == 0, err
    removed = {row["kind"]: row["unwanted"] for row in json.loads(out)}
    assert removed["judgments"] == 72  # those under the principle that was edited away
    assert removed["responses"] == 0
    code, _, err = rlaif("generate")
    assert "144 from the store" in err
    (project / "constitution.yaml").write_text(text)
    code, _, err = rlaif("generate")
    assert "72 from the store" in err
    assert (project / "outputs/runs/test/pairs.jsonl").read_bytes() == pairs


def test_json_is_one_object_on_stdout(project, rlaif):
    code, out, _ = rlaif("generate", "--json")
    assert code == 0
    summary = json.loads(out)
    for stage in summary["stages"].values():
        assert sum(stage["outcomes"].values()) == stage["planned"]


def test_show_finds_a_run_a_pair_and_a_label(project, rlaif):
    rlaif("generate")
    pairs = [json.loads(line) for line in (project / "outputs/runs/test/pairs.jsonl").read_text().splitlines()]
    code, out, _ = rlaif("show", "test", "--pairs", "1")
    assert code == 0
    assert pairs[0]["pair_id"][:12] in out
    code, out, _ = rlaif("show", "test", pairs[0]["pair_id"][:10], "--json")
    assert json.loads(out)["pair_id"] == pairs[0]["pair_id"]
    code, out, _ = rlaif("show", "test", pairs[0]["pair_id"][:10])
    assert "kind" in out
    assert "P(chosen is better)" in out


def test_show_of_what_is_not_there(project, rlaif):
    rlaif("generate")
    assert rlaif("show", "tets")[0::2] == (
        2,
        "error: outputs/runs: there is no run 'tets' (did you mean 'test'?).\nThere are: test.\n",
    )
    code, _, err = rlaif("show", "test", "zzz")
    assert code == 2
    assert "no pair begins with 'zzz'" in err


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("rlaif.yaml", None, r"rlaif\.yaml"),
        ("rlaif.yaml", "name: [", r"rlaif\.yaml:1:"),
        ("rlaif.yaml", SETTINGS + "jugde: {}\n", r"rlaif\.yaml:9:1: .*'jugde' \(did you mean 'judge'\?\)"),
        ("rlaif.yaml", SETTINGS.replace("samples: 4", "samples: 0"), r"rlaif\.yaml:5:\d+: .*samples"),
        ("rlaif.yaml", SETTINGS.replace("scripted", "http"), r"needs base_urls"),
        ("constitution.yaml", None, r"constitution\.yaml"),
        (
            "constitution.yaml",
            CONSTITUTION.replace("question: Which response is kinder?", ""),
            r"constitution\.yaml:4:",
        ),
        ("prompts.jsonl", "", r"there is no prompt in prompts\.jsonl"),
        ("prompts.jsonl", '{"prompt": "a?"}\n{"prompt": \n', r"prompts\.jsonl:2"),
        ("prompts.jsonl", '{"pormpt": "a?"}\n', r"prompts\.jsonl:1.*'pormpt' \(did you mean 'prompt'\?\)"),
    ],
)
def test_a_mistake_in_a_file_is_one_error_and_writes_nothing(project, rlaif, file, text, message):
    if text is None:
        (project / file).unlink()
    else:
        (project / file).write_text(text)
    code, out, err = rlaif("generate")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert re.search(message, err), err
    assert "Traceback" not in err
    assert not (project / "outputs").exists()


def test_where_there_is_no_project_the_way_to_one_is_named(tmp_path, monkeypatch, rlaif):
    monkeypatch.chdir(tmp_path)
    for command in ("generate", "plan", "watch", "revise"):
        code, _, err = rlaif(command)
        assert code == 2
        assert "rlaif init DIR" in err


def test_an_output_folder_that_is_a_file_is_one_error(project, rlaif):
    code, _, err = rlaif("generate", "--set", "output=rlaif.yaml")
    assert code == 2
    assert "rlaif.yaml" in err
    assert "a folder is wanted" in err


def test_a_model_that_is_not_there(project, rlaif):
    code, _, err = rlaif("generate", "--set", "engine.kind=transformers", "--set", "policies.0.model=./no/such/folder")
    assert code == 2
    assert "no/such/folder" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", ["generate", "revise"])
def test_of_many_prompts_left_out_the_first_are_named_and_all_are_counted(project, rlaif, command):
    with (project / "prompts.jsonl").open("a") as lines:
        lines.write((json.dumps({"prompt": "Question 0?"}) + "\n") * 13)
    _, _, err = rlaif(command)
    assert err.count("left out, duplicate") == 10
    assert "13 rows left out in all" in err


def test_duplicate_prompts_are_named_and_counted(project, rlaif):
    with (project / "prompts.jsonl").open("a") as lines:
        lines.write(json.dumps({"prompt": "Question 0?"}) + "\n")
    code, _, err = rlaif("generate")
    assert code == 0
    assert re.search(r"prompts\.jsonl:7: left out, duplicate", err)
    summary = json.loads((project / "outputs/runs/test/run.json").read_text())
    assert summary["prompts"] == {"rows": 7, "used": 6, "left_out": {"duplicate": 1}, "found_and_kept": {}}


def test_a_prompt_longer_than_the_context_is_counted_and_the_run_goes_on(project, rlaif):
    with (project / "prompts.jsonl").open("a") as lines:
        lines.write(json.dumps({"prompt": "word " * 3000}) + "\n")
    code, out, _ = rlaif("generate", "--set", "engine.max_model_len=2000")
    assert code == 0
    summary = json.loads((project / "outputs/runs/test/run.json").read_text())
    assert summary["stages"]["sample"]["outcomes"]["refused"] == 4
    assert len(summary["unanswered"]) == 4
    assert "3001" in summary["unanswered"][0]["reason"].replace(",", "")
    assert "4 samples were refused or failed" in out


def test_too_many_judgments_without_a_verdict_is_an_error_after_the_files_are_written(project, rlaif):
    (project / "constitution.yaml").write_text(CONSTITUTION.replace("is kind.", "is " + "very " * 3000 + "kind."))
    code, _, err = rlaif("generate", "--set", "engine.max_model_len=2000")
    assert code == 5
    assert "50.0% of 144 judgments have no verdict" in err
    assert (project / "outputs/runs/test/run.json").exists()


def test_no_pair_in_the_dataset_is_an_error(project, rlaif):
    code, _, err = rlaif("generate", "--set", "pairs.min_margin=1.0")
    assert code == 5
    assert "no pair entered the dataset" in err


def test_a_models_text_cannot_drive_the_terminal(project, rlaif, monkeypatch):
    from rlaif.engines import scripted

    attack = "\x1b[31mred\x1b[0m [bold]markup[/bold] \x07bell"
    monkeypatch.setattr(scripted, "_WORDS", [attack, "other", "words"])
    code, out, _ = rlaif("generate", "--examples", "3")
    assert code == 0
    assert "\x1b[31m" not in out
    assert "\x07" not in out
    assert "[bold]markup[/bold]" in out


def test_an_unfinished_run_says_how_to_go_on(project, rlaif):
    (project / "outputs/runs/test").mkdir(parents=True)
    code, _, err = rlaif("show", "test")
    assert code == 2
    assert "is not complete" in err
