"""`rlaif watch` as a person and a script meet it, on the scripted engine."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from rlaif.cli import main, watch
from rlaif.feedback.difference import compare_labels
from rlaif.feedback.watch_round import Round, Sampled

SETTINGS = """
name: test
constitution: constitution.yaml
prompts: [{path: prompts.jsonl}]
policies: [{model: policy, samples: 4}]
judge: {model: judge}
engine: {kind: scripted}
pairs: {critiques: none}
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
def project(tmp_path):
    (tmp_path / "rlaif.yaml").write_text(SETTINGS)
    (tmp_path / "constitution.yaml").write_text(CONSTITUTION)
    lines = [json.dumps({"prompt": f"Question {n}?"}) for n in range(6)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def rlaif(folder, *words):
    command = [sys.executable, "-m", "rlaif.cli.main", *words]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def watched(project):
    process = rlaif(project, "watch", "--json", "--prompts", "6")
    yield process
    process.kill()
    process.communicate()


def next_line(process):
    return json.loads(process.stdout.readline())


def test_a_script_reads_a_line_per_save_and_ctrl_c_ends_it_well(project, watched):
    start = next_line(watched)
    assert (start["kind"], start["sampled"]["prompts"], start["asked"]) == ("start", 6, 144)
    assert [Path(file).name for file in start["files"]] == ["constitution.yaml", "judge.txt"]
    edited = CONSTITUTION.replace("answer is kind", "answer is warm")
    (project / "constitution.yaml").write_text(edited)
    turned = next_line(watched)
    assert (turned["asked"], turned["reused"]) == (72, 72)
    assert turned["reasons"] == ["principle 'kind' changed: text (72 judge calls)"]
    assert turned["difference"]["counts"]["flipped"] == len(turned["difference"]["flipped"]) > 0
    (project / "constitution.yaml").write_text(edited.replace("id: plain", "id plain"))
    wrong = next_line(watched)
    assert re.search(r"constitution\.yaml:\d+", wrong["mistake"])
    watched.send_signal(signal.SIGINT)
    out, err = watched.communicate(timeout=120)
    assert (watched.returncode, out) == (0, "")
    assert "ended; every verdict is in the store" in err
    assert "Traceback" not in err
    (project / "constitution.yaml").write_text(edited)
    planned = rlaif(project, "plan", "--json")
    plan = json.loads(planned.communicate(timeout=120)[0])
    assert (plan["sample_calls"], plan["judge_calls"]) == (0, 0)


def test_a_mistake_at_the_start_is_the_usual_error(project):
    (project / "constitution.yaml").write_text("name: [")
    process = rlaif(project, "watch")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (2, "")
    assert re.search(r"error: .*constitution\.yaml:1", err)


def test_a_template_of_the_projects_own_counts_from_the_moment_it_is_there(project, watched):
    start, own = next_line(watched), project / "prompts" / "templates" / "judge.txt"
    shipped = Path(start["files"][-1])
    assert own not in map(Path, start["files"])
    own.parent.mkdir(parents=True)
    own.write_text(shipped.read_text() + "Think well.\n")
    found = next_line(watched)
    assert (found["asked"], found["files"][-1]) == (144, str(own))
    own.write_bytes(b"---\nname: \xff\n")
    assert "which is not UTF-8" in next_line(watched)["mistake"]
    own.unlink()
    gone = next_line(watched)
    assert (gone["asked"], gone["files"][-1], gone["mistake"]) == (0, str(shipped), None)


def test_ctrl_c_before_anything_is_judged_is_an_interruption(project, monkeypatch):
    def interrupted(*_args, **_more):
        raise KeyboardInterrupt
        yield

    monkeypatch.chdir(project)
    monkeypatch.setattr("rlaif.feedback.watch.watch", interrupted)
    with pytest.raises(SystemExit) as ended:
        main.run(["watch"])
    assert ended.value.code == 130


def shown(done, examples=2):
    console = Console(record=True, width=120)
    watch._print(done, console, examples)
    return console.export_text()


def label(probability, share):
    return {
        "pair_id": "p",
        "probability_x": probability,
        "principles": [{"id": "kind", "share": share}, {"id": "plain", "share": 0.0}],
        "prompt": [{"role": "user", "content": "Why \x1b[2J?"}],
        "response_x": "[bold]left[/bold]",
        "response_y": "right \x1b]0;title\x07",
    }


def judged(before, after):
    difference = compare_labels([before], [after], {})
    return Round(
        number=3,
        kind="judged",
        seconds=1.25,
        files=("constitution.yaml",),
        sampled=Sampled(prompts=1, pairs=1, principles=2, unheard=("rare",)),
        asked=2,
        reused=2,
        outcomes={"ok": 3, "failed": 1},
        difference=difference,
        since_start=difference,
    )


def test_what_a_save_turned_is_shown_side_by_side_with_the_models_text_as_text():
    text = shown(judged(label(0.9, 2.2), label(0.1, -2.2)))
    assert "save 3" in text
    assert "1 flipped" in text
    assert re.search(r"kind +1 +4\.400", text)
    assert not re.search(r"plain +0", text)  # a principle that moved nothing is not listed
    assert re.search(r"x: \[bold\]left\[/bold\] +y: right", text)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "1.2 s from save to here: 2 verdicts asked, 2 from the store, 1 ended without a verdict." in text
    assert "rare applies to none of the sampled prompts" in text


def test_a_save_that_moves_nothing_says_so():
    text = shown(judged(label(0.9, 2.2), label(0.9, 2.2)))
    assert "No label moved." in text
    assert "no label turned" in text


def test_of_long_texts_the_part_is_shown_where_they_begin_to_differ():
    start = "A good answer is one that keeps to the question and to what its author knows, and "
    told = watch._told_apart(start + "is kind.", start + "is\n  short.")
    assert told == "…its author knows, and is kind. → …its author knows, and is short."
    assert watch._told_apart("kind", "short") == "kind → short"
    assert watch._told_apart("", "x" * 99) == f" → {'x' * 70}…"
