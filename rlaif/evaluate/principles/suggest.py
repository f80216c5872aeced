"""Which edits of a constitution bring its labels nearer to people, and by how much on prompts that had no say in it.

    found = suggest(votes, around)

Step by step: for every principle the best action is chosen on four fifths of the prompts and measured on the fifth that
did not choose it, five times round (`rlaif/numbers/held_out.py`). The intervals of all principles of a step hold
together with 95 %, so that looking at twenty of them offers something where there is nothing in at most one comparison
of twenty. The principle with the highest lower end is edited, as all prompts together would, and the next step looks at
the others under that edit; so of two principles that say the same only one goes. It ends where no interval lies above
0.

Predictions of the steps add up. The interval of the whole patch has the reach of the first step's, in standard
deviations. What is left: a later step is measured under edits that all prompts chose.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlaif.evaluate.principles.actions import Action, Surroundings, actions_on, changed_part, rewordings_of
from rlaif.numbers.bootstrap import ClusterBootstrap, cluster_bootstrap
from rlaif.numbers.figures import Estimate, Figure, FloatArray, IntArray, NotDefined
from rlaif.numbers.held_out import NOTHING, CrossFitted, cross_fitted, simultaneous
from rlaif.numbers.intervals import Measure, Statistic, estimate, mean_of_sums
from rlaif.numbers.recalibration import cluster_folds
from rlaif.numbers.weighted_votes import WeightedVotes, sides

MAX_EDITS = 8
MIN_PROMPTS_PER_FOLD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """An action with the change of agreement to expect of it. `chosen_in` of the folds chose just this one; `looks`:
    how many principles' intervals hold together with it."""

    action: Action
    predicted: Estimate
    chosen_in: int
    looks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestions:
    """`edits` in the order they were found, each predicted on top of those before it; `total`: all of them together.
    `rewordings` are for a person to write, each by itself. `agreement` is that of the labels as they are."""

    agreement: Figure
    edits: tuple[Suggestion, ...]
    total: Figure
    rewordings: tuple[Suggestion, ...]
    folds: int
    because: str = ""


class _Draft:
    """The labels under the edits made so far."""

    def __init__(self, votes: WeightedVotes, around: Surroundings) -> None:
        self.votes, self.around = votes, around
        self.parts = votes.parts.copy()
        self.open = [place for place in range(len(votes.names)) if votes.heard[votes.counted, place].any()]

    def effects(self, place: int, actions: Sequence[Action]) -> FloatArray:
        """(A, N): what each action on a principle changes in the agreement of each pair."""
        sums, part = self.parts.sum(axis=1), self.parts[:, place]
        now, rest = sides(sums), sums - part
        return np.stack([self.votes.lean * (sides(rest + self._part(place, one)) - now) for one in actions])

    def make(self, place: int, action: Action) -> None:
        self.parts[:, place] = self._part(place, action)
        self.open.remove(place)

    def _part(self, place: int, action: Action) -> FloatArray:
        return changed_part(action, self.votes.odds[:, place], self.parts[:, place], self.around)

    def edits_of(self, place: int) -> list[Action]:
        """Edits of a principle; the only one with a say can not be disabled."""
        weights = self.votes.weights
        mean = float(weights[weights > 0].mean()) if (weights > 0).any() else 1.0
        actions = list(actions_on(self.votes.names[place], float(weights[place]), mean, self.around))
        others = np.delete(self.parts, place, axis=1)
        return [one for one in actions if one.kind != "disable" or others.any()]

    def rewordings_of(self, place: int) -> list[Action]:
        return list(rewordings_of(self.votes.names[place], self.around)) if self.votes.weights[place] > 0 else []


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """A principle, what could be done about it, and how that went on held-out prompts."""

    place: int
    actions: list[Action]
    fitted: CrossFitted


def suggest(
    votes: WeightedVotes,
    around: Surroundings,
    *,
    num_folds: int = 5,
    num_resamples: int = 2000,
    seed: int = 0,
    max_edits: int = MAX_EDITS,
) -> Suggestions:
    """Every edit whose interval lies above 0, best first. `because` says why there can be none."""
    bootstrap = cluster_bootstrap(votes.codes, num_resamples=num_resamples, seed=seed)
    agreement = _mean(bootstrap, 0.5 + votes.lean * sides(votes.sums), votes)
    prompts, least = len(np.unique(votes.codes[votes.counted])), num_folds * MIN_PROMPTS_PER_FOLD
    if prompts < least:
        why = f"{prompts} prompts with a label and people's votes are too few to hold some out; {least} are needed"
        nothing = NotDefined(why, int(votes.counted.sum()))
        return Suggestions(agreement=agreement, edits=(), total=nothing, rewordings=(), folds=num_folds, because=why)
    draft, folds = _Draft(votes, around), _folds(votes, num_folds, seed)
    edits: list[Suggestion] = []
    rewordings: list[Suggestion] = []
    held = np.zeros(len(votes.people))
    reach = 0.0
    while len(edits) < max_edits:
        looks = [_look(draft, place, draft.edits_of(place), folds, num_folds) for place in draft.open]
        words = (
            [] if edits else [_look(draft, place, draft.rewordings_of(place), folds, num_folds) for place in draft.open]
        )
        offers, needed = _offers(bootstrap, [*looks, *words], votes)
        if not edits:
            rewordings, reach = _beyond_edits(offers), needed
        better = [(look, one) for look, one in offers if one.action.is_edit]
        if not better:
            break
        look, best = max(better, key=lambda pair: pair[1].predicted.low or 0.0)
        draft.make(look.place, best.action)
        held += look.fitted.effects
        edits.append(best)
    total: Figure = NotDefined("there is no edit to offer", len(held))
    if edits:
        (total,) = simultaneous(bootstrap, held[:, None], votes.counted, reach=reach).figures
    return Suggestions(
        agreement=agreement, edits=tuple(edits), total=total, rewordings=tuple(rewordings), folds=num_folds
    )


def _folds(votes: WeightedVotes, num_folds: int, seed: int) -> IntArray:
    """Folds that share out evenly the prompts that count."""
    folds = np.zeros(len(votes.people), dtype=np.int64)
    folds[votes.counted] = cluster_folds(votes.codes[votes.counted], num_folds, seed)
    return folds


def _mean(bootstrap: ClusterBootstrap, values: FloatArray, votes: WeightedVotes) -> Figure:
    counted = votes.counted.astype(np.float64)
    columns = np.stack([values * counted, counted], axis=1)
    return estimate(bootstrap, Measure(columns, Statistic(mean_of_sums, "no pair has a label and people's votes")))


def _look(draft: _Draft, place: int, actions: list[Action], folds: IntArray, num_folds: int) -> _Look:
    effects = draft.effects(place, actions) if actions else np.zeros((0, len(folds)))
    return _Look(place, actions, cross_fitted(effects, folds, num_folds))


def _offers(
    bootstrap: ClusterBootstrap, looks: Sequence[_Look], votes: WeightedVotes
) -> tuple[list[tuple[_Look, Suggestion]], float]:
    """The looks whose interval lies above 0, where all intervals hold together; and the reach that this takes."""
    if not looks:
        return [], 0.0
    effects = np.stack([one.fitted.effects for one in looks], axis=1)
    together = simultaneous(bootstrap, effects, votes.counted)
    offered = []
    for look, figure in zip(looks, together.figures, strict=True):
        best = look.fitted.best
        if best != NOTHING and isinstance(figure, Estimate) and figure.low is not None and figure.low > 0:
            chosen_in = int((look.fitted.chosen == best).sum())
            action = look.actions[best]
            offered.append((look, Suggestion(action=action, predicted=figure, chosen_in=chosen_in, looks=len(looks))))
    return offered, together.reach


def _beyond_edits(offers: Sequence[tuple[_Look, Suggestion]]) -> list[Suggestion]:
    """Rewordings that promise more than any edit of the same principle, the best first."""
    edits = {one.action.principle: one.predicted.value for _, one in offers if one.action.is_edit}
    words = [one for _, one in offers if not one.action.is_edit]
    better = [one for one in words if one.predicted.value > edits.get(one.action.principle, 0.0)]
    return sorted(better, key=lambda one: -one.predicted.value)
