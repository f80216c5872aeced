"""The pairs that could be labelled, from a run, a dataset, a label file or any format that is imported; and what a
judge said of each, which decides only how likely it is to be drawn."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rlaif.documents import no_such_file
from rlaif.errors import DataError
from rlaif.labels.blind.said import share_x
from rlaif.labels.file import read_votes
from rlaif.labels.importing import Imported, Request, find_format, read_labels
from rlaif.labels.label import Choice, Mark, Vote
from rlaif.labels.rows import read_raw
from rlaif.labels.sources import pairs_of, run_votes
from rlaif.labels.votes import Unfit
from rlaif.records import ResponsePair

_OURS = {"prompt", "first", "second", "rater", "kind"}  # what every row of a label file has


@dataclass(frozen=True, slots=True)
class Opinion:
    """P(x is better) under one principle, and the principle's weight."""

    probability: float
    weight: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pair, and P(x is better) by the judges among the votes on it: together, and under each principle."""

    pair: ResponsePair
    probability: float | None = None
    opinions: tuple[Opinion, ...] = ()


def read_candidates(path: Path, format_: str | None = None) -> tuple[Candidate, ...]:
    """Every pair of DATA once, in the order of ids. DataError where there is none."""
    found = candidates_of(read_any(path, format_))
    if not found:
        raise DataError("there is no pair to label.", where=str(path), do="Is it the right file or format?")
    return found


def candidates_of(votes: Iterable[Vote]) -> tuple[Candidate, ...]:
    """The pairs voted on. People's votes are not looked at."""
    kept = list(votes)
    said: dict[str, list[float]] = defaultdict(list)
    opinions: dict[str, list[Opinion]] = defaultdict(list)
    for vote in kept:
        if vote.label.kind != "judge":
            continue
        whole = share_x(vote, vote.label.choice, vote.label.probability)
        if whole is not None:
            said[vote.pair.id].append(whole)
        opinions[vote.pair.id] += _opinions(vote, vote.label.marks)
    return tuple(
        Candidate(
            pair,
            sum(said[pair.id]) / len(said[pair.id]) if said[pair.id] else None,
            tuple(opinions[pair.id]),
        )
        for pair in pairs_of(kept)
    )


def _opinions(vote: Vote, marks: Iterable[Mark]) -> Iterator[Opinion]:
    for mark in marks:
        share = share_x(vote, mark.choice, mark.probability)
        if share is not None:
            yield Opinion(share, 1.0 if mark.weight is None else mark.weight)


def read_any(path: Path, format_: str | None = None) -> Iterator[Vote]:
    """The votes of a run's folder, a dataset's folder, a label file, or a file of any format that is imported."""
    if path.is_dir():
        yield from _folder_votes(path, format_)
    elif not path.is_file():
        raise no_such_file(path, DataError)
    elif format_ is None and _is_label_file(path):
        yield from read_votes(path)
    else:
        yield from _imported(path, format_)


def _folder_votes(folder: Path, format_: str | None) -> Iterator[Vote]:
    if (folder / "labels.parquet").is_file():
        yield from run_votes(folder)
        return
    parts = sorted(folder.glob("*.parquet"))
    if not parts:
        do = "Give a run's folder (with labels.parquet), a dataset's (with *.parquet), or a file."
        raise DataError("this folder holds no labels and no dataset.", where=str(folder), do=do)
    for part in parts:
        yield from _imported(part, format_)


def _is_label_file(path: Path) -> bool:
    rows = [row for _, row in islice(read_raw(path), 1)]
    return bool(rows) and not isinstance(rows[0], Unfit) and rows[0].keys() >= _OURS


def _imported(path: Path, format_: str | None) -> Iterator[Vote]:
    request = Request(path=path, format=format_)
    found_format = find_format(request)
    yield from read_labels(request, Imported(found_format.name), found_format)


def known_answers(path: Path, format_: str | None = None) -> dict[str, tuple[ResponsePair, Choice]]:
    """Gold: pairs by id with the answer that is right, x counted as first. DataError for one told both ways."""
    found: dict[str, tuple[ResponsePair, Choice]] = {}
    for vote in read_any(path, format_):
        choice = _decided(vote)
        if choice is None:
            continue
        pair, known = found.setdefault(vote.pair.id, (vote.pair, choice))
        if known != choice:
            where, do = str(path), "Give each known answer once; gold is what nobody doubts."
            prompt = json.dumps(pair.prompt.messages[-1].content[:60], ensure_ascii=False)
            raise DataError(f"two different answers are known to one pair (prompt {prompt}).", where=where, do=do)
    if not found:
        raise DataError("there is no known answer.", where=str(path), do="A known answer is a label with a choice.")
    return found


def _decided(vote: Vote) -> Choice | None:
    """The vote's choice with x as the first answer; None where it says nothing sure."""
    share = share_x(vote, vote.label.choice, vote.label.probability)
    if vote.label.choice in ("tie", "both_bad"):
        return vote.label.choice
    return None if share is None or share == 0.5 else "first" if share > 0.5 else "second"
