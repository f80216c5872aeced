"""The last number of a text, exactly.

Read are: signs (also the typographical minus), thousands in groups of three after commas, decimal points, exponents,
and fractions of two such numbers (3/4). A last numeral that is none of these (3,5 or 1.2.3 or 12/05/2024) is no number:
guessing which of two readings is meant would mark answers wrong or right by chance.
"""

import re
from fractions import Fraction

_LONGEST = 200  # characters; more digits than any measurement has
_NUMERAL = re.compile(
    r"(?<![A-Za-z_0-9])(?P<sign>(?<![A-Za-z_0-9)])[-+−])?"
    r"(?P<body>\.?[0-9](?:[0-9.,]*[0-9])?(?:[eE][-+−]?[0-9]+)?(?:/\.?[0-9](?:[0-9.,]*[0-9])?)*)"
)
_PLAIN = re.compile(r"(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)?(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?")


def last_number(text: str) -> Fraction | None:
    """The last numeral of the text as a number; None where there is no numeral, or the last one is not readable."""
    numerals = [*_NUMERAL.finditer(text)]
    if not numerals or len(numerals[-1]["body"]) > _LONGEST:
        return None
    last = numerals[-1]
    parts = [_value(part) for part in last["body"].replace("−", "-").split("/")]
    if len(parts) > 2 or None in parts:
        return None
    value = parts[0]
    assert value is not None
    if len(parts) == 2:
        if not parts[1]:
            return None
        value /= parts[1]
    return -value if last["sign"] in ("-", "−") else value


def _value(numeral: str) -> Fraction | None:
    return Fraction(numeral.replace(",", "")) if _PLAIN.fullmatch(numeral) else None
