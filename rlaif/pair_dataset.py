"""A run's preference data as files: the dataset (Parquet, with its card), the same as JSONL, and every label.

The columns `prompt`, `chosen` and `rejected` are conversations, as TRL and `datasets` read them; the rest says what
each label is worth. Rows are added bit by bit; files are written beside their place and moved there whole when they are
finished, so a reader never meets half of one. Equal pairs give equal bytes, however they were added.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jsonlines
import pyarrow as pa
import pyarrow.parquet as pq

from rlaif.identity import canonical_json
from rlaif.records import LabelledPair, Message, Pair, PrincipleVerdict

_ROWS_PER_FILE = 500_000
_ROWS_PER_GROUP = 10_000
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_PRINCIPLES = pa.list_(
    pa.struct(
        [
            ("id", pa.string()),
            ("outcome", pa.string()),
            ("probability", pa.float64()),
            ("shown_first", pa.float64()),
            ("shown_second", pa.float64()),
            ("weight", pa.float64()),
            ("share", pa.float64()),
        ]
    )
)
PAIR_SCHEMA = pa.schema(
    [
        ("prompt", MESSAGES),
        ("chosen", MESSAGES),
        ("rejected", MESSAGES),
        ("probability", pa.float64()),
        ("margin", pa.float64()),
        ("is_tie", pa.bool_()),
        ("principles", _PRINCIPLES),
        ("critique", pa.string()),
        ("critique_principle", pa.string()),
        ("critique_shows_first", pa.string()),
        ("judge", pa.string()),
        ("chosen_policy", pa.string()),
        ("rejected_policy", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("source", pa.string()),
        ("pair_id", pa.string()),
        ("prompt_id", pa.string()),
        ("chosen_id", pa.string()),
        ("rejected_id", pa.string()),
    ]
)
LABEL_SCHEMA = pa.schema(
    [
        ("pair_id", pa.string()),
        ("prompt_id", pa.string()),
        ("x_id", pa.string()),
        ("y_id", pa.string()),
        ("prompt", MESSAGES),
        ("response_x", pa.string()),
        ("response_y", pa.string()),
        ("probability_x", pa.float64()),
        ("principles", _PRINCIPLES),
        ("tags", pa.list_(pa.string())),
        ("policy_x", pa.string()),
        ("policy_y", pa.string()),
    ]
)


def pair_row(pair: Pair) -> dict[str, Any]:
    """A pair as a row of PAIR_SCHEMA. `critique_shows_first` says which response the critique calls the first."""
    critique = pair.critique
    return {
        "prompt": _messages(pair.prompt.messages),
        "chosen": _messages([Message("assistant", pair.chosen.text)]),
        "rejected": _messages([Message("assistant", pair.rejected.text)]),
        "probability": pair.probability,
        "margin": pair.margin,
        "is_tie": pair.is_tie,
        "principles": _principles(pair.verdicts, pair.shares),
        "critique": critique.text if critique else None,
        "critique_principle": critique.principle_id if critique else None,
        "critique_shows_first": critique and ("chosen" if critique.first_id == pair.chosen.id else "rejected"),
        "judge": pair.judge,
        "chosen_policy": pair.chosen.policy,
        "rejected_policy": pair.rejected.policy,
        "tags": sorted(pair.prompt.tags),
        "source": pair.prompt.source,
        "pair_id": pair.id,
        "prompt_id": pair.prompt.id,
        "chosen_id": pair.chosen.id,
        "rejected_id": pair.rejected.id,
    }


def label_row(label: LabelledPair) -> dict[str, Any]:
    """A judged pair, in the dataset or not, as a row of LABEL_SCHEMA. Probabilities are for response x."""
    pair = label.pair
    return {
        "pair_id": pair.id,
        "prompt_id": pair.prompt.id,
        "x_id": pair.x.id,
        "y_id": pair.y.id,
        "prompt": _messages(pair.prompt.messages),
        "response_x": pair.x.text,
        "response_y": pair.y.text,
        "probability_x": label.probability,
        "principles": _principles(label.verdicts, label.shares),
        "tags": sorted(pair.prompt.tags),
        "policy_x": pair.x.policy,
        "policy_y": pair.y.policy,
    }


def _messages(messages: Iterable[Message]) -> list[dict[str, str]]:
    return [message.as_dict() for message in messages]


def _principles(verdicts: Iterable[PrincipleVerdict], shares: Any) -> list[dict[str, Any]]:
    rows = []
    for verdict in verdicts:
        row = asdict(verdict)
        row["id"], row["share"] = row.pop("principle_id"), shares.get(verdict.principle_id)
        del row["reason"]
        rows.append(row)
    return rows


class ParquetRows:
    """A Parquet file that grows by rows, in groups of the same size however they arrive."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.num_rows = path, 0
        self._schema = schema
        self._file = pq.ParquetWriter(path, schema)
        self._waiting: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        self.num_rows += 1
        self._waiting.append(row)
        if len(self._waiting) == _ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        self._file.write_table(pa.Table.from_pylist(self._waiting, schema=self._schema))
        self._waiting.clear()

    def close(self) -> None:
        if self._waiting:
            self._flush()
        self._file.close()


class DatasetWriter:
    """`folder` anew: Parquet files that `datasets.load_dataset(folder)` reads, and the card as README.md."""

    def __init__(self, folder: Path, schema: pa.Schema = PAIR_SCHEMA) -> None:
        self._folder, self._fresh, self._schema = folder, _beside(folder), schema
        self._fresh.mkdir()
        self._files = [self._next_file(0)]

    def _next_file(self, number: int) -> ParquetRows:
        return ParquetRows(self._fresh / f"train-{number:05d}.parquet", self._schema)

    def add(self, pairs: Iterable[Pair]) -> None:
        self.add_rows(map(pair_row, pairs))

    def add_rows(self, rows: Iterable[dict[str, Any]]) -> None:
        """Rows of the writer's schema, whatever they are about."""
        for row in rows:
            if self._files[-1].num_rows == _ROWS_PER_FILE:
                self._files[-1].close()
                self._files.append(self._next_file(len(self._files)))
            self._files[-1].add(row)

    def finish(self, card: str) -> None:
        self._files[-1].close()
        for file in self._files:
            file.path.rename(file.path.with_name(f"{file.path.stem}-of-{len(self._files):05d}.parquet"))
        (self._fresh / "README.md").write_text(card, encoding="utf-8")
        _move(self._fresh, self._folder)


class JsonlWriter:
    """The rows of the dataset in one file, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self._path, self._fresh = path, _beside(path)
        self._stream = self._fresh.open("w", encoding="utf-8")
        self._lines = jsonlines.Writer(self._stream, dumps=canonical_json)

    def add(self, pairs: Iterable[Pair]) -> None:
        self.add_rows(map(pair_row, pairs))

    def add_rows(self, rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            self._lines.write(row)

    def finish(self) -> None:
        self._stream.close()
        _move(self._fresh, self._path)


class TableWriter:
    """Rows of a schema in one Parquet file."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._rows = ParquetRows(_beside(path), schema)

    def add_rows(self, rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            self._rows.add(row)

    def finish(self) -> None:
        self._rows.close()
        _move(self._rows.path, self._path)


class LabelWriter(TableWriter):
    """Every judged pair with its label, in one Parquet file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, LABEL_SCHEMA)

    def add(self, labels: Iterable[LabelledPair]) -> None:
        self.add_rows(map(label_row, labels))


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    fresh = _beside(path)
    fresh.write_text(text, encoding="utf-8")
    _move(fresh, path)


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of one Parquet file as they were written, all columns or some."""
    for batch in pq.ParquetFile(path).iter_batches(columns=columns):
        yield from batch.to_pylist()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A fresh path to write to; the file takes `path`'s place when the block ends well, and not otherwise."""
    fresh = _beside(path)
    try:
        yield fresh
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    _move(fresh, path)


def _beside(path: Path) -> Path:
    """A fresh name in the same folder, cleared of what an earlier death may have left."""
    fresh = path.with_name(f".{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    if fresh.is_dir():
        shutil.rmtree(fresh)
    fresh.unlink(missing_ok=True)
    return fresh


def _move(fresh: Path, path: Path) -> None:
    """Put `fresh` in the place of `path`. A file is replaced in one step; a folder's old self is moved away first."""
    old = path.with_name(f".{path.name}.old")
    if path.is_dir():
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
    fresh.replace(path)
    shutil.rmtree(old, ignore_errors=True)
