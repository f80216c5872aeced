"""Label files of a simulated judge with marks, and of simulated people to whom a principle is worth a known amount."""

from pathlib import Path

import numpy as np
from scipy import special

from rlaif.labels.file import write_votes
from rlaif.labels.label import Mark
from rlaif.labels.votes import Found, make_vote
from rlaif.records import Message

CONSTITUTION = """\
# What we look for. Edited by hand; comments matter.
name: ours
version: "1"

principles:
  # Always first.
  - id: polite
    text: A good answer is polite.
    question: Which answer is more polite?
    weight: 1.0   # as agreed

  - id: brief
    text: A good answer is brief.
    question: Which answer is briefer?

  - id: careful
    text: A good answer is careful.
    question: Which answer is more careful?
"""
NAMES = ("polite", "brief", "careful")


def write_labels(
    folder: Path,
    worth,
    *,
    pairs: int = 400,
    weights=(1.0, 1.0, 1.0),
    names=NAMES,
    seed: int = 0,
    has_marks: bool = True,
) -> tuple[Path, Path]:
    """(the judge's file, the people's). `worth`: what a typical verdict of each principle is worth to people, in
    log-odds. Every other prompt is tagged `law`, the others `chat`; two pairs to a prompt. `worth` may be (2, 3): then
    the first row is for `law`, the second for `chat`."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(size=(pairs, len(names)))
    by_tag = np.broadcast_to(np.asarray(worth, dtype=float), (2, len(names)))
    judge, people = [], []
    for number in range(pairs):
        prompt = number // 2
        chance = special.expit(odds[number] @ by_tag[prompt % 2])
        marks = tuple(
            Mark(principle=name, probability=float(special.expit(own)), weight=weight)
            for name, own, weight in zip(names, odds[number], weights, strict=True)
        )
        pooled = float(special.expit(odds[number] @ np.array(weights) / sum(weights)))
        shared = {
            "prompt": (Message("user", f"Question {prompt}?"),),
            "first": f"Answer {number}, one.",
            "second": f"Answer {number}, two.",
            "tags": frozenset({"law" if prompt % 2 == 0 else "chat"}),
        }
        said = {"probability": pooled, "marks": marks if has_marks else ()}
        judge.append(make_vote(Found(**shared, rater="judge-sim", kind="judge", **said), source=""))
        choice = "first" if rng.random() < chance else "second"
        people.append(make_vote(Found(**shared, rater="sim-1", kind="simulated", choice=choice), source=""))
    paths = folder / "judge.jsonl", folder / "people.jsonl"
    for path, votes in zip(paths, (judge, people), strict=True):
        write_votes(path, votes)
    return paths
