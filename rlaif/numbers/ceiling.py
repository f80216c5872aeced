"""How well people agree with each other, and where the judge stands beside them.

A judge's agreement with people means nothing without the people's own. Each person in turn is left out and compared
with the majority of the others; the judge is compared with the same majorities, so that both face the same reference
(as in alpaca_eval's analysis of evaluators). Where the others are split, the vote for each side of the split counts in
equal parts: the average over a random choice, without its noise.

"Worth how many people" asks the same in another unit. Guess a person's vote from k other people's mean vote: the
squared error is V (1 + 1/k), V being half of what two people differ by. The judge's error is V + its distance from the
people's true vote share; the k at which both are equal is what its vote is worth. One means: as good a guess as one
person's.
"""

import numpy as np

from rlaif.numbers.figures import BoolArray, FloatArray, ratio
from rlaif.numbers.intervals import Measure, Statistic, mean_of_sums

ALONE = "no pair has votes of two people"
CERTAIN = (
    "no number of people: they never disagree with each other on these pairs, or the judge misses their votes by no "
    "more than their own noise"
)


def majority(votes: FloatArray) -> FloatArray:
    """The answers with most votes: (..., R, C) to shares (..., C), equal parts where several have most, 0 without
    votes.
    """
    together = votes.sum(axis=-2)
    most = together.max(axis=-1, keepdims=True)
    winners = (together >= most - 1e-9) & (most > 0)
    return np.asarray(winners / np.maximum(winners.sum(axis=-1, keepdims=True), 1))


def majority_of_others(votes: FloatArray) -> FloatArray:
    """For each rater the majority of all others, (N, R, C) to (N, R, C); 0 where nobody else voted."""
    raters = votes.shape[1]
    return np.stack([majority(np.delete(votes, left_out, axis=1)) for left_out in range(raters)], axis=1)


def ceiling_measures(people: FloatArray, judge: FloatArray) -> dict[str, Measure]:
    """`human`: a person with the majority of the others; `judge`: the judge with the same majorities; `excess`: judge −
    human.

    people (N, R, C) and judge (N, C), shares. A pair counts once per person left out who voted on it beside others. The
    judge is asked only where it gave a verdict, and people are then compared on those pairs alone in `excess`.
    """
    others = majority_of_others(people)
    person = _agreement_columns(people, others)
    machine = _agreement_columns(np.where(people.sum(axis=2, keepdims=True) > 0, judge[:, None, :], 0.0), others)
    shared = np.hstack([person * (machine[:, 1:] > 0), machine])
    return {
        "human": Measure(person, Statistic(mean_of_sums, ALONE)),
        "judge": Measure(machine, Statistic(mean_of_sums, ALONE)),
        "excess": Measure(shared, Statistic(_excess, ALONE)),
    }


def _excess(sums: FloatArray) -> FloatArray:
    return mean_of_sums(sums[..., 2:]) - mean_of_sums(sums[..., :2])


def _agreement_columns(raters: FloatArray, reference: FloatArray) -> FloatArray:
    """(N, 2): expected agreement of shares (N, R, C) with references (N, R, C), summed over raters, and how many."""
    both: BoolArray = (raters.sum(axis=2) > 0) & (reference.sum(axis=2) > 0)
    equal = (raters * reference).sum(axis=2)
    return np.column_stack([(equal * both).sum(axis=1), both.sum(axis=1)])


def worth_measure(people: FloatArray, judge: FloatArray) -> Measure:
    """How many people's mean vote the judge's is worth; infinite where it misses by no more than people's own noise.

    With D the chance-free disagreement 1 − Σ_c h_c h'_c of two people, and E = E|h − p|² the judge's squared error
    against a person (p may be soft): V = D, and k = D / (E − D). People's votes are one-hot (ties as a class).
    Only pairs with two people's votes and the judge's count. Derived here; the idea is Snow et al. 2008 (EMNLP), who
    counted how many cheap labels replace an expert's.
    """
    given = people.sum(axis=(1, 2))
    together = people.sum(axis=1)
    counted = (given > 1) & (judge.sum(axis=1) > 0)
    own = (people**2).sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        alike = ((together**2).sum(axis=1) - own) / (given * (given - 1))
        error = own / given - 2 * (together * judge).sum(axis=1) / given + (judge**2).sum(axis=1)
    disagreement = own / np.maximum(given, 1) - alike
    columns = np.where(counted[:, None], np.column_stack([disagreement, error, np.ones(len(given))]), 0.0)
    return Measure(columns, Statistic(_worth, CERTAIN))


def _worth(sums: FloatArray) -> FloatArray:
    disagreement, error = sums[..., 0], sums[..., 1]
    beyond = error - disagreement
    worth = np.where(beyond > 0, ratio(disagreement, beyond), np.inf)
    return np.where((disagreement > 0) & (sums[..., 2] > 0), worth, np.nan)
