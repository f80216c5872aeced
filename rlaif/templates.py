"""The texts a model sees, as files: `prompts/templates/*.txt`, a YAML head and a body with `{{ variables }}`.

Rendering is one pass over the body, so a value is never expanded again, and a value cannot close or open one of the
template's own tags: the `<` of such a tag inside a value becomes `‹`. The head's declared variables must equal the
used ones; a template says what it needs, and gets exactly that.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from rlaif.bundled import project_file
from rlaif.documents.document import read_text
from rlaif.errors import TemplateError, Where, nearest
from rlaif.identity import digest
from rlaif.records import Message

_VARIABLE = re.compile(r"\{\{\s*([a-z_]+)\s*\}\}")
_TAG = re.compile(r"</?([a-z_]+)>")
_GAP = r"[\s\u200b-\u200f\u2060\ufeff]*"  # white space, seen or not
_TURN = re.compile(r"(?<=[\n\r\u2028\u2029])(?=[ \t]*(?:system|user|assistant):)", re.IGNORECASE)
_HEAD_KEYS = ("name", "purpose", "variables", "choices")


@dataclass(frozen=True)
class Template:
    """A text with holes. `choices` are the answers a verdict may be, in the order of the responses shown."""

    name: str
    body: str
    variables: frozenset[str]
    choices: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """The identity of what it renders: body and choices, not its name or purpose."""
        return digest({"body": self.body, "choices": list(self.choices)})

    @cached_property
    def _tags(self) -> re.Pattern[str] | None:
        names = sorted(set(_TAG.findall(self.body)))
        return re.compile(rf"<(?={_GAP}/?{_GAP}(?:{'|'.join(names)})\b)", re.IGNORECASE) if names else None

    def render(self, **values: str) -> str:
        """The body with every variable replaced once. Raises TemplateError unless exactly the declared are given."""
        if values.keys() != self.variables:
            raise TemplateError(
                f"template {self.name!r} takes {sorted(self.variables)}, but was given {sorted(values)}.",
                do="Pass each declared variable exactly once.",
            )
        safe = {name: self._tags.sub("‹", text) if self._tags else text for name, text in values.items()}
        return _VARIABLE.sub(lambda hole: safe[hole[1]], self.body)


def load_template(name: str, *, base: Path | None = None) -> Template:
    """A template by name (from `base`/prompts/templates or the shipped ones) or by the path of a `.txt` file."""
    path = _find(name, base)
    head, body = _split(path)
    declared, used = set(head.get("variables") or ()), set(_VARIABLE.findall(body))
    if declared != used:
        raise TemplateError(
            f"declared variables are {sorted(declared)}, used ones are {sorted(used)}.",
            where=Where(str(path), 1),
            do=f"Declare or use: {', '.join(sorted(declared ^ used))}.",
        )
    return Template(
        name=str(head.get("name") or path.stem),
        body=body.strip("\n"),
        variables=frozenset(used),
        choices=tuple(str(choice) for choice in head.get("choices") or ()),
    )


def dump_template(template: Template) -> str:
    """The text of a file that loads back as the same template."""
    head = {"name": template.name, "variables": sorted(template.variables), "choices": list(template.choices)}
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n{template.body}\n"


def _split(path: Path) -> tuple[dict[str, Any], str]:
    """The head between the two `---` lines, checked, and the body below it."""
    text = read_text(path, TemplateError).replace("\r\n", "\n").replace("\r", "\n")
    _, mark, rest = text.partition("---\n")
    head_text, end, body = rest.partition("\n---\n")
    try:
        head = yaml.safe_load(head_text) if mark and end else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 2 if error.problem_mark else None
        raise TemplateError(f"the head is not YAML: {error.problem}.", where=Where(str(path), line)) from error
    if not isinstance(head, dict):
        raise TemplateError(
            "a template begins with a head between two `---` lines.",
            where=Where(str(path), 1),
            do="Copy the first lines of prompts/templates/judge.txt and change them.",
        )
    for key in head:
        if key not in _HEAD_KEYS:
            raise TemplateError(
                f"unknown key {key!r}{nearest(str(key), _HEAD_KEYS)}.",
                where=Where(str(path), 1),
                do=f"A template's head has {', '.join(_HEAD_KEYS)}.",
            )
    return head, body


def template_places(name: str, *, base: Path | None = None) -> list[Path]:
    """Where a template is looked for, in this order: a path if it ends in .txt, else the project's own before the
    shipped one."""
    if name.endswith(".txt"):
        return [(base or Path()) / name]
    relative = f"prompts/templates/{name}.txt"
    return [(base or Path()) / relative, project_file(relative)]


def _find(name: str, base: Path | None) -> Path:
    candidates = template_places(name, base=base)
    for path in candidates:
        if path.is_file():
            return path
    known = [path.stem for path in project_file("prompts/templates").glob("*.txt")]
    raise TemplateError(
        f"there is no template {name!r}{nearest(name, known)}; looked at {', '.join(map(str, candidates))}.",
        do=f"Name one of {', '.join(sorted(known))}, or a .txt file.",
    )


def render_conversation(messages: tuple[Message, ...]) -> str:
    """A conversation as a judge reads it: `User: …`, `Assistant: …`, a blank line between turns.

    A line inside a message that would read as a turn of its own is quoted: `> Assistant: …`.
    """
    return "\n\n".join(f"{message.role.capitalize()}: {_TURN.sub('> ', message.content)}" for message in messages)
