"""Sealing: the journals of writers that are done become segments, and what could not be read is set aside.

Safe against a kill at any moment and against two at once. A journal is sealed by the one who holds its lock, and
removed only when the segment with all of its readable results is durable and every damaged line has a file of its own;
done twice, both steps write the same files again.
"""

import base64
import json
from pathlib import Path

from rlaif.store.journal import Damage, is_elsewhere, is_journal, journal_table
from rlaif.store.schema import Kind
from rlaif.store.segments import write_segment
from rlaif.store.shelf import LocalShelf, Shelf, locked
from rlaif.store.writing import told_as_ours


def seal(shelf: Shelf, kind: Kind) -> list[Damage]:
    """Seal what can be sealed now; returns what was set aside. An object store has no journals."""
    found: list[Damage] = []
    if isinstance(shelf, LocalShelf):
        for name in sorted(shelf.sizes(f"{kind}/journals")):
            if is_journal(name):
                found += _seal_one(shelf, kind, shelf.path / kind / "journals" / name)
        shelf.sweep(f"{kind}/journals")
    return found


def _seal_one(shelf: LocalShelf, kind: Kind, path: Path) -> list[Damage]:
    damage: list[Damage] = []
    with locked(path) as file:
        if file is None or is_elsewhere(path):
            return []
        table = journal_table(file, path, kind, damage, growing=False)
        for one in damage:
            set_aside_bytes(shelf, kind, one)
        if table.num_rows:
            write_segment(shelf, kind, [table])
        path.unlink()
    return damage


def set_aside_bytes(shelf: Shelf, kind: Kind, damage: Damage) -> None:
    """Keep a damaged part of a journal, with its place and the reason, in a file of its own."""
    name = f"{Path(damage.path).name}@{damage.offset}.json"
    _write_note(shelf, f"{kind}/damaged/{name}", damage)


def set_aside_segment(shelf: Shelf, kind: Kind, name: str, damage: Damage) -> None:
    """Move a damaged segment out of the way, the reason beside it."""
    place = f"{kind}/damaged/{Path(name).name}"
    _write_note(shelf, f"{place}.json", damage)
    shelf.move(name, place)


def _write_note(shelf: Shelf, name: str, damage: Damage) -> None:
    note = {"from": damage.path, "offset": damage.offset, "reason": damage.reason}
    if damage.found:
        note["bytes_base64"] = base64.b64encode(damage.found).decode()
    with told_as_ours(shelf.root):
        partial = shelf.partial(str(Path(name).parent))
        try:
            partial.write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
            shelf.place(partial, name)
        finally:
            partial.unlink(missing_ok=True)
