"""Likely mistakes in a constitution that is formally right. Each rule is cheap, asks no model, and says its reason."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from rlaif.constitution.principles import Constitution, Principle
from rlaif.documents import KeyPath

MAX_WORDS = 120  # of text and question together: a judge reads them once per comparison
NEAR_DUPLICATE = 0.6  # Jaccard overlap of content words above which two principles probably say one thing

_CHOICE = re.compile(r"\b(?:which|whose|choose|pick|select|compare)\b|\bA or B\b|\bmore\b.*\bthan\b", re.I | re.S)
_WORSE = re.compile(r"\b(?:which|choose|pick|select)\b[^.?]*\b(?:worse|worst)\b", re.I)
_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a about all an and any answer answers are as at be better but by choose do does for from good has have if in "
        "is it its more most no not of on one or over prefer response responses should so than that the their them "
        "they this to what when where which who with without would",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One warning; `key_path` is where it is in the document."""

    rule: str
    principle_id: str
    key_path: KeyPath
    message: str


def lint(constitution: Constitution, *, max_words: int = MAX_WORDS) -> list[Finding]:
    """Warnings about the enabled principles, in the order they are written."""
    enabled = [(i, principle) for i, principle in enumerate(constitution.principles) if principle.enabled]
    findings = [finding for i, principle in enabled for finding in _principle_findings(i, principle, max_words)]
    for (_, first), (j, second) in itertools.combinations(enabled, 2):
        overlap = _overlap(first, second)
        if overlap >= NEAR_DUPLICATE:
            message = f'says nearly the same as "{first.id}" ({overlap:.0%} of the words that matter are shared). '
            message += "The two count double and cost double: keep one, or say what sets them apart."
            findings.append(_finding("near-duplicate", j, second, "text", message))
    if all(principle.tags for _, principle in enabled):
        message = "every enabled principle has tags, so a prompt without them is judged by nothing."
        findings.append(Finding(rule="no-general", principle_id="", key_path=("principles",), message=message))
    return sorted(findings, key=lambda finding: finding.key_path[1:2])


def _principle_findings(i: int, principle: Principle, max_words: int) -> Iterator[Finding]:
    if principle.question is None:
        return  # a check is not read by anyone
    if not _CHOICE.search(principle.question):
        message = "the question does not ask for a choice of two answers. Ask e.g. `Which answer is more ...?`"
        yield _finding("no-choice", i, principle, "question", message)
    if _WORSE.search(principle.question):
        message = "the question asks for the worse answer, but the answer named is taken as the better one. Turn it."
        yield _finding("asks-for-worse", i, principle, "question", message)
    num_words = len(principle.text.split()) + len(principle.question.split())
    if num_words > max_words:
        message = f"text and question have {num_words} words, more than {max_words}. Long principles are followed "
        message += "less well, and each word is read once per comparison: shorten it, or make it two."
        yield _finding("too-long", i, principle, "text", message)


def _finding(rule: str, i: int, principle: Principle, key: str, message: str) -> Finding:
    return Finding(rule=rule, principle_id=principle.id, key_path=("principles", i, key), message=message)


def _overlap(first: Principle, second: Principle) -> float:
    """Jaccard overlap of the content words of the two texts. Word order is ignored: paraphrases shuffle it."""
    a, b = _content_words(first.text), _content_words(second.text)
    return len(a & b) / len(a | b) if a | b else 0.0


def _content_words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold())) - _STOP_WORDS
