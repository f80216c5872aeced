"""Segments: sealed results. Sorted by key, each key once, Parquet with zstd, never changed.

A segment's name is the SHA-256 of its bytes. So two sealers of the same journal write the same file, a copy can be
checked against its name alone, and no damage, wherever it lies, can be taken for a result.
"""

import hashlib
from collections.abc import Iterable
from io import BufferedWriter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rlaif.errors import StoreError
from rlaif.store.keys import as_fixed
from rlaif.store.schema import Kind, columns_of, schema_of
from rlaif.store.shelf import LocalShelf, Shelf, create_locked
from rlaif.store.writing import told_as_ours

SUFFIX = ".parquet"
_ROW_GROUP = 131_072


def folder_of(kind: Kind) -> str:
    return f"{kind}/segments"


def write_segment(shelf: Shelf, kind: Kind, tables: Iterable[pa.Table | pa.RecordBatch]) -> str:
    """Write sorted rows as one segment and return its name. It is durable on return."""
    partial = shelf.partial(folder_of(kind))
    try:
        # Buffered: a write of which the kernel takes only a part is completed, or raised.
        with told_as_ours(shelf.root), BufferedWriter(create_locked(partial)) as file:
            with pq.ParquetWriter(file, schema_of(kind), **_options(kind)) as writer:
                for table in tables:
                    writer.write_table(_as_table(table), row_group_size=_ROW_GROUP)
            file.flush()
            name = f"{folder_of(kind)}/{digest_of(partial)}{SUFFIX}"
            shelf.place(partial, name)
    finally:
        partial.unlink(missing_ok=True)
    if isinstance(shelf, LocalShelf):
        shelf.sweep(folder_of(kind))
    return name


def _as_table(rows: pa.Table | pa.RecordBatch) -> pa.Table:
    return rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])


def _options(kind: Kind) -> dict[str, Any]:
    """Log-probabilities and keys have no repeated values; words like outcomes have few."""
    columns = columns_of(kind)
    floats = [name for name, of_type in columns.items() if pa.types.is_floating(of_type)]
    repeated = [name for name in columns if name not in floats and name != "text"]
    return {
        "compression": "zstd",
        "use_dictionary": ["source", *repeated],
        "use_byte_stream_split": floats,
        "write_statistics": ["key"],
    }


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fault_of(path: Path, name: str) -> str:
    """Why a file is not the segment of this name; an empty string when it is."""
    expected = Path(name).name.removesuffix(SUFFIX)
    return "" if digest_of(path) == expected else "the file does not fit its checksum"


def check_columns(path: Path, kind: Kind) -> None:
    """A segment that has what we do not know was written by a later version; reading half of it would be a lie."""
    schema = pq.read_schema(path)
    ours = schema_of(kind)
    strange = [field.name for field in schema if field.name not in ours.names or ours.field(field.name) != field]
    if strange:
        raise StoreError(
            f"the columns {strange} of {kind} are not known.",
            where=str(path),
            do="A later version of rlaif wrote this file: use that one, or a store of its own.",
        )


def disorder_of(path: Path) -> str:
    """What is wrong with the order of a segment's keys; an empty string when it is as promised."""
    last = np.empty((0, 4), dtype=">u8")
    offset = 0
    for batch in pq.ParquetFile(path).iter_batches(columns=["key"]):
        keys = as_fixed(batch.column("key"))
        words = np.frombuffer(keys.buffers()[1], dtype=">u8").reshape(-1, 4)[keys.offset : keys.offset + len(keys)]
        both = np.concatenate([last, words])
        for row in np.flatnonzero(~_ascending(both)):
            return f"row {offset + int(row) + 1 - len(last)} is not after the row before it"
        last, offset = words[-1:], offset + len(words)
    return ""


def _ascending(words: Any) -> Any:
    """For every row but the last, whether the next is larger; rows are numbers of four digits."""
    less = np.zeros(max(len(words) - 1, 0), dtype=bool)
    equal = ~less
    for digit in range(4):
        before, after = words[:-1, digit], words[1:, digit]
        less |= equal & (before < after)
        equal &= before == after
    return less
