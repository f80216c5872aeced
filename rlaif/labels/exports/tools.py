"""Exports with a row for each pair and a place in it for each rater: ICAI, Argilla, Label Studio."""

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from rlaif.identity import digest
from rlaif.labels.exports.base import (
    Export,
    Row,
    as_json,
    beside,
    models,
    named_choice,
    named_probability,
    without_empty,
)
from rlaif.labels.formats.argilla import ARGILLA
from rlaif.labels.formats.icai import ICAI
from rlaif.labels.formats.label_studio import LABEL_STUDIO
from rlaif.labels.formats.transcripts import write_transcript
from rlaif.labels.label import Choice, Label, Mark
from rlaif.labels.votes import Found

_PREFERENCE: dict[Choice, str] = {"first": "a", "second": "b"}
_RATERS = uuid.UUID("6d9f1c52-3a80-5b1e-9d4e-1f0c6f1b7a21")  # Argilla's users are UUIDs; ours follow from the name


def _by_rater(label: Label) -> str:
    return label.rater


# --- ICAI


def _icai(group: Sequence[Found]) -> Row:
    """One comparison, with the annotators it needs under `annotators`; `_icai_document` gathers those."""
    first = group[0]
    annotators: dict[str, Row] = {}
    annotations: dict[str, Row] = {}
    for found in group:
        name = _icai_id("rater", found.kind, found.rater)  # a judge may have a person's name
        annotators[name] = {"name": found.rater, "description": f"rater {found.rater}", "type": found.kind}
        annotations[name] = _icai_annotation(named_choice(found))
        for mark in found.marks:
            principle = _icai_id("principle", found.kind, found.rater, mark.principle)
            annotators[principle] = {"description": mark.principle, "type": "principle", "rater": found.rater}
            annotations[principle] = _icai_annotation(named_choice(mark))
    return {
        "annotators": annotators,
        "id": _icai_name(first, sorted(annotators)),
        "prompt": write_transcript(first.prompt),
        "response_a": without_empty({"model": first.first_model}) | {"text": first.first},
        "response_b": without_empty({"model": first.second_model}) | {"text": first.second},
        "annotations": annotations,
        "metadata": beside(first),
    }


def _icai_name(first: Found, annotators: list[str]) -> str:
    texts = [write_transcript(first.prompt), first.first, first.second]
    return digest({"texts": texts, "annotators": annotators, "item": first.item})[:16]


def _icai_id(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _icai_annotation(choice: Choice) -> Row:
    if choice in _PREFERENCE:
        return {"pref": _PREFERENCE[choice]}
    return {"pref": None, "no_pref_reason": "not_applicable" if choice == "skipped" else choice}


def _icai_document(rows: Iterable[Row]) -> Row:
    annotators: dict[str, Row] = {}
    comparisons, seen = [], set()
    for row in rows:
        annotators.update(row["annotators"])
        comparison = {key: value for key, value in row.items() if key != "annotators"}
        while comparison["id"] in seen:  # a rater's second vote on the same thing
            comparison["id"] = digest({"again": comparison["id"]})[:16]
        seen.add(comparison["id"])
        comparisons.append(comparison)
    people = [name for name, about in annotators.items() if about["type"] != "principle"]
    keys = sorted({key for comparison in comparisons for key in comparison["metadata"]})
    return {
        "metadata": {
            "version": "2.0",
            "description": "Labels written by rlaif.",
            "default_annotator": people[0] if people else None,
            "available_metadata_keys_per_comparison": keys,
        },
        "annotators": annotators,
        "comparisons": comparisons,
    }


# --- Argilla


def _argilla(group: Sequence[Found]) -> Row:
    """A record as `Dataset.records.to_json` writes it. People are responses, the judge of this row a suggestion."""
    first = group[0]
    raters: dict[str, str] = {}
    responses: dict[str, list[Row]] = {}
    suggestions: Row = {}
    for found in group:
        if found.kind != "human":
            suggestions = _argilla_suggestion(found)
            continue
        user = str(uuid.uuid5(_RATERS, found.rater))
        raters[user] = found.rater
        for question, value in _argilla_answers(found).items():
            responses.setdefault(question, []).append({"value": value, "user_id": user})
    more = {**beside(first), **models(first), **({"raters": as_json(raters)} if raters else {})}
    return {
        "id": digest({"pair": [first.first, first.second], "prompt": write_transcript(first.prompt), "more": more})[
            :32
        ],
        "fields": {
            "prompt": write_transcript(first.prompt),
            "response_1": first.first,
            "response_2": first.second,
        },
        "metadata": more,
        "suggestions": suggestions,
        "responses": responses,
        "vectors": {},
    }


def _argilla_answers(found: Found) -> Row:
    marks = {f"mark_{mark.principle}": named_choice(mark) for mark in found.marks}
    return {"preference": named_choice(found), **marks, **without_empty({"comment": found.comment})}


def _argilla_suggestion(found: Found) -> Row:
    verdicts: dict[str, Found | Mark] = {"preference": found}
    verdicts.update({f"mark_{mark.principle}": mark for mark in found.marks})
    return {
        question: {"value": named_choice(verdict), "score": named_probability(verdict), "agent": found.rater}
        for question, verdict in verdicts.items()
    }


def _argilla_slot(label: Label) -> str:
    return f"response of {label.rater}" if label.kind == "human" else "suggestion"


# --- Label Studio


def _label_studio(group: Sequence[Found]) -> Row:
    """A task. Its project needs the tags of LABEL_STUDIO_CONFIG in docs/labels.md."""
    first = group[0]
    data = {
        "prompt": write_transcript(first.prompt),
        "response_1": first.first,
        "response_2": first.second,
        **models(first),
        **beside(first),
    }
    people = [_annotation(found) for found in group if found.kind == "human"]
    predictions = [_prediction(found) for found in group if found.kind != "human"]
    return {"data": data, "annotations": people, "predictions": predictions}


def _annotation(found: Found) -> Row:
    row: Row = {"completed_by": {"email": found.rater}, "result": _results(found)}
    if found.choice == "skipped":
        row["was_cancelled"] = True
    if found.seconds is not None:
        row["lead_time"] = found.seconds
    if found.time is not None:
        row["created_at"] = found.time.isoformat()
    return row


def _prediction(found: Found) -> Row:
    row: Row = {"model_version": found.rater, "result": _results(found)}
    if found.probability is not None:
        row["score"] = named_probability(found)
    return row


def _results(found: Found) -> list[Row]:
    choice = named_choice(found)
    results = [_pairwise(choice) if choice in ("first", "second") else _choices("preference_tie", choice)]
    results += [_choices(f"mark_{mark.principle}", named_choice(mark)) for mark in found.marks]
    if found.comment:
        results.append(_result("comment", "textarea", {"text": [found.comment]}))
    if found.strength is not None:
        results.append(_result("strength", "number", {"number": found.strength}))
    return results


def _pairwise(choice: Choice) -> Row:
    selected = "left" if choice == "first" else "right"
    return {"from_name": "preference", "to_name": "response_1,response_2", "type": "pairwise",
            "value": {"selected": selected}}  # fmt: skip


def _choices(name: str, choice: Choice) -> Row:
    return _result(name, "choices", {"choices": [choice]})


def _result(name: str, kind: str, value: Row) -> dict[str, Any]:
    return {"from_name": name, "to_name": "prompt", "type": kind, "value": value}


ICAI_PAIRS = Export(
    name="icai",
    about="ICAI `annotated_pairs` JSON, version 2; marks become annotators for principles",
    row=_icai,
    reader=ICAI,
    slot=_by_rater,
    document=_icai_document,
)
ARGILLA_RECORDS = Export(
    name="argilla",
    about="Argilla records as JSON; people are responses, judges suggestions",
    row=_argilla,
    reader=ARGILLA,
    slot=_argilla_slot,
)
LABEL_STUDIO_TASKS = Export(
    name="label-studio",
    about="Label Studio tasks as JSON; people are annotations, judges predictions",
    row=_label_studio,
    reader=LABEL_STUDIO,
    slot=_by_rater,
)
