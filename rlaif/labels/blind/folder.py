"""Where the votes lie: `labels.jsonl`, one label for each rater and pair drawn, and beside it `labels.jsonl.votes/`.

    design.json          the draw, with the chance of every pair
    ann.journal          every vote of ann as it came, also repeats, gold, and those taken back
    secret               what the pages' addresses are made of, so that a link works again after a restart

The label file is made anew from the journals after every vote; when the two differ, because a process was killed
between, the journals are right, and the next start or `rlaif labels show` says so.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from rlaif.errors import DataError
from rlaif.identity import canonical_json
from rlaif.labels.blind.candidates import Candidate
from rlaif.labels.blind.design import Design, Wish, draw, read_design
from rlaif.labels.blind.journal import SUFFIX, Journal, Read, read_entries, votes_that_count
from rlaif.labels.blind.questions import Gold, questions_for
from rlaif.labels.blind.sitting import Sitting
from rlaif.pair_dataset import whole_file, write_text

_LONGEST = 200  # bytes of a rater's name in a file name


class VotesFolder:
    """The folder beside a label file."""

    def __init__(self, labels: Path) -> None:
        if labels.suffix != ".jsonl":
            do = "Name it something.jsonl; `rlaif labels import` turns it into Parquet later."
            raise DataError("votes are written as JSON Lines.", where=str(labels), do=do)
        self.labels, self.path = labels, labels.with_name(f"{labels.name}.votes")

    @property
    def is_there(self) -> bool:
        return self.path.is_dir()

    def design(self, wish: Wish, candidates: Sequence[Candidate]) -> Design:
        """The draw that was made, or a new one, kept. DataError where another one was made before."""
        file = self.path / "design.json"
        if file.is_file():
            found = self.read_design()
            if found.wish != wish:
                was = ", ".join(f"{name} {value}" for name, value in found.as_json()["wish"].items())
                do = "Leave the draw's options as they were, or begin another label file with --output."
                raise DataError(f"these votes are of another draw: {was}.", where=str(file), do=do)
            return found
        if self.labels.exists():
            do = "Name another file with --output: votes are collected in a file of their own."
            raise DataError("this file was not made by `rlaif label`.", where=str(self.labels), do=do)
        self.path.mkdir(parents=True, exist_ok=True)
        made = draw(wish, candidates)
        write_text(file, canonical_json(made.as_json()) + "\n")
        return made

    def read_design(self) -> Design:
        file = self.path / "design.json"
        try:
            return read_design(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as failure:
            do = "It is written by `rlaif label`; without it the chances of the pairs are not known."
            raise DataError(f"the draw cannot be read: {failure}.", where=str(file), do=do) from failure

    def sitting(
        self,
        rater: str,
        candidates: Sequence[Candidate],
        design: Design,
        gold: Gold | None = None,
        *,
        repeats: float = 0.05,
        gold_share: float = 0.05,
    ) -> Sitting:
        """A rater's sitting, where it was left. DataError where a drawn pair is not in the data any more."""
        there = {one.pair.id: one.pair for one in candidates}
        missing = [one.pair_id for one in design.drawn if one.pair_id not in there]
        if missing:
            found = (
                f"{len(missing):,} of the {len(design.drawn):,} pairs drawn are not in the data: {missing[0][:12]} …"
            )
            do = "Give the data the draw was made from, or begin another label file with --output."
            raise DataError(found, where=str(self.path), do=do)
        pairs = [there[one.pair_id] for one in design.drawn]
        asked = questions_for(rater, pairs, gold, seed=design.wish.seed, repeats=repeats, gold_share=gold_share)
        return Sitting(rater, asked, Journal(self.path / file_name(rater)))

    def secret(self) -> bytes:
        """Random, made once, readable by its owner alone."""
        file = self.path / "secret"
        self.path.mkdir(parents=True, exist_ok=True)
        with self.alone():
            if not file.is_file():
                handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with os.fdopen(handle, "wb") as stream:
                    stream.write(os.urandom(32))
            return file.read_bytes()

    def journals(self) -> dict[str, Read]:
        """Every rater's journal, by name."""
        return {
            unquote(path.name.removesuffix(SUFFIX)): read_entries(path) for path in sorted(self.path.glob(f"*{SUFFIX}"))
        }

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """The labels: each rater's last vote on every pair drawn, in the order of raters and pairs."""
        for read in self.journals().values():
            kept = votes_that_count(read.entries).values()
            rows = [entry.row for entry in kept if entry.role == "pair" and entry.row is not None]
            yield from sorted(rows, key=lambda row: str(row["pair_id"]))

    def lines(self) -> list[str]:
        """The label file as it should be."""
        return [canonical_json(row) + "\n" for row in self.rows()]

    def is_current(self) -> bool:
        """Whether the label file holds the votes of the journals."""
        return self.labels.is_file() and self.labels.read_text(encoding="utf-8") == "".join(self.lines())

    def write_labels(self) -> int:
        """Make the label file from the journals. Returns how many labels. Processes wait for each other."""
        with self.alone(), whole_file(self.labels) as fresh:
            lines = self.lines()
            fresh.write_text("".join(lines), encoding="utf-8")
            return len(lines)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While this lasts no other process writes the label file."""
        with (self.path / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def file_name(rater: str) -> str:
    """A rater's journal. Any name, spelled so that every disk takes it."""
    name = quote(rater, safe=" ")
    if not rater.strip() or len(name) > _LONGEST:
        raise DataError(f"{rater[:40]!r} is no name for a rater.", do="Give a short name with --rater.")
    return name + SUFFIX
