"""What an export is: votes that belong in one row, and that row in the other tool's words."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.labels.formats import Format
from rlaif.labels.label import Choice, Label, Mark, Vote
from rlaif.labels.votes import Found, Unfit
from rlaif.records import Message

Row = dict[str, Any]
Slot = Callable[[Label], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One format that is written. `row` gives a group's row, or why there is none.

    Votes of a group are about one pair in one order. `slot` names the place in a row a vote takes, of which each row
    has one (a rater has one opinion of a comparison in ICAI's file); None puts every vote into a row of its own.
    `document` puts rows together to what the file holds; None writes them as JSON Lines. `reader` is the importer's
    format: with it every row is read back, so that what is lost is known and not thought out.
    """

    name: str
    about: str
    row: Callable[[Sequence[Found]], Row | Unfit]
    reader: Format
    slot: Slot | None = None
    document: Callable[[Iterable[Row]], Any] | None = list


def grouped(votes: Iterable[Vote], slot: Slot | None) -> Iterator[list[Vote]]:
    """The votes by row, in the order each row's first vote came. Without slots nothing is held in memory."""
    if slot is None:
        yield from ([vote] for vote in votes)
        return
    groups: dict[tuple[Any, ...], list[list[Vote]]] = {}
    order: list[list[Vote]] = []
    for vote in votes:
        rows = groups.setdefault(_same_row(vote), [])
        free = next((row for row in rows if slot(vote.label) not in {slot(one.label) for one in row}), None)
        if free is None:
            free = []
            rows.append(free)
            order.append(free)
        free.append(vote)
    yield from order


def _same_row(vote: Vote) -> tuple[Any, ...]:
    """All that a row says once for all of its votes."""
    label, prompt = vote.label, vote.pair.prompt
    models = (vote.pair.x.policy, vote.pair.y.policy)
    return (label.pair_id, label.first_id, label.is_order_known, label.item, models, prompt.tags, prompt.source)


def named_choice(verdict: Found | Mark) -> Choice:
    """The choice, or the one a probability leans to; one half is a tie."""
    if verdict.choice is not None:
        return verdict.choice
    probability = verdict.probability or 0.0
    return "tie" if probability == 0.5 else "first" if probability > 0.5 else "second"


def named_probability(verdict: Found | Mark) -> float | None:
    """P(what `named_choice` names is better), where the rater gave a probability."""
    if verdict.probability is None:
        return None
    return verdict.probability if named_choice(verdict) != "second" else 1.0 - verdict.probability


def beside(found: Found) -> dict[str, str]:
    """What a tool's row has no place for of its own, as flat text: tools keep such metadata as it is."""
    more = {
        "prompt_messages": "" if is_plain(found.prompt) else as_json([m.as_dict() for m in found.prompt]),
        "order_known": "" if found.is_order_known else "false",
        "item": found.item,
        "tags": as_json(sorted(found.tags)) if found.tags else "",
        "source": found.source,
    }
    return {name: text for name, text in more.items() if text}


def models(found: Found) -> dict[str, str]:
    named = {"first_model": found.first_model, "second_model": found.second_model}
    return {name: text for name, text in named.items() if text}


def is_plain(prompt: tuple[Message, ...]) -> bool:
    return len(prompt) == 1 and prompt[0].role == "user"


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def without_empty(row: Mapping[str, Any]) -> Row:
    """The row without what is not there."""
    return {key: value for key, value in row.items() if value not in (None, "", [], ())}
