"""What a principle in words asks for, read back: the inverse of `wordings`, by looking the sentence up.

    meaning_of("Avoid the response that flatters the reader.")     # Meaning("flatters", AVOID)

Every frame around every phrase is written out once, some thirty thousand sentences. A text that is none of them has no
meaning here, though the bundled judge may still follow it; nothing is guessed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from rlaif.tiny.phrases import PHRASES
from rlaif.tiny.wordings import AVOID, FRAMES, FRAMES_HELD_OUT, PREFER, bend


@dataclass(frozen=True, slots=True)
class Meaning:
    """A property of `rlaif.tiny.properties`, and whether answers should have it (PREFER) or not (AVOID)."""

    property: str
    direction: int

    def is_met(self, found: frozenset[str]) -> bool:
        """Whether an answer with the properties `found` does as the principle asks."""
        return (self.property in found) == (self.direction == PREFER)


def meaning_of(text: str) -> Meaning | None:
    """What the principle asks for; None for a wording that is not in the grammar."""
    return _all_meanings().get(" ".join(text.lower().split()))


@cache
def _all_meanings() -> dict[str, Meaning]:
    return dict(_sentences())


def _sentences() -> Iterator[tuple[str, Meaning]]:
    for name, phrases in PHRASES.items():
        forms = [(bend(phrase), 1) for phrase in (*phrases.has, *phrases.has_held_out)]
        forms += [(bend(phrase), -1) for phrase in (*phrases.lacks, *phrases.lacks_held_out)]
        for said in (PREFER, AVOID):
            for frame in (*FRAMES[said], *FRAMES_HELD_OUT[said]):
                for form, sign in forms:
                    yield frame.format(**form).lower(), Meaning(name, said * sign)
