"""Merging: many small segments become few large ones. What a lookup answers stays the same.

Every run leaves a small segment of each kind, and every segment costs each lookup about a millisecond. So a store that
appended merges when it is closed, in tiers, as log-structured stores do: when so many segments are of about one size
they become one of the next size. A row is rewritten a few times in its life, and no close has much to do.

A merge writes the new segment, durably, and only then removes the old ones; a kill in between leaves rows twice, which
is harmless. Two at once do each other no harm either, but the work twice: on a local disk a lock keeps them apart.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate, chain, islice, takewhile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rlaif.store import lookup, segments
from rlaif.store.keys import as_fixed
from rlaif.store.lookup import Joins
from rlaif.store.schema import Kind
from rlaif.store.shelf import LocalShelf, Shelf, hold

FULL_ROWS = 2_000_000  # a segment this large is not merged any more
CROWD = 16  # so many segments of one tier are merged at a close
_SMALL_BYTES = 2**20  # the lowest tier is below this, each further one up to 16 times the last
_MOST_BYTES = 2**26  # what one close may have to merge; some seconds. The rest is for `rlaif store compact`


def crowd_of(sizes: Mapping[str, int]) -> list[str]:
    """The segments to merge at a close: those of the lowest tier that has too many. Most often none."""
    tiers: dict[int, list[str]] = defaultdict(list)
    for name in sorted(sizes, key=lambda name: (sizes[name], name)):
        tiers[_tier(sizes[name])].append(name)
    for _, names in sorted(tiers.items()):
        total = accumulate(sizes[name] for name in names)
        bounded = [name for name, _ in takewhile(lambda pair: pair[1] <= _MOST_BYTES, zip(names, total, strict=True))]
        if len(bounded) >= CROWD:
            return bounded
    return []


def _tier(size: int) -> int:
    return 0 if size < _SMALL_BYTES else 1 + (size // _SMALL_BYTES).bit_length() // 4


def merge(shelf: Shelf, joins: Joins, kind: Kind, old: Mapping[str, Path], full_rows: int = FULL_ROWS) -> None:
    """Put the rows of some segments, each key once, into new ones in their place."""
    with joins.open() as connection:
        lookup.select_from(connection, list(old.values()), kind)
        rows = lookup.stream(connection, "FROM stored ORDER BY key, source")
        replace(shelf, kind, list(old), first_of_each(lookup.with_types(batch, kind) for batch in rows), full_rows)


def replace(shelf: Shelf, kind: Kind, old: list[str], rows: Iterator[pa.RecordBatch], full_rows: int) -> None:
    """Write sorted rows as new segments, and only then remove the old ones."""
    new = set()
    for first in rows:
        piece = chain([first], islice(rows, max(1, full_rows // lookup.BATCH) - 1))
        new.add(segments.write_segment(shelf, kind, piece))
    for name in old:
        if name not in new:
            shelf.remove(name)


def first_of_each(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Rows sorted by key and writer, without those whose key was there already."""
    last: Any = None
    for batch in batches:
        if batch.num_rows:
            keys = as_fixed(batch.column("key"))
            is_first = pa.array([last is None or keys[0].as_py() != last])
            is_new = pc.not_equal(keys.slice(1), keys.slice(0, len(keys) - 1))
            yield batch.filter(pa.concat_arrays([is_first, is_new]))
            last = keys[-1].as_py()


@contextmanager
def alone(shelf: Shelf) -> Iterator[bool]:
    """Keep merges and collections of one local store apart; False while another is at work. (No locks elsewhere.)"""
    if not isinstance(shelf, LocalShelf) or not shelf.path.is_dir():
        yield True
        return
    with (shelf.path / ".upkeep.lock").open("wb") as file:
        yield hold(file) is not False
