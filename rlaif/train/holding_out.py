"""Some prompts kept out of training, to be evaluated on.

    kept, held_out = hold_out(rows, share=0.1, seed=0)

All rows of a prompt are on one side: answers to a prompt that was learnt from say little about prompts that were not.
The side follows from the seed and the prompt's own tokens, so a prompt is on the same side in every dataset: two
trainings on the labels of people and of a judge hold out the same prompts.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from rlaif.errors import DataError
from rlaif.train.examples import TrainingRow


def hold_out(rows: Sequence[TrainingRow], share: float, seed: int) -> tuple[list[TrainingRow], list[TrainingRow]]:
    """The rows to learn from and those to evaluate on; about `share` of the prompts are among the latter."""
    if not share:
        return list(rows), []
    sides: tuple[list[TrainingRow], list[TrainingRow]] = ([], [])
    for row in rows:
        sides[_place(row, seed) < share].append(row)
    if not sides[0] or not sides[1]:
        raise DataError(
            f"eval_share {share:g} leaves {len(sides[0])} rows to learn from and {len(sides[1])} to evaluate on.",
            do="The data have too few prompts for it: choose another share, or give eval_data.",
        )
    return sides


def _place(row: TrainingRow, seed: int) -> float:
    """A number in [0, 1) that belongs to the row's prompt."""
    first = row.family[0]
    prompt = first.ids[: int(np.argmax(first.scored))]
    digest = hashlib.sha256(f"held out|{seed}|".encode() + prompt.tobytes()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
