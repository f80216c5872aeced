"""What a vote says of the pair's x, the answer whose id sorts first, whichever answer was shown first."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlaif.labels.label import Choice, Vote, swapped_choice, swapped_probability

SHARES: Mapping[Choice, float] = {"first": 1.0, "second": 0.0, "tie": 0.5, "both_bad": 0.5}


def share_x(vote: Vote, choice: Choice | None, probability: float | None) -> float | None:
    """P(x is better) of what a vote, or a mark of it, says; a tie is one half, and skipped is nothing."""
    if vote.is_turned:
        choice, probability = choice and swapped_choice(choice), swapped_probability(probability)
    return probability if choice is None else SHARES.get(choice)


def choice_x(row: Mapping[str, Any]) -> Choice:
    """The choice of a label file's row, with x as the first answer."""
    choice: Choice = row["choice"]
    return choice if row["first_id"] < row["second_id"] else swapped_choice(choice)


def agreement(share: float, probability: float | None) -> float:
    """How far a vote is with the favourite of a probability: 1, 0, one half where either has none; NaN without one."""
    return np.nan if probability is None else 1.0 - abs(share - (0.5 + 0.5 * float(np.sign(probability - 0.5))))
