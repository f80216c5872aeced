"""What each kind of check makes of one answer: a score in [0, 1], or no score and why."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from rlaif.checks.installed import load_checker
from rlaif.checks.kinds import Check, ExactCheck, JsonCheck, LengthCheck, NumberCheck, PythonCheck, RegexCheck
from rlaif.checks.numerals import last_number

PATTERN_TIMEOUT_S = 2.0  # a pattern can take for ever on an unlucky text; then there is no score
_FENCE = re.compile(r"\s*```[a-zA-Z]*\n(?P<inside>.*?)\n?```\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Scored:
    """How far the answer passes: 1 entirely, 0 not at all."""

    value: float


@dataclass(frozen=True, slots=True)
class Unscored:
    """The check cannot say: it has nothing to compare with ("abstained"), or it broke ("failed")."""

    outcome: Literal["abstained", "failed"]
    reason: str


Conversation = Sequence[Mapping[str, str]]


def score(
    check: Check, answer: str, *, reference: str | None = None, conversation: Conversation = ()
) -> Scored | Unscored:
    """Check one answer. `reference` is the prompt's own; one that the check itself names comes first."""
    try:
        match check:
            case ExactCheck():
                return _exact(check, answer, check.reference or reference)
            case NumberCheck():
                return _number(check, answer, check.reference or reference)
            case RegexCheck():
                return _passed((_search(check.pattern, answer, check.ignore_case) is not None) == check.found)
            case LengthCheck():
                return _passed(_is_within(check, answer))
            case JsonCheck():
                return _passed(_is_json(check, answer))
            case PythonCheck():
                return _called(check, answer, reference, conversation)
    except TimeoutError:
        return Unscored("failed", f"the pattern took longer than {PATTERN_TIMEOUT_S:g} s on this answer")


def _passed(is_right: bool) -> Scored:
    return Scored(1.0 if is_right else 0.0)


def _exact(check: ExactCheck, answer: str, reference: str | None) -> Scored | Unscored:
    if reference is None:
        return Unscored("abstained", "the prompt has no reference")
    found = _extracted(check.extract, answer)
    if found is None:
        return Scored(0.0)
    one, other = (" ".join(text.split()) for text in (found, reference))
    return _passed(one.casefold() == other.casefold() if check.ignore_case else one == other)


def _number(check: NumberCheck, answer: str, reference: str | None) -> Scored | Unscored:
    if reference is None:
        return Unscored("abstained", "the prompt has no reference")
    right = last_number(reference)
    if right is None:
        return Unscored("abstained", f"the reference has no readable last number: {reference[:60]!r}")
    found = _extracted(check.extract, answer)
    given = None if found is None else last_number(found)
    if given is None:
        return Scored(0.0)  # an answer without a number is not the right number
    # As written: 0.1 means a tenth, not the binary number next to it.
    allowed = max(Fraction(str(check.tolerance)), Fraction(str(check.relative_tolerance)) * abs(right))
    return _passed(abs(given - right) <= allowed)


def _extracted(pattern: str | None, answer: str) -> str | None:
    if pattern is None:
        return answer
    import regex

    matches = [*regex.finditer(pattern, answer, timeout=PATTERN_TIMEOUT_S)]
    if not matches:
        return None
    found: str | None = matches[-1].group(1 if matches[-1].re.groups else 0)
    return found


def _search(pattern: str, answer: str, ignore_case: bool) -> Any:
    import regex

    return regex.search(pattern, answer, flags=regex.IGNORECASE if ignore_case else 0, timeout=PATTERN_TIMEOUT_S)


def _is_within(check: LengthCheck, answer: str) -> bool:
    words, characters = len(answer.split()), len(answer)
    return (
        (check.min_words or 0) <= words <= (math.inf if check.max_words is None else check.max_words)
        and (check.min_characters or 0) <= characters
        and characters <= (math.inf if check.max_characters is None else check.max_characters)
    )


def _is_json(check: JsonCheck, answer: str) -> bool:
    fenced = _FENCE.fullmatch(answer) if check.allow_fence else None
    try:
        value = json.loads(fenced["inside"] if fenced else answer, parse_constant=_refuse)
        if check.json_schema is None:
            return True
        import jsonschema

        return bool(jsonschema.Draft202012Validator(check.json_schema).is_valid(value))
    except (ValueError, RecursionError):  # not JSON, a number too long to read, or nested too deeply
        return False


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is Python's, not JSON")


def _called(check: PythonCheck, answer: str, reference: str | None, conversation: Conversation) -> Scored | Unscored:
    """A checker's result. Whatever it raises is the checker's fault, counted as such; the run goes on."""
    try:
        checker = load_checker(check.name)
        result = checker(answer, reference=reference, conversation=conversation, **check.options)
    except Exception as failure:
        return Unscored("failed", f"checker {check.name!r} raised {type(failure).__name__}: {failure}")
    if result is None:
        return Unscored("abstained", f"checker {check.name!r} gave no score")
    if not isinstance(result, bool | int | float) or not 0.0 <= result <= 1.0:
        return Unscored("failed", f"checker {check.name!r} returned {result!r}, not a number from 0 to 1")
    return Scored(float(result))
