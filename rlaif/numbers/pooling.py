"""How verdicts are put together: two orders into one probability, several principles into one label.

Everything is a function of probabilities and weights; nothing knows about models or files. Logs are natural.
"""

import math
from collections.abc import Sequence

_NO_LEAN = 1e-12  # log-odds: opposite opinions that cancel leave a rounding error, and no preference


def choice_probability(logprob_a: float, logprob_b: float) -> float:
    """P(A) among the two choices: sigmoid(logprob_a - logprob_b). One may be -inf, not both."""
    return sigmoid(logprob_a - logprob_b)


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)) without overflow on either side."""
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    grown = math.exp(x)
    return grown / (1.0 + grown)


def both_orders(shown_first: float, shown_second: float) -> float:
    """P(x is better), the mean of P(x) when x was shown first and when it was shown second.

    Each argument is already the probability of the same response x, so P(x) + P(y) = 1 by construction: a judge that
    only looks at positions ends at 0.5, a tie, and not at a random winner.
    """
    return (shown_first + shown_second) / 2.0


def log_odds(probability: float, floor: float) -> float:
    """log(p / (1 - p)) with p kept in [floor, 1 - floor], so that no single verdict outweighs all others."""
    kept = min(max(probability, floor), 1.0 - floor)
    return math.log(kept) - math.log1p(-kept)


def pooled(probabilities: Sequence[float], weights: Sequence[float], floor: float) -> tuple[float, list[float]]:
    """The weighted mean of log-odds (the logarithmic opinion pool) as a probability, and each share of its log-odds.

    Shares are `w_k * logit(p_k) / sum(w)`; they add up to the label's log-odds, so a label can be taken apart into
    the principles that made it. Raises ValueError on no verdicts or weights that are all zero.
    The pool is that of Genest and Zidek 1986, "Combining probability distributions", for two outcomes.
    """
    total = math.fsum(weights)
    if not probabilities or len(probabilities) != len(weights) or total <= 0:
        raise ValueError(f"cannot pool {len(probabilities)} probabilities with weights {list(weights)}")
    shares = [w * log_odds(p, floor) / total for p, w in zip(probabilities, weights, strict=True)]
    pool = math.fsum(shares)
    return 0.5 if abs(pool) < _NO_LEAN else sigmoid(pool), shares


def majority(probabilities: Sequence[float], weights: Sequence[float]) -> tuple[float, list[float]]:
    """1 where more weight is on the first side than on the second, 0 where on the second, 0.5 where on both alike.

    Each principle has one vote, however sure it is: its side times its weight over all weights. The votes are the
    shares, and add up to the margin of the majority, in [-1, 1]. Raises ValueError as `pooled` does.
    """
    total = math.fsum(weights)
    if not probabilities or len(probabilities) != len(weights) or total <= 0:
        raise ValueError(f"cannot count {len(probabilities)} votes with weights {list(weights)}")
    votes = [w * side(p) / total for p, w in zip(probabilities, weights, strict=True)]
    margin = math.fsum(votes)
    return (0.5 if abs(margin) < _NO_LEAN else float(margin > 0)), votes


def side(probability: float) -> int:
    """1, -1, or 0 for exactly 0.5."""
    return (probability > 0.5) - (probability < 0.5)
