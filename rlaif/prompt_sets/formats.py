"""The rows of a file or dataset, one by one, each with its place. What a row means is decided in `rows`."""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import jsonlines

from rlaif.documents import no_such_file
from rlaif.errors import DataError, Where
from rlaif.hub_datasets import load_dataset
from rlaif.prompt_sets.rows import check_keys, choose_columns

Row = tuple[Where, Mapping[str, Any]]
FORMATS = (".jsonl", ".parquet", ".csv")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[\w.-]+)?")
_BATCH_ROWS = 1024


class Source(Protocol):
    """What is known of a source; `rlaif.settings.PromptSource` is one."""

    @property
    def path(self) -> str: ...
    @property
    def columns(self) -> Mapping[str, str]: ...
    @property
    def split(self) -> str: ...
    @property
    def config(self) -> str | None: ...


def read_rows(source: Source, base: Path) -> Iterator[Row]:
    """The rows of a source, with our field names. A relative path counts from `base`."""
    path = base / source.path
    if path.is_dir():
        yield from _dataset_rows(source, str(path))
    elif path.suffix in FORMATS:
        if not path.is_file():
            raise no_such_file(path, DataError)
        reader = {".jsonl": _jsonl_rows, ".parquet": _parquet_rows, ".csv": _csv_rows}[path.suffix]
        yield from reader(path, source.columns)
    elif path.exists():
        do = f"Readable are {', '.join(FORMATS)} files, dataset folders and Hugging Face dataset names."
        raise DataError(f"files of the kind {path.suffix!r} are not read.", where=Where(str(path)), do=do)
    elif _HUB_NAME.fullmatch(source.path):
        yield from _dataset_rows(source, source.path)
    else:
        raise no_such_file(path, DataError)


class _Lines:
    """A file's lines that remember how many were read; jsonlines tells the number of broken lines only."""

    def __init__(self, file: Iterator[bytes]) -> None:
        self.file, self.number = file, 0

    def __iter__(self) -> Iterator[bytes]:
        for line in self.file:
            self.number += 1
            yield line.rstrip(b"\r\n")  # else a line that ends too early is reported at the next line's start


def _jsonl_rows(path: Path, columns: Mapping[str, str]) -> Iterator[Row]:
    with path.open("rb") as file:
        lines = _Lines(file)
        try:
            for row in jsonlines.Reader(lines, loads=load_object).iter(type=dict, skip_empty=True):
                where = Where(str(path), lines.number)
                if columns:
                    yield where, _pick(row, choose_columns(row, columns, where))
                else:
                    check_keys(row, where)
                    choose_columns(row, columns, where)
                    yield where, row
        except jsonlines.InvalidLineError as failure:
            cause = failure.__cause__
            column = cause.colno if isinstance(cause, json.JSONDecodeError) else None
            shown = failure.line if isinstance(failure.line, str) else failure.line.decode("utf-8", "replace")
            reason = str(cause).partition(": line ")[0] if cause else "the line holds no object"
            found = f"this line is not a JSON object ({reason}): {shown.strip()[:60]!r}."
            do = "Correct or remove the line; each line is one whole JSON object."
            raise DataError(found, where=Where(str(path), failure.lineno, column), do=do) from failure


def load_object(line: str | bytes) -> Any:
    """JSON that says everything once: ValueError on a key written twice, and on nesting too deep to read."""
    try:
        return json.loads(line, object_pairs_hook=_without_duplicates)
    except RecursionError as failure:
        raise ValueError("it is nested too deeply") from failure


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a key is written twice")
    return row


def _pick(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    return {field: row[column] for field, column in columns.items()}


def _csv_rows(path: Path, columns: Mapping[str, str]) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, [])
            chosen = choose_columns(header, columns, Where(str(path), 1))
            line = reader.line_num + 1  # where the next row begins; quoted texts span lines
            for cells in reader:
                where, line = Where(str(path), line), reader.line_num + 1
                if cells and len(cells) != len(header):
                    found = f"the row has {len(cells)} cells, the header {len(header)}."
                    raise DataError(found, where=where, do="Put texts with commas or line breaks in double quotes.")
                if cells:
                    yield where, _pick(dict(zip(header, cells, strict=True)), chosen)
        except (csv.Error, UnicodeDecodeError) as failure:
            do = "Correct the row, or use JSONL or Parquet for long texts."
            where = Where(str(path), reader.line_num)
            raise DataError(f"the row cannot be read: {failure}.", where=where, do=do) from failure


def _parquet_rows(path: Path, columns: Mapping[str, str]) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            chosen = choose_columns(file.schema_arrow.names, columns, Where(str(path)))
            number = 0
            for batch in file.iter_batches(_BATCH_ROWS, columns=list(chosen.values())):
                for row in batch.to_pylist():
                    number += 1
                    yield Where(f"{path} row {number}"), _pick(row, chosen)
    except (pyarrow.ArrowException, OSError) as failure:
        do = "Write the file again; it may be cut short."
        raise DataError(f"this is not readable Parquet: {failure}.", where=Where(str(path)), do=do) from failure


def _dataset_rows(source: Source, name: str) -> Iterator[Row]:
    dataset = load_dataset(name, split=source.split, config=source.config, formats=FORMATS)
    chosen = choose_columns(dataset.column_names, source.columns, Where(name))
    for number, row in enumerate(dataset.select_columns(sorted(set(chosen.values()))), 1):
        yield Where(f"{name}[{source.split}] row {number}"), _pick(row, chosen)
