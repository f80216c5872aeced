"""Texts that are not ours, as a page may hold them: nothing hidden, nothing that runs, nothing that turns the line.

A model can write characters that show nothing and change how their neighbours read: controls, direction overrides,
invisible tags that spell out instructions. `visible` names each of them in the text. Joiners stay, because Persian and
emoji need them, and so do tabs and line feeds.
"""

import json
import re
from html import escape
from typing import Any

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls; their line feeds and tabs are wanted
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e01ef"  # tags, and the variation selectors that can carry bytes
    "\ud800-\udfff]"  # half of a character: not UTF-8
)
_IN_DATA = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def visible(text: str) -> str:
    """The text with every unseen character as ⟦U+202E⟧. Line breaks become line feeds."""
    return _UNSEEN.sub(lambda found: f"⟦U+{ord(found[0]):04X}⟧", text.replace("\r\n", "\n"))


def escaped(text: str) -> str:
    """The visible text as it stands in an element, or in an attribute between double quotes."""
    return escape(visible(text), quote=False).replace('"', "&quot;")


def data_block(value: Any) -> str:
    """JSON that can stand in a script element: it holds no `<`, so it can neither end nor begin anything."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_IN_DATA)
