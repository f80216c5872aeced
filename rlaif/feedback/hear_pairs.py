"""Pairs put to a judge in its mode, pass after pass, without a run around them: what `rlaif watch` and tests do.

`generate` and `plan` walk whole runs in blocks (`rlaif/feedback/road.py`). Here the pairs fit into memory, are asked
about at once, and what each pass lacks is told before it is asked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlaif.constitution import Constitution
from rlaif.feedback.aggregate import label_verdicts
from rlaif.feedback.ask import Session, Value, ask, look_up
from rlaif.feedback.check_verdicts import check_verdicts, in_order
from rlaif.feedback.mode import About, Heard, Mode, Pass, Values
from rlaif.feedback.progress import Progress
from rlaif.records import LabelledPair, PrincipleVerdict, ResponsePair
from rlaif.settings import LabelSettings
from rlaif.store import Store


@dataclass(frozen=True, slots=True)
class Lack:
    """What one pass lacks: what each missing request is about. `reused` are those that are there."""

    asked: Pass
    missing: list[About]
    reused: int


def hear_pairs(
    mode: Mode,
    pairs: Sequence[ResponsePair],
    *,
    session: Session,
    store: Store,
    progress: Progress,
    told: Callable[[Lack], None] = lambda _: None,
) -> Heard:
    """What the judge says about these pairs, asked for where the store has it not. `told` hears of every pass first."""
    passes: list[Pass] = []
    values: list[Values] = []
    for _ in mode.stages:
        asked = mode.plan_pass(pairs, values)
        lookup = look_up(asked.asking, store)
        told(Lack(asked, [asked.about(key) for key in lookup.missing], len(lookup.values)))
        answers: dict[str, Value] = ask(asked.asking, session=session, store=store, progress=progress)
        passes.append(asked)
        values.append(answers)
    return mode.hear(passes, values)


def label_heard(
    mode: Mode,
    pair: ResponsePair,
    heard: Heard,
    constitution: Constitution,
    *,
    probability_floor: float,
    settings: LabelSettings,
) -> LabelledPair:
    """A pair's label: what one judge said in its mode, and what checks compute."""
    judged = mode.verdicts(pair, heard, settings)
    return label_judged(pair, judged, constitution, probability_floor=probability_floor, settings=settings)


def label_judged(
    pair: ResponsePair,
    judged: Sequence[PrincipleVerdict],
    constitution: Constitution,
    *,
    probability_floor: float,
    settings: LabelSettings,
) -> LabelledPair:
    """A pair's label: these verdicts of judges, and what checks compute."""
    verdicts = in_order([*judged, *check_verdicts(pair, constitution)], constitution)
    return label_verdicts(pair, verdicts, probability_floor=probability_floor, settings=settings)
