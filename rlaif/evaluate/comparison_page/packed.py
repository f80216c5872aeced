"""Rows of `comparison/rows.py`, packed for a browser: thousands of pairs open at once, one is read at a time.

Numbers are an index of columns, read once. Texts are one block of plain text, cut at two control characters that no
text can hold (`visible` names them), because cutting costs a browser far less than parsing. Equal rows in any order
give equal bytes. Rows of several judges on one pair become one entry.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.markup.text import visible
from rlaif.records import TIE_WIDTH

Row = Mapping[str, Any]
ENTRY, FIELD = "\x1e", "\x1f"  # record separator, unit separator
CHOICES = ("first", "second", "tie", "both_bad", "skipped")
MOST_PAIRS = 20_000  # what one file holds: about 100 MB of ordinary answers
_DIGITS = 4
_ROLES = {"system": "s", "user": "u", "assistant": "a"}


@dataclass(frozen=True, slots=True)
class Packed:
    """`index` is JSON-able, `texts` has an entry per pair, in the index's order. `num_pairs` were given."""

    index: dict[str, Any]
    texts: str
    num_pairs: int

    @property
    def num_listed(self) -> int:
        return len(self.index["ids"])


def pack(rows: Iterable[Row], terms: Row, most: int = MOST_PAIRS) -> Packed:
    """All pairs, or where there are more than `most` those on which a judge is furthest from people. `terms` are the
    report's: how near to a half is a tie, and whether a skipped pair is one."""
    gathered: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        gathered.setdefault((row["pair_id"], row["item"]), []).append(row)
    order = sorted(gathered)
    if len(order) > most:
        order = sorted(sorted(order, key=lambda name: -_furthest(gathered[name]))[:most])
    entries = [_Entry(gathered[name]) for name in order]
    names = _Names(entries)
    index = {
        "tie_width": terms["tie_width"],
        "order_width": TIE_WIDTH,
        "share_of_choice": [1, 0, 0.5, 0.5, 0.5 if terms["skipped"] == "tie" else None],
        "raters": [[visible(name), kind] for name, kind in names.raters],
        "principles": list(map(visible, names.principles)),
        "tags": list(map(visible, names.tags)),
        "sources": list(map(visible, names.sources)),
        "ids": [pair_id for pair_id, _ in order],
        **{
            column: [getattr(entry, column)(names) for entry in entries]
            for column in (
                "roles",
                "lengths",
                "doublings",
                "tags_of",
                "source_of",
                "shares",
                "votes",
                "marks",
                "critiques",
            )
        },
    }
    return Packed(index, "".join(ENTRY + FIELD.join(entry.texts()) for entry in entries), len(gathered))


def _furthest(rows: Sequence[Row]) -> float:
    """The judge's P(its favourite) less people's share for it, of the judge that is worst; below all, where unknown."""
    gaps = [-1.0]
    for row in rows:
        said, share = (row["judge"] or {}).get("probability"), row["share"]
        if said is not None and share is not None:
            gaps.append(said - share if said >= 0.5 else share - said)
    return max(gaps)


class _Names:
    """Every name once, sorted; columns hold their places."""

    def __init__(self, entries: Sequence["_Entry"]) -> None:
        self.raters = sorted({rater for entry in entries for rater, _ in entry.said()}, key=_judges_first)
        self.principles = sorted(
            {mark["principle"] for entry in entries for _, vote in entry.said() for mark in _marks(vote)}
        )
        self.tags = sorted({tag for entry in entries for tag in entry.row["tags"]})
        self.sources = sorted({entry.row["source"] for entry in entries})
        self.rater_places = {rater: place for place, rater in enumerate(self.raters)}
        self.principle_places = {name: place for place, name in enumerate(self.principles)}


def _judges_first(rater: tuple[str, str]) -> tuple[bool, str, str]:
    return rater[1] != "judge", *rater


def _marks(vote: Row) -> Sequence[Row]:
    return vote.get("marks") or ()


class _Entry:
    """One pair: a row of each judge, all with the same texts and people."""

    def __init__(self, rows: Sequence[Row]) -> None:
        judged = {row["judge"]["rater"]: row["judge"] for row in rows if row["judge"]}
        self.row = rows[0]
        self.judges = [judged[name] for name in sorted(judged)]
        self.people = sorted(self.row["people"], key=lambda vote: str(vote["rater"]))

    def said(self) -> Iterator[tuple[tuple[str, str], Row]]:
        """Every ((rater, kind), vote)."""
        yield from (((vote["rater"], "judge"), vote) for vote in self.judges)
        yield from (((vote["rater"], vote.get("kind", "human")), vote) for vote in self.people)

    def roles(self, _: _Names) -> str:
        return "".join(_ROLES[turn["role"]] for turn in self.row["prompt"])

    def lengths(self, _: _Names) -> list[int]:
        return [len(self.row["first"]), len(self.row["second"])]

    def doublings(self, _: _Names) -> float:
        """How much longer the first answer is."""
        return round(float(self.row["length_difference"]), _DIGITS)

    def tags_of(self, names: _Names) -> list[int]:
        return [names.tags.index(tag) for tag in sorted(self.row["tags"])]

    def source_of(self, names: _Names) -> int:
        return names.sources.index(self.row["source"])

    def shares(self, _: _Names) -> float | None:
        """People's share for the first answer, as the report counts it."""
        return _rounded(self.row["share"])

    def votes(self, names: _Names) -> list[list[Any]]:
        """[rater, P(first) or null, place in CHOICES or null, strength, seconds] of each."""
        return [
            [
                names.rater_places[rater],
                _rounded(vote.get("probability")),
                CHOICES.index(vote["choice"]) if vote.get("choice") else None,
                _rounded(vote.get("strength")),
                _rounded(vote.get("seconds")),
            ]
            for rater, vote in self.said()
        ]

    def marks(self, names: _Names) -> list[list[Any]]:
        """[rater, principle, P(first) or null, choice or null, P when shown first, when shown second, weight]."""
        marks = [
            [
                names.rater_places[rater],
                names.principle_places[mark["principle"]],
                _rounded(mark.get("probability")),
                CHOICES.index(mark["choice"]) if mark.get("choice") else None,
                *(_rounded(mark.get(name)) for name in ("shown_first", "shown_second", "weight")),
            ]
            for rater, vote in self.said()
            for mark in _marks(vote)
        ]
        return sorted(marks, key=lambda mark: (mark[1], mark[0]))  # principle by principle, as they are read

    def critiques(self, names: _Names) -> list[list[Any]]:
        """[rater, principle, number of the answer shown first, 0 if unknown] of each, in the order of their texts."""
        shown = {"first": 1, "second": 2}
        return [
            [
                names.rater_places[vote["rater"], "judge"],
                visible(vote.get("critique_principle") or ""),
                shown.get(vote.get("critique_shows_first", ""), 0),
            ]
            for vote in self.judges
            if vote.get("critique")
        ]

    def texts(self) -> list[str]:
        """Both answers, their models, each turn, each vote's comment, each critique."""
        row = self.row
        texts = [row["first"], row["second"], row.get("first_model") or "", row.get("second_model") or ""]
        texts += [turn["content"] for turn in row["prompt"]]
        texts += [vote.get("comment") or "" for _, vote in self.said()]
        texts += [vote["critique"] for vote in self.judges if vote.get("critique")]
        return list(map(visible, texts))


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(float(number), _DIGITS)
