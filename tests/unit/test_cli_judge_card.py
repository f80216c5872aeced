"""`rlaif judge-card` as a person types it: both forms, its files, its exit codes; nothing a model says gets out."""

import json
from html.parser import HTMLParser
from io import StringIO

import pytest

from rlaif.cli import main
from rlaif.cli.judge_card import card_view
from rlaif.engines.leaning import Bias
from rlaif.evaluate.judge_card.page import html_page
from rlaif.evaluate.judge_card.sections import markdown, sections
from tests.card_kit import biased_run, card_of

SETTINGS = """
constitution: constitution.yaml
prompts: [{path: prompts.jsonl}]
policies: [{model: policy, samples: 3}]
judge: {model: judge}
engine: {kind: scripted}
pairs: {min_margin: 0.0}
"""
CONSTITUTION = """
name: test
principles:
- id: kind
  text: A good answer is kind & <b>bold</b>.
  question: Which response is kinder?
- id: plain
  text: A good answer is plain.
  question: Which response is plainer?
- id: short
  text: A good answer is short.
  check: {kind: length, max_words: 20}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rlaif.yaml").write_text(SETTINGS)
    (tmp_path / "constitution.yaml").write_text(CONSTITUTION)
    lines = [json.dumps({"prompt": f"Question {n}?"}) for n in range(12)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


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
def run(project, rlaif):
    code, _, err = rlaif("generate")
    assert code == 0, err
    return project


def test_the_card_of_a_run(run, rlaif):
    code, out, err = rlaif("judge-card", "default", "--html", "card.html", "--md", "card.md", "--json")
    assert code == 0, err
    card = json.loads(out)
    assert [one["id"] for one in card["principles"]] == ["kind", "plain"]  # a check is no judge's
    assert (card["prompts"], card["judge"]["name"], card["mode"]) == (12, "judge", "verdict")
    assert (
        "nothing to compare" in card["self_preference"]["because"]
        or "--policy-family" in card["self_preference"]["because"]
    )
    assert card["sentence"] in (run / "card.md").read_text()
    code, out, _ = rlaif("judge-card", "default")
    assert code == 0
    assert "same place" in out
    assert "n " in out


def test_asking_plans_first_asks_once_and_changes_nothing_of_the_run(run, rlaif):
    before = {path: path.read_bytes() for path in (run / "outputs" / "runs").rglob("*") if path.is_file()}
    code, out, _ = rlaif("judge-card", "--judge", "another", "--limit", "5", "--plan")
    assert code == 0
    assert "judge (another)" in out
    code, out, err = rlaif("judge-card", "--judge", "another", "--limit", "5", "--json")
    assert code == 0, err
    calls = 5 * (1 + 6) * 2 * 2
    assert f"plan: {calls} judge calls" in err
    card = json.loads(out)
    assert (card["judge"]["name"], card["pairs"]) == ("another", 5)
    assert set(card["principles"][0]["probes"]) == set(card["probe_kinds"])
    again = rlaif("judge-card", "--judge", "another", "--limit", "5", "--json")
    assert again[1] == out
    assert "Nothing to ask" in again[2]
    assert before == {path: path.read_bytes() for path in (run / "outputs" / "runs").rglob("*") if path.is_file()}


def test_asking_about_a_runs_pairs_and_published_probes(run, rlaif, tmp_path):
    folder = tmp_path / "probes"
    folder.mkdir()
    for name, first in (("raw", "one"), ("reference", "one [1]")):
        rows = [
            {
                "question_id": f"q{n}" + ("" if name == "raw" else f"-{name}"),
                "prompt": f"q{n}?",
                "answers": {"answer1": {"answer": f"{first} {n}"}, "answer2": {"answer": "two"}},
            }
            for n in range(9)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = rlaif("judge-card", "--judge", "judge", "--pairs", "default", "--probes", str(folder), "--json")
    assert code == 0, err
    card = json.loads(out)
    assert card["source"] == "asked about pairs of the run default and the probes in probes"
    assert card["probe_kinds"]["reference"] == "irrelevant"
    flipped = card["overall"]["probes"]["reference"]["flipped"]
    assert (flipped["n"], flipped["clusters"]) == (18, 9)


def test_asking_about_a_label_files_pairs_gives_calibration(run, rlaif):
    code, _, err = rlaif("labels", "import", "outputs/runs/default/labels.parquet", "--output", "judge.jsonl")
    assert code == 0, err
    people = [json.loads(line) for line in (run / "judge.jsonl").read_text().splitlines()]
    for place, row in enumerate(people):
        row |= {"kind": "human", "choice": "first" if place % 3 else "second", "probability": None, "marks": []}
        row |= {"first_model": "meta/llama-1", "second_model": "qwen/qwen-1"}
    (run / "people.jsonl").write_text("".join(json.dumps(row) + "\n" for row in people))
    asked = (
        "judge-card",
        "--judge",
        "my-llama",
        "--pairs",
        "people.jsonl",
        "--labels",
        "people.jsonl",
        "--plain",
        "--json",
    )
    code, out, err = rlaif(*asked)
    assert code == 0, err
    assert f"plan: {36 * 2 * 2} judge calls" in err
    card = json.loads(out)
    assert card["source"] == "asked about pairs of the label file people.jsonl"
    assert card["overall"]["calibration"]["agreement"]["n"] == card["pairs"] == 36
    assert card["self_preference"]["policies_of_the_family"] == {"meta/llama-1": True, "qwen/qwen-1": False}
    assert card["overall"]["probes"] == {}
    assert "own" in card["beyond_people"]


def test_a_scoring_judge_has_no_position(run, rlaif):
    code, out, err = rlaif("judge-card", "--judge", "judge", "--limit", "3", "--set", "judge.mode=score", "--json")
    assert code == 0, err
    position = json.loads(out)["overall"]["position"]["same_position"]
    assert position["value"] is None
    assert "scored alone" in position["because"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "neither a run nor --judge"),
        (("default", "--judge", "judge"), "both a run and --judge"),
        (("default", "--plan"), "--plan goes with --judge alone"),
        (("nowhere",), "there is no run 'nowhere'"),
        (("--judge", "judge", "--pairs", "nowhere"), "there is no run 'nowhere'"),
        (("--judge", "judge", "--probes", "nowhere"), "raw.jsonl"),
        (("--judge", "judge", "--policy-family", "x"), "POLICY=FAMILY"),
        (("--judge", "judge", "--config", "none.yaml"), "none.yaml"),
        (("default", "--labels", "none.jsonl"), "none.jsonl"),
    ],
)
def test_what_was_typed_wrong_is_said_with_exit_code_2(run, rlaif, arguments, told):
    code, out, err = rlaif("judge-card", *arguments)
    assert (code, out) == (2, "")
    assert told in err


def test_help_shows_examples(rlaif):
    code, out, _ = rlaif("judge-card", "--help")
    assert code == 0
    assert "Examples:" in out
    assert "--probes" in out


# --- what a model says stays a text


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.addresses, self.texts = set(), [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action") or name.startswith("on")]

    def handle_data(self, data):
        self.texts.append(data)


HOSTILE = "<script>alert(1)</script>|\x1b[31m**&amp;"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A card whose every foreign text is an attack."""
    from dataclasses import replace

    card = card_of(*biased_run(tmp_path_factory.mktemp("hostile"), count=10, bias=Bias(position=1.0)))
    return replace(
        card,
        judge={**card.judge, "name": HOSTILE},
        source=HOSTILE,
        texts=dict.fromkeys(card.texts, HOSTILE),
        notes=[HOSTILE],
        principles={HOSTILE: card.principles["first"]},
    )


def test_the_page_runs_nothing_fetches_nothing_and_escapes_everything(hostile):
    page = html_page(hostile)
    found = Tags(page)
    assert found.tags.isdisjoint({"script", "link", "img", "iframe", "b", "object", "form", "a"})
    assert found.addresses == []
    assert "default-src 'none'" in page
    assert sum("<script>alert(1)</script>" in text for text in found.texts) >= 5
    assert page.count("<h2>") == 1 + len(list(sections(hostile)))


def test_markdown_and_terminal_are_not_broken_by_texts(hostile):
    from rich.console import Console

    written = markdown(hostile)
    assert "<script>" not in written
    tables = [line for line in written.splitlines() if line.startswith("|")]
    assert all(line.endswith(" |") for line in tables)
    assert sum("&lt;script>alert(1)&lt;/script>\\|" in line for line in tables) >= 4
    console = Console(width=140, record=True, file=StringIO())
    console.print(card_view(hostile))
    assert "\x1b" not in console.export_text()
