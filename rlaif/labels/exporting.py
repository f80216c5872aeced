"""From a label file to a format other tools read, and what was lost on the way.

Nothing is claimed about what a format can hold: every row written is read back by our own importer and compared,
field by field. What differs is counted under the field's name; a vote the format has no form for is left out, with
the reason.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from rlaif.labels.exports.base import Export, Row, grouped
from rlaif.labels.label import Label, Mark, Vote
from rlaif.labels.votes import Found, Unfit, found_of, make_vote
from rlaif.pair_dataset import whole_file

_ROUNDING = 1e-15  # 1 - (1 - p) is not always p to the last bit


@dataclass(slots=True)
class Exported:
    """The votes written and those left out, by reason; `lost` counts votes by the field that the format dropped."""

    num_labels: int = 0
    num_written: int = 0
    num_rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)


def export_votes(votes: Iterable[Vote], path: Path, export: Export) -> Exported:
    """Write the votes in this format, whole or not at all."""
    exported = Exported()
    with whole_file(path) as fresh, fresh.open("w", encoding="utf-8") as stream:
        rows = _rows(votes, export, exported)
        if export.document is None:
            stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            json.dump(export.document(rows), stream, ensure_ascii=False, indent=1)
            stream.write("\n")
    return exported


def _rows(votes: Iterable[Vote], export: Export, exported: Exported) -> Iterator[Row]:
    for group in grouped(votes, export.slot):
        exported.num_labels += len(group)
        row = export.row([found_of(vote) for vote in group])
        if isinstance(row, Unfit):
            exported.left_out[row.reason] += len(group)
            continue
        exported.num_rows += 1
        exported.num_written += len(group)
        for vote, back in _read_back(group, row, export):
            exported.lost.update(differences(vote, back))
        yield row


def _read_back(group: list[Vote], row: Row, export: Export) -> Iterator[tuple[Vote, Vote | None]]:
    """Every vote of a row with what our importer makes of it; None where it makes nothing."""
    document: Any = export.document([row]) if export.document else [row]
    whole = document if isinstance(document, list) else [document]
    found = [one for part in json.loads(json.dumps(whole)) for one in export.reader.read(part)]
    read = [make_vote(one, source="") for one in found if isinstance(one, Found)]
    by_rater = {vote.label.rater: vote for vote in read if isinstance(vote, Vote)}
    for vote in group:
        yield vote, by_rater.get(vote.label.rater)


def differences(vote: Vote, back: Vote | None) -> list[str]:
    """The fields that came back changed. A mark's are called `marks` where marks are missing, else `mark <field>`."""
    if back is None:
        return ["label"]
    names = [one.name for one in fields(Label) if one.name != "marks"]
    lost = [name for name in names if not _same(getattr(vote.label, name), getattr(back.label, name))]
    lost += ["tags"] if vote.pair.prompt.tags != back.pair.prompt.tags else []
    lost += ["source"] if vote.pair.prompt.source != back.pair.prompt.source else []
    lost += ["models"] if _models(vote) != _models(back) else []
    return lost + _mark_differences(vote.label.marks, back.label.marks)


def _mark_differences(marks: tuple[Mark, ...], back: tuple[Mark, ...]) -> list[str]:
    if [mark.principle for mark in marks] != [mark.principle for mark in back]:
        return ["marks"]
    names = [one.name for one in fields(Mark)]
    pairs = list(zip(marks, back, strict=True))
    return [f"mark {name}" for name in names if any(not _same(getattr(a, name), getattr(b, name)) for a, b in pairs)]


def _models(vote: Vote) -> tuple[str, str]:
    return vote.pair.x.policy, vote.pair.y.policy


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= _ROUNDING * max(1.0, abs(one))
    return bool(one == other)
