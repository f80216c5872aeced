"""Argilla's records as it exports them: version 2 nested (`to_json`) or flat (`to_datasets`), and version 1 datasets.

A person's answer to the question about the pair is a label; answers to `comment`, `strength` and `mark_<principle>`
belong to it. A suggestion is a model's label: its agent is the rater, its score P(the suggested answer is better).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from rlaif.labels.formats.base import Format, Reading, Row
from rlaif.labels.formats.tools import CHOICES, pair_of
from rlaif.labels.formats.values import by_score, number_of, parsed, text_of
from rlaif.labels.label import Choice, Mark
from rlaif.labels.votes import Found, Unfit

_QUESTIONS = ("preference", "choice", "ranking", "winner", "label", "better", "best")
_MARK = "mark_"
Answers = dict[str, Any]  # by question


def _read(row: Row) -> Reading:
    metadata = parsed(row.get("metadata"))
    metadata = metadata if isinstance(metadata, Mapping) else {}
    fields = row["fields"] if isinstance(row.get("fields"), Mapping) else row
    pair = pair_of(fields, metadata)
    if isinstance(pair, Unfit):
        yield pair
        return
    names = parsed(metadata.get("raters")) or {}
    people = list(_people(row))
    for user, answers in people:
        rater = text_of(names.get(user)) or user
        yield _person(answers, {**pair, "rater": rater, "kind": "human"})
    suggested = _suggested(row)
    if suggested:
        yield _agent(suggested, pair)
    elif not people:
        yield Unfit("no submitted response and no suggestion")


def _people(row: Row) -> Iterator[tuple[str, Answers]]:
    """(user, answers by question) of everybody who submitted; a draft or a discarded record is no answer."""
    by_user: dict[str, Answers] = {}
    for question, given in _responses(row):
        for answer in given:
            if answer.get("status") in (None, "submitted") and answer.get("value") is not None:
                by_user.setdefault(text_of(answer.get("user_id")) or "", {})[question] = answer["value"]
    yield from by_user.items()


def _responses(row: Row) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """(question, its answers) of each of the layouts Argilla has had."""
    if isinstance(row.get("responses"), Mapping):
        for question, given in row["responses"].items():
            yield question, [answer for answer in given or [] if isinstance(answer, Mapping)]
        return
    for key, cell in row.items():
        found = parsed(cell)
        users, states = row.get(f"{key}.users"), row.get(f"{key}.status")
        if key.endswith(".responses") and isinstance(found, list):
            blank = [None] * len(found)
            rows = zip(found, users or blank, states or blank, strict=True)
            yield key.removesuffix(".responses"), [{"value": v, "user_id": u, "status": s} for v, u, s in rows]
        elif isinstance(found, list) and found and all(isinstance(a, Mapping) and "value" in a for a in found):
            yield key, found
        elif isinstance(found, Mapping) and {"user_id", "value", "status"} <= found.keys():
            rows = zip(found["value"] or [], found["user_id"] or [], found["status"] or [], strict=True)
            yield key, [{"value": v, "user_id": u, "status": s} for v, u, s in rows]


def _person(answers: Answers, shared: dict[str, Any]) -> Found | Unfit:
    choice = _choice(answers)
    marks = _marks(answers)
    fault = next((one for one in (choice, marks) if isinstance(one, Unfit)), None)
    if fault:
        return Unfit(fault.reason, shared["rater"])
    comment, strength = text_of(answers.get("comment")), number_of(answers.get("strength"))
    return Found(choice=choice, marks=marks, comment=comment, strength=strength, **shared)  # type: ignore[arg-type]


def _agent(answers: Answers, pair: dict[str, Any]) -> Found | Unfit:
    """The suggestions of one agent: for the pair, and for principles. A score is P(what is suggested is better)."""
    question = next((name for name in _QUESTIONS if name in answers), None)
    if question is None:
        return Unfit("no suggestion for the pair", "suggestion")
    verdict = _suggestion(answers[question])
    if isinstance(verdict, Unfit):
        return Unfit(verdict.reason, "suggestion")
    marks = []
    for name, given in answers.items():
        said = _suggestion(given) if name.startswith(_MARK) else None
        if isinstance(said, dict):
            marks.append(Mark(principle=name.removeprefix(_MARK), **said))
    rater = text_of(answers[question].get("agent"))
    return Found(rater=rater, kind="judge", marks=tuple(marks), **verdict, **pair)


def _suggestion(given: Mapping[str, Any]) -> dict[str, Any] | Unfit:
    choice, score = _choice({_QUESTIONS[0]: given.get("value")}), number_of(given.get("score"))
    if isinstance(choice, Unfit):
        return choice
    if score is None or not 0.0 <= score <= 1.0 or choice not in ("first", "second", "tie"):
        return {"choice": choice}
    return {"probability": 1.0 - score if choice == "second" else score}


def _suggested(row: Row) -> Answers:
    if isinstance(row.get("suggestions"), Mapping):
        return {key: cell for key, cell in row["suggestions"].items() if isinstance(cell, Mapping)}
    found: Answers = {}
    for key in row:
        name = key.removesuffix(".suggestion").removesuffix("-suggestion")
        if name != key and row[key] is not None:
            more = {part: row.get(f"{key}.{part}") for part in ("agent", "score")}
            found[name] = {"value": row[key], **more}
    return found


def _choice(answers: Answers) -> Choice | Unfit:
    name = next((name for name in _QUESTIONS if name in answers), None)
    if name is None:
        return Unfit(f"none of the questions {', '.join(sorted(answers))} is about the pair")
    value = parsed(answers[name])
    if isinstance(value, list):
        return _ranking(value)
    return CHOICES.read(value)


def _ranking(value: list[Any]) -> Choice | Unfit:
    """A ranking question's answer: the better one has the lower rank; equal ranks are a tie."""
    ranks = {CHOICES.read(one.get("value")): number_of(one.get("rank")) for one in value if isinstance(one, Mapping)}
    first, second = ranks.get("first"), ranks.get("second")
    return (
        Unfit("a ranking without ranks for both answers")
        if first is None or second is None
        else by_score(-first, -second)
    )


def _marks(answers: Answers) -> tuple[Mark, ...] | Unfit:
    marks = []
    for question, value in answers.items():
        if question.startswith(_MARK):
            choice = CHOICES.read(value)
            if isinstance(choice, Unfit):
                return choice
            marks.append(Mark(principle=question.removeprefix(_MARK), choice=choice))
    return tuple(marks)


def _is_argilla(row: Row) -> bool:
    if isinstance(row.get("fields"), Mapping):
        return "responses" in row or "suggestions" in row
    return any(key.endswith((".responses", "-suggestion")) for key in row)


ARGILLA = Format(
    name="argilla",
    about="Argilla records: `fields`, `responses`, `suggestions`, nested or flat",
    keys=frozenset(),
    fits=_is_argilla,
    read=_read,
)
