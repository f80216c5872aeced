"""Which of a prompt's labelled pairs a rule takes, by the strengths of its answers. Pure functions of the labels.

    best_worst    the strongest against the weakest answer
    best_random   the strongest against one drawn answer: easier and harder pairs mixed (as in Zephyr's training data,
                  arXiv:2310.16944, section 3)
    adjacent      each answer against the next weaker one: the hardest pairs, n - 1 of them
    all           every pair; with `min_margin`, all above that margin

A rule only takes pairs that were compared, so a pair's label is always that of its own comparison. Ties in strength
are decided by id and draws by digests of ids, so nothing depends on the order of work.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from rlaif.feedback.schedule import standings
from rlaif.identity import digest
from rlaif.numbers.bradley_terry import RIDGE
from rlaif.numbers.pooling import log_odds
from rlaif.records import LabelledPair
from rlaif.settings import PairSettings

Strengths = Mapping[str, float]  # by response id, in log-odds


def take_by_rule(labelled: Sequence[LabelledPair], settings: PairSettings) -> list[LabelledPair]:
    """The pairs of one prompt that the rule takes, in the order given. All of them must have a label."""
    if settings.rule == "all" or not labelled:
        return [*labelled]
    strengths = strengths_of(labelled, settings)
    ranked = sorted(strengths, key=lambda name: (strengths[name], name))
    if settings.rule == "best_random":
        return _best_against_drawn(labelled, ranked)
    if settings.rule == "adjacent":
        neighbours = [{*two} for two in pairwise(ranked)]
        return [one for one in labelled if {one.pair.x.id, one.pair.y.id} in neighbours]
    if settings.rank_by == "mean_log_odds":
        ends = {ranked[0], ranked[-1]}
        return [one for one in labelled if {one.pair.x.id, one.pair.y.id} == ends]
    return _furthest_apart(labelled, strengths)


def strengths_of(labelled: Sequence[LabelledPair], settings: PairSettings) -> dict[str, float]:
    """How strong each answer of a prompt is, by its mean log-odds or by Bradley–Terry.

    The mean is fair when everyone met everyone. Where answers met different opponents, as in Swiss rounds, it
    punishes those who met the strong; Bradley–Terry counts the opponents in.
    """
    if settings.rank_by == "bradley_terry":
        outcomes = {(one.pair.x.id, one.pair.y.id): one.probability for one in labelled}
        ids = sorted({name for pair in outcomes for name in pair})
        fitted = standings(ids, outcomes, ridge=RIDGE)
        return {name: round(strength, 9) for name, strength in fitted.items()}  # rounding noise is no difference
    scores: dict[str, list[float]] = {}
    for one in labelled:
        assert one.probability is not None
        strength = log_odds(one.probability, settings.probability_floor)
        scores.setdefault(one.pair.x.id, []).append(strength)
        scores.setdefault(one.pair.y.id, []).append(-strength)
    return {name: sum(own) / len(own) for name, own in scores.items()}


def most_decided(margins: Mapping[str, float], limit: int | None) -> frozenset[str]:
    """The `limit` pair ids with the largest margins; equal margins by id. None: all."""
    return frozenset(sorted(margins, key=lambda name: (-margins[name], name))[:limit])


def _best_against_drawn(labelled: Sequence[LabelledPair], ranked: Sequence[str]) -> list[LabelledPair]:
    """The best answer's pair with the opponent whose digest comes first, among those it was compared with."""
    own = [one for one in labelled if ranked[-1] in (one.pair.x.id, one.pair.y.id)]
    return [min(own, key=lambda one: digest({"draw": one.pair.id}))]


def _furthest_apart(labelled: Sequence[LabelledPair], strengths: Strengths) -> list[LabelledPair]:
    """The compared pair with the largest difference: the ends, where these were compared."""
    return [
        max(labelled, key=lambda one: (abs(strengths[one.pair.x.id] - strengths[one.pair.y.id]), one.pair.id)),
    ]
