"""The judge's reasons: a small grammar of critiques, written from what two answers have and read back from text.

A critique says what each response does by the principle's property, then which one follows the principle better.
Reasons are a critique with a verdict on a line of its own behind it. `read_critique` and `read_reasons` are strict:
what does not parse is neither, and counts as such when the judge is measured.
"""

import re
from dataclasses import dataclass
from random import Random
from typing import Literal

from rlaif.tiny.properties import NAMES

Winner = Literal["A", "B", "tie"]

# What a response does when it has the property, and when it lacks it; the first of each is the most frequent.
SAYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "polite": (("is polite and kind", "shows good manners"), ("is not polite", "shows no special kindness")),
    "rude": (("is rude to the reader", "insults the reader"), ("is not rude", "does not insult anyone")),
    "doubt": (("admits doubt", "says that it may be wrong"), ("does not admit any doubt", "shows no doubt")),
    "certain": (
        ("claims to be certain", "sounds overconfident"),
        ("does not claim certainty", "makes no firm promises"),
    ),
    "flatters": (("flatters the reader", "praises the reader"), ("does not flatter", "pays no compliments")),
    "moralises": (("preaches to the reader", "moralises"), ("does not moralise", "does not preach")),
    "example": (("gives an example", "names a concrete case"), ("gives no example", "names no concrete case")),
    "asks": (("asks a question back", "asks the reader something"), ("asks nothing back", "asks no question")),
    "reason": (("gives a reason", "explains why"), ("gives no reason", "does not explain why")),
    "declines": (("declines to help", "refuses the request"), ("does not decline", "does not refuse")),
    "warns": (("warns of a danger", "urges caution"), ("does not warn", "gives no warning")),
    "long": (("is long and detailed", "uses many words"), ("is short", "uses few words")),
}
_VERDICTS: dict[Winner, tuple[str, ...]] = {
    "A": ("So response A follows the principle better.", "By this principle response A is better."),
    "B": ("So response B follows the principle better.", "By this principle response B is better."),
    "tie": ("So both follow the principle equally well.", "By this principle there is no difference."),
}
_READ_SAYS = {phrase: (name, has) for name in NAMES for has in (True, False) for phrase in SAYS[name][not has]}
_READ_VERDICT = {sentence: winner for winner, sentences in _VERDICTS.items() for sentence in sentences}
_VERDICT_LINE = "\n\nVerdict: "
_SHAPE = re.compile(r"Response A (?P<a>[^.]+)\. Response B (?P<b>[^.]+)\. (?P<verdict>[^.]+\.)")


@dataclass(frozen=True, slots=True)
class Critique:
    """What a critique claims: whether each response has the property, and who follows the principle better."""

    property: str
    a_has: bool
    b_has: bool
    winner: Winner


def winner_of(a_has: bool, b_has: bool, direction: int) -> Winner:
    """Who follows a principle better, from what each response has."""
    if a_has == b_has:
        return "tie"
    return "A" if a_has == (direction > 0) else "B"


def write_critique(said: Critique, rng: Random) -> str:
    """The critique in words."""

    def does(has: bool) -> str:
        return rng.choice(SAYS[said.property][not has])

    also = " also" if said.a_has == said.b_has and rng.random() < 0.3 else ""
    return f"Response A {does(said.a_has)}. Response B{also} {does(said.b_has)}. {rng.choice(_VERDICTS[said.winner])}"


def read_critique(text: str) -> Critique | None:
    """What the text claims, or None when it is not a critique of this grammar about one property."""
    shape = _SHAPE.fullmatch(text.strip())
    if shape is None:
        return None
    a, b = _READ_SAYS.get(shape["a"]), _READ_SAYS.get(shape["b"].removeprefix("also "))
    winner = _READ_VERDICT.get(shape["verdict"])
    if a is None or b is None or winner is None or a[0] != b[0]:
        return None
    return Critique(a[0], a[1], b[1], winner)


def write_reasons(said: Critique, rng: Random) -> str:
    """The critique and its verdict. Where it finds no difference a letter has to be written all the same: either."""
    letter = rng.choice("AB") if said.winner == "tie" else said.winner
    return f"{write_critique(said, rng)}{_VERDICT_LINE}{letter}"


def read_reasons(text: str) -> tuple[Critique, str] | None:
    """What reasons claim, and the verdict they state; None when they are not of this grammar."""
    words, line, letter = text.strip().rpartition(_VERDICT_LINE)
    said = read_critique(words) if line and letter in ("A", "B") else None
    return None if said is None else (said, letter)
