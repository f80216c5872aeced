"""Which principle a round of a prompt is about, and what critic and writer are asked under it. No model is needed.

The draw depends on the prompt's id, the round and the principles' ids: the principle whose number is the highest.
So an edited text changes no draw, and one principle more or less changes only the draws it wins or had won. A
principle that is renamed is drawn anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.constitution import Constitution, Principle
from rlaif.identity import digest
from rlaif.records import Prompt
from rlaif.settings import RevisionSettings

CRITIQUE_REQUEST = "Say where the response falls short of this principle, or that it does not."
REVISION_REQUEST = "Write the response anew so that it follows this principle better."


@dataclass(frozen=True, slots=True)
class Asked:
    """A principle as critic and writer read it: its text with its examples, and the two requests."""

    principle: Principle
    text: str
    critique_request: str
    revision_request: str


def eligible(constitution: Constitution, prompt: Prompt, settings: RevisionSettings) -> list[Principle]:
    """The enabled principles that apply to the prompt; with `with_requests`, those that carry both requests."""
    return [
        principle
        for principle in constitution.for_tags(prompt.tags)
        if settings.principles == "all" or (principle.critique_request and principle.revision_request)
    ]


def draw_principle(prompt: Prompt, number: int, principles: Sequence[Principle]) -> Principle | None:
    """The principle of the prompt's round with this number (from 1); None where there is none to draw."""
    drawn: list[tuple[str, Principle]] = [(_ticket(prompt, number, one.id), one) for one in principles]
    return max(drawn, key=lambda pair: pair[0])[1] if drawn else None


def _ticket(prompt: Prompt, number: int, principle_id: str) -> str:
    return digest({"draw": prompt.id, "round": number, "principle": principle_id})


def asked_under(principle: Principle) -> Asked:
    return Asked(
        principle,
        text=shown_text(principle),
        critique_request=principle.critique_request or CRITIQUE_REQUEST,
        revision_request=principle.revision_request or REVISION_REQUEST,
    )


def shown_text(principle: Principle) -> str:
    """The principle's text, then its comparisons as examples of the work: a response, a better one, and the reason.

    The letters stay, because a reason may name its answers by them.
    """
    lines = [principle.text]
    for example in principle.examples:
        answers = {"A": example.response_a, "B": example.response_b}
        better, worse = ("A", "B") if example.better == "A" else ("B", "A")
        lines += ["", f"Example. {example.conversation}"]
        lines += [f"Response ({worse}): {answers[worse]}", f"Better response ({better}): {answers[better]}"]
        lines += [f"Why: {example.why}"] if example.why else []
    return "\n".join(lines)


def content(asked: Asked, request: str) -> dict[str, Any]:
    """What of a principle stands in a request, and so belongs to its key."""
    return {"text": asked.text, "request": request}
