"""From a foreign file to a label file: recognise the format, read every row, list what is no label.

The counts reconcile: every row is one vote or several, and every vote is a label or is listed with its place and
reason. Labels are written as they are read; the list is kept, since it is short where the format is right.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from rlaif.errors import DataError, Where, nearest
from rlaif.labels.formats import BY_NAME, Format, recognise
from rlaif.labels.formats.columns import column_format
from rlaif.labels.label import Choice, RaterKind, Vote
from rlaif.labels.rows import Placed, Row, read_raw
from rlaif.labels.votes import Found, Unfit, WrongAlphabet, make_vote

_LOOKED_AT = 20  # rows from which the format is recognised


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A vote that is no label: where it stands, and why."""

    where: Where
    reason: str
    part: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.part + ': ' if self.part else ''}{self.reason}"


@dataclass(slots=True)
class Imported:
    """What an import found. `num_votes` is `num_labels` plus those left out, always."""

    format: str
    num_rows: int = 0
    num_votes: int = 0
    num_labels: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    raters: Counter[str] = field(default_factory=Counter)
    choices: Counter[Choice] = field(default_factory=Counter)

    @property
    def reasons(self) -> dict[str, int]:
        return dict(Counter(one.reason for one in self.left_out).most_common())

    @property
    def note(self) -> str:
        """What is odd about the votes as a whole, or nothing."""
        decided = self.choices["first"] + self.choices["second"]
        if decided >= 20 and decided in (self.choices["first"], self.choices["second"]):
            only = "first" if self.choices["first"] else "second"
            return f"every choice between the answers is the {only}: check what the file's values mean"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to import. `rater` is who voted where the file does not say; `kind` overrides what it says."""

    path: Path
    format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    texts: Sequence[Path] = ()
    rater: str = ""
    kind: RaterKind | None = None

    @property
    def source(self) -> str:
        return self.path.name.partition(".")[0]


def find_format(request: Request) -> Format:
    """The format named, mapped by columns, or recognised. DataError says what the file has where none is."""
    if request.columns:
        every = (row for _, row in read_raw(request.path) if not isinstance(row, Unfit))
        return column_format(request.columns, request.choices, every, str(request.path))
    if request.format is not None:
        if request.format not in BY_NAME:
            found = f"there is no format {request.format!r}{nearest(request.format, BY_NAME)}."
            raise DataError(found, do=f"There are: {', '.join(BY_NAME)}.")
        return BY_NAME[request.format]
    rows = list(islice((row for _, row in read_raw(request.path) if not isinstance(row, Unfit)), _LOOKED_AT))
    found_format = recognise(rows)
    if found_format is None:
        keys = ", ".join(sorted({key for row in rows for key in row})[:30]) or "nothing readable"
        do = "Name it with --format, or map the columns: --columns prompt=…,first=…,second=…,choice=…"
        raise DataError(f"the format is not recognised; the rows have {keys}.", where=str(request.path), do=do)
    return found_format


def read_labels(request: Request, imported: Imported, found_format: Format) -> Iterator[Vote]:
    """The file's votes, one by one; `imported` counts along. DataError where labels are of another alphabet."""
    texts = _texts(request.texts, found_format)
    for where, row in read_raw(request.path):
        imported.num_rows += 1
        try:
            for vote in _votes(where, row, found_format, texts, request):
                imported.num_votes += 1
                if isinstance(vote, LeftOut):
                    imported.left_out.append(vote)
                    continue
                imported.num_labels += 1
                imported.raters[vote.label.rater] += 1
                if vote.label.choice:
                    imported.choices[vote.label.choice] += 1
                yield vote
        except WrongAlphabet as fault:
            do = "Nothing was written. Correct the file, or map its columns with --columns and --choices."
            raise DataError(str(fault), where=where, do=do) from fault


def _votes(
    where: Where, row: Row | Unfit, found_format: Format, texts: Mapping[str, Row], request: Request
) -> Iterator[Vote | LeftOut]:
    if isinstance(row, Unfit):
        yield LeftOut(where, row.reason)
        return
    if found_format.look_up and request.texts:
        name = found_format.look_up(row)
        if name not in texts:
            yield LeftOut(where, f"there is no pair {name!r} in the texts")
            return
        row = {**texts[name], **row}
    if not found_format.recognises(row):
        missing = ", ".join(sorted(found_format.keys - row.keys()))
        yield LeftOut(where, f"no {missing}" if missing else f"not a row of {found_format.name}")
        return
    for found in _read(row, found_format):
        vote = (
            found
            if isinstance(found, Unfit)
            else make_vote(_named(found, found_format, request), source=request.source)
        )
        yield LeftOut(where, vote.reason, vote.part) if isinstance(vote, Unfit) else vote


def _read(row: Row, found_format: Format) -> Iterator[Found | Unfit]:
    """The row's votes. A row whose parts are of other types than the format has is unfit, not a fault of ours."""
    try:
        yield from found_format.read(row)
    except WrongAlphabet:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as fault:
        yield Unfit(f"not as {found_format.name} has it ({type(fault).__name__}: {fault})")


def _named(found: Found, found_format: Format, request: Request) -> Found:
    rater = found.rater or request.rater or found_format.rater
    return replace(found, rater=rater, kind=request.kind or found.kind)


def _texts(paths: Sequence[Path], found_format: Format) -> dict[str, Row]:
    """The rows of the files that hold the texts, by the names the format gives them."""
    if bool(paths) != bool(found_format.look_up and found_format.index):
        do = "Give the file that holds the texts with --texts." if not paths else "Leave --texts out."
        raise DataError(
            f"{found_format.name} keeps its texts {'elsewhere' if not paths else 'in its own rows'}.", do=do
        )
    rows: dict[str, Row] = {}
    for path in paths:
        for number, (where, row) in enumerate(_readable(path)):
            name = found_format.index(path, number, row) if found_format.index else ""
            if rows.setdefault(name, row) is not row:
                raise DataError(f"a second pair is called {name!r}.", where=where, do="Give each file once.")
    return rows


def _readable(path: Path) -> Iterator[tuple[Where, Row]]:
    placed: Placed
    for placed in read_raw(path):
        where, row = placed
        if isinstance(row, Unfit):
            raise DataError(f"{row.reason}.", where=where, do="Correct the row; the texts must be whole.")
        yield where, row


def figures(imported: Imported) -> dict[str, Any]:
    """The counts as JSON has them."""
    return {
        "format": imported.format,
        "rows": imported.num_rows,
        "votes": imported.num_votes,
        "labels": imported.num_labels,
        "left_out": len(imported.left_out),
        "reasons": imported.reasons,
        "raters": len(imported.raters),
        "note": imported.note,
    }
