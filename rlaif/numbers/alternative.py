"""May the judge stand in for a person? The alternative-annotator test of Calderon, Reichart and Dror 2025,
arXiv:2501.10970.

Each person in turn is left out, and both that person and the judge are scored against the remaining people, pair by
pair (here: the mean agreement with each of them). The judge's *advantage probability* over that person is how often its
score is at least as good. A one-sided t-test asks whether the person's advantage is smaller than the judge's plus ε, ε
being what the judge's lower price is worth; Benjamini and Yekutieli 2001 hold the false discovery rate, for the tests
share pairs. The share of people beaten is the *winning rate* ω; at one half and more the judge passes.

Departure from the paper: pairs of one prompt are not independent, so the t-test is on prompts (`clustered.py`). One
prompt per pair gives the paper's test.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from rlaif.numbers.clustered import clustered_t
from rlaif.numbers.figures import FloatArray, IntArray, NotDefined
from rlaif.numbers.intervals import Measure, Statistic, mean_of_sums

MIN_PAIRS = 30  # of one person: below, the paper falls back to another test; we say that there is too little


@dataclass(frozen=True, slots=True)
class PersonLeftOut:
    """`judge` and `person`: how often each was at least as good; `p_value` raw, `adjusted` by Benjamini–Yekutieli."""

    person: int
    judge: float
    human: float
    p_value: float
    adjusted: float
    n: int
    clusters: int

    def is_beaten(self, false_discovery_rate: float) -> bool:
        return self.adjusted <= false_discovery_rate


@dataclass(frozen=True, slots=True)
class AlternativeAnnotator:
    """`winning_rate` ω over the people tested; `advantage` ρ, the mean of the judge's advantage probabilities."""

    winning_rate: float
    advantage: float
    epsilon: float
    false_discovery_rate: float
    people: tuple[PersonLeftOut, ...]
    too_few: tuple[int, ...]  # people with fewer than MIN_PAIRS pairs

    @property
    def passes(self) -> bool:
        return self.winning_rate >= 0.5


def advantages(people: FloatArray, judge: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Was the judge, was the person at least as good, against the others? people (N, R, C), judge (N, C), shares.

    Two arrays (N, R) of 0 and 1, NaN where the person, the judge or all others gave no vote.
    """
    together = people.sum(axis=1, keepdims=True) - people  # votes of the others, (N, R, C)
    known = (people.sum(axis=2) > 0) & (together.sum(axis=2) > 1e-9) & (judge.sum(axis=1) > 0)[:, None]
    lead = ((judge[:, None, :] - people) * together).sum(axis=2) / np.maximum(together.sum(axis=2), 1e-9)
    better = np.where(known, (lead >= -1e-9).astype(np.float64), np.nan)
    human = np.where(known, (lead <= 1e-9).astype(np.float64), np.nan)
    return better, human


def advantage_measure(people: FloatArray, judge: FloatArray) -> Measure:
    """ρ with an interval: the mean over people of the judge's advantage probability over each."""
    better, _ = advantages(people, judge)
    raters = better.shape[1]
    columns = np.hstack([np.nan_to_num(better), np.isfinite(better)])

    def mean_over_people(sums: FloatArray) -> FloatArray:
        pairs = np.stack([sums[..., :raters], sums[..., raters:]], axis=-1)
        rates = mean_of_sums(pairs)
        known = np.isfinite(rates)
        total = np.where(known, rates, 0.0).sum(axis=-1)
        return np.where(known.any(axis=-1), total / np.maximum(known.sum(axis=-1), 1), np.nan)

    return Measure(columns, Statistic(mean_over_people, "no pair has votes of two people and of the judge"))


def alternative_annotator_test(
    people: FloatArray,
    judge: FloatArray,
    clusters: ArrayLike,
    *,
    epsilon: float = 0.2,
    false_discovery_rate: float = 0.05,
) -> AlternativeAnnotator | NotDefined:
    """people (N, R, C), judge (N, C), shares; clusters (N,). ε: 0.2 against experts, 0.15 skilled, 0.1 crowd (paper
    §4).
    """
    _, codes = np.unique(np.asarray(clusters), return_inverse=True)
    better, human = advantages(people, judge)
    rows = [np.flatnonzero(np.isfinite(better[:, person])) for person in range(people.shape[1])]
    tested = [person for person, own in enumerate(rows) if len(own) >= MIN_PAIRS and len(np.unique(codes[own])) > 1]
    if not tested:
        most = max((len(own) for own in rows), default=0)
        return NotDefined(
            f"no person has {MIN_PAIRS} pairs on two prompts with another person's and the judge's vote", most
        )
    raw = [_p_value(human[rows[p], p] - better[rows[p], p], codes[rows[p]], epsilon) for p in tested]
    adjusted = stats.false_discovery_control(raw, method="by")
    left_out = tuple(
        PersonLeftOut(
            person=person,
            judge=float(better[rows[person], person].mean()),
            human=float(human[rows[person], person].mean()),
            p_value=p_value,
            adjusted=float(corrected),
            n=len(rows[person]),
            clusters=len(np.unique(codes[rows[person]])),
        )
        for person, p_value, corrected in zip(tested, raw, adjusted, strict=True)
    )
    return AlternativeAnnotator(
        winning_rate=float(np.mean([one.is_beaten(false_discovery_rate) for one in left_out])),
        advantage=float(np.mean([one.judge for one in left_out])),
        epsilon=epsilon,
        false_discovery_rate=false_discovery_rate,
        people=left_out,
        too_few=tuple(person for person in range(people.shape[1]) if person not in tested),
    )


def _p_value(leads: FloatArray, codes: IntArray, epsilon: float) -> float:
    """Of H0: the person's lead is ε or more. A lead without any spread decides by itself."""
    mean, error, groups = clustered_t(leads, codes)
    if error == 0:
        return 0.0 if mean < epsilon else 1.0
    return float(stats.t.cdf((mean - epsilon) / error, groups - 1))
