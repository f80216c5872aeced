"""What a format is: how its rows are recognised, and what votes a row holds."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.labels.votes import Found, Unfit

Row = Mapping[str, Any]
Reading = Iterator[Found | Unfit]


def always(row: Row) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format. A row is of it when it has all of `keys` and `fits`; `read` gives its votes.

    `rater` is who voted where a row does not say. Formats that keep their texts in another file have `look_up`, the
    name of the pair a row is about, and `index`, the name under which a row of the other file (its path, its number
    from 0, itself) is found.
    """

    name: str
    about: str
    keys: frozenset[str]
    read: Callable[[Row], Reading]
    rater: str = "unknown"
    fits: Callable[[Row], bool] = always
    look_up: Callable[[Row], str] | None = None
    index: Callable[[Path, int, Row], str] | None = None

    def recognises(self, row: Row) -> bool:
        return self.keys <= row.keys() and self.fits(row)
