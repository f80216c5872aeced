"""What each principle has to do with people's votes: all figures of all principles, clustered by prompt.

For principle k, with l_k its log-odds (0: silent), w_k its weight, s the people's share for the first answer, and the
label the side of Σ_k w_k l_k (`weighted_votes.py`):

- `opinion`: the share of the pairs on which it prefers an answer (P outside 0.45 … 0.55), be it silent on others or
  not.
- `kappa`: of its opinions with people, ties half a vote each: Cohen's κ over every pair and its mirror image, as which
  answer is called the first is an accident. Chance is then 1/2, and κ = 2 · agreement − 1, as in feedback-forensics.
- `strength`: κ · opinion: the share of all pairs on which it sides with people, less that on which it sides against
  them.
- `drop_one`: agreement of the label made without it, less that with it. Above 0: people agree better without.
- `worth`: its Shapley value in the agreement, mean of (s − 1/2) · ψ_k. All add up to agreement − 1/2, a coin's.
- `label_share`, `disagreement_share`: whose doing the labels are, and of those, the ones that people disagree with:
  means of side · ψ_k, weighted by 1 and by the share of people who disagree. Each adds up to 1. A principle with more
  of the disagreements than of the labels is the one to look at.
- `people_weight`, `judge_weight`: coefficients on l_k over its root mean square, all principles at once
  (`weighed_columns.py`), of people's votes and of the label. People decide less exactly than a weighted sum, so
  theirs are smaller throughout: compare proportions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rlaif.numbers.bootstrap import ClusterBootstrap, cluster_bootstrap
from rlaif.numbers.figures import Figure, FloatArray, NotDefined, ratio
from rlaif.numbers.intervals import Measure, Statistic, estimates
from rlaif.numbers.logistic import standardised
from rlaif.numbers.proportions import with_exact_ends
from rlaif.numbers.shapley import Shapley, shapley_sides
from rlaif.numbers.weighed_columns import Weighed, weigh_columns
from rlaif.numbers.weighted_votes import CLEAR, WeightedVotes, changes_of_agreement, sides

NO_OPINION = "it has no opinion on any pair that people voted on"
NO_LABEL = "no pair has both a label and people's votes"
ALL_AGREE = "no label that names an answer disagrees with anybody"
Figures = dict[str, Figure]


@dataclass(frozen=True, slots=True, eq=False)
class PrincipleFigures:
    """`order` begins with the principle that costs most agreement (least `worth`). `kept`: by the L1 penalty on
    people's votes, None where that is not defined. `sampling_error`: of the worth, from drawing orders; 0 where exact.
    """

    agreement: Figure
    by_principle: Mapping[str, Figures]
    kept: Mapping[str, bool | None]
    order: tuple[str, ...]
    shapley: Shapley
    sampling_error: float


def principle_figures(
    votes: WeightedVotes,
    *,
    label: FloatArray | None = None,
    bootstrap: ClusterBootstrap | None = None,
    num_resamples: int = 2000,
    seed: int = 0,
) -> PrincipleFigures:
    """All of it. `label` (N,): the judge's P(first is better) where it is not the pool of its principles."""
    bootstrap = bootstrap or cluster_bootstrap(votes.codes, num_resamples=num_resamples, seed=seed)
    shapley = shapley_sides(votes.parts, seed=seed)
    measures = {("", "agreement"): _agreement(votes)} | _shared(votes, shapley.values)
    for place, name in enumerate(votes.names):
        measures |= {(name, what): measure for what, measure in _own(votes, place).items()}
    named = {str(number): measure for number, measure in enumerate(measures.values())}
    computed = dict(zip(measures, estimates(bootstrap, named).values(), strict=True))
    found: dict[str, Figures] = {name: {} for name in ("", *votes.names)}
    for (name, what), one in computed.items():
        found[name][what] = with_exact_ends(one) if what == "opinion" else one
    people, judge = _regressions(votes, votes.pooled if label is None else label, seed)
    for name in votes.names:
        found[name] |= {"people_weight": _weight(people, name), "judge_weight": _weight(judge, name)}
    worth = (votes.lean[:, None] * shapley.values).sum(axis=0)
    order = np.argsort(worth, kind="stable")
    pairs = max(int(votes.counted.sum()), 1)
    return PrincipleFigures(
        agreement=found.pop("")["agreement"],
        by_principle=found,
        kept={name: _is_kept(people, name) for name in votes.names},
        order=tuple(votes.names[place] for place in order),
        shapley=shapley,
        sampling_error=float(shapley.error_of_mean(votes.lean / pairs).max(initial=0.0)),
    )


def _agreement(votes: WeightedVotes) -> Measure:
    hits = np.where(votes.counted, 0.5 + votes.lean * sides(votes.sums), 0.0)
    return Measure(np.stack([hits, votes.counted.astype(np.float64)], axis=1), _mean(0, 1, NO_LABEL))


def _mean(above: int, below: int, undefined: str) -> Statistic:
    """The ratio of two of the sums."""
    return Statistic(lambda sums: ratio(sums[..., above], sums[..., below]), undefined)


def _own(votes: WeightedVotes, place: int) -> dict[str, Measure]:
    """What can be told of one principle without the others."""
    said = np.nan_to_num(votes.probabilities[:, place], nan=0.5)
    opinion = (np.abs(said - 0.5) > CLEAR).astype(np.float64)
    known = opinion * np.isfinite(votes.people)
    right = known * 2 * np.sign(said - 0.5) * np.nan_to_num(votes.people - 0.5)  # 1 with people, −1 against them
    every = np.column_stack([right, known, opinion, votes.heard.any(axis=1)])
    return {
        "opinion": Measure(every[:, 2:], _mean(0, 1, "no principle has a verdict on any pair")),
        "kappa": Measure(every[:, :2], _mean(0, 1, NO_OPINION)),
        "strength": Measure(every, Statistic(_strength, NO_OPINION)),
    }


def _strength(sums: FloatArray) -> FloatArray:
    return np.asarray(ratio(sums[..., 0], sums[..., 1]) * ratio(sums[..., 2], sums[..., 3]))


def _shared(votes: WeightedVotes, values: FloatArray) -> dict[tuple[str, str], Measure]:
    """What depends on all of them. Three tables of columns: over the pairs that count, the labels with a side, and the
    people who disagree with one."""
    side, lean = sides(votes.sums), votes.lean
    counted = votes.counted.astype(np.float64)
    dropped = changes_of_agreement(votes, votes.sums[:, None] - votes.parts)
    pairs = np.column_stack([counted, dropped, lean[:, None] * values])
    decided = counted * np.abs(side)
    labels = np.column_stack([decided, (counted * side)[:, None] * values])
    against = decided * (0.5 - lean * side)
    wrong = np.column_stack([against, (against * side)[:, None] * values])
    measures: dict[tuple[str, str], Measure] = {}
    for place, name in enumerate(votes.names, 1):
        measures[name, "drop_one"] = Measure(pairs, _mean(place, 0, NO_LABEL))
        measures[name, "worth"] = Measure(pairs, _mean(place + len(votes.names), 0, NO_LABEL))
        measures[name, "label_share"] = Measure(labels, _mean(place, 0, "no label names an answer"))
        measures[name, "disagreement_share"] = Measure(wrong, _mean(place, 0, ALL_AGREE))
    return measures


def _regressions(votes: WeightedVotes, label: FloatArray, seed: int) -> tuple[Weighed | NotDefined, ...]:
    """Of people's votes, and of the label, on the same columns and pairs."""
    columns = usable_columns(votes)
    if not columns:
        return (NotDefined(NO_LABEL, 0),) * 2
    codes = votes.codes[votes.counted]
    people, judge = (outcomes[votes.counted] for outcomes in (votes.people, label))
    return weigh_columns(columns, people, codes, seed=seed), weigh_columns(columns, judge, codes, seed=seed)


def usable_columns(votes: WeightedVotes) -> dict[str, FloatArray]:
    """The principles' log-odds on the pairs that count, over their root mean square, without those that are silent
    throughout or wholly follow from the ones before them."""
    odds = votes.odds[votes.counted]
    scaled = np.column_stack([standardised(column, is_centred=False) for column in odds.T]) if len(odds) else odds
    products = scaled.T @ scaled / max(len(scaled), 1)
    kept: list[int] = []
    for place in range(len(votes.names)):
        inner, cross = products[np.ix_(kept, kept)], products[kept, place]
        left = products[place, place] - (cross @ np.linalg.solve(inner, cross) if kept else 0.0)
        if left > 1e-8:
            kept.append(place)
    return {votes.names[place]: scaled[:, place] for place in kept}


def _weight(found: Weighed | NotDefined, name: str) -> Figure:
    if isinstance(found, NotDefined):
        return found
    if name not in found.names:
        return NotDefined("it is silent on every pair that counts, or follows wholly from the others", 0)
    return found.weight(name)


def _is_kept(found: Weighed | NotDefined, name: str) -> bool | None:
    return found.is_kept(name) if isinstance(found, Weighed) and name in found.names else None
