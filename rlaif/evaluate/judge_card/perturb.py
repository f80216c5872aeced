"""Changes to an answer that say nothing new: what should turn no verdict, unless the principle is about just that.

Each is a function of the text alone, so the same answer is changed in the same way on every machine, and a probe that
was judged once is never judged again. None of them touches what the answer says.
"""

import re
from collections.abc import Callable, Mapping

_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_FILLERS = (
    "That is what there is to say about it.",
    "This is the answer to what was asked.",
    "With that, the matter has been covered.",
)


def trailing_space(text: str) -> str:
    """White space at the end, which nobody sees."""
    return f"{text.rstrip()} \n\n"


def in_bold(text: str) -> str:
    """The first words of every sentence in bold."""
    return " ".join(_bold_start(sentence) for sentence in sentences(text))


def as_list(text: str) -> str:
    """Every sentence as an item of a list."""
    return "\n".join(f"- {sentence}" for sentence in sentences(text))


def with_heading(text: str) -> str:
    """A heading above it."""
    return f"## Answer\n\n{text.strip()}"


def with_filler(text: str) -> str:
    """A sentence at the end that says nothing."""
    return f"{text.rstrip()} {_FILLERS[len(text) % len(_FILLERS)]}"


def restated(text: str) -> str:
    """The same said twice: longer, and not a word more in it."""
    return f"{text.rstrip()}\n\nTo say the same thing once more: {text.strip()}"


PERTURBATIONS: Mapping[str, Callable[[str], str]] = {
    "trailing space": trailing_space,
    "bold": in_bold,
    "list": as_list,
    "heading": with_heading,
    "filler": with_filler,
    "restated": restated,
}


def sentences(text: str) -> list[str]:
    """The sentences of a text, roughly: at `.`, `!` or `?` before white space."""
    return [sentence for sentence in _SENTENCE.split(text.strip()) if sentence]


def _bold_start(sentence: str) -> str:
    """Marks that are there already stay as they are."""
    words = sentence.split(" ")
    if "*" in sentence or "\n" in sentence or len(words) < 2:
        return sentence
    return f"**{' '.join(words[:2])}** {' '.join(words[2:])}".rstrip()
