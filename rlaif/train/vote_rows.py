"""What label files and our datasets say beside chosen and rejected: a vote on two answers, and a probability under each
principle. A vote becomes a preference row here; the wing that made the file is not imported, its columns are the
contract (`docs/labels.md`). Who voted is not read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rlaif.errors import DataError, Where
from rlaif.train.cells import SKIPPED, Refused, content_of, number_of

_CHOICES = {"first": 1.0, "second": 0.0, "tie": 0.5, "both_bad": 0.5}  # of a label file: P(first is better)


def from_vote(raw: Mapping[str, Any], where: Where) -> Mapping[str, Any] | Refused:
    """A vote of a label file as a preference row, the answer it names as `chosen`; any other row as it is.

    A tie, and "both are bad", say that neither is better. `is_turned`: what the vote says of its first answer is now
    said of `rejected`.
    """
    if "chosen" in raw or raw.get("first") is None or raw.get("second") is None:
        return raw
    choice = raw.get("choice")
    if choice == "skipped":
        return Refused(SKIPPED)
    if choice is not None and choice not in _CHOICES:
        raise DataError(f"`choice` is {choice!r}.", where=where, do=f"It is one of {', '.join(_CHOICES)}, skipped.")
    if choice is None and raw.get("probability") is None:
        raise DataError("this vote has neither `choice` nor `probability`.", where=where, do="See docs/labels.md.")
    first = number_of(raw, "probability", 1.0, where, lowest=0.0, highest=1.0) if choice is None else _CHOICES[choice]
    won, lost = ("first", "second") if first >= 0.5 else ("second", "first")
    prompt = content_of(raw, "prompt", where)
    return {
        "prompt": prompt,
        **{
            name: raw[side] if isinstance(prompt, str) else [{"role": "assistant", "content": raw[side]}]
            for name, side in (("chosen", won), ("rejected", lost))
        },
        "probability": max(first, 1.0 - first),
        "weight": raw.get("weight"),
        "is_turned": won == "second",
    }


def principles_of(raw: Mapping[str, Any], where: Where) -> dict[str, float]:
    """P(the first answer is better) under each principle that says: `principles` as our datasets have it or as a plain
    mapping of names to probabilities, or `marks` as label files have it."""
    found = raw.get("principles") if raw.get("principles") is not None else raw.get("marks")
    if found is None:
        return {}
    if isinstance(found, Mapping):
        cells = [(str(name), {"probability": value}) for name, value in found.items()]
    elif isinstance(found, Sequence) and all(isinstance(one, Mapping) for one in found):
        cells = [(str(one.get("id", one.get("principle"))), dict(one)) for one in found]
    else:
        do = "Give a mapping of names to probabilities, or a list of {id, probability}."
        raise DataError("`principles` is neither a mapping nor a list of verdicts.", where=where, do=do)
    said = {}
    for name, cell in cells:
        if cell.get("probability") is not None:
            said[name] = number_of(cell, "probability", 1.0, where, lowest=0.0, highest=1.0)
        elif cell.get("choice") in _CHOICES:
            said[name] = _CHOICES[cell["choice"]]
    return said
