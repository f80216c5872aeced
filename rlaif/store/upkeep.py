"""What keeps a store small and sound: counting what is there, checking all of it, merging small segments.

Nothing here changes what a lookup answers.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rlaif.errors import StoreError
from rlaif.store import journal, merging, segments
from rlaif.store.journal import Damage
from rlaif.store.merging import FULL_ROWS
from rlaif.store.schema import Kind
from rlaif.store.sealing import seal
from rlaif.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class KindStats:
    """What lies there of one kind. Rows are counted as they lie: a key that two writers appended counts twice."""

    kind: Kind
    rows: int
    segments: int
    segment_bytes: int
    journals: int
    journals_growing: int
    journal_bytes: int
    unreadable: int
    set_aside: int


def stats(store: Store) -> list[KindStats]:
    """The figures of every kind. Journals are counted by their lines, segments by what they say of themselves."""
    return [_stats(store, kind) for kind in store.kinds()]


def _stats(store: Store, kind: Kind) -> KindStats:
    sealed, journals = store.segment_sizes(kind), store.journal_paths(kind)
    rows = [_num_rows(store, name) for name in sealed]
    living = [found for path in journals if (found := _journal_figures(path)) is not None]
    return KindStats(
        kind=kind,
        rows=sum(count or 0 for count in rows) + sum(lines for lines, _, _ in living),
        segments=len(sealed),
        segment_bytes=sum(sealed.values()),
        journals=len(living),
        journals_growing=sum(growing for _, growing, _ in living),
        journal_bytes=sum(size for _, _, size in living),
        unreadable=rows.count(None),
        set_aside=sum(name.endswith(".json") for name in store.shelf.sizes(f"{kind}/damaged")),
    )


def _num_rows(store: Store, name: str) -> int | None:
    """The rows of a segment as its end says; None where that cannot be read."""
    try:
        return int(pq.read_metadata(store.shelf.local(name)).num_rows)
    except (OSError, pa.ArrowInvalid):
        return None


def _journal_figures(path: Path) -> tuple[int, bool, int] | None:
    """A journal's lines, whether it may grow, and its bytes; None when it was sealed since it was listed."""
    try:
        with path.open("rb") as file:
            lines = sum(block.count(b"\n") for block in iter(lambda: file.read(2**20), b""))
        return lines, journal.can_grow(path), path.stat().st_size
    except FileNotFoundError:
        return None


@dataclass
class Verdict:
    """What a check of everything found."""

    segments: int = 0
    journals: int = 0
    rows: int = 0
    damage: list[Damage] = field(default_factory=list)


def verify(store: Store) -> Verdict:
    """Read every byte: checksums, columns and order of segments, checksums of journal lines. Changes nothing."""
    verdict = Verdict()
    for kind in store.kinds():
        for name in store.segment_sizes(kind):
            with suppress(FileNotFoundError):  # merged since it was listed
                _verify_segment(store, kind, name, verdict)
        for path in store.journal_paths(kind):
            with suppress(FileNotFoundError):  # sealed since it was listed
                growing = store.is_growing(path)
                verdict.rows += journal.read_journal(path, kind, verdict.damage, growing=growing).num_rows
                verdict.journals += 1
    return verdict


def _verify_segment(store: Store, kind: Kind, name: str, verdict: Verdict) -> None:
    path = store.shelf.local(name)
    fault = segments.fault_of(path, name)
    if not fault:
        segments.check_columns(path, kind)
        fault = segments.disorder_of(path)
        verdict.rows += pq.read_metadata(path).num_rows
    verdict.segments += 1
    if fault:
        verdict.damage.append(Damage(f"{store.shelf.root}/{name}", None, fault))


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """Segments of one kind before and after a compaction."""

    kind: Kind
    before: int
    after: int
    bytes_before: int
    bytes_after: int


def compact(store: Store, *, full_rows: int = FULL_ROWS) -> list[Merged]:
    """Seal what can be sealed, and merge small segments into few large ones."""
    with alone(store):
        return [_compact(store, kind, full_rows) for kind in store.kinds()]


def _compact(store: Store, kind: Kind, full_rows: int) -> Merged:
    seal(store.shelf, kind)
    before = store.segment_sizes(kind)
    small = {
        name: path for name, path in store.sound_segments(kind).items() if pq.read_metadata(path).num_rows < full_rows
    }
    if len(small) > 1:
        merging.merge(store.shelf, store.joins, kind, small, full_rows)
    after = store.segment_sizes(kind)
    return Merged(
        kind=kind,
        before=len(before),
        after=len(after),
        bytes_before=sum(before.values()),
        bytes_after=sum(after.values()),
    )


@contextmanager
def alone(store: Store) -> Iterator[None]:
    """As `merging.alone`, with an error while another is at work."""
    with merging.alone(store.shelf) as is_alone:
        if not is_alone:
            raise StoreError("another compaction or collection is at work.", where=store.shelf.root, do="Wait for it.")
        yield
