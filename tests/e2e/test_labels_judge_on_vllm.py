"""`rlaif labels judge` and `rlaif compare` on real vLLM with the bundled tiny judge.

Simulated people follow one word of the tiny world, so that the judge, asked for it, must agree with them far beyond
chance, and does not when asked for its opposite.
"""

import json
import subprocess
import sys

import pytest

from rlaif.labels.file import read_votes, write_votes
from rlaif.labels.votes import Found, make_vote
from rlaif.records import Message

pytestmark = pytest.mark.vllm

SETTINGS = """
name: people
constitution: kind.yaml
prompts: [{path: none.jsonl}]
policies: [{model: tiny-policy}]
judge: {model: tiny-judge}
"""
CONSTITUTION = """
name: kind
principles:
- {id: kind, text: The response should be kind and friendly., question: "Which response is kinder?"}
"""
KIND = "Thank you for asking, dear friend! I am glad to help you."
RUDE = "What a stupid question. Go away and leave me alone."
QUESTIONS = ("a bridge", "a garden", "a kettle", "a river", "a lamp", "a boat", "a clock", "a hat", "a song", "a cat")


def rlaif(folder, *arguments):
    command = [sys.executable, "-m", "rlaif.cli.main", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    (folder / "rlaif.yaml").write_text(SETTINGS)
    (folder / "kind.yaml").write_text(CONSTITUTION)
    votes = []
    for number, what in enumerate(QUESTIONS):
        answers = [f"{KIND} {what.capitalize()} is easy to make.", f"{RUDE} {what.capitalize()} is easy to make."]
        is_turned = number % 2 == 1
        for rater in ("ann", "ben"):
            found = Found(
                prompt=(Message("user", f"How do I make {what}?"),),
                first=answers[is_turned],
                second=answers[not is_turned],
                rater=rater,
                kind="human",
                choice="second" if is_turned else "first",
            )
            votes.append(make_vote(found, source=""))
    write_votes(folder / "people.jsonl", votes)
    return folder


def test_the_judge_labels_peoples_pairs_in_both_orders_and_agrees_with_them(project):
    done = rlaif(project, "labels", "judge", "people.jsonl", "--output", "judge.jsonl")
    assert done.returncode == 0, done.stderr
    votes = list(read_votes(project / "judge.jsonl"))
    assert len(votes) == len(QUESTIONS)
    for vote in votes:
        (mark,) = vote.label.marks
        assert mark.probability == pytest.approx((mark.shown_first + mark.shown_second) / 2)
        assert 0 < vote.label.probability < 1
    again = rlaif(project, "labels", "judge", "people.jsonl", "--output", "again.jsonl")
    assert "Nothing to ask" in again.stderr
    assert (project / "again.jsonl").read_bytes() == (project / "judge.jsonl").read_bytes()
    told = rlaif(project, "compare", "--ai", "judge.jsonl", "--human", "people.jsonl", "--json")
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    assert report["rater_pairs"]["majority of people / tiny-judge"]["accuracy"]["value"] >= 0.8
