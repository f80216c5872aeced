"""A judge's labels with its probabilities mended: soft labels to train on.

The map is learnt from people's votes on other prompts than the pair's own (`rlaif/numbers/recalibration.py`), so no
label has seen the votes on it. Pairs that no person labelled get a map learnt from all of them. Marks stay as they
were: they are of single principles.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rlaif.errors import DataError
from rlaif.evaluate.comparison.compared import Compared
from rlaif.evaluate.comparison.gathering import AS_JUDGE
from rlaif.evaluate.comparison.trust import FITS, Method, recalibrated
from rlaif.labels.label import Vote
from rlaif.labels.sources import votes_of
from rlaif.numbers.figures import NotDefined


def soft_labels(compared: Compared, judge: int, files: Sequence[Path], method: Method) -> Iterator[Vote]:
    """Every label, this judge's probabilities mended. DataError where nothing mends them."""
    mended = recalibrated(compared, judge, method)
    if isinstance(mended, NotDefined):
        raise DataError(f"no soft labels of {compared.raters[judge].name}: {mended.because}.")
    share, people = compared.share(judge), compared.people_share
    known = np.isfinite(share) & np.isfinite(people)
    for_others = FITS[method](share[known], people[known], True)
    own = {
        pair_id: value if is_x_first else 1.0 - value
        for pair_id, value, is_x_first in zip(compared.pair_ids, mended, compared.is_x_first, strict=True)
        if np.isfinite(value)
    }
    name = compared.raters[judge].name.removesuffix(AS_JUDGE)
    for vote in votes_of(files):
        given = vote.label.probability
        if vote.label.rater != name or vote.label.kind != "judge" or given is None:
            yield vote
            continue
        of_x = own.get(vote.pair.id)
        if of_x is None:
            of_x = float(for_others(np.array([1.0 - given if vote.is_turned else given]))[0])
        probability = min(max(1.0 - of_x if vote.is_turned else of_x, 0.0), 1.0)
        yield replace(vote, label=replace(vote.label, probability=float(probability)))
