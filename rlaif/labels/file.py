"""Label files: one vote a row, with the texts of its pair, as JSON Lines or Parquet. The order of rows means nothing,
and two files can be put one after the other.

A row repeats its pair's texts, so that a file can be judged and trained on without another; the ids are those of the
texts, and reading checks that they are. Equal votes give equal bytes.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from rlaif.documents import no_such_file
from rlaif.errors import DataError, Where
from rlaif.identity import canonical_json
from rlaif.labels.label import Choice, Label, Mark, RaterKind, Vote
from rlaif.labels.rows import kind_of, read_raw
from rlaif.labels.votes import Found, Unfit, found_of, make_vote
from rlaif.pair_dataset import ParquetRows, whole_file
from rlaif.records import Message, Role

_SEE = "docs/labels.md has the fields of a label file; `rlaif labels import` makes one of other formats."
MARKS = pa.list_(
    pa.struct(
        [
            ("principle", pa.string()),
            ("choice", pa.string()),
            *((name, pa.float64()) for name in ("probability", "strength", "shown_first", "shown_second", "weight")),
        ]
    )
)
LABELS = pa.schema(
    [
        ("pair_id", pa.string()),
        ("prompt_id", pa.string()),
        ("first_id", pa.string()),
        ("second_id", pa.string()),
        ("rater", pa.string()),
        ("kind", pa.string()),
        ("choice", pa.string()),
        ("probability", pa.float64()),
        ("strength", pa.float64()),
        ("marks", MARKS),
        ("comment", pa.string()),
        ("seconds", pa.float64()),
        ("time", pa.string()),
        ("is_order_known", pa.bool_()),
        ("item", pa.string()),
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("first", pa.string()),
        ("second", pa.string()),
        ("first_model", pa.string()),
        ("second_model", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("source", pa.string()),
    ]
)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Turn(_Strict):
    role: Role
    content: str


class _MarkRow(_Strict):
    principle: str
    choice: Choice | None = None
    probability: float | None = None
    strength: float | None = None
    shown_first: float | None = None
    shown_second: float | None = None
    weight: float | None = None


class LabelRow(_Strict):
    """A row as it stands in the file. Only the texts, the rater, its kind and a verdict are needed."""

    prompt: list[_Turn]
    first: str
    second: str
    rater: str
    kind: RaterKind
    pair_id: str | None = None
    prompt_id: str | None = None
    first_id: str | None = None
    second_id: str | None = None
    choice: Choice | None = None
    probability: float | None = None
    strength: float | None = None
    marks: list[_MarkRow] = Field(default_factory=list)
    comment: str = ""
    seconds: float | None = None
    time: AwareDatetime | None = None
    is_order_known: bool = False
    item: str = ""
    first_model: str = ""
    second_model: str = ""
    tags: list[str] = Field(default_factory=list)
    source: str = ""


_IDS: tuple[Literal["pair_id", "prompt_id", "first_id", "second_id"], ...] = (
    "pair_id",
    "prompt_id",
    "first_id",
    "second_id",
)


def row_of(vote: Vote) -> dict[str, Any]:
    """A vote as a row of LABELS."""
    label, found = vote.label, found_of(vote)
    return {
        "pair_id": label.pair_id,
        "prompt_id": vote.pair.prompt.id,
        "first_id": label.first_id,
        "second_id": label.second_id,
        "rater": label.rater,
        "kind": label.kind,
        "choice": label.choice,
        "probability": label.probability,
        "strength": label.strength,
        "marks": [mark_row(mark) for mark in label.marks],
        "comment": label.comment,
        "seconds": label.seconds,
        "time": label.time and time_text(label.time),
        "is_order_known": label.is_order_known,
        "item": label.item,
        "prompt": [message.as_dict() for message in found.prompt],
        "first": found.first,
        "second": found.second,
        "first_model": found.first_model,
        "second_model": found.second_model,
        "tags": sorted(found.tags),
        "source": found.source,
    }


def mark_row(mark: Mark) -> dict[str, Any]:
    return {name: getattr(mark, name) for name in Mark.__slots__}


def time_text(time: datetime) -> str:
    """ISO 8601 in UTC, as one spelling for one moment."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def vote_of(row: Mapping[str, Any], where: Where) -> Vote:
    """The vote in a row. DataError where it is none, or where its ids are not those of its texts."""
    try:
        read = LabelRow.model_validate(row)
        vote = make_vote(_found(read), source="")
    except ValidationError as failure:
        first = failure.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"]) or "the row"
        raise DataError(f"`{name}`: {first['msg']}.", where=where, do=_SEE) from failure
    except ValueError as fault:
        raise DataError(f"{fault}.", where=where, do=_SEE) from fault
    if isinstance(vote, Unfit):
        raise DataError(f"{vote.reason}.", where=where, do="Correct or remove the row.")
    _check_ids(read, vote.label, vote.pair.prompt.id, where)
    return vote


def _found(row: LabelRow) -> Found:
    values = row.model_dump(exclude={*_IDS, "prompt", "marks", "tags"})
    return Found(
        prompt=tuple(Message(turn.role, turn.content) for turn in row.prompt),
        marks=tuple(Mark(**mark.model_dump()) for mark in row.marks),
        tags=frozenset(row.tags),
        **{**values, "time": row.time and row.time.astimezone(UTC)},
    )


def _check_ids(row: LabelRow, label: Label, prompt_id: str, where: Where) -> None:
    """Ids that are written must be those of the texts. Where the order is not known the sides may stand swapped."""
    given = {name: getattr(row, name) for name in _IDS if getattr(row, name) is not None}
    made = {name: getattr(label, name, prompt_id) for name in _IDS}
    if not label.is_order_known and given.get("first_id") == made["second_id"]:
        made["first_id"], made["second_id"] = made["second_id"], made["first_id"]
    for name, value in given.items():
        if value != made[name]:
            found = f"`{name}` is {value[:12]}…, but the texts of this row have {made[name][:12]}…."
            do = "Another text stands under this id. Leave the ids out where you change a text: they are computed."
            raise DataError(found, where=where, do=do)


def read_votes(path: Path) -> Iterator[Vote]:
    """Every vote of a label file, checked one by one. DataError with the place of the first wrong row."""
    if not path.is_file():
        raise no_such_file(path, DataError)
    for where, row in read_raw(path):
        if isinstance(row, Unfit):
            raise DataError(f"{row.reason}.", where=where, do="Each line of a label file is one JSON object.")
        yield vote_of(row, where)


def write_votes(path: Path, votes: Iterable[Vote]) -> int:
    """Write a label file whole or not at all: Parquet by its name, else JSON Lines. Returns how many."""
    write = _write_parquet if kind_of(path) == ".parquet" else _write_lines
    with whole_file(path) as fresh:
        return write(fresh, votes)


def _write_lines(path: Path, votes: Iterable[Vote]) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as stream:
        for count, vote in enumerate(votes, 1):  # noqa: B007  # the last number is the count
            stream.write(canonical_json(row_of(vote)) + "\n")
    return count


def _write_parquet(path: Path, votes: Iterable[Vote]) -> int:
    rows = ParquetRows(path, LABELS)
    for vote in votes:
        rows.add(row_of(vote))
    rows.close()
    return rows.num_rows
