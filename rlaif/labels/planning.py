"""How many pairs and people a figure needs: from what a pilot's votes were like, or from what is assumed.

A vote is 1 where a person agrees with the judge (one half for a tie of either). A pilot without a judge takes the
majority of the other people in its place. From it come the rate, how far votes on one pair and pairs of one prompt go
together, how many pairs a prompt has, and how long a vote takes.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rlaif.labels.blind.candidates import candidates_of
from rlaif.labels.blind.said import agreement, share_x
from rlaif.labels.label import Vote
from rlaif.numbers.figures import FloatArray, NotDefined
from rlaif.numbers.sample_size import Resemblance, pairs_needed, vote_correlations

# Where nothing is known: the widest rate. The correlations are those of PandaLM's three annotators with its judge
# gpt-3.5-turbo, rounded up (docs/labelling.md).
ASSUMED = Resemblance(rate=0.5, same_pair=0.7, same_prompt=0.1)
FEW_PROMPTS = 30  # with fewer the correlations of a pilot are little more than a guess


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What a plan rests on. `pairs_per_prompt` is Σ m² / Σ m, what unequal numbers of pairs count as."""

    votes_alike: Resemblance
    pairs_per_prompt: float
    seconds: float | None
    about: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """With so many people for each pair: pairs, prompts, votes in all, and hours of labelling where known."""

    people: int
    pairs: int
    prompts: int
    votes: int
    hours: float | None


def needs(half_width: float, basis: Basis, people: Sequence[int], *, level: float = 0.95) -> list[Need]:
    """What each number of people for a pair comes to."""
    found = []
    for count in people:
        per_prompt = basis.pairs_per_prompt
        pairs = pairs_needed(half_width, basis.votes_alike, people=count, pairs_per_prompt=per_prompt, level=level)
        hours = None if basis.seconds is None else pairs * count * basis.seconds / 3600
        prompts = int(np.ceil(pairs / per_prompt))
        found.append(Need(people=count, pairs=pairs, prompts=prompts, votes=pairs * count, hours=hours))
    return found


def basis_of_pilot(votes: Iterable[Vote], judge: Iterable[Vote] | None = None) -> Basis | NotDefined:
    """From a pilot's labels; `judge` where the judge's are in another file or run."""
    kept = list(votes)
    favourite = {one.pair.id: one.probability for one in candidates_of([*kept, *(judge or ())])}
    people = [vote for vote in kept if vote.label.kind != "judge"]
    has_judge = any(favourite[vote.pair.id] is not None for vote in people)
    table, prompts = _said(people)
    agrees = _with_judge(table, favourite) if has_judge else _with_others(table)
    alike = vote_correlations(agrees, prompts)
    if isinstance(alike, NotDefined):
        return alike
    used = np.isfinite(agrees).any(axis=1)
    sizes = np.unique(np.array(prompts)[used], return_counts=True)[1]
    seconds = [vote.label.seconds for vote in people if vote.label.seconds is not None]
    notes = _notes(alike, len(sizes), agrees)
    alike = replace(alike, same_pair=max(alike.same_pair, 0.0), same_prompt=max(alike.same_prompt, 0.0))
    return Basis(
        votes_alike=alike,
        pairs_per_prompt=float((sizes**2).sum() / sizes.sum()),
        seconds=float(np.median(seconds)) if seconds else None,
        about="a person agrees with the judge" if has_judge else "a person agrees with the majority of the others",
        notes=notes,
    )


def _said(people: Sequence[Vote]) -> tuple[dict[str, list[float]], list[str]]:
    """Each pair's votes as shares of x, and its prompt."""
    table: dict[str, list[float]] = defaultdict(list)
    prompt: dict[str, str] = {}
    for vote in people:
        share = share_x(vote, vote.label.choice, vote.label.probability)
        if share is not None:
            table[vote.pair.id].append(share)
            prompt[vote.pair.id] = vote.pair.prompt.id
    return table, [prompt[name] for name in table]


def _with_judge(table: dict[str, list[float]], favourite: dict[str, float | None]) -> FloatArray:
    return _filled([[agreement(share, favourite[name]) for share in shares] for name, shares in table.items()])


def _with_others(table: dict[str, list[float]]) -> FloatArray:
    """Each vote beside the majority of the other votes on its pair; NaN where there are none."""
    rows = []
    for shares in table.values():
        total, others = sum(shares), len(shares) - 1
        rows.append([agreement(share, (total - share) / others if others else None) for share in shares])
    return _filled(rows)


def _filled(rows: Sequence[Sequence[float]]) -> FloatArray:
    """Rows of unequal length as one array, NaN behind the short ones."""
    table = np.full((len(rows), max(map(len, rows), default=0)), np.nan)
    for place, row in enumerate(rows):
        table[place, : len(row)] = row
    return table


def _notes(alike: Resemblance, prompts: int, agrees: FloatArray) -> tuple[str, ...]:
    notes = []
    if prompts < FEW_PROMPTS:
        notes.append(f"the pilot has {prompts:,} prompts: what it says of votes that go together is rough")
    if int(np.isfinite(agrees).sum(axis=1).max(initial=0)) < 2:
        notes.append("no pair of the pilot has two votes: how far votes on one pair go together is not known, and 0")
    if alike.same_pair < 0 or alike.same_prompt < 0:
        notes.append("a correlation came out below 0, as it does by chance, and counts as 0")
    return tuple(notes)


def as_json(half_width: float, basis: Basis, found: Sequence[Need], level: float) -> dict[str, Any]:
    alike = basis.votes_alike
    return {
        "half_width": half_width,
        "level": level,
        "vote": basis.about,
        "rate": alike.rate,
        "same_pair": alike.same_pair,
        "same_prompt": alike.same_prompt,
        "pairs_per_prompt": basis.pairs_per_prompt,
        "seconds": basis.seconds,
        "needs": [
            {"people": one.people, "pairs": one.pairs, "prompts": one.prompts, "votes": one.votes, "hours": one.hours}
            for one in found
        ],
        "notes": list(basis.notes),
    }
