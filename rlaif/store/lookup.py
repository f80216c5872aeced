"""Joins between a wish and the store, in DuckDB: out of core, with a limit on memory, spilling beside it.

The wish and the answer lie in DuckDB's own tables, so a join can be done again from the start when a file it was to
read has just been merged into another one.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from rlaif.errors import StoreError
from rlaif.store.keys import Keys, as_fixed, key_batches
from rlaif.store.schema import Kind, columns_of, schema_of
from rlaif.store.writing import in_child

BATCH = 65_536
TRIES = 8

_OF_PARENTS: list[Any] = []  # never let go

Files = Callable[[], Sequence[Path]]  # the files with a kind's results, listed anew at each call


class Joins:
    """A DuckDB that is started when it is first needed, and given to one lookup at a time."""

    def __init__(self, memory_limit: str, spill: Path) -> None:
        self._memory_limit, self._spill = memory_limit, spill
        self._database: Any = None
        self._owner = 0

    @contextmanager
    def open(self) -> Iterator[Any]:
        """A connection with tables of its own."""
        self._leave_to_parent()
        if self._database is None:
            spill = self._spill / str(os.getpid())
            settings: dict[str, Any] = {"memory_limit": self._memory_limit, "temp_directory": str(spill)}
            settings["preserve_insertion_order"] = "false"  # or every join would hold its rows back to keep their order
            self._database, self._owner = duckdb.connect(config=settings), os.getpid()
        with self._database.cursor() as connection:
            try:
                yield connection
            except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
                raise StoreError(
                    f"the stored results cannot be looked up: {str(error).splitlines()[0]}",
                    where=str(self._spill),
                    do="A join that is larger than memory lies in the temporary folder meanwhile: make space there,"
                    " or set TMPDIR to a larger disk.",
                ) from error

    def close(self) -> None:
        self._leave_to_parent()
        if self._database is not None:
            self._database.close()
        self._database = None

    def _leave_to_parent(self) -> None:
        """In a fork, begin anew: DuckDB's threads do not live on there, and even to end it would wait for them."""
        if self._database is not None and in_child(self._owner):
            _OF_PARENTS.append(self._database)
            self._database = None


def load_wish(connection: Any, keys: Keys) -> None:
    """The keys as DuckDB's table `wish`, chunk by chunk."""
    connection.execute("CREATE TEMP TABLE wish (key BLOB)")
    for batch in key_batches(keys):
        connection.register("incoming", pa.table(batch))
        connection.execute("INSERT INTO wish FROM incoming")


def rows_of(connection: Any, files: Files, kind: Kind, query: str) -> Iterator[pa.RecordBatch]:
    """The answer to a query over `stored` (the files' rows; several may have one key) and `wish`."""
    for _ in range(TRIES):
        listed: Sequence[Path] = ()
        try:
            listed = files()
            select_from(connection, listed, kind)
            connection.execute(f"CREATE OR REPLACE TEMP TABLE answer AS {query}")
            break
        except FileNotFoundError:
            continue
        except duckdb.IOException:
            if all(path.exists() for path in listed):
                raise
    else:
        raise StoreError(
            f"of the files listed a moment ago some were gone, {TRIES} times in a row.",
            do="Is something else removing files of the store? If not, run the same command again.",
        )
    yield from stream(connection, "FROM answer")


def select_from(connection: Any, files: Sequence[Path], kind: Kind) -> None:
    """`stored` as a view of these files."""
    if files:
        names = ", ".join("'" + literal(path).replace("'", "''") + "'" for path in files)
        source = f"read_parquet([{names}], union_by_name = true)"
    else:
        columns = ["key BLOB", "source VARCHAR"]
        columns += [f"{name} {_SQL_TYPES[of_type]}" for name, of_type in columns_of(kind).items()] + ["value VARCHAR"]
        source = "(SELECT " + ", ".join(f"NULL::{c.split()[1]} AS {c.split()[0]}" for c in columns) + " WHERE false)"
    connection.execute(f"CREATE OR REPLACE TEMP VIEW stored AS SELECT * FROM {source}")  # noqa: S608 - our own names and quoted paths


_SQL_TYPES = {pa.float64(): "DOUBLE", pa.int64(): "BIGINT", pa.string(): "VARCHAR"}


def literal(path: Path) -> str:
    """A path that DuckDB does not take for a pattern, whatever is in its name."""
    return re.sub(r"([\[*?])", r"[\1]", str(path.absolute()))


def stream(connection: Any, query: str) -> Iterator[pa.RecordBatch]:
    """A query's rows as Arrow, a batch at a time."""
    relation = connection.sql(query)
    reader = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
    yield from reader(BATCH)


def with_types(batch: pa.RecordBatch, kind: Kind) -> pa.RecordBatch:
    """A batch of DuckDB's with the columns and types of a segment."""
    schema = schema_of(kind)
    arrays = []
    for field in schema:
        if field.name not in batch.schema.names:  # no file had this column yet
            arrays.append(pa.nulls(batch.num_rows, field.type))
        else:
            column = batch.column(field.name)
            arrays.append(as_fixed(column) if field.name == "key" else column.cast(field.type))
    return pa.record_batch(arrays, schema=schema)


MISSING = "SELECT key FROM wish ANTI JOIN stored USING (key)"
FOUND = "SELECT stored.* FROM stored SEMI JOIN wish USING (key)"
_FIRST = "QUALIFY row_number() OVER (PARTITION BY key ORDER BY source) = 1"
FIRST_FOUND = f"{FOUND} {_FIRST}"
FIRST_OF_ALL = f"FROM stored {_FIRST}"
