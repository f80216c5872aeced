"""What an answer looks like besides what it says: its length, its repetitions, its markdown, its lists.

A judge may like any of these for its own sake. They are measured on the text alone, in units that mean the same for
short answers and long ones: doublings and shares. A text without any of a thing has 0 of it.
"""

import math
import re
from collections.abc import Mapping

STYLES = ("length", "verbosity", "markdown", "lists")
ABOUT: Mapping[str, str] = {
    "length": "doublings of the number of characters",
    "verbosity": "share of words that the answer has said before",
    "markdown": "doublings of 1 + the number of markdown marks (headings, bold, code, links, tables, quotes)",
    "lists": "doublings of 1 + the number of list items",
}

_WORD = re.compile(r"\w+")
_ITEM = re.compile(r"[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+\S")  # at the beginning of a line
_MARK = re.compile(
    r"^#{1,6}[ \t]+\S"  # a heading
    r"|^>[ \t]?\S"  # a quotation
    r"|^\|.*\|[ \t]*$"  # a row of a table
    r"|^(?:-{3,}|\*{3,}|_{3,})[ \t]*$"  # a rule
    r"|```|`[^`\n]+`"  # code
    r"|\*\*[^*\n]+\*\*|__[^_\n]+__"  # bold
    r"|(?<![\w*])\*[^*\s][^*\n]*\*(?![\w*])|(?<!\w)_[^_\s][^_\n]*_(?!\w)"  # italic
    r"|\[[^\]\n]+\]\([^)\s]+\)",  # a link
    re.MULTILINE,
)


def style_of(text: str) -> dict[str, float]:
    """Every style of a text, in the units of ABOUT."""
    words = _WORD.findall(text.lower())
    return {
        "length": math.log2(1 + len(text)),
        "verbosity": 1 - len(set(words)) / len(words) if words else 0.0,
        "markdown": math.log2(1 + _num_marks(text)),
        "lists": math.log2(1 + _num_items(text)),
    }


def _num_marks(text: str) -> int:
    """Most texts hold none of the characters that a mark begins with, and need not be searched."""
    can_be = any(sign in text for sign in "#>|*_`[") or "---" in text
    return len(_MARK.findall(text)) if can_be else 0


def _num_items(text: str) -> int:
    """Line by line, which is several times quicker than looking for line beginnings in the whole."""
    return sum(_ITEM.match(line) is not None for line in text.split("\n"))
