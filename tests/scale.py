"""How often the long tests repeat what they do: enough for every change in `make test`, the published counts in
`make test-full` (RLAIF_FULL=1), whose figures docs/log.md has."""

import os

IS_FULL = bool(os.environ.get("RLAIF_FULL"))


def times(usual: int, *, full: int) -> int:
    """`usual` repetitions, or `full` ones where the published count is asked for."""
    return full if IS_FULL else usual
