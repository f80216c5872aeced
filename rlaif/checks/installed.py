"""Checkers that installed packages bring, as entry points of the group `rlaif.checkers`.

    [project.entry-points."rlaif.checkers"]
    python-runs = "my_package.checks:runs"

    def runs(answer: str, *, reference: str | None, conversation: Sequence[Mapping[str, str]], **options) -> float: ...

A checker is a pure function that returns a number from 0 to 1, True or False, or None where it cannot say. It runs in
this process with all its rights, so installing the package is what trusts it.
"""

from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from typing import Any

GROUP = "rlaif.checkers"
Checker = Callable[..., Any]


def installed_names() -> tuple[str, ...]:
    """The names that can be used, in order. None of their code is loaded."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


@cache
def load_checker(name: str) -> Checker:
    """The checker of this name. Raises LookupError where none is installed, and whatever its import raises."""
    for point in entry_points(group=GROUP, name=name):
        loaded: Checker = point.load()
        return loaded
    raise LookupError(f"no installed package brings a checker {name!r}")
