"""A rater against a reference (gold, or the people's majority): accuracy, precision, recall and F1, per class and
macro.

From the same table as `agreement.py`, laid out reference by rater: `counts[truth, said]`. Precision of a class that the
rater never gives is 0/0: not defined. Libraries that count it as 0 lower the macro average in silence; ours is not
defined either, and says of which class. The reader who wants the library's convention asks for `missing=0`.
"""

import numpy as np

from rlaif.numbers.agreement import AGREEMENT, confusion_columns
from rlaif.numbers.figures import FloatArray, ratio
from rlaif.numbers.intervals import Measure, Statistic

CHOICE_NAMES = {2: ("first", "second"), 3: ("first", "tie", "second")}


def _table(sums: FloatArray) -> FloatArray:
    classes = round(sums.shape[-1] ** 0.5)
    return sums.reshape(*sums.shape[:-1], classes, classes)


def precision(sums: FloatArray) -> FloatArray:
    """Of what the rater called c, how much is c: (..., C * C) to (..., C)."""
    table = _table(sums)
    return ratio(np.diagonal(table, axis1=-2, axis2=-1), table.sum(axis=-2))


def recall(sums: FloatArray) -> FloatArray:
    """Of what is c, how much the rater called c: (..., C * C) to (..., C)."""
    table = _table(sums)
    return ratio(np.diagonal(table, axis1=-2, axis2=-1), table.sum(axis=-1))


def f1(sums: FloatArray) -> FloatArray:
    """2 · right / (called c + are c), (..., C * C) to (..., C): defined where either of the two is."""
    table = _table(sums)
    return ratio(2 * np.diagonal(table, axis1=-2, axis2=-1), table.sum(axis=-2) + table.sum(axis=-1))


SCORES = {"precision": precision, "recall": recall, "f1": f1}


def score_of_class(score: str, code: int, missing: float = np.nan) -> Statistic:
    """One class's precision, recall or F1. `missing` takes the place of 0/0."""
    function = SCORES[score]

    def of_sums(sums: FloatArray) -> FloatArray:
        return np.nan_to_num(function(sums)[..., code], nan=missing)

    why = {"precision": "the rater never gave this answer", "recall": "the reference never has this answer"}
    return Statistic(of_sums, why.get(score, "neither the rater nor the reference has this answer"))


def macro_score(score: str, missing: float = np.nan) -> Statistic:
    """The unweighted mean over classes."""
    function = SCORES[score]

    def of_sums(sums: FloatArray) -> FloatArray:
        return np.asarray(np.nan_to_num(function(sums), nan=missing).mean(axis=-1))

    return Statistic(
        of_sums, f"{score} of a class is 0/0: {'the rater' if score == 'precision' else 'it'} never occurs"
    )


def accuracy_measures(
    reference: FloatArray, rater: FloatArray, *, missing: float = np.nan, names: tuple[str, ...] | None = None
) -> dict[str, Measure]:
    """Accuracy, macro and per-class scores of a rater's shares (N, C) against the reference's.

    Keys: `accuracy`, `precision`, `recall`, `f1`, and `precision/first` and so on for each class.
    """
    columns = confusion_columns(reference, rater)
    classes = names or CHOICE_NAMES[reference.shape[1]]
    measures = {"accuracy": Measure(columns, AGREEMENT)}
    for score in SCORES:
        measures[score] = Measure(columns, macro_score(score, missing))
        for code, name in enumerate(classes):
            measures[f"{score}/{name}"] = Measure(columns, score_of_class(score, code, missing))
    return measures
