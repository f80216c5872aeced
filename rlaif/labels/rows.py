"""The rows of a file somebody else wrote, each with its place: JSON Lines, JSON, CSV, TSV, Parquet, all but the last
also gzipped. A row that cannot be read is an `Unfit` with its place and the others go on; a file that cannot be read
stops with an error. What a row means is decided by the formats.
"""

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from rlaif.documents import no_such_file
from rlaif.errors import DataError, Where
from rlaif.labels.votes import Unfit
from rlaif.prompt_sets.formats import load_object

Row = Mapping[str, Any]
Placed = tuple[Where, Row | Unfit]
KINDS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
_BATCH_ROWS = 1024
_LONGEST_CELL = 1 << 27  # csv's own limit of 128 KiB is shorter than some conversations
_SPACE = re.compile(r"[\s,]*")


def kind_of(path: Path) -> str:
    """`.jsonl` for votes.jsonl and votes.jsonl.gz."""
    return Path(path.stem).suffix if path.suffix == ".gz" else path.suffix


def read_raw(path: Path) -> Iterator[Placed]:
    """Every row of the file. DataError where the file is not there or is none of the kinds."""
    if not path.is_file():
        raise no_such_file(path, DataError)
    kind = kind_of(path)
    readers = {".json": _json, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet}
    if kind not in KINDS or (kind == ".parquet" and path.suffix == ".gz"):
        do = f"Readable are {', '.join(KINDS)}, and .gz of all but the last."
        raise DataError(f"files of the kind {''.join(path.suffixes)!r} are not read.", where=str(path), do=do)
    try:
        yield from readers.get(kind, _json_lines)(path)
    except (EOFError, gzip.BadGzipFile) as failure:
        do = "Fetch the file again; it may be cut short."
        raise DataError(f"the file cannot be unpacked: {failure}.", where=str(path), do=do) from failure


def _open_bytes(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _open(path: Path) -> io.TextIOWrapper:
    """The file's text. Bytes that are not UTF-8 become lone surrogates, so that a row can say so of itself."""
    return io.TextIOWrapper(_open_bytes(path), encoding="utf-8-sig", errors="surrogateescape", newline="")


def _json_lines(path: Path) -> Iterator[Placed]:
    with _open_bytes(path) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield Where(str(path), number), _object(line)


def _object(text: bytes) -> Row | Unfit:
    try:
        row = load_object(text)
    except ValueError as failure:
        return Unfit(f"not a JSON object: {str(failure).partition(': line ')[0]}")
    return row if isinstance(row, dict) else Unfit("not a JSON object: the line holds something else")


def _json(path: Path) -> Iterator[Placed]:
    """The elements of an array, the one object, or JSON Lines under the name of JSON."""
    with _open(path) as stream:
        text = stream.read()
    start = _SPACE.match(text).end()  # type: ignore[union-attr]  # it matches nothing too
    if text.startswith("["):
        yield from _elements(path, text)
        return
    try:
        row, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError) as failure:
        raise _broken(path, text, getattr(failure, "pos", start), failure) from failure
    if text[end:].strip():
        yield from _json_lines(path)
    else:
        yield Where(str(path), 1), row if isinstance(row, dict) else Unfit("not a JSON object")


def _elements(path: Path, text: str) -> Iterator[Placed]:
    decoder, at, line, counted = json.JSONDecoder(), 1, 1, 0
    while True:
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing too
        if text.startswith("]", at):
            return
        try:
            row, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as failure:
            raise _broken(path, text, getattr(failure, "pos", at), failure) from failure
        line, counted = line + text.count("\n", counted, at), at
        yield Where(str(path), line), row if isinstance(row, dict) else Unfit("not a JSON object")
        at = end


def _broken(path: Path, text: str, at: int, failure: Exception) -> DataError:
    line = text.count("\n", 0, at) + 1
    reason = str(failure).partition(": line ")[0]
    do = "Correct it; nothing behind this place can be read."
    return DataError(f"the JSON is broken here: {reason}.", where=Where(str(path), line), do=do)


def _csv(path: Path) -> Iterator[Placed]:
    csv.field_size_limit(_LONGEST_CELL)
    with _open(path) as stream:
        reader = csv.reader(stream, strict=True, delimiter="\t" if kind_of(path) == ".tsv" else ",")
        header = next(reader, [])
        line = reader.line_num + 1  # where the next row begins; quoted texts span lines
        try:
            for cells in reader:
                where, line = Where(str(path), line), reader.line_num + 1
                if cells and len(cells) != len(header):
                    yield where, Unfit(f"{len(cells)} cells under a header of {len(header)}")
                elif cells:
                    yield where, dict(zip(header, cells, strict=True))
        except csv.Error as failure:
            do = "Put texts with commas or line breaks in double quotes, or use JSON Lines."
            raise DataError(f"the row cannot be read: {failure}.", where=Where(str(path), line), do=do) from failure


def _parquet(path: Path) -> Iterator[Placed]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(_BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield Where(f"{path} row {number}"), row
    except (pyarrow.ArrowException, OSError) as failure:
        do = "Write the file again; it may be cut short."
        raise DataError(f"this is not readable Parquet: {failure}.", where=str(path), do=do) from failure
