"""YAML documents to a `Constitution`: `extends` merged, then everything checked, every problem with its place.

Merging works on the documents' plain values together with their places, before the model sees them. So a problem is
reported where it was written, in whichever file that is, and a document that changes one key of one principle need
not repeat the others.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlaif.bundled import project_file
from rlaif.constitution.principles import Constitution
from rlaif.documents import (
    Document,
    KeyPath,
    Place,
    Problem,
    path_text,
    raise_problems,
    read_yaml,
    validate,
    write_yaml,
)
from rlaif.errors import ConstitutionError, nearest

_README = "constitution/README.md"
_REQUIRED = ("text", "question")  # or a check instead of the question


def load_constitution(name: str | Path, *, base: Path | None = None) -> Constitution:
    """The constitution in a file (a relative path counts from `base`), or the shipped one (`default`, `small`)."""
    return read_constitution(name, base=base)[0]


def read_constitution(name: str | Path, *, base: Path | None = None) -> tuple[Constitution, Document]:
    """Also the merged document, whose `where(("principles", i, "text"))` tells where each part was written."""
    document = _merged(_find(str(name), base), ())
    constitution = validate(document, Constitution, ConstitutionError, name_of=_name_of, see=_README)
    raise_problems(_content_problems(constitution, document), ConstitutionError)
    return constitution, document


def source_files(name: str | Path, *, base: Path | None = None) -> tuple[Path, ...]:
    """The files a constitution is made of, the named one first, as far as `extends` can be followed: the last may be
    missing, or broken."""
    files: dict[Path, Path] = {}
    path = _find(str(name), base)
    while path.resolve() not in files:
        files[path.resolve()] = path
        try:
            extends = read_yaml(path, ConstitutionError).value.get("extends")
        except ConstitutionError:
            break
        if not isinstance(extends, str) or not extends.strip():
            break
        path = _find(extends.strip(), path.parent)
    return tuple(files.values())


def dump_constitution(constitution: Constitution) -> str:
    """YAML that reads back as the same principles, needing no other file: `extends` is resolved."""
    value = constitution.model_dump(mode="json", exclude={"extends"}, exclude_defaults=True)
    for principle in value["principles"]:
        if principle["question"] is None:  # it has a check
            del principle["question"]
        if "tags" in principle:
            principle["tags"] = sorted(principle["tags"])
    return write_yaml(value)


def _find(name: str, base: Path | None) -> Path:
    """A bare word is a shipped constitution, anything else a path."""
    if re.fullmatch(r"[A-Za-z0-9_-]+", name):
        return project_file(f"constitution/{name}.yaml")
    return Path(name) if base is None else base / name


def _merged(path: Path, chain: tuple[Path, ...]) -> Document:
    """The document at `path` with the principles it extends. `chain` is what led here, outermost first."""
    document = read_yaml(path, ConstitutionError)
    raise_problems(_duplicate_ids(document), ConstitutionError)
    extends = document.value.get("extends")
    if not isinstance(extends, str) or not extends.strip():
        return document  # none, or one that validation refuses
    chain = (*chain, path)
    base_path = _find(extends.strip(), path.parent)
    where = document.where(("extends",))
    if base_path.resolve() in [link.resolve() for link in chain]:
        circle = " → ".join(str(link) for link in (*chain, base_path))
        raise ConstitutionError(
            f"`extends` goes round in a circle: {circle}.", where=where, do="Remove one of these `extends`."
        )
    if not base_path.is_file():
        found = f"`extends` names {extends!r}, but there is no file {base_path}."
        raise ConstitutionError(found, where=where, do=f"Write a path from {path.parent}/ or a shipped name: default.")
    return _overlay(_merged(base_path, chain), document)


def _overlay(base: Document, document: Document) -> Document:
    """`base`'s principles with `document`'s changes by id, and its new ones after them. Nothing else is inherited."""
    changes = document.value.get("principles")
    if not isinstance(changes, list | None) or not isinstance(base.value.get("principles"), list):
        return document if not isinstance(changes, list | None) else base  # validation says what is wrong
    principles = list(base.value["principles"])
    places = {key: place for key, place in document.places.items() if key[:1] != ("principles",)}
    places |= {key: place for key, place in base.places.items() if key[:1] == ("principles",)}
    index_of = {entry_id: i for i, entry_id in _ids(base)}
    problems = []
    ids = dict(_ids(document))
    for i, entry in enumerate(changes or []):
        target = index_of.get(ids.get(i, ""))
        if target is None:
            if problem := _incomplete(document, i, entry, list(index_of)):
                problems.append(problem)
            target = len(principles)
            principles.append({})
        for key in entry if isinstance(entry, dict) else ():
            _forget(places, ("principles", target, key))
        _copy_places(document.places, ("principles", i), places, ("principles", target))
        principles[target] = {**principles[target], **entry} if isinstance(entry, dict) else entry
    raise_problems(problems, ConstitutionError)
    return Document(document.path, {**document.value, "principles": principles}, places)


def _forget(places: dict[KeyPath, Place], key_path: KeyPath) -> None:
    for known in [known for known in places if known[: len(key_path)] == key_path]:
        del places[known]


def _copy_places(source: Any, old: KeyPath, target: dict[KeyPath, Place], new: KeyPath) -> None:
    for key_path, place in source.items():
        if key_path[: len(old)] == old:
            target[(*new, *key_path[len(old) :])] = place


def _incomplete(document: Document, i: int, entry: Any, base_ids: list[str]) -> Problem | None:
    """A principle that is neither complete nor a change to the base's is most likely a mistyped id."""
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
        return None  # validation says what is missing
    missing = [key for key in _REQUIRED if key not in entry and not (key == "question" and "check" in entry)]
    if not missing:
        return None
    found = f'principle "{entry["id"]}" has no {" and no ".join(f"`{key}`" for key in missing)}, and the extended '
    found += f"document has no principle of this id{nearest(entry['id'], base_ids)}."
    return Problem(document.where(("principles", i)), found, "Correct the id, or complete the principle.")


def _name_of(document: Document, key_path: KeyPath) -> str:
    """`principle "honest"` says more than `principles[3]`."""
    if len(key_path) < 2 or key_path[0] != "principles":
        return "the constitution" if not key_path else path_text(document, key_path)
    entry = document.value["principles"][key_path[1]]
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str) or key_path[2:] == ("id",):
        return path_text(document, key_path)
    principle = f'principle "{entry["id"]}"'
    return principle if len(key_path) == 2 else f"{path_text(document, key_path[2:])} of {principle}"


def _duplicate_ids(document: Document) -> list[Problem]:
    ids: list[tuple[KeyPath, str]] = [(("principles", i, "id"), entry_id) for i, entry_id in _ids(document)]
    return _repeated(document, ids, lambda name: f'the id "{name}"', "Give one of them another id.")


def _ids(document: Document) -> list[tuple[int, str]]:
    """The principles of a document not yet checked that have an id, by position."""
    entries = document.value.get("principles")
    return [
        (i, entry["id"])
        for i, entry in enumerate(entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and isinstance(entry.get("id"), str)
    ]


def _content_problems(constitution: Constitution, document: Document) -> list[Problem]:
    """What is wrong although every key is as it should be."""
    texts: list[tuple[KeyPath, str]] = [
        (("principles", i, "text"), " ".join(principle.text.casefold().split()))
        for i, principle in enumerate(constitution.principles)
    ]
    problems = _repeated(
        document, texts, lambda text: f"the text {text[:40]!r}", "Remove one, or write what sets it apart."
    )
    if not constitution.enabled:
        found = "no principle is enabled, so there is nothing to judge by."
        problems.append(Problem(document.where(("principles",)), found, "Enable at least one."))
    elif not any(principle.weight for principle in constitution.enabled):
        found = "every enabled principle has weight 0, so no label could be made."
        problems.append(Problem(document.where(("principles",)), found, "Give at least one a weight above 0."))
    return problems


def _repeated(
    document: Document, values: list[tuple[KeyPath, str]], describe: Callable[[str], str], do: str
) -> list[Problem]:
    first: dict[str, KeyPath] = {}
    problems = []
    for key_path, value in values:
        if value in first:
            found = f"{describe(value)} is used twice; the first is at {document.where(first[value])}."
            problems.append(Problem(document.where(key_path), found, do))
        first.setdefault(value, key_path)
    return problems
