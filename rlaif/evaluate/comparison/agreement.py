"""Every two raters, all people together, and a consensus of them.

Of two raters everything comes from one table of counts, the first by the second. Where one is a judge it is the second,
so that precision and recall are the judge's against the person's; of two people the first by name is the reference,
which is an accident: read their agreement and κ.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np

from rlaif.evaluate.comparison.batch import Batch
from rlaif.evaluate.comparison.compared import ALL_PEOPLE, MAJORITY, Compared
from rlaif.numbers.accuracy import accuracy_measures
from rlaif.numbers.agreement import agreement_measures, confusion_columns
from rlaif.numbers.dawid_skene import consensus_choice, dawid_skene
from rlaif.numbers.figures import FloatArray, NotDefined
from rlaif.numbers.intervals import Measure, Statistic
from rlaif.numbers.panel import ONE_CLASS, krippendorff_alpha, panel_measures

MOST_PEOPLE = 12  # one by one, those with most votes; all are in the panel's figures and in the majority
_SHARES = ("agreement", "accuracy", "precision", "recall", "f1")


def listed_people(compared: Compared) -> tuple[int, ...]:
    """Those who are compared one by one: at most MOST_PEOPLE, by votes and then by name."""
    votes = np.bincount(compared.ballots.rater, minlength=len(compared.raters))
    most = sorted(compared.people, key=lambda place: (-int(votes[place]), compared.raters[place].name))[:MOST_PEOPLE]
    return tuple(sorted(most))


def pairs_of_raters(compared: Compared) -> Iterator[tuple[str, str, FloatArray, FloatArray]]:
    """(name, name, votes, votes) of two people, of a person and a judge, of the majority and a judge, of two judges."""
    names = [rater.name for rater in compared.raters]
    people, judges = listed_people(compared), compared.judges
    votes = {place: compared.votes(place) for place in (*people, *judges)}
    for one, other in combinations(people, 2):
        yield names[one], names[other], votes[one], votes[other]
    for judge in judges:
        for person in people:
            yield names[person], names[judge], votes[person], votes[judge]
        if len(compared.people) > 1:
            yield MAJORITY, names[judge], compared.majority, votes[judge]
    for one, other in combinations(judges, 2):
        yield names[one], names[other], votes[one], votes[other]


def add_pairs(batch: Batch, compared: Compared) -> dict[str, list[str]]:
    """The figures of every two raters, under ("rater_pairs", "A / B"). Gives the two names by that key."""
    found = {}
    for one, other, first, second in pairs_of_raters(compared):
        key = f"{one} / {other}"
        found[key] = [one, other]
        measures = pair_measures(first, second)
        shares = tuple(name for name in measures if name.partition("/")[0] in _SHARES)
        batch.add(("rater_pairs", key), measures, shares=shares)
    return found


def pair_measures(first: FloatArray, second: FloatArray) -> dict[str, Measure]:
    """Everything about two raters' shares (N, C), the first as the reference, from one table of counts."""
    columns = confusion_columns(first, second)
    measures = {**agreement_measures(first, second), **accuracy_measures(first, second)}
    found = {name: Measure(columns, one.statistic) for name, one in measures.items()}
    found["krippendorff_alpha"] = Measure(columns, Statistic(_alpha_of_two, ONE_CLASS))
    if first.shape[1] > 2:
        found["krippendorff_alpha_ordinal"] = Measure(columns, Statistic(_ordinal_alpha_of_two, ONE_CLASS))
    return found


def _coincidences(sums: FloatArray) -> FloatArray:
    """Two raters' counts (..., C * C) as Krippendorff's coincidences: both orders of every two votes."""
    classes = round(sums.shape[-1] ** 0.5)
    counts = sums.reshape(*sums.shape[:-1], classes, classes)
    return (counts + counts.swapaxes(-1, -2)).reshape(sums.shape)


def _alpha_of_two(sums: FloatArray) -> FloatArray:
    return krippendorff_alpha(_coincidences(sums))


def _ordinal_alpha_of_two(sums: FloatArray) -> FloatArray:
    return krippendorff_alpha(_coincidences(sums), "ordinal")


def add_people(batch: Batch, compared: Compared) -> None:
    """The panel's figures, under ("people",): mean agreement of two people, α, Fleiss' κ, AC1 and AC2."""
    batch.add((ALL_PEOPLE,), panel_measures(compared.people_votes), shares=("agreement",))


def consensus(compared: Compared) -> dict[str, Any]:
    """Dawid and Skene's consensus of people: what each of them, and each judge, says where the truth is such."""
    people = listed_people(compared)
    votes = np.stack([compared.votes(place) for place in people], axis=1)
    found = dawid_skene(votes)
    if isinstance(found, NotDefined):
        return {"because": found.because}
    answers = compared.terms.answers
    said: dict[str, Any] = {}
    for seat, place in enumerate(people):
        said[compared.raters[place].name] = _said(found.confusion[seat], found.prior, int(votes[:, seat].sum()))
    truth = consensus_choice(found)
    for place in compared.judges:
        counts = found.posterior.T @ compared.votes(place)
        totals = counts.sum(axis=1, keepdims=True)
        rows = np.where(totals > 0, counts / np.where(totals > 0, totals, 1.0), np.nan)
        said[compared.raters[place].name] = _said(rows, found.prior, int(compared.votes(place).sum()))
    same = float((truth * compared.majority).sum() / max(compared.majority.sum(), 1.0))
    return {
        "answers": list(answers),
        "prior": found.prior.tolist(),
        "raters": said,
        "same_as_majority": same,
        "is_converged": found.is_converged,
        "iterations": found.iterations,
    }


def _said(confusion: FloatArray, prior: FloatArray, labels: int) -> dict[str, Any]:
    """`accuracy`: how often the rater says what is true, by the truth's own shares."""
    accuracy = float(np.nansum(np.diagonal(confusion) * prior))
    rows = [[None if np.isnan(cell) else float(cell) for cell in row] for row in confusion]
    return {"labels": labels, "accuracy": accuracy, "confusion": rows}
