"""What a change to one of two answers does to a rater's verdict on them.

Arguments are P(the answer that is changed is better), (N,), before and after the change; NaN where there is no verdict,
and such a pair does not count. A verdict of exactly 1/2 names no answer, so it can neither flip nor be flipped to.
"""

import numpy as np
from scipy import special

from rlaif.numbers.figures import FloatArray
from rlaif.numbers.intervals import Measure, mean_measure


def flip_measures(
    before: FloatArray, after: FloatArray, floor: float = 0.01, tie_width: float = 0.05
) -> dict[str, Measure]:
    """By name:

    `flipped`: of verdicts that named an answer, how many name the other one after the change.
    `flipped_clear`: the same of clear verdicts, more than `tie_width` from 1/2 before and after.
    `won_over`: of verdicts against the changed answer, how many are for it afterwards; the "attack success rate" of
    Chen et al. 2024 (arXiv:2402.10669).
    `shift`: the mean change of the log-odds, towards the changed answer; probabilities kept in [floor, 1 − floor].
    """
    known = np.isfinite(before) & np.isfinite(after)
    was, now = np.sign(before - 0.5), np.sign(after - 0.5)
    clear = known & (np.minimum(np.abs(before - 0.5), np.abs(after - 0.5)) > tie_width)
    odds_before, odds_after = (special.logit(np.clip(p, floor, 1 - floor)) for p in (before, after))
    return {
        "flipped": mean_measure(
            np.where(known & (was != 0), was * now < 0, np.nan),
            undefined="no verdict before the change names an answer",
        ),
        "flipped_clear": mean_measure(
            np.where(clear, was * now < 0, np.nan), undefined="no pair has a clear verdict before and after the change"
        ),
        "won_over": mean_measure(
            np.where(known & (was < 0), now > 0, np.nan), undefined="no verdict was against the answer that is changed"
        ),
        "shift": mean_measure(odds_after - odds_before, undefined="no pair has a verdict before and after the change"),
    }
