"""Label Studio's JSON export: tasks with the annotations of people and the predictions of models.

A vote is the result of a Pairwise tag (left, right) or of Choices. Comments come from TextArea, strength from Number
or Rating, marks from Choices named `mark_<principle>`. A skipped task (`was_cancelled`) is a skipped label.
"""

from collections.abc import Mapping
from typing import Any

from rlaif.labels.formats.base import Format, Reading, Row
from rlaif.labels.formats.tools import CHOICES, pair_of
from rlaif.labels.formats.values import number_of, text_of, time_of
from rlaif.labels.label import Choice, Mark
from rlaif.labels.votes import Found, Unfit

_MARK = "mark_"


def _read(row: Row) -> Reading:
    pair = pair_of(row["data"], row["data"])
    if isinstance(pair, Unfit):
        yield pair
        return
    votes = [*_given(row, "annotations"), *_given(row, "predictions")]
    if not votes:
        yield Unfit("no annotation and no prediction")
    for number, (is_person, vote) in enumerate(votes):
        found = _person(vote, pair) if is_person else _model(vote, pair)
        yield Unfit(found.reason, f"vote {number + 1}") if isinstance(found, Unfit) else found


def _given(row: Row, name: str) -> list[tuple[bool, Mapping[str, Any]]]:
    return [(name == "annotations", vote) for vote in row.get(name) or [] if isinstance(vote, Mapping)]


def _person(vote: Mapping[str, Any], pair: dict[str, Any]) -> Found | Unfit:
    said = _said(vote.get("result") or [])
    if isinstance(said, Unfit):
        return said
    if vote.get("was_cancelled"):
        said["choice"] = "skipped"
    if "choice" not in said:
        return Unfit("an annotation without a choice")
    who = vote.get("completed_by")
    names = [who.get("email"), who.get("id")] if isinstance(who, Mapping) else [who]
    rater = next((text for name in names if (text := text_of(name))), "")
    time = time_of(vote.get("created_at"))
    return Found(rater=rater, kind="human", seconds=number_of(vote.get("lead_time")), time=time, **said, **pair)


def _model(vote: Mapping[str, Any], pair: dict[str, Any]) -> Found | Unfit:
    """A prediction; its score is P(what it names is better)."""
    said = _said(vote.get("result") or [])
    if isinstance(said, Unfit):
        return said
    if "choice" not in said:
        return Unfit("a prediction without a choice")
    score = number_of(vote.get("score"))
    if score is not None and 0.0 <= score <= 1.0 and said["choice"] in ("first", "second", "tie"):
        said["probability"] = 1.0 - score if said.pop("choice") == "second" else score
    rater = text_of(vote.get("model_version"))
    return Found(rater=rater, kind="judge", time=time_of(vote.get("created_at")), **said, **pair)


def _said(results: list[Any]) -> dict[str, Any] | Unfit:
    said: dict[str, Any] = {}
    marks: list[Mark] = []
    for result in results:
        value, name = result.get("value") or {}, text_of(result.get("from_name"))
        if result.get("type") in ("pairwise", "choices"):
            choice = _choice(value)
            if isinstance(choice, Unfit):
                return choice
            if name.startswith(_MARK):
                marks.append(Mark(principle=name.removeprefix(_MARK), choice=choice))
            elif said.get("choice", choice) != choice:
                return Unfit("one annotation names two choices")
            else:
                said["choice"] = choice
        elif result.get("type") == "textarea":
            texts = value.get("text")
            said["comment"] = "\n".join(texts) if isinstance(texts, list) else text_of(texts)
        elif result.get("type") in ("number", "rating"):
            said["strength"] = number_of(value.get("number", value.get("rating")))
    return {**said, "marks": tuple(marks)}


def _choice(value: Mapping[str, Any]) -> Choice | Unfit:
    chosen = value.get("choices") or [value.get("selected")]
    return CHOICES.read(chosen[0]) if len(chosen) == 1 else Unfit("several choices at once")


def _is_task(row: Row) -> bool:
    return isinstance(row["data"], Mapping) and ("annotations" in row or "predictions" in row)


LABEL_STUDIO = Format(
    name="label-studio",
    about="Label Studio JSON export: tasks with `data` and `annotations` (Pairwise or Choices), and `predictions`",
    keys=frozenset({"data"}),
    fits=_is_task,
    read=_read,
)
