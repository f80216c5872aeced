"""Shares of 0 and of 1: what can be said when no prompt is an exception.

Every resample of "none of 720" is none, so a bootstrap cannot tell how sure it is. Prompts can: each is one
independent look, and none of G looks found anything. The exact binomial interval over prompts (Clopper and Pearson
1934) then bounds the share of prompts with an exception, and so the share of rows, which is not larger where prompts
have about as many rows.
"""

from dataclasses import replace

from rlaif.numbers.figures import Estimate, Figure

WITHOUT_EXCEPTION = "no prompt is an exception: exact binomial interval over prompts"


def with_exact_ends(figure: Figure, level: float = 0.95) -> Figure:
    """A share of exactly 0 or 1 that has no interval with that over prompts; any other figure as it is."""
    if isinstance(figure, Estimate) and figure.low is None and figure.value in (0.0, 1.0) and figure.clusters:
        room = 1 - ((1 - level) / 2) ** (1 / figure.clusters)
        low, high = (0.0, room) if figure.value == 0.0 else (1 - room, 1.0)
        return replace(figure, low=low, high=high, because=WITHOUT_EXCEPTION)
    return figure
