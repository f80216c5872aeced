"""Does one series fall while another does not: the statistics of the `held_out` rule, on arrays.

The rule looks after every new score, and a score of sampled answers is noisy: a drop from the best one so far proves
nothing by itself, since the best of many is too good by chance. Two tests, each at half of `level` per look, divided by
the comparisons it makes there; a fall of either counts only where the reward did not fall with it.

    slopes   the last 5, 10, 20, … scores have a least-squares slope below 0 (one-sided t). Knows the scores alone, so
             it needs many of them: it finds slow falls, and is lost where a rise, a fall and a plateau follow quickly.
    drops    the last 2, 4, 8, … scores together are lower than as many earlier ones in a row, the best there were.
             Knows every prompt's own score, and asks prompt by prompt, by the signs of their changes: two scores after
             a collapse are enough.

Ranks of the scores alone (Mann-Kendall) would not do: of n scores no order is rarer than 1 in n!, that is 1 in 120 for
five. How often the rule is wrong over a whole run, and how soon it is right: benchmarks/watch_rates.py,
docs/reward-hacking.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from rlaif.numbers.figures import FloatArray

_COINS = float(1 / (4 * norm.sf(2**0.5)))  # 3.18


@dataclass(frozen=True, slots=True)
class Fall:
    """A fall since step `since`: the score's ends (fitted, or means of the two windows), the reward's means there, the
    chance of such a fall where there is none, and the prompts it was seen on (0: on the scores alone)."""

    since: int
    score_from: float
    score_to: float
    reward_from: float
    reward_to: float
    p: float
    num_prompts: int = 0


def slopes(
    steps: Sequence[int], scores: Sequence[float], rewards: Sequence[float], *, shortest: int, level: float
) -> Fall | None:
    """The clearest slope down to the newest score in which the rewards' second half is no lower than the first."""
    assert len(steps) == len(scores) == len(rewards), "a score and a reward for every step"
    windows = lengths(len(steps), shortest)
    found: list[Fall] = []
    for length in windows:
        score, reward = (np.asarray(values[-length:], dtype=np.float64) for values in (scores, rewards))
        first, last, p = fitted(np.asarray(steps[-length:], dtype=np.float64), score)
        half = length // 2
        before, after = float(reward[:half].mean()), float(reward[-half:].mean())
        if last < first and p < level / len(windows) and after >= before:
            found.append(Fall(steps[-length], first, last, before, after, p))
    return min(found, key=lambda one: one.p, default=None)


def drops(
    steps: Sequence[int], scores: Sequence[FloatArray], rewards: Sequence[float], *, least: float, level: float
) -> Fall | None:
    """The clearest drop, by `least` or more, from the best earlier scores in a row to as many newest ones. `scores`:
    every prompt's own at each step, (prompts,), NaN where it has none."""
    assert len(steps) == len(scores) == len(rewards), "scores and a reward for every step"
    windows, means = lengths(len(steps) // 2, 2), np.array([np.nanmean(one) for one in scores])
    comparisons = sum(len(steps) - 2 * length + 1 for length in windows)
    found: list[Fall] = []
    for length in windows:
        start = best_window(means, length)
        before, after = np.stack(scores[start : start + length]), np.stack(scores[-length:])
        change, p, num_prompts = paired(before, after)
        reward_from, reward_to = (float(np.mean(one)) for one in (rewards[start : start + length], rewards[-length:]))
        if change <= -least and p < level / comparisons and reward_to >= reward_from:
            ends = (float(np.nanmean(before)), float(np.nanmean(after)))
            found.append(Fall(steps[start], *ends, reward_from, reward_to, p, num_prompts))
    return min(found, key=lambda one: one.p, default=None)


def lengths(available: int, shortest: int) -> list[int]:
    """shortest, twice that, …, as far as there are scores."""
    found = []
    while shortest <= available:
        found.append(shortest)
        shortest *= 2
    return found


def best_window(means: FloatArray, length: int) -> int:
    """Where the `length` scores in a row with the highest mean begin, before the last `length`."""
    sums = np.convolve(means[:-length], np.ones(length), mode="valid")
    return int(sums.argmax())


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


def paired(before: FloatArray, after: FloatArray) -> tuple[float, float, int]:
    """The mean change per prompt, a bound on P(one as low | none), one-sided, and the prompts with a score in both
    windows, each (scores, prompts).

    Where nothing changed, each prompt's change d is as likely the other way round. Σ d under all sign patterns is a sum
    of weighted coins, and P(Σ d ≤ -x √Σd²) ≤ 3.18 P(N(0, 1) ≥ x) for any d and number of prompts: Bentkus and
    Dzindzalieta, arXiv:1307.3451, theorem 1.1. A t test says less than the patterns do where changes are few and large.
    """
    changes = _means(after) - _means(before)
    changes = changes[~np.isnan(changes)]
    total, size = float(changes.sum()), float(np.linalg.norm(changes))
    if total >= 0.0:
        return (total / len(changes) if len(changes) else 0.0), 1.0, len(changes)
    return total / len(changes), min(1.0, _COINS * float(norm.sf(-total / size))), len(changes)


def _means(scores: FloatArray) -> FloatArray:
    """(prompts,) each prompt's mean over those scores that it has; NaN without any."""
    has = ~np.isnan(scores)
    totals = np.where(has, scores, 0.0).sum(axis=0)
    found: FloatArray = np.where(has.any(axis=0), totals / np.maximum(has.sum(axis=0), 1), np.nan)
    return found
