"""Suggested edits as YAML: a patch, which is itself a constitution that extends the edited one, and a new version of
the document in which everything but the edits stays as it was written.

    text = patch_text(suggestions, constitution, "small.yaml", people="human")
    text = edited_text(suggestions, constitution, path, people="human")

Both carry the prediction, so that `rlaif compare` can show it beside what came of it.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlaif.constitution import Constitution, load_constitution
from rlaif.documents import read_text, read_yaml, set_value, write_yaml
from rlaif.errors import ConstitutionError
from rlaif.evaluate.principles.actions import Action
from rlaif.evaluate.principles.suggest import Suggestion, Suggestions
from rlaif.evaluate.principles.words import points
from rlaif.numbers.figures import Estimate

_DIGITS = 6  # of a recorded share: far below what any sample can tell
REWORDINGS: Mapping[str, str] = {
    "turn": "people prefer the opposite: turn it round",
    "not_for_longer": "where it prefers the longer answer people do not: say that length is no merit",
    "not_for_shorter": "where it prefers the shorter answer people do not: say that brevity is no merit",
}


def keys_of(action: Action) -> dict[str, Any]:
    """What an edit changes in its principle."""
    match action.kind:
        case "disable":
            return {"enabled": False}
        case "reweight":
            return {"weight": action.weight}
        case "split":
            return {"tags": list(action.tags)}
        case _:
            raise ValueError(f"{action.kind} is for a person to word")


def said_of(action: Action) -> str:
    """An action in words."""
    match action.kind:
        case "disable":
            return "disable"
        case "reweight":
            return f"weight {action.weight:g}"
        case "split":
            return (
                f"only for prompts tagged {', '.join(action.tags)}; give the others a principle in words of their own"
            )
        case _:
            return REWORDINGS[action.kind]


def change_sentence(found: Suggestions, people: str) -> str:
    """What to change, and what that is predicted to bring. `people`: whose votes, human or simulated."""
    who = "simulated people" if people == "simulated" else "people"
    if found.because:
        return f"What to change is not defined, because {found.because}."
    if not found.edits:
        return f"No edit of weights or tags can be shown to bring the labels nearer to {who}."
    edits = "; ".join(f"{one.action.principle}: {said_of(one.action)}" for one in found.edits)
    return f"{edits}. Agreement with {who} is predicted to change by {points(found.total)}."


def suggestions_json(found: Suggestions) -> dict[str, Any]:
    """Suggestions as a report holds them."""
    return {
        "edits": [_row(one) | {"yaml": keys_of(one.action)} for one in found.edits],
        "total": found.total.as_dict(),
        "rewordings": [_row(one) for one in found.rewordings],
        "folds": found.folds,
    }


def _row(one: Suggestion) -> dict[str, Any]:
    return {
        "principle": one.action.principle,
        "kind": one.action.kind,
        "words": said_of(one.action),
        "predicted": one.predicted.as_dict(),
        "chosen_in_folds": one.chosen_in,
        "looks": one.looks,
    }


def next_version(version: str) -> str:
    """2 after 1 or none, 1.5 after 1.4, `draft-2` after `draft`."""
    found = re.fullmatch(r"(.*?)(\d+)", version)
    return f"{found[1]}{int(found[2]) + 1}" if found else f"{version}-2" if version else "2"


def next_path(path: Path, version: str) -> Path:
    """small-2.yaml beside small.yaml, small-3.yaml beside small-2.yaml."""
    stem = path.stem.removesuffix(f"-{version}") if version else path.stem
    return path.with_name(f"{stem}-{next_version(version)}{path.suffix}")


def prediction_of(found: Suggestions, before: Constitution, people: str) -> dict[str, Any]:
    """What is recorded. Only for suggestions with edits, whose agreement and total have values."""
    assert isinstance(found.agreement, Estimate)
    assert isinstance(found.total, Estimate)
    change = found.total
    low, high = (change.value if end is None else end for end in (change.low, change.high))
    return {
        "before": f"{before.name} {before.version}".strip(),
        "agreement_before": round(found.agreement.value, _DIGITS),
        "change": round(change.value, _DIGITS),
        "low": round(low, _DIGITS),
        "high": round(high, _DIGITS),
        "pairs": change.n,
        "people": people,
    }


def patch_text(found: Suggestions, before: Constitution, extends: str, *, people: str) -> str:
    """A document that extends `extends` by the edits, with what each is worth beside it."""
    head = {"name": before.name, "version": next_version(before.version), "extends": extends}
    lines = [f"# `rlaif compare suggest`, {people} votes: {_counted(len(found.edits))}, {points(found.total)}"]
    lines += [write_yaml({**head, "prediction": prediction_of(found, before, people)}).rstrip(), "principles:"]
    for one in found.edits:
        lines += [f"  - id: {one.action.principle}", *_entry_lines(one)]
    return "\n".join([*lines, *rewording_lines(found)]) + "\n"


def _counted(edits: int) -> str:
    return f"{edits} edit{'s' * (edits != 1)}"


def _entry_lines(one: Suggestion) -> list[str]:
    written = [f"    {line}" for line in write_yaml(keys_of(one.action)).rstrip().splitlines()]
    written[0] += f"  # {said_of(one.action)}: {points(one.predicted)}"
    return written


def rewording_lines(found: Suggestions) -> list[str]:
    """The rewordings as comments."""
    if not found.rewordings:
        return []
    told = [f"#   {one.action.principle}: {said_of(one.action)}: {points(one.predicted)}" for one in found.rewordings]
    return ["# To reword by hand, and what new words would bring that do exactly this:", *told]


def edited_text(found: Suggestions, before: Constitution, path: Path, *, people: str) -> str:
    """The document at `path` with the edits in it. ConstitutionError where one of its principles comes from another
    document, or a value can not be changed alone; the patch can be used there."""
    text, document = read_text(path, ConstitutionError), read_yaml(path, ConstitutionError)
    entries = document.value.get("principles")
    places = {entry.get("id"): place for place, entry in enumerate(entries or []) if isinstance(entry, dict)}
    for one in found.edits:
        name = one.action.principle
        if name not in places:
            stated = f"principle {name!r} is not written in this document but in one that it extends."
            raise ConstitutionError(stated, where=str(path), do="Use the patch, which extends this document.")
        for key, value in keys_of(one.action).items():
            text = set_value(text, ("principles", places[name], key), value, path=str(path), error=ConstitutionError)
    top = (("version", next_version(before.version)), ("prediction", prediction_of(found, before, people)))
    for key, value in top:
        text = set_value(text, (key,), value, path=str(path), error=ConstitutionError, behind="version")
    return text


def new_version(found: Suggestions, before: Constitution, path: Path, target: Path, *, people: str) -> str:
    """What to write to `target`: the edited document where it can be edited in its place, or else the patch."""
    try:
        return edited_text(found, before, path, people=people)
    except ConstitutionError:
        return patch_text(found, before, os.path.relpath(path, target.parent), people=people)


def check_version(target: Path, found: Suggestions) -> Constitution:
    """The constitution just written, which has the edits and its prediction."""
    written = load_constitution(target)
    by_id = {one.id: one for one in written.principles}
    for one in found.edits:
        for key, value in keys_of(one.action).items():
            now = getattr(by_id[one.action.principle], key)
            assert (sorted(now) if key == "tags" else now) == value, f"{target}: {one.action.principle}.{key} is {now}"
    assert written.prediction is not None
    return written
