"""What the tests of the labelling page share: data in which everything a rater must not see is a word of its own, and
a real `rlaif label` that is started, asked and killed."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import httpx

from rlaif.labels.file import write_votes
from rlaif.labels.label import Mark
from rlaif.labels.votes import Found, make_vote
from rlaif.records import Message

SECRETS = (
    "0.8317", "0.2718", "0.3141", "secret-judge", "secret-model-a", "secret-model-b", "secret-source", "secret-tag",
    "secret-principle", "secret comment", "secret-item", "secret-rater", "probability",
)  # fmt: skip


def judged(number, rater="secret-judge", **more):
    """A judge's vote on a pair, with everything a rater must not see."""
    found = Found(
        prompt=(Message("user", f"Question {number}?"),),
        first=f"Left answer {number}.",
        second=f"Right answer {number}.",
        **{
            "rater": rater, "kind": "judge", "probability": 0.8317, "comment": "secret comment", "item": "secret-item",
            "marks": (Mark(principle="secret-principle", probability=0.2718, weight=0.3141),),
            "first_model": "secret-model-a", "second_model": "secret-model-b",
            "tags": frozenset({"secret-tag"}), "source": "secret-source", **more,
        },
    )  # fmt: skip
    return make_vote(found, source="")


def write_data(path: Path, count: int) -> Path:
    write_votes(path, [judged(number) for number in range(count)])
    return path


def write_gold(path: Path, count: int) -> Path:
    """Other pairs, on which the left answer is right."""
    more = {"rater": "secret-rater", "kind": "human", "probability": None, "choice": "first"}
    write_votes(path, [judged(1000 + number, **more) for number in range(count)])
    return path


@dataclass
class Served:
    """A running `rlaif label`."""

    process: subprocess.Popen
    urls: dict[str, str]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self) -> str:
        """Ctrl-C; returns what it printed after the addresses."""
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=120)[0]


def serve(data, output, *raters, more=()) -> Served:
    """Start the command and wait for its addresses."""
    command = [sys.executable, "-m", "rlaif.cli.main", "label", str(data), "--output", str(output), "--port", "0"]
    command += [word for rater in raters for word in ("--rater", rater)]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    process = subprocess.Popen([*command, "--json", *more], stdout=subprocess.PIPE, stderr=None, text=True, env=environ)
    line = process.stdout.readline()
    return Served(process, {one["rater"]: one["url"] for one in json.loads(line)["raters"]})


def field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    return unescape(found[1]) if found else ""


def done_of(page: str) -> tuple[int, int]:
    done, total = re.search(r"(\d+) of (\d+)", page).groups()
    return int(done), int(total)


def vote(client: httpx.Client, url: str, choice: str = "first", **more) -> httpx.Response:
    """Vote on the current question as the page's form does."""
    question = field(client.get(url).text, "question")
    return client.post(f"{url}vote", data={"question": question, "choice": choice, "seconds": "1.5", **more})
