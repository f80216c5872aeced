"""What trainers learn from: token sequences with a probability, a weight and a margin, and the card that counts how
they came about. Here the sources' names end: a `TrainingRow` does not say who made its label, and no trainer can ask.

    rows, card = read_preferences(entries, tokeniser, limits)     pairs
    rows, card = read_rankings(…)          pairs, and answers in an order: all of a prompt in one row
    rows, card = read_answers(…)           single answers with the probability that they are desirable
    rows, card = read_demonstrations(…)    answers to imitate
    card.check()                           stops when one source lost more rows than another
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rlaif.errors import Where
from rlaif.train.answer_rows import answer_rows, is_ranked, ranked_row
from rlaif.train.cells import Content, Labels, Refused
from rlaif.train.data_card import DataCard, SourceCounts
from rlaif.train.packing import Family
from rlaif.train.reading import read_raw
from rlaif.train.rows import demonstration_row, preference_row
from rlaif.train.tokenise import Tokenised, Tokeniser, TooLong, fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two sequences of a row, by their places, and the label on them. `principles`: P(first is better) by name."""

    first: int = 0
    second: int = 1
    probability: float = 1.0
    weight: float = 1.0
    margin: float = 0.0
    principles: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRow:
    """Sequences of one row (one answer; a pair: chosen, rejected; several answers) and how much its label says.

    `comparisons` are there where the row is more than one labelled pair; its weight is then the sum of theirs.
    """

    family: Family
    probability: float = 1.0
    weight: float = 1.0
    margin: float = 0.0
    comparisons: tuple[Comparison, ...] = ()
    principles: Mapping[str, float] = field(default_factory=dict)

    @property
    def pairs(self) -> tuple[Comparison, ...]:
        """What is compared in this row: a pair is one comparison."""
        if self.comparisons:
            return self.comparisons
        return (
            Comparison(
                probability=self.probability, weight=self.weight, margin=self.margin, principles=self.principles
            ),
        )

    def weighted(self, factor: float) -> "TrainingRow":
        """The row counting `factor` times as much."""
        pairs = tuple(replace(pair, weight=pair.weight * factor) for pair in self.comparisons)
        return replace(self, weight=self.weight * factor, comparisons=pairs)


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
    with_principles: bool = False


Converted = tuple[Sequence[TrainingRow], Tokenised] | Refused
Reader = Callable[..., tuple[list[TrainingRow], DataCard]]


def read_preferences(
    entries: Sequence[DataEntry], tokeniser: Tokeniser, limits: Limits, *, base: Path = Path()
) -> tuple[list[TrainingRow], DataCard]:
    """All pairs of the entries, in order; answers in an order as the pairs they make."""

    def convert(raw: Mapping[str, Any], where: Where) -> Converted:
        if not is_ranked(raw):
            return _pair(raw, where, tokeniser, limits)
        found = _ranking(raw, where, tokeniser, limits)
        if isinstance(found, Refused):
            return found
        (row,), tokenised = found
        return [
            TrainingRow(family=(row.family[one.first], row.family[one.second]), **_label(one)) for one in row.pairs
        ], tokenised

    return _read(entries, base, convert)


def read_rankings(
    entries: Sequence[DataEntry], tokeniser: Tokeniser, limits: Limits, *, base: Path = Path()
) -> tuple[list[TrainingRow], DataCard]:
    """All pairs of the entries, and answers in an order with every two of them compared in one row."""

    def convert(raw: Mapping[str, Any], where: Where) -> Converted:
        return (_ranking if is_ranked(raw) else _pair)(raw, where, tokeniser, limits)

    return _read(entries, base, convert)


def read_answers(
    entries: Sequence[DataEntry], tokeniser: Tokeniser, limits: Limits, *, base: Path = Path()
) -> tuple[list[TrainingRow], DataCard]:
    """Single answers; a pair is two."""

    def convert(raw: Mapping[str, Any], where: Where) -> Converted:
        rows = answer_rows(raw, where, labels=limits.labels)
        if isinstance(rows, Refused):
            return rows
        found = _tokenise(tokeniser, rows[0].prompt, [row.completion for row in rows], limits)
        if isinstance(found, Refused):
            return found
        return [
            TrainingRow(family=(one,), probability=row.probability, weight=row.weight)
            for row, one in zip(rows, found.family, strict=True)
        ], found

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
        return found if isinstance(found, Refused) else ([TrainingRow(family=found.family, weight=row.weight)], found)

    return _read(entries, base, convert)


def _pair(raw: Mapping[str, Any], where: Where, tokeniser: Tokeniser, limits: Limits) -> Converted:
    row = preference_row(raw, where, labels=limits.labels, with_principles=limits.with_principles)
    if isinstance(row, Refused):
        return row
    found = _tokenise(tokeniser, row.prompt, (row.chosen, row.rejected), limits)
    return found if isinstance(found, Refused) else ([TrainingRow(family=found.family, **_label(row))], found)


def _ranking(raw: Mapping[str, Any], where: Where, tokeniser: Tokeniser, limits: Limits) -> Converted:
    """A prompt counts once, however many answers it has: InstructGPT's 1 / (K choose 2)."""
    row = ranked_row(raw, where, labels=limits.labels)
    if isinstance(row, Refused):
        return row
    found = _tokenise(tokeniser, row.prompt, row.answers, limits)
    if isinstance(found, Refused):
        return found
    share = row.weight / len(row.comparisons)
    pairs = tuple(Comparison(first=a, second=b, probability=p, weight=share) for a, b, p in row.comparisons)
    return [TrainingRow(family=found.family, weight=row.weight, comparisons=pairs)], found


def _label(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("probability", "weight", "margin", "principles")}


def _tokenise(tokeniser: Tokeniser, prompt: Content, answers: Sequence[Content], limits: Limits) -> Tokenised | Refused:
    found = tokeniser.tokenise(prompt, answers)
    return found if isinstance(found, Refused) else fit(found, limits.max_length, limits.too_long)


def _read(
    entries: Sequence[DataEntry], base: Path, convert: Callable[[Mapping[str, Any], Where], Converted]
) -> tuple[list[TrainingRow], DataCard]:
    rows: list[TrainingRow] = []
    places: list[str] = []
    sources = {entry.name: SourceCounts() for entry in entries}
    for entry in entries:
        counts, before = sources[entry.name], len(rows)
        for where, raw in read_raw(entry.path, base=base, split=entry.split, config=entry.config):
            counts.read += 1
            found = convert(raw, where)
            if isinstance(found, Refused):
                counts.refused[found.reason] += 1
                continue
            new, tokenised = found
            counts.kept += 1
            counts.cut += tokenised.is_cut
            counts.merged += tokenised.is_merged
            counts.labellers.update(_labeller(raw))
            rows.extend(row if entry.weight == 1.0 else row.weighted(entry.weight) for row in new)
            places.extend(str(where) for _ in new)
        counts.digest = rows_digest(rows[before:])
    return rows, DataCard(sources, rows_digest(rows), num_tokens_of(rows), len(rows), places)


def _labeller(raw: Mapping[str, Any]) -> list[str]:
    """Who labelled a row, for the card alone: a vote's kind of rater, or the judge of our datasets."""
    kind = raw.get("kind") or raw.get("rater_kind")
    if isinstance(kind, str) and kind:
        return [kind]
    judge = raw.get("judge")
    return [f"judge {judge}"] if isinstance(judge, str) and judge else []


def num_tokens_of(rows: Iterable[TrainingRow]) -> int:
    return sum(len(one) for row in rows for one in row.family)


def rows_digest(rows: Iterable[TrainingRow]) -> str:
    """SHA-256 of rows as trainers see them, in order: token ids, what is scored, label, weight, margin."""
    total = hashlib.sha256()
    for row in rows:
        total.update(np.array([row.probability, row.weight, row.margin, len(row.family)]).tobytes())
        for one in row.family:
            total.update(np.array([len(one)]).tobytes() + one.ids.tobytes() + one.scored.tobytes())
        if row.comparisons or row.principles:
            total.update(repr([(_key(pair), sorted(pair.principles.items())) for pair in row.pairs]).encode())
    return total.hexdigest()


def _key(pair: Comparison) -> tuple[float, ...]:
    return (pair.first, pair.second, pair.probability, pair.weight, pair.margin)
