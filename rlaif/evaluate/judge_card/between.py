"""Principles against each other: which say the same thing twice, and which pull against each other.

Two principles that name the same answer nearly always are one principle with two weights. Two that mostly name
different answers cancel each other in the label. Both are properties of this judge on these answers: on
others, "be brief" and "give an example" need not contradict.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from scipy import special

from rlaif.evaluate.judge_card.figures import FLOOR
from rlaif.evaluate.judge_card.verdicts import Verdicts
from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.correlation import correlation_measure
from rlaif.numbers.figures import Estimate, Figure, FloatArray
from rlaif.numbers.intervals import Measure, estimates, mean_measure
from rlaif.numbers.proportions import with_exact_ends
from rlaif.records import TIE_WIDTH

Relation = Literal["duplicate", "contradict", ""]
DUPLICATE_FROM = 0.9  # the interval of the agreement lies above it
CONTRADICT_BELOW = 0.4  # the interval of the agreement lies below it


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """`agreement`: of pairs on which both principles name an answer, the share on which it is the same one.
    `correlation` is that of their log-odds, over all pairs with both verdicts."""

    first: str
    second: str
    agreement: Figure
    correlation: Figure

    @property
    def relation(self) -> Relation:
        one = self.agreement
        if not isinstance(one, Estimate) or one.low is None or one.high is None:
            return ""
        if one.low >= DUPLICATE_FROM:
            return "duplicate"
        return "contradict" if one.high < CONTRADICT_BELOW else ""


def compare_principles(verdicts: Verdicts, *, num_resamples: int = 2000) -> list[Between]:
    """Every two principles, in the constitution's order."""
    names = verdicts.principles
    measures = dict(_measures(verdicts.probability, names))
    found = estimates(cluster_bootstrap(verdicts.clusters, num_resamples=num_resamples), measures)
    return [
        Between(
            first=one,
            second=other,
            agreement=with_exact_ends(found[f"agreement {one} {other}"]),
            correlation=found[f"correlation {one} {other}"],
        )
        for one, other in combinations(names, 2)
    ]


def _measures(probability: FloatArray, names: tuple[str, ...]) -> Iterator[tuple[str, Measure]]:
    named = np.where(np.abs(probability - 0.5) > TIE_WIDTH, np.sign(probability - 0.5), np.nan)  # (N, P)
    odds = special.logit(np.clip(probability, FLOOR, 1 - FLOOR))
    for (i, one), (j, other) in combinations(enumerate(names), 2):
        both = named[:, i] * named[:, j]
        same = np.where(np.isfinite(both), both > 0, np.nan)
        no_pair = "there is no pair on which both name an answer"
        yield f"agreement {one} {other}", mean_measure(same, undefined=no_pair)
        yield f"correlation {one} {other}", correlation_measure(odds[:, i], odds[:, j])
