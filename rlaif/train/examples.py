"""What trainers learn from: token sequences with a probability, a weight and a margin, and the card that counts how
they came about. Here the sources' names end: a `TrainingRow` does not say who made its label, and no trainer can ask.

    rows, card = read_preferences(entries, tokeniser, limits)
    card.check()        # stops when one source lost more rows than another
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rlaif.errors import DataError, Where
from rlaif.train.packing import Family
from rlaif.train.reading import read_raw
from rlaif.train.rows import Content, Labels, Refused, demonstration_row, preference_row
from rlaif.train.tokenise import Tokenised, Tokeniser, TooLong, fit

MAX_REFUSED_GAP = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRow:
    """Sequences of one row (SFT: one; a pair: chosen, rejected) and how much its label says."""

    family: Family
    probability: float = 1.0
    weight: float = 1.0
    margin: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DataEntry:
    """One dataset of a run. `weight` multiplies its rows' weights."""

    path: str
    name: str
    weight: float = 1.0
    split: str = "train"
    config: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a sequence may be, what happens to longer ones, and how labels are read."""

    max_length: int
    too_long: TooLong = "refuse"
    labels: Labels = "soft"


@dataclass(slots=True)
class SourceCounts:
    """What became of one source's rows: read = kept + Σ refused; `cut` and `merged` are among the kept."""

    read: int = 0
    kept: int = 0
    cut: int = 0
    merged: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def refused_share(self) -> float:
        return self.refused.total() / self.read if self.read else 0.0


@dataclass(frozen=True, slots=True)
class DataCard:
    """Counts by source, and the digest of the rows as the trainer sees them."""

    sources: Mapping[str, SourceCounts]
    digest: str
    num_tokens: int

    @property
    def num_rows(self) -> int:
        return sum(counts.kept for counts in self.sources.values())

    def as_dict(self) -> dict[str, Any]:
        """For the log and the model card."""
        sources = {
            name: {"read": c.read, "kept": c.kept, "cut": c.cut, "merged": c.merged, "refused": dict(c.refused)}
            for name, c in self.sources.items()
        }
        return {"sources": sources, "rows": self.num_rows, "tokens": self.num_tokens, "digest": self.digest}

    def check(self, *, allow_uneven: bool = False) -> None:
        """Raise DataError when nothing was kept, or when sources lost shares that differ by more than one point: what
        was refused is not random, so arms of a comparison would learn from different kinds of rows."""
        if not self.num_rows:
            reasons = sum((counts.refused for counts in self.sources.values()), Counter[str]())
            listed = ", ".join(f"{count} × {reason}" for reason, count in reasons.items()) or "the data are empty"
            raise DataError(f"no row is left to train on: {listed}.", do="Raise max_length, or correct the data.")
        shares = {name: counts.refused_share for name, counts in self.sources.items()}
        low, high = min(shares, key=lambda name: shares[name]), max(shares, key=lambda name: shares[name])
        if shares[high] - shares[low] > MAX_REFUSED_GAP and not allow_uneven:
            raise DataError(
                f"{high!r} lost {shares[high]:.1%} of its rows, {low!r} only {shares[low]:.1%}.",
                do="Raise max_length or set too_long, or go on knowingly with allow_uneven: true.",
            )


Converted = tuple[TrainingRow, Tokenised] | Refused


def read_preferences(
    entries: Sequence[DataEntry], tokeniser: Tokeniser, limits: Limits, *, base: Path = Path()
) -> tuple[list[TrainingRow], DataCard]:
    """All pairs of the entries, in order."""

    def convert(raw: Mapping[str, Any], where: Where) -> Converted:
        row = preference_row(raw, where, labels=limits.labels)
        if isinstance(row, Refused):
            return row
        found = _tokenise(tokeniser, row.prompt, (row.chosen, row.rejected), limits)
        if isinstance(found, Refused):
            return found
        label = {"probability": row.probability, "weight": row.weight, "margin": row.margin}
        return TrainingRow(family=found.family, **label), found

    return _read(entries, base, convert)


def read_demonstrations(
    entries: Sequence[DataEntry], tokeniser: Tokeniser, limits: Limits, *, base: Path = Path()
) -> tuple[list[TrainingRow], DataCard]:
    """All conversations or completions of the entries, in order."""

    def convert(raw: Mapping[str, Any], where: Where) -> Converted:
        row = demonstration_row(raw, where)
        if isinstance(row, Refused):
            return row
        found = _tokenise(tokeniser, row.prompt, (row.completion,), limits)
        return found if isinstance(found, Refused) else (TrainingRow(family=found.family, weight=row.weight), found)

    return _read(entries, base, convert)


def _tokenise(tokeniser: Tokeniser, prompt: Content, answers: Sequence[Content], limits: Limits) -> Tokenised | Refused:
    found = tokeniser.tokenise(prompt, answers)
    return found if isinstance(found, Refused) else fit(found, limits.max_length, limits.too_long)


def _read(
    entries: Sequence[DataEntry], base: Path, convert: Callable[[Mapping[str, Any], Where], Converted]
) -> tuple[list[TrainingRow], DataCard]:
    rows: list[TrainingRow] = []
    sources = {entry.name: SourceCounts() for entry in entries}
    for entry in entries:
        counts = sources[entry.name]
        for where, raw in read_raw(entry.path, base=base, split=entry.split, config=entry.config):
            counts.read += 1
            found = convert(raw, where)
            if isinstance(found, Refused):
                counts.refused[found.reason] += 1
                continue
            row, tokenised = found
            counts.kept += 1
            counts.cut += tokenised.is_cut
            counts.merged += tokenised.is_merged
            rows.append(row if entry.weight == 1.0 else replace(row, weight=row.weight * entry.weight))
    num_tokens = sum(len(one) for row in rows for one in row.family)
    return rows, DataCard(sources=sources, digest=rows_digest(rows), num_tokens=num_tokens)


def rows_digest(rows: Iterable[TrainingRow]) -> str:
    """SHA-256 of rows as trainers see them, in order: token ids, what is scored, label, weight, margin."""
    total = hashlib.sha256()
    for row in rows:
        total.update(np.array([row.probability, row.weight, row.margin, len(row.family)]).tobytes())
        for one in row.family:
            total.update(np.array([len(one)]).tobytes() + one.ids.tobytes() + one.scored.tobytes())
    return total.hexdigest()
