"""What a run wants to keep: `wanted.parquet` in its folder, the keys of everything its files were made from.

`rlaif store gc` removes what no run wants. A run folder without this file wants everything.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rlaif.errors import StoreError
from rlaif.store.keys import KEY, Keys, key_batches
from rlaif.store.schema import Kind, checked_kind
from rlaif.store.shelf import sync
from rlaif.store.writing import told_as_ours

WANTED = "wanted.parquet"
_SCHEMA = pa.schema([("kind", pa.string()), ("key", KEY)])


@contextmanager
def wanted_writer(folder: Path) -> Iterator[Callable[[Kind, Keys], None]]:
    """Gives a function that adds keys of a kind. The file has its name at the end, whole, or not at all."""
    partial = folder / f".{WANTED}.partial"  # one name, so that what an earlier death left is written over

    def add(kind: Kind, keys: Keys) -> None:
        for batch in key_batches(keys):
            kinds = pa.repeat(pa.scalar(checked_kind(kind), pa.string()), batch.num_rows)
            writer.write_table(pa.table([kinds, batch.column("key")], schema=_SCHEMA))

    with told_as_ours(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with pq.ParquetWriter(partial, _SCHEMA, compression="zstd", use_dictionary=["kind"]) as writer:
                yield add
            sync(partial)
            partial.replace(folder / WANTED)
        finally:
            partial.unlink(missing_ok=True)


def write_wanted(folder: Path, wanted: Mapping[Kind, Keys]) -> None:
    """Write the keys a run wants, by kind."""
    with wanted_writer(folder) as add:
        for kind, keys in wanted.items():
            add(kind, keys)


def read_wanted(folders: Iterable[Path], kind: Kind) -> Iterator[pa.Array]:
    """The keys of a kind that these runs want, in chunks. StoreError for a file that cannot be read."""
    for folder in folders:
        path = folder / WANTED
        try:
            for batch in pq.ParquetFile(path).iter_batches(columns=["kind", "key"]):
                yield batch.filter(pa.compute.equal(batch.column("kind"), kind)).column("key")
        except (OSError, pa.ArrowInvalid) as error:
            raise StoreError(
                f"cannot be read: {error}",
                where=str(path),
                do="Run `rlaif generate` of this run again, which writes it anew, or remove the run's folder.",
            ) from error
