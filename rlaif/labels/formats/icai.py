"""ICAI's `annotated_pairs` JSON, version 2 (and 1): one document with annotators and comparisons.

An annotator of type "principle" speaks for one principle: its votes are the marks of the rater it names (our export
names one), or of the rater "icai principles". What has no place of its own (the turns of a prompt, tags, items) our
export puts into a comparison's `metadata`, as version 2 provides.
"""

from collections.abc import Mapping
from typing import Any

from rlaif.labels.formats.base import Format, Reading, Row
from rlaif.labels.formats.extras import tags_of
from rlaif.labels.formats.values import Alphabet, messages_of, parsed, text_of
from rlaif.labels.label import Choice, Mark, RaterKind
from rlaif.labels.votes import Found, Unfit

PRINCIPLES = "icai principles"
_PREFERENCES = Alphabet(
    first=["a", "text_a", "response_a"], second=["b", "text_b", "response_b"], tie=["tie"], both_bad=["both_bad"]
)
_REASONS: Mapping[str, Choice] = {"tie": "tie", "both_bad": "both_bad"}  # any other reason is no verdict
_KINDS: Mapping[str, RaterKind] = {"judge": "judge", "ai": "judge", "model": "judge", "simulated": "simulated"}


def _read(row: Row) -> Reading:
    for number, comparison in enumerate(row["comparisons"]):
        part = f"comparisons[{number}]"
        if not isinstance(comparison, Mapping):
            yield Unfit("not a comparison", part)
            continue
        for found in _comparison(comparison, row["annotators"]):
            yield Unfit(found.reason, f"{part} {found.part}".strip()) if isinstance(found, Unfit) else found


def _comparison(comparison: Row, annotators: Mapping[str, Any]) -> Reading:
    pair = _pair(comparison)
    if isinstance(pair, Unfit):
        yield pair
        return
    marks: dict[str, list[Mark]] = {}
    votes: dict[str, tuple[RaterKind, Choice]] = {}
    for name, annotation in (comparison.get("annotations") or {}).items():
        about = annotators.get(name) or {}
        is_principle = about.get("type") == "principle"
        rater = text_of(about.get("rater")) or PRINCIPLES if is_principle else text_of(about.get("name")) or name
        choice = _choice(annotation)
        if isinstance(choice, Unfit):
            yield Unfit(choice.reason, f"annotator {name}")
        elif is_principle:
            principle = text_of(about.get("description")) or name
            marks.setdefault(rater, []).append(Mark(principle=principle, choice=choice))
        else:
            votes[rater] = _KINDS.get(text_of(about.get("type")), "human"), choice
    for rater in marks:
        votes.setdefault(rater, ("judge", "skipped"))
    for rater, (kind, choice) in votes.items():
        yield Found(rater=rater, kind=kind, choice=choice, marks=tuple(marks.get(rater, ())), **pair)


def _pair(comparison: Row) -> dict[str, Any] | Unfit:
    metadata = comparison.get("metadata") or {}
    sides = [comparison.get(f"response_{side}") or {"text": comparison.get(f"text_{side}")} for side in "ab"]
    prompt = messages_of(parsed(metadata.get("prompt_messages")) or text_of(comparison.get("prompt")))
    if isinstance(prompt, Unfit):
        return prompt
    return {
        "prompt": prompt,
        "first": text_of(sides[0].get("text")),
        "second": text_of(sides[1].get("text")),
        "first_model": text_of(sides[0].get("model")),
        "second_model": text_of(sides[1].get("model")),
        "is_order_known": metadata.get("order_known") != "false",
        "item": text_of(metadata.get("item")),
        "tags": tags_of(metadata.get("tags")),
        "source": text_of(metadata.get("source")),
    }


def _choice(annotation: Any) -> Choice | Unfit:
    if not isinstance(annotation, Mapping) or "pref" not in annotation:
        return Unfit("an annotation has no `pref`")
    if annotation["pref"] is None:
        return _REASONS.get(text_of(annotation.get("no_pref_reason")), "skipped")
    return _PREFERENCES.read(annotation["pref"])


ICAI = Format(
    name="icai",
    about="ICAI `annotated_pairs` JSON, version 2 or 1; annotators for principles become marks",
    keys=frozenset({"annotators", "comparisons"}),
    read=_read,
)
