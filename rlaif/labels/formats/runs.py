"""The labels of one of our own runs (outputs/runs/<name>/labels.parquet) as a judge's labels.

The probability is that of the whole constitution; each principle's verdict is a mark, with both orders. A pair, or a
principle, without any verdict is a skipped one. Both orders were shown, so there is no one order to know.
"""

from collections.abc import Mapping
from typing import Any

from rlaif.labels.formats.base import Format, Reading, Row
from rlaif.labels.formats.values import messages_of
from rlaif.labels.label import Mark
from rlaif.labels.votes import Found, Unfit

PRINCIPLE_NUMBERS = ("probability", "shown_first", "shown_second", "weight")


def _read(row: Row) -> Reading:
    prompt = messages_of(row["prompt"])
    if isinstance(prompt, Unfit):
        yield prompt
        return
    probability = row["probability_x"]
    yield Found(
        prompt=prompt,
        first=row["response_x"],
        second=row["response_y"],
        rater="",
        kind="judge",
        choice="skipped" if probability is None else None,
        probability=probability,
        marks=tuple(_mark(principle) for principle in row["principles"] or ()),
        tags=frozenset(row.get("tags") or ()),
    )


def _mark(principle: Mapping[str, Any]) -> Mark:
    numbers = {name: principle.get(name) for name in PRINCIPLE_NUMBERS}
    choice = "skipped" if numbers["probability"] is None else None
    return Mark(principle=principle["id"], choice=choice, **numbers)  # type: ignore[arg-type]  # a literal


RUN = Format(
    name="run",
    about="labels.parquet of a run of `rlaif generate`, with every principle's verdict as a mark",
    keys=frozenset({"x_id", "y_id", "response_x", "response_y", "probability_x", "principles"}),
    read=_read,
    rater="judge",
)
