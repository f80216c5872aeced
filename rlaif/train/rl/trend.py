"""Does one series fall while another does not: the statistics of the `held_out` rule, on arrays.

A score of sampled answers is noisy, and the rule looks at it after every new one, so a drop from the best score so far
proves nothing: the best of many is too good by chance. Instead the slope of the last 5, 10, 20, … scores (least
squares) is tested for being below 0 by its t statistic, each window at `level` divided by the number of windows. Short
windows find a steep fall early, long ones a slow one. How often it is wrong over a whole run, and how much it finds,
was simulated: tests/unit/test_rl_watch.py, docs/reward-hacking.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from rlaif.numbers.figures import FloatArray


@dataclass(frozen=True, slots=True)
class Fall:
    """A fall since step `since`: the step of the best score there was, the score's fitted ends, the reward's means of
    the window's halves, and the chance of such a slope without a trend."""

    since: int
    best: int
    score_from: float
    score_to: float
    reward_from: float
    reward_to: float
    p: float


def falls(
    steps: Sequence[int], scores: Sequence[float], rewards: Sequence[float], *, shortest: int, level: float
) -> Fall | None:
    """The clearest fall of the scores up to now in which the rewards' second half is no lower than the first."""
    assert len(steps) == len(scores) == len(rewards), "a score and a reward for every step"
    windows = lengths(len(steps), shortest)
    found: list[Fall] = []
    best = steps[int(np.argmax(scores))] if windows else 0  # a short window begins where the fall may be well under way
    for length in windows:
        score, reward = (np.asarray(values[-length:], dtype=np.float64) for values in (scores, rewards))
        first, last, p = fitted(np.asarray(steps[-length:], dtype=np.float64), score)
        half = length // 2
        before, after = float(reward[:half].mean()), float(reward[-half:].mean())
        if last < first and p < level / len(windows) and after >= before:
            found.append(Fall(steps[-length], best, first, last, before, after, p))
    return min(found, key=lambda one: one.p, default=None)


def lengths(available: int, shortest: int) -> list[int]:
    """shortest, twice that, …, as far as there are scores."""
    found = []
    while shortest <= available:
        found.append(shortest)
        shortest *= 2
    return found


def fitted(x: FloatArray, y: FloatArray) -> tuple[float, float, float]:
    """The least-squares line's values at both ends, and P(a slope as low | the true slope is 0), one-sided."""
    assert len(x) == len(y) > 2, "a line through two points has no error"
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    residual = y - y.mean() - slope * centred
    spread = float(residual @ residual) / (len(x) - 2) / float(centred @ centred)
    ends = (float(y.mean() + slope * centred[0]), float(y.mean() + slope * centred[-1]))
    if spread <= 1e-24 * max(1.0, slope * slope):  # an exact line
        return *ends, 1.0 if slope >= 0 else 0.0
    return *ends, float(student.cdf(slope / spread**0.5, len(x) - 2))
