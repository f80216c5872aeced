"""A verdict read from a judge's own words, by a strict grammar: the text ends with it, or there is none.

A verdict is the judge's last statement, alone on its line or the last JSON object: `A`, `A.`, `**A**`, `Response A`,
`Verdict: A`, `\\boxed{A}`, `{"verdict": "A"}`, in either case. An earlier one is not looked for. Nothing inside a
thinking block counts, and nothing quoted does: not in a code block, quotation marks or tags that are still open, not
behind `Response B says:`, and not where the text's end is copied from a response the judge was shown. Everything else
is `Unscored` with its reason: a judge that gives no verdict has given none.

Where the verdict stands is part of it, so that its probability can be read at that place (`prefill`).
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rlaif.engines.thinking import FAMILIES

VERDICT_TEXT_VERSION = 1  # raised when the same text is read in another way
_COPIED = 24  # characters before a verdict that, copied together with it (or a whole response), make it a quotation
_SHOWN = 60

_NAMED = r"(?:verdict|answer|choice|judge?ment|decision|conclusion|winner|preference|score|rating)"
_LABEL = (
    r"(?:(?:so|therefore|thus|hence|overall)\b,?\s+)?(?:(?:my|the)\s+)?(?:final\s+|overall\s+)?"
    rf"(?:{_NAMED}|(?:better|best|preferred)\s+(?:response|answer|one))(?:\s+is\b\s*:?|\s*[:=])\s*"
)
_NOUN = r"(?:(?:the\s+)?(?:response|answer|option|choice)\s+)"
_LEAD = re.compile(
    r"\W*(?:(?:so|therefore|thus|hence|overall)\b,?\s+)?(?:(?:here is|here's|this is)\s+)?(?:(?:my|the)\s+)?"
    rf"(?:final\s+|overall\s+)?(?:{_NAMED}|evaluation|assessment|analysis|reasoning)(?:\s+is)?\W*",
    re.IGNORECASE,
)
_KEYS = frozenset(
    {"verdict", "final_verdict", "answer", "final_answer", "choice", "winner", "preference", "score", "rating"}
)
_TAGS = re.compile(
    r"<(/?)(response_a|response_b|response|answer|conversation|principle|quote|blockquote)\b[^<>]*>", re.I
)
_CLOSED = re.compile(r"^\s*```.*?^\s*```[ \t]*$|^\s*>[^\n]*$", re.MULTILINE | re.DOTALL)
_STRING = re.compile(r'"(?:\\.|[^"\\])*"|[{}\[\]]')


@dataclass(frozen=True, slots=True)
class Verdict:
    """A choice, and where in the text it stands: `text[start:end]` are its letters, at `statement` the line (or the
    JSON object) begins that says it."""

    choice: str
    start: int
    end: int
    statement: int


@dataclass(frozen=True, slots=True)
class Unscored:
    """No verdict, and why."""

    reason: str


def read_verdict(text: str, choices: Sequence[str], *, shown: Sequence[str] = ()) -> Verdict | Unscored:
    """The verdict a judge's text ends with. `shown` are the responses it was shown, which it may quote."""
    begun = _after_thinking(text)
    if isinstance(begun, Unscored):
        return begun
    end = len(text.rstrip())
    if end <= begun:
        return Unscored("no text after the thinking" if begun else "empty text")
    found = _in_json(text, begun, end, tuple(choices)) or _on_last_line(text, begun, end, tuple(choices))
    if isinstance(found, Unscored):
        return found
    quoted = _why_quoted(text[begun : found.statement]) or _copied(text[:end], end - found.statement, shown)
    return Unscored(quoted) if quoted else found


def prefill(text: str, verdict: Verdict) -> str:
    """The start of the assistant's turn after which the verdict comes next: the text up to its letters. Where they
    stand alone on a line, `Verdict:` leads to them in place of the line break, which no template keeps for certain."""
    reasons = text[: verdict.statement].strip()
    if text[verdict.statement : verdict.start].strip("*_# \t"):
        return text[: verdict.start].strip()
    return f"{reasons}\n\nVerdict:" if reasons else ""


def _after_thinking(text: str) -> int | Unscored:
    """Where the judge's answer begins: behind the last end of a thinking block."""
    ends = [(text.rfind(end), len(end)) for _, end in FAMILIES]
    place, length = max(ends)
    begun = place + length if place >= 0 else 0
    if any(begin in text[begun:] for begin, _ in FAMILIES):
        return Unscored("the text ends inside a thinking block")
    return begun


def _on_last_line(text: str, begun: int, end: int, choices: tuple[str, ...]) -> Verdict | Unscored:
    statement = max(begun, text.rfind("\n", begun, end) + 1)
    line = text[statement:end]
    plain = re.sub(r"[*#]|(?<!\w)_+|_+(?!\w)", lambda mark: " " * len(mark[0]), line)  # every place stays its own
    found = _statement(choices).fullmatch(plain)
    if found is None:
        last = " ".join(line.split())
        return Unscored(f"the last line is no verdict: {last if len(last) <= _SHOWN else last[: _SHOWN - 3] + '...'!r}")
    name = next(name for name, value in found.groupdict().items() if value is not None)
    start, stop = found.span(name)
    return Verdict(_choice(found[name], choices), statement + start, statement + stop, statement)


@lru_cache(maxsize=64)
def _statement(choices: tuple[str, ...]) -> re.Pattern[str]:
    """One line that is a verdict. Quotation marks are only taken behind a label, around nothing but the choice."""
    listed = "|".join(re.escape(choice) for choice in sorted(choices, key=len, reverse=True))
    one = f"(?i:{listed})" if _is_caseless(choices) else f"(?-i:{listed})"
    forms = (
        rf"(?:{_LABEL})?{_NOUN}?(?:\((?P<round>{one})\)|\[\[?(?P<square>{one})\]?\]|(?P<bare>{one}))",
        rf"{_LABEL}[\"“'](?P<quoted>{one})[\"”']",
        rf"(?:{_LABEL})?\$?\\boxed\{{\s*(?:\\text\{{)?(?P<boxed>{one})\}}?\s*\}}\$?",
    )
    return re.compile(rf"\s*(?:{'|'.join(forms)})\s*[.!]?\s*", re.IGNORECASE)


def _in_json(text: str, begun: int, end: int, choices: tuple[str, ...]) -> Verdict | Unscored | None:
    """The verdict of a JSON object that ends the text, on its own lines or in a code block; None without an object."""
    fence = re.search(r"^```(?:json)?[ \t]*\n(?P<object>\s*\{[^`]*\})\s*\n?```\Z", text[begun:end], re.MULTILINE)
    first, last = (begun + fence.start("object"), begun + fence.end("object")) if fence else (begun, end)
    for brace in re.finditer(r"^[ \t]*(\{)", text[first:last], re.MULTILINE):
        place = first + brace.start(1)
        try:
            pairs = json.loads(text[place:last], object_pairs_hook=list)
        except (ValueError, RecursionError):
            continue
        named = [(key, value) for key, value in pairs if isinstance(key, str) and key.lower() in _KEYS]
        if len(named) != 1 or not isinstance(named[0][1], str | int) or isinstance(named[0][1], bool):
            return Unscored("the JSON at the end does not name one verdict")
        found = _statement(choices).fullmatch(str(named[0][1]))
        if found is None:
            return Unscored(f"the JSON at the end says {str(named[0][1])[:_SHOWN]!r}, which is no choice")
        name = next(name for name, value in found.groupdict().items() if value is not None)
        start = _value_place(text, place, last, named[0][0]) + found.start(name)
        if not text.startswith(found[name], start):
            return Unscored("the JSON at the end spells its verdict with escapes")
        statement = begun + fence.start() if fence else place
        return Verdict(_choice(found[name], choices), start, start + len(found[name]), statement)
    return None


def _value_place(text: str, place: int, last: int, key: str) -> int:
    """Where the value of the object's own `key` begins, behind its quotation mark."""
    depth = 0
    for token in _STRING.finditer(text, place, last):
        if token[0] in "{[":
            depth += 1
        elif token[0] in "}]":
            depth -= 1
        elif depth == 1 and json.loads(token[0]) == key and text[token.end() : last].lstrip().startswith(":"):
            value = re.compile(r'\s*:\s*"?').match(text, token.end())
            assert value is not None
            return value.end()
    raise AssertionError("the key was read from this object")


def _why_quoted(before: str) -> str | None:
    """Why what follows `before` is somebody else's word; None when nothing says so."""
    if len(re.findall(r"^\s*```", before, re.MULTILINE)) % 2:
        return "the text ends inside a code block"
    own = _CLOSED.sub("", before)
    if own.count('"') % 2 or own.count("“") > own.count("”"):
        return "the text ends inside a quotation"
    depth: dict[str, int] = {}
    for slash, name in _TAGS.findall(before):
        depth[name.lower()] = max(0, depth.get(name.lower(), 0) + (-1 if slash else 1))
    if any(depth.values()):
        return "the text ends inside a quoted response"
    line = before.rstrip().rpartition("\n")[2]
    if re.search(r":\W*$", line) and not _LEAD.fullmatch(line):
        return "the last line may be a quotation: the line before it ends with a colon"
    return None


def _copied(said: str, statement_length: int, shown: Sequence[str]) -> str | None:
    """Whether the end of what a judge said, its verdict and what leads to it, stands so in a response."""
    own, verdict = _words(said), _words(said[len(said) - statement_length :])
    for response in map(_words, shown):
        copied = _common_end(own, response)
        if copied > len(verdict) and copied >= min(len(verdict) + _COPIED, len(response)):
            return "the end of the text is copied from a response"
    return None


def _common_end(own: str, response: str) -> int:
    """Length of the longest end of `own` that stands anywhere in `response`; shorter ends do too, so it is halved."""
    low, high = 0, min(len(own), len(response))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if own[-middle:] in response else (low, middle - 1)
    return low


def _words(text: str) -> str:
    return " ".join(text.split()).casefold()


def _choice(said: str, choices: tuple[str, ...]) -> str:
    return next(choice for choice in _by_likeness(said, choices))


def _by_likeness(said: str, choices: tuple[str, ...]) -> Iterator[str]:
    yield from (choice for choice in choices if choice == said)
    yield from (choice for choice in choices if choice.casefold() == said.casefold())


def _is_caseless(choices: tuple[str, ...]) -> bool:
    return len({choice.casefold() for choice in choices}) == len(choices)
