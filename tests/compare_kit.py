"""Label files of people and judges with known habits, and their comparison."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rlaif.evaluate.comparison.gathering import gather
from rlaif.evaluate.comparison.report import make_report
from rlaif.evaluate.comparison.terms import Terms
from rlaif.labels.file import write_votes
from rlaif.labels.label import Mark
from rlaif.labels.votes import Found, make_vote
from rlaif.records import Message

QUICK = Terms(num_resamples=300)
CHOICE = {1: "first", 0: "tie", -1: "second"}


@dataclass
class Pairs:
    """N pairs over G prompts, first answers and second ones; the better one is known."""

    count: int
    prompts: int
    seed: int = 0
    tags: tuple[str, ...] = ()
    sides: str = "ab"  # what the two answers begin with
    longer: np.ndarray = field(init=False)  # by how many words the first is longer
    better: np.ndarray = field(init=False)  # 1 the first, −1 the second

    def __post_init__(self):
        chance = np.random.default_rng(self.seed)
        self.longer = chance.integers(-20, 21, self.count)
        self.better = chance.choice([1, -1], self.count)

    def texts(self, place):
        words = [20 + max(0, self.longer[place]), 20 + max(0, -self.longer[place])]
        first, second = (
            " ".join([side, str(place), *(f"w{number}" for number in range(n))])
            for side, n in zip(self.sides, words, strict=True)
        )
        return (Message("user", f"Question {place % self.prompts}?"),), first, second

    def tag(self, place):
        return frozenset({self.tags[place % len(self.tags)]}) if self.tags else frozenset()


def found(pairs, place, rater, kind="human", **more):
    prompt, first, second = pairs.texts(place)
    return Found(prompt=prompt, first=first, second=second, rater=rater, kind=kind, tags=pairs.tag(place), **more)


def choices(pairs, rater, said, kind="human", **more):
    """Votes by one rater: said (N,) of 1, 0, −1, or None for no vote."""
    return [
        made(found(pairs, place, rater, kind, choice=CHOICE[int(one)], **more))
        for place, one in enumerate(said)
        if one is not None
    ]


def probabilities(pairs, rater, said, marks=None, **more):
    """A judge's votes: said (N,) P(the first is better), NaN for none; `marks` gives a tuple of Mark by place."""
    return [
        made(found(pairs, place, rater, "judge", probability=float(one), marks=marks(place) if marks else (), **more))
        for place, one in enumerate(said)
        if np.isfinite(one)
    ]


def both_orders(principle, first, second, weight=1.0):
    """A mark: P(first is better) with the first answer shown first, and shown second."""
    return Mark(
        principle=principle, probability=(first + second) / 2, shown_first=first, shown_second=second, weight=weight
    )


def made(one):
    vote = make_vote(one, source="")
    assert not hasattr(vote, "reason"), vote
    return vote


def erring(truth, rate, chance):
    """A rater who is wrong at this rate."""
    return np.where(chance.random(len(truth)) < rate, -truth, truth)


def write(path: Path, *votes) -> Path:
    write_votes(path, [one for some in votes for one in some])
    return path


def report_of(people, judges=(), terms=QUICK, **more):
    return make_report(gather(people, judges, terms), **more)
