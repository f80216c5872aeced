"""What the label tests share: foreign rows to votes, and votes drawn by Hypothesis."""

import json
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import strategies as st

from rlaif.labels.importing import Imported, Request, find_format, read_labels
from rlaif.labels.label import CHOICES, RATER_KINDS, Mark
from rlaif.labels.votes import Found, make_vote
from rlaif.records import Message


def write_rows(path: Path, rows) -> Path:
    """JSON Lines, or a JSON document where `rows` is no list of rows."""
    text = "".join(json.dumps(row) + "\n" for row in rows) if path.suffix == ".jsonl" else json.dumps(rows)
    path.write_text(text)
    return path


def read_file(path: Path, **more) -> tuple[list, Imported, str]:
    """(votes, counts, the format's name) of a foreign file."""
    request = Request(path=path, **more)
    found = find_format(request)
    imported = Imported(found.name)
    return list(read_labels(request, imported, found)), imported, found.name


def said(vote) -> tuple:
    """What a vote says, by its texts: (prompt's last turn, better text, worse text) or the choice between them."""
    label, pair = vote.label, vote.pair
    first, second = (pair.y.text, pair.x.text) if vote.is_turned else (pair.x.text, pair.y.text)
    prompt = pair.prompt.messages[-1].content
    if label.choice == "second":
        return prompt, second, first, label.rater
    return prompt, first, second, label.rater if label.choice == "first" else f"{label.rater}: {label.choice}"


# --- votes of any kind

words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
names = st.text("abcdefghij", min_size=1, max_size=4)
probabilities = st.floats(0.0, 1.0)
amounts = st.floats(0.0, 1e6).map(abs)
times = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)).map(lambda time: time.replace(tzinfo=UTC))


@st.composite
def verdicts(draw) -> dict:
    if draw(st.booleans()):
        return {"choice": draw(st.sampled_from(CHOICES))}
    return {"probability": draw(probabilities)}


@st.composite
def marks(draw) -> tuple[Mark, ...]:
    principles = draw(st.lists(names, unique=True, max_size=2))
    return tuple(Mark(principle=name, **draw(verdicts()), weight=draw(st.none() | amounts)) for name in principles)


@st.composite
def conversations(draw) -> tuple[Message, ...]:
    turns = [Message("user", draw(words.filter(str.strip)))]
    if draw(st.booleans()):
        turns = [Message("system", draw(words)), *turns, Message("assistant", draw(words)), turns[0]]
    return tuple(turns)


@st.composite
def found(draw, rater=names) -> Found:
    first = draw(words)
    return Found(
        prompt=draw(conversations()),
        first=first,
        second=draw(words.filter(lambda text: text != first)),
        rater=draw(rater),
        kind=draw(st.sampled_from(RATER_KINDS)),
        marks=draw(marks()),
        strength=draw(st.none() | amounts),
        comment=draw(words),
        seconds=draw(st.none() | amounts),
        time=draw(st.none() | times),
        is_order_known=draw(st.booleans()),
        item=draw(st.sampled_from(["", "1", "2"])),
        first_model=draw(st.sampled_from(["", "m", "n"])),
        second_model=draw(st.sampled_from(["", "m"])),
        tags=frozenset(draw(st.lists(names, max_size=2))),
        source=draw(st.sampled_from(["", "s"])),
        **draw(verdicts()),
    )


votes = found().map(lambda one: make_vote(one, source=""))
