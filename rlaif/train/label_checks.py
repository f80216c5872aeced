"""Labels that teach nothing, found before a model is loaded: all ties, or all of one side where two are needed."""

from collections.abc import Sequence

from rlaif.errors import DataError
from rlaif.train.examples import TrainingRow


def check_pairs(rows: Sequence[TrainingRow]) -> None:
    """Raise DataError when no comparison prefers anything."""
    if all(pair.probability == 0.5 for row in rows for pair in row.pairs):
        said = {value for row in rows for pair in row.pairs for value in pair.principles.values()}
        if not said - {0.5}:
            raise DataError(
                f"all {len(rows)} rows are ties: there is no preference to learn.",
                do="Look at the `probability` column; ties alone say that all answers are equal.",
            )


def check_answers(rows: Sequence[TrainingRow]) -> None:
    """Raise DataError unless some answers are called good and some bad."""
    for side, is_there in (
        ("desirable", any(row.probability > 0.5 for row in rows)),
        ("undesirable", any(row.probability < 0.5 for row in rows)),
    ):
        if not is_there:
            raise DataError(
                f"none of the {len(rows)} answers is {side}: KTO needs both kinds.",
                do="Look at the `label` column; to imitate good answers alone, use `rlaif train sft`.",
            )
