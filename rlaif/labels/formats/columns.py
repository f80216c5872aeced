"""Any CSV, JSONL or Parquet file, with a mapping from our fields to its columns.

    columns:  prompt=question, first=left_text, second=right_text, choice=vote, mark.honesty=honest_vote
    choices:  first=L, second=R, tie=same            (only where the spellings do not tell by themselves)

The alphabet of the choices is found from all of the column's values, and must be one: 1/2, 0/1, A/B, left/right, the
models' names … Values that two alphabets share (a column of ones), or that are of two, stop the import.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

from rlaif.errors import DataError, nearest
from rlaif.labels.formats.base import Format, Reading, Row
from rlaif.labels.formats.extras import tags_of
from rlaif.labels.formats.values import Alphabet, messages_of, number_of, parsed, spelling, text_of, time_of
from rlaif.labels.label import CHOICES, Choice, Mark
from rlaif.labels.votes import Found, Unfit

_TEXTS = ("prompt", "first", "second", "chosen", "rejected")
_VERDICTS = ("choice", "probability")
_MORE = ("rater", "strength", "comment", "seconds", "time", "item", "first_model", "second_model", "tags", "source")
FIELDS = (*_TEXTS, *_VERDICTS, *_MORE)
_MARK = "mark."
_HEAD = 20  # rows that show which columns there are
_POSITIONS = (
    ("1", "2"),
    ("0", "1"),
    ("a", "b"),
    ("first", "second"),
    ("left", "right"),
    ("l", "r"),
    ("text_a", "text_b"),
    ("model_a", "model_b"),
    ("model_1", "model_2"),
    ("response_a", "response_b"),
    ("response_1", "response_2"),
    ("output_1", "output_2"),
)
_WORDS: Mapping[str, Choice] = {
    "tie": "tie",
    "equal": "tie",
    "same": "tie",
    "both_bad": "both_bad",
    "both bad": "both_bad",
    "tie (bothbad)": "both_bad",
    "neither": "both_bad",
    "skip": "skipped",
    "skipped": "skipped",
}


def column_format(columns: Mapping[str, str], choices: Mapping[str, str], rows: Iterator[Row], where: str) -> Format:
    """The format that this mapping makes of the file at `where`. `rows` are read for the alphabet of the choices."""
    _check(columns, choices)
    head = list(islice(rows, _HEAD))
    _check_columns(columns, head, where)
    every = chain(head, rows)
    alphabet = _alphabet(columns, choices, every, where) if "choice" in columns else None

    def read(row: Row) -> Reading:
        yield _vote(row, columns, alphabet)

    return Format(name="columns", about="a column mapping", keys=frozenset(columns.values()), read=read)


def _check(columns: Mapping[str, str], choices: Mapping[str, str]) -> None:
    for name in columns:
        if name not in FIELDS and not name.startswith(_MARK):
            do = f"Known are {', '.join(FIELDS)} and mark.PRINCIPLE."
            raise DataError(f"--columns has an unknown field {name!r}{nearest(name, FIELDS)}.", do=do)
    for name in choices:
        if name not in CHOICES:
            raise DataError(f"--choices has an unknown choice {name!r}.", do=f"Known are {', '.join(CHOICES)}.")
    by_place, by_outcome = {"first", "second"} <= columns.keys(), {"chosen", "rejected"} <= columns.keys()
    verdicts = [name for name in _VERDICTS if name in columns]
    if "prompt" not in columns or by_place == by_outcome or (by_place and len(verdicts) != 1):
        do = "Give prompt, and either first, second and one of choice and probability, or chosen and rejected."
        raise DataError(f"--columns maps {', '.join(columns) or 'nothing'}; that is no vote.", do=do)


def _check_columns(columns: Mapping[str, str], head: list[Row], where: str) -> None:
    """A column that none of the first rows has is a mistyping; one that some lack is theirs to be listed."""
    known = sorted({name for row in head for name in row})
    for column in columns.values():
        if head and column not in known:
            found = f"there is no column {column!r}{nearest(column, known)}."
            raise DataError(found, where=where, do=f"The columns are: {', '.join(known)}.")


def _alphabet(
    columns: Mapping[str, str], choices: Mapping[str, str], rows: Iterable[Row], where: str
) -> Alphabet | None:
    """The one alphabet of the column; None where the votes name models."""
    if choices:
        return Alphabet(**{choice: values.split("|") for choice, values in choices.items()})
    seen = set()
    by_name, count = 0, 0
    for row in rows:
        value = row.get(columns["choice"])
        if value is None or not str(value).strip() or spelling(value) in _WORDS:
            continue
        seen.add(spelling(value))
        by_name, count = by_name + (spelling(value) in _names(row, columns)), count + 1
    if count and by_name == count:
        return None
    fitting = [pair for pair in _POSITIONS if seen and seen <= set(pair)]
    if len(fitting) != 1:
        raise _no_alphabet(columns["choice"], seen, fitting, by_name, where)
    first, second = fitting[0]
    words = {choice: [word for word, meant in _WORDS.items() if meant == choice] for choice in CHOICES[2:]}
    return Alphabet(first=[first], second=[second], **words)


def _no_alphabet(column: str, seen: set[str], fitting: list[tuple[str, str]], by_name: int, where: str) -> DataError:
    shown = ", ".join(sorted(seen)[:8]) + (" …" if len(seen) > 8 else "")
    do = "Say what they mean, e.g. --choices first=1,second=2,tie=0"
    if not seen:
        return DataError(f"column {column!r} holds no choice.", where=where, do="Map the column that holds the votes.")
    if fitting:
        names = " and ".join("/".join(pair) for pair in fitting)
        return DataError(f"column {column!r} holds only {shown}, which fits {names}.", where=where, do=do)
    mixed = f"; {by_name} of them name a model" if by_name else ""
    return DataError(f"column {column!r} is of no one alphabet: {shown}{mixed}.", where=where, do=do)


def _names(row: Row, columns: Mapping[str, str]) -> list[str]:
    """The two models' names, spelled as choices are."""
    named = [columns[name] for name in ("first_model", "second_model") if name in columns]
    return [spelling(row.get(column)) for column in named]


def _vote(row: Row, columns: Mapping[str, str], alphabet: Alphabet | None) -> Found | Unfit:
    cells: dict[str, Any] = {name: row.get(column) for name, column in columns.items()}
    prompt = messages_of(parsed(cells["prompt"]) if cells["prompt"] is not None else "")
    verdict = _verdict(cells, row, columns, alphabet)
    marks = _marks(cells, alphabet)
    if isinstance(prompt, Unfit):
        return prompt
    if isinstance(verdict, Unfit):
        return verdict
    if isinstance(marks, Unfit):
        return marks
    is_place = "first" in columns
    texts = {name: text_of(cell) for name, cell in cells.items()}
    return Found(
        prompt=prompt,
        first=texts["first" if is_place else "chosen"],
        second=texts["second" if is_place else "rejected"],
        rater=texts.get("rater", ""),
        kind="human",
        marks=marks,
        strength=number_of(cells.get("strength")),
        comment=texts.get("comment", ""),
        seconds=number_of(cells.get("seconds")),
        time=time_of(cells.get("time")),
        is_order_known=is_place,
        item=texts.get("item", ""),
        first_model=texts.get("first_model", ""),
        second_model=texts.get("second_model", ""),
        tags=tags_of(cells.get("tags")),
        source=texts.get("source", ""),
        **verdict,
    )


def _verdict(
    cells: Mapping[str, Any], row: Row, columns: Mapping[str, str], alphabet: Alphabet | None
) -> dict[str, Any] | Unfit:
    if "probability" in columns:
        probability = number_of(cells["probability"])
        is_one = probability is not None and 0.0 <= probability <= 1.0
        return {"probability": probability} if is_one else Unfit(f"no probability: {cells['probability']!r}")
    if "choice" not in columns:
        return {"choice": "first"}
    if alphabet is not None:
        choice = alphabet.read(cells["choice"], names=_names(row, columns))
        return choice if isinstance(choice, Unfit) else {"choice": choice}
    value, names = spelling(cells["choice"] or ""), _names(row, columns)
    if value in _WORDS:
        return {"choice": _WORDS[value]}
    if names.count(value) != 1:
        return Unfit("both models have the name voted for" if value in names else "no label")
    return {"choice": ("first", "second")[names.index(value)]}


def _marks(cells: Mapping[str, Any], alphabet: Alphabet | None) -> tuple[Mark, ...] | Unfit:
    """Marks are spelled as the choices are; an empty cell is a principle without a mark."""
    marks = []
    for name, value in cells.items():
        if not name.startswith(_MARK) or value is None or not str(value).strip():
            continue
        if alphabet is None:
            return Unfit("marks need choices spelled by position; give --choices")
        choice = alphabet.read(value)
        if isinstance(choice, Unfit):
            return choice
        marks.append(Mark(principle=name.removeprefix(_MARK), choice=choice))
    return tuple(marks)
