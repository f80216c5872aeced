"""What sways a rater besides the answers' worth: place, length, markdown, lists. For people as for judges.

People prefer longer answers too; a judge's fault is only what it does beyond people. So every rater gets a regression
of its own, and the *excess* of one over others comes from a joint regression in which the rater's columns are added to
the common ones: their coefficients are the differences, with errors that know that both labelled the same prompts.

Columns are differences, first − second, divided by their root mean square and not centred (`standardised`): a
coefficient is the log-odds that one typical difference is worth, and swapping the two answers of a pair changes
nothing. The answers' worth is not held constant unless a column says so: an effect of length is one of whatever comes
with it. And a rater who errs more at random has smaller log-odds in everything; compare effects with that in mind.
"""

import numpy as np
from numpy.typing import ArrayLike

from rlaif.numbers.coefficients import Coefficients
from rlaif.numbers.figures import BoolArray, FloatArray, NotDefined
from rlaif.numbers.logistic import fit_logistic, standardised


def effects_of(
    preferred: FloatArray,
    differences: dict[str, FloatArray],
    clusters: ArrayLike,
    *,
    shown_first: FloatArray | None = None,
) -> Coefficients | NotDefined:
    """One rater's effects. preferred (N,) in [0, 1] is its share for the first answer of the pair, NaN for no vote.

    shown_first (N,) is 1 where the rater saw the pair's first answer first, −1 where second; with it the fit has a
    column `position`, the log-odds that the first place is worth. Without, the order is taken as averaged out.
    """
    return fit_logistic(_columns(differences, shown_first), preferred, clusters)


def excess_effects(
    rater: FloatArray,
    others: FloatArray,
    differences: dict[str, FloatArray],
    clusters: ArrayLike,
    *,
    shown_first: tuple[FloatArray, FloatArray] | None = None,
) -> Coefficients | NotDefined:
    """A rater's effects (N,) less those of others (N, R) together: coefficients `excess/NAME` beside the common ones.

    Only pairs that the rater and at least one of the others labelled count. shown_first: the rater's (N,) and the
    others' (N, R), as in `effects_of`.
    """
    counted = np.isfinite(rater) & np.isfinite(others).any(axis=1)
    rows = np.concatenate([np.flatnonzero(counted), np.repeat(np.flatnonzero(counted), others.shape[1])])
    is_rater = np.arange(len(rows)) < counted.sum()
    preferred = np.concatenate([rater[counted], others[counted].reshape(-1)])
    place = None
    if shown_first is not None:
        place = np.concatenate([shown_first[0][counted], shown_first[1][counted].reshape(-1)])
    common = _columns(
        {name: column[rows] for name, column in _scaled(differences, counted).items()}, place, is_scaled=True
    )
    own = {f"excess/{name}": column * is_rater for name, column in common.items()}
    return fit_logistic({**common, **own}, preferred, np.asarray(clusters)[rows])


def _scaled(differences: dict[str, FloatArray], counted: BoolArray) -> dict[str, FloatArray]:
    """Scaled by the pairs that count, so that no coefficient depends on the others."""
    return {
        name: standardised(np.where(counted, column, np.nan), is_centred=False) for name, column in differences.items()
    }


def _columns(
    differences: dict[str, FloatArray], shown_first: FloatArray | None, *, is_scaled: bool = False
) -> dict[str, FloatArray]:
    columns = differences
    if not is_scaled:
        columns = {name: standardised(column, is_centred=False) for name, column in differences.items()}
    return columns if shown_first is None else {"position": shown_first, **columns}
