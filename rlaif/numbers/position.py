"""Does the place decide? What both orders of one pair tell about a judge's leaning to the answer shown first or second.

Arguments are P(x is better) when x was shown first, (N,), and when x was shown second, (N,), for the same x; NaN where
an order has no verdict, and such a pair does not count. Averaging the orders removes the leaning from the label; here
it is what is wanted.
"""

import numpy as np
from scipy import special

from rlaif.numbers.figures import FloatArray
from rlaif.numbers.intervals import Measure, mean_measure

NO_BOTH = "no pair has a verdict in both orders"


def position_measures(
    shown_first: FloatArray, shown_second: FloatArray, floor: float = 0.01, tie_width: float = 0.05
) -> dict[str, Measure]:
    """By name:

    `swap_consistency`: the same answer is preferred in both orders. A verdict of exactly 1/2 prefers neither.
    `same_position`: the same *place* is preferred in both orders (RLAIF, arXiv:2309.00267, §4: "position bias").
    `same_position_first`: of those, how many prefer the first place.
    `clear`: both orders name an answer by more than `tie_width` from 1/2. Two answers that are alike by a principle are
    near 1/2 in both, and which side of it a rounding leaves them on says nothing about places.
    `same_position_clear`: of the clear ones, how many name the same place.
    `first_slot_log_odds`: half the difference of the log-odds, the shift that the first place is worth; 0 is none.
    Probabilities are kept in [floor, 1 − floor] for the last.
    """
    both = np.isfinite(shown_first) & np.isfinite(shown_second)
    one, other = np.sign(shown_first - 0.5), np.sign(shown_second - 0.5)
    same_place = (one * other < 0).astype(float)
    clear = both & (np.minimum(np.abs(shown_first - 0.5), np.abs(shown_second - 0.5)) > tie_width)
    shift = (
        special.logit(np.clip(shown_first, floor, 1 - floor)) - special.logit(np.clip(shown_second, floor, 1 - floor))
    ) / 2
    return {
        "swap_consistency": mean_measure(np.where(both, one * other > 0, np.nan), undefined=NO_BOTH),
        "same_position": mean_measure(np.where(both, same_place, np.nan), undefined=NO_BOTH),
        "same_position_first": mean_measure(
            np.where(both & (same_place > 0), one > 0, np.nan), undefined="no verdict was decided by its place"
        ),
        "clear": mean_measure(np.where(both, clear, np.nan), undefined=NO_BOTH),
        "same_position_clear": mean_measure(
            np.where(clear, same_place, np.nan), undefined="no pair has a clear verdict in both orders"
        ),
        "first_slot_log_odds": mean_measure(np.where(both, shift, np.nan), undefined=NO_BOTH),
    }
