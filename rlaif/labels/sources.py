"""Where votes come from, one by one: label files, and the folders of our own runs. And what a judge needs of them: the
pairs, each once, and its labels as votes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rlaif.labels.file import read_votes
from rlaif.labels.formats import BY_NAME
from rlaif.labels.importing import Imported, Request, read_labels
from rlaif.labels.label import Mark, Vote
from rlaif.labels.table import judge_of
from rlaif.labels.votes import Found, Unfit, make_vote
from rlaif.records import LabelledPair, PrincipleVerdict, Prompt, ResponsePair


def votes_of(paths: Sequence[Path]) -> Iterator[Vote]:
    """The votes of all files and runs. DataError with the place of the first wrong row."""
    for path in paths:
        yield from run_votes(path) if path.is_dir() else read_votes(path)


def run_votes(folder: Path) -> Iterator[Vote]:
    """A run's labels as its judge's: a probability for each pair, and a mark for each principle."""
    request = Request(path=folder / "labels.parquet", rater=judge_of(folder))
    yield from read_labels(request, Imported("run"), BY_NAME["run"])


def pairs_of(votes: Iterable[Vote]) -> tuple[ResponsePair, ...]:
    """Every pair voted on, once, in the order of ids. A prompt has the tags of all of its votes, on every pair of it:
    tags choose principles, and one prompt must not be judged by two sets."""
    pairs: dict[str, ResponsePair] = {}
    prompts: dict[str, Prompt] = {}
    for vote in votes:
        pairs.setdefault(vote.pair.id, vote.pair)
        prompt = prompts.setdefault(vote.pair.prompt.id, vote.pair.prompt)
        if not vote.pair.prompt.tags <= prompt.tags:
            prompts[prompt.id] = replace(prompt, tags=prompt.tags | vote.pair.prompt.tags)
    ordered = sorted(pairs.values(), key=lambda pair: pair.id)
    return tuple(ResponsePair(prompts[pair.prompt.id], pair.x, pair.y) for pair in ordered)


def judge_vote(labelled: LabelledPair, judge: str) -> Vote:
    """A judged pair as its judge's vote, as the `run` format reads it from labels.parquet."""
    pair = labelled.pair
    vote = make_vote(
        Found(
            prompt=pair.prompt.messages,
            first=pair.x.text,
            second=pair.y.text,
            rater=judge,
            kind="judge",
            choice="skipped" if labelled.probability is None else None,
            probability=labelled.probability,
            marks=tuple(_mark(verdict) for verdict in labelled.verdicts),
            first_model=pair.x.policy,
            second_model=pair.y.policy,
            tags=pair.prompt.tags,
            source=pair.prompt.source,
        ),
        source="",
    )
    assert not isinstance(vote, Unfit), vote  # it was a pair before
    return vote


def _mark(verdict: PrincipleVerdict) -> Mark:
    return Mark(
        principle=verdict.principle_id,
        choice="skipped" if verdict.probability is None else None,
        probability=verdict.probability,
        shown_first=verdict.shown_first,
        shown_second=verdict.shown_second,
        weight=verdict.weight,
    )
