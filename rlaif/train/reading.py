"""The rows of a preference dataset, one by one, each with its place: a Parquet or JSONL file (also .gz), a folder of
Parquet files such as `rlaif generate` writes, or whatever `datasets` can load or has saved. What a row means is decided
in `rows`.
"""

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlaif.documents import no_such_file
from rlaif.errors import DataError, Where
from rlaif.hub_datasets import load_dataset

RawRow = tuple[Where, Mapping[str, Any]]
FORMATS = (".jsonl", ".jsonl.gz", ".parquet")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[\w.-]+)?")


def read_raw(name: str, *, base: Path = Path(), split: str = "train", config: str | None = None) -> Iterator[RawRow]:
    """The rows of a file, a folder or a dataset of the hub. A relative path counts from `base`."""
    path = base / name
    if path.is_file():
        if not path.name.endswith(FORMATS):
            do = f"Readable are {', '.join(FORMATS)} files, folders of Parquet files and Hugging Face dataset names."
            raise DataError(f"files of the kind {path.suffix!r} are not read.", where=Where(str(path)), do=do)
        yield from _parquet_rows(path) if path.suffix == ".parquet" else _jsonl_rows(path)
    elif path.is_dir() and (files := _parquet_files(path, split)):
        for file in files:
            yield from _parquet_rows(file)
    elif path.is_dir() or (_HUB_NAME.fullmatch(name) and not name.endswith(FORMATS)):
        yield from _dataset_rows(str(path) if path.is_dir() else name, split, config)
    else:
        raise no_such_file(path, DataError)


def _parquet_files(folder: Path, split: str) -> list[Path]:
    """Files named like `train-00000-of-00002.parquet`, or all there are when the folder holds one split."""
    files = sorted(folder.glob("*.parquet"))
    return [file for file in files if re.match(rf"{re.escape(split)}\b", file.stem)]


def _jsonl_rows(path: Path) -> Iterator[RawRow]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            where = Where(str(path), number)
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"this line is not JSON: {error}.", where=where, do="Correct or remove it.") from error
            if not isinstance(row, dict):
                raise DataError("this line is not a JSON object.", where=where, do="Write one object per line.")
            yield where, row


def _parquet_rows(path: Path) -> Iterator[RawRow]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(1024):
                for row in batch.to_pylist():
                    number += 1
                    yield Where(f"{path} row {number}"), row
    except (pyarrow.ArrowException, OSError) as error:
        do = "Write the file again; it may be cut short."
        raise DataError(f"this is not readable Parquet: {error}.", where=Where(str(path)), do=do) from error


def _dataset_rows(name: str, split: str, config: str | None) -> Iterator[RawRow]:
    for number, row in enumerate(load_dataset(name, split=split, config=config, formats=FORMATS), 1):
        yield Where(f"{name}[{split}] row {number}"), row
