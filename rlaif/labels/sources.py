"""Where votes come from, one by one: label files, and the folders of our own runs."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rlaif.labels.file import read_votes
from rlaif.labels.formats import BY_NAME
from rlaif.labels.importing import Imported, Request, read_labels
from rlaif.labels.label import Vote
from rlaif.labels.table import judge_of


def votes_of(paths: Sequence[Path]) -> Iterator[Vote]:
    """The votes of all files and runs. DataError with the place of the first wrong row."""
    for path in paths:
        yield from run_votes(path) if path.is_dir() else read_votes(path)


def run_votes(folder: Path) -> Iterator[Vote]:
    """A run's labels as its judge's: a probability for each pair, and a mark for each principle."""
    request = Request(path=folder / "labels.parquet", rater=judge_of(folder))
    yield from read_labels(request, Imported("run"), BY_NAME["run"])
