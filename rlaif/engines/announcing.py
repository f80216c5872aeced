"""What `rlaif serve` tells of a model beside its name: the precision it runs in, and a mark of its weights.

The OpenAI protocol has no field for either, but a server may give a model several names and lists them all. The second
one is `NAME:bfloat16:3f2a9c0d1e5b`; whoever knows nothing of it sees one more name for the same model.
"""

import re
from collections.abc import Iterable

from rlaif.identity import digest

_MARK_DIGITS = 12
_BEHIND_NAME = re.compile(rf":(?P<dtype>[a-z]+\d+):(?P<mark>[0-9a-f]{{{_MARK_DIGITS}}})")


def announced_name(name: str, *, dtype: str, weights: str) -> str:
    """The second name of a model that is served as `name`; `weights` as in a `ModelIdentity`."""
    return f"{name}:{dtype}:{weights_mark(weights)}"


def weights_mark(weights: str) -> str:
    """Equal where the weights are, on every machine; short enough to be read."""
    return digest({"weights": weights})[:_MARK_DIGITS]


def read_announced(name: str, names: Iterable[str]) -> tuple[str | None, str | None]:
    """(precision, mark) of the model `name` among a server's names; (None, None) where the server tells neither."""
    for other in names:
        if other.startswith(name) and (found := _BEHIND_NAME.fullmatch(other, len(name))):
            return found["dtype"], found["mark"]
    return None, None
