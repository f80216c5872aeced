"""Labels that are weighted votes of principles, as arrays: what each said, what it weighs, and what people prefer.

The label of a pair is the side of the weighted sum of its principles' log-odds (`pooling.py`, row by row; here for all
rows at once), so it can be made again without a principle, or with another weight, and no model is asked. A principle
that is silent about a pair adds nothing to it.

Agreement with people is counted as everywhere with ties at one half: where the label names the first answer it is the
share of people who do, where it names neither it is 1/2. So it is 1/2 + (share − 1/2) · side, and linear in the side.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy import special

from rlaif.numbers.figures import BoolArray, FloatArray, IntArray, ratio

Kind = Literal["soft", "hard", "majority"]
CLEAR = 0.05  # a verdict within 0.45 … 0.55 is no opinion, as in the judge card
NO_SIDE = 1e-12  # sums this near zero are a tie: opposite opinions that cancel leave a rounding error


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightedVotes:
    """N pairs and P principles. `probabilities` (N, P): P(first is better), NaN where a principle said nothing;
    `weights` (P,); `people` (N,): the share of them for the first, NaN without votes; `codes` (N,): prompts.

    `kind` and `floor` are those the labels are made with: in a majority each principle has its side alone to say, and
    probabilities are kept within [floor, 1 − floor].
    """

    names: tuple[str, ...]
    probabilities: FloatArray
    weights: FloatArray
    people: FloatArray
    codes: IntArray
    floor: float = 0.01
    kind: Kind = "soft"

    def __post_init__(self) -> None:
        rows, width = len(self.people), len(self.names)
        if self.probabilities.shape != (rows, width) or self.weights.shape != (width,) or self.codes.shape != (rows,):
            shapes = (self.probabilities.shape, self.weights.shape, self.people.shape, self.codes.shape)
            raise ValueError(f"shapes {shapes} are not (N, P), (P,), (N,), (N,)")
        if (self.weights < 0).any() or not np.isfinite(self.weights).all():
            raise ValueError(f"weights are numbers of at least 0: {self.weights.tolist()}")

    @cached_property
    def heard(self) -> BoolArray:
        """(N, P): which principles have a verdict."""
        return np.isfinite(self.probabilities)

    @cached_property
    def odds(self) -> FloatArray:
        """(N, P): what each says, as log-odds or in a majority as its side; 0 where it is silent."""
        given = np.where(self.heard, self.probabilities, 0.5)
        if self.kind == "majority":
            return np.sign(given - 0.5)
        return np.asarray(special.logit(np.clip(given, self.floor, 1 - self.floor)))

    @cached_property
    def parts(self) -> FloatArray:
        """(N, P): what each adds to the sum."""
        return np.asarray(self.odds * self.weights)

    @cached_property
    def sums(self) -> FloatArray:
        return np.asarray(self.parts.sum(axis=1))

    @cached_property
    def pooled(self) -> FloatArray:
        """(N,): the soft label, P(first is better) as the weighted mean of log-odds; NaN without a label."""
        total = (self.heard * self.weights).sum(axis=1)
        return np.asarray(special.expit(ratio(self.sums, total)))

    @cached_property
    def counted(self) -> BoolArray:
        """(N,): pairs with a label and people's votes."""
        return np.asarray((self.heard & (self.weights > 0)).any(axis=1) & np.isfinite(self.people))

    @cached_property
    def lean(self) -> FloatArray:
        """(N,): share − 1/2, from −1/2 to 1/2; 0 where a pair does not count, so that it has no part in any sum."""
        return np.where(self.counted, np.nan_to_num(self.people) - 0.5, 0.0)


def sides(sums: FloatArray) -> FloatArray:
    """1, −1, or 0 for a tie, of any shape."""
    return np.where(np.abs(sums) <= NO_SIDE, 0.0, np.sign(sums))


def changes_of_agreement(votes: WeightedVotes, sums: FloatArray) -> FloatArray:
    """What another sum would change: sums (N,) or (N, K) to differences of agreement of the same shape, 0 where a pair
    does not count. Its mean over the pairs that do is the change."""
    lean, now = votes.lean, sides(votes.sums)
    if sums.ndim == 2:
        lean, now = lean[:, None], now[:, None]
    return np.asarray(lean * (sides(sums) - now))
