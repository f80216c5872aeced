"""How far a judge's probabilities can be trusted, what mends them, and what its labels add to people's.

Every pair is turned so that the judge's favourite is first: which answer is called first is an accident. People's side
is the share of them who prefer that favourite, ties one half. A judge that gives choices has no probabilities to trust.

Recalibrated probabilities are out of fold, folds of whole prompts: what is shown for them is what they would be worth
on pairs that they were not learnt from.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np

from rlaif.evaluate.comparison.batch import Batch, Key, under
from rlaif.evaluate.comparison.compared import Compared
from rlaif.numbers.calibration import (
    bin_columns,
    brier,
    calibration_measures,
    debiased_columns,
    ece_debiased,
    equal_mass_bins,
    log_loss,
    reliability_measures,
    towards_favourite,
)
from rlaif.numbers.figures import Figure, FloatArray, NotDefined
from rlaif.numbers.intervals import Measure, Statistic, mean_measure
from rlaif.numbers.prediction_powered import PredictionPowered, prediction_powered_mean
from rlaif.numbers.recalibration import Fit, fit_isotonic, fit_platt, out_of_fold

Method = Literal["isotonic", "platt"]
METHODS: tuple[Method, ...] = get_args(Method)
FITS: dict[Method, Fit] = {"isotonic": fit_isotonic, "platt": fit_platt}
NUM_BINS = 10
FLOOR = 0.01  # of probabilities whose logarithm is taken
NO_PROBABILITIES = "this judge gives choices, not probabilities"
_NO_ROWS = "no pair has both a probability and people's votes"


def add_calibration(batch: Batch, compared: Compared, judge: int) -> None:
    """Under ("judges", NAME, "calibration") and its "bins"."""
    name = compared.raters[judge].name
    if not compared.raters[judge].is_soft:
        return
    said, came = _both(compared.share(judge), compared.people_share)
    bins = equal_mass_bins(said, NUM_BINS)
    batch.add(("judges", name, "calibration"), calibration_measures(batch.bootstrap, said, came, bins, floor=FLOOR))
    batch.add(("judges", name, "bins"), reliability_measures(said, came, bins))


def _both(probability: FloatArray, people: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Turned to the judge's favourite, NaN in both where either is missing."""
    known = np.isfinite(probability) & np.isfinite(people)
    return towards_favourite(np.where(known, probability, np.nan), np.where(known, people, np.nan))


def calibration_json(found: Mapping[Key, Figure], name: str) -> dict[str, Any]:
    figures = under(found, "judges", name, "calibration")
    if not figures:
        return {"because": NO_PROBABILITIES}
    bins = under(found, "judges", name, "bins")
    places = sorted({key.partition("/")[0] for key in bins})
    return {
        **figures,
        "bins": [{"said": bins[f"{place}/said"], "came": bins[f"{place}/came"]} for place in places],
    }


def recalibrated(compared: Compared, judge: int, method: Method) -> FloatArray | NotDefined:
    """The judge's probabilities (N,), each by a map learnt from other prompts."""
    if not compared.raters[judge].is_soft:
        return NotDefined(NO_PROBABILITIES, 0)
    return out_of_fold(
        compared.share(judge), compared.people_share, compared.prompts, fit=FITS[method], seed=compared.terms.seed
    )


def add_recalibration(batch: Batch, compared: Compared, judge: int) -> dict[str, str]:
    """Under ("judges", NAME, "recalibration", METHOD): log loss, Brier score, calibration error; `gain`, by how much
    the log loss is less than the judge's own. Gives why there is none, by method."""
    name = compared.raters[judge].name
    missing: dict[str, str] = {}
    before = _loss(*_both(compared.share(judge), compared.people_share))
    for method in METHODS:
        mended = recalibrated(compared, judge, method)
        if isinstance(mended, NotDefined):
            missing[method] = mended.because
            continue
        said, came = _both(mended, compared.people_share)
        bins = equal_mass_bins(said, NUM_BINS)
        loss = _loss(said, came)
        measures = {
            "log_loss": mean_measure(loss, undefined=_NO_ROWS),
            "gain": mean_measure(before - loss, undefined=_NO_ROWS),
            "brier": Measure(bin_columns(said, came, bins), Statistic(brier, _NO_ROWS)),
            "ece_debiased": Measure(
                debiased_columns(batch.bootstrap, said, came, bins), Statistic(ece_debiased, _NO_ROWS)
            ),
        }
        batch.add(("judges", name, "recalibration", method), measures)
    return missing


def recalibration_json(found: Mapping[Key, Figure], name: str, missing: Mapping[str, str]) -> dict[str, Any]:
    return {
        method: {"because": missing[method]}
        if method in missing
        else under(found, "judges", name, "recalibration", method)
        for method in METHODS
    }


def _loss(said: FloatArray, came: FloatArray) -> FloatArray:
    return log_loss(said, came, FLOOR)


# --- what the judge's labels add


def prediction_powered(compared: Compared, judge: int) -> dict[str, Any]:
    """By what is estimated: how often people prefer the longer answer, people alone and with the judge's labels. It is
    something that can be asked of any labels; win rates of models are in `models.py`."""
    name = compared.raters[judge].name
    human = prefers_longer(compared, compared.people_share)
    alone = compared.alone[name]
    return {
        "prefers_longer": powered(
            human, prefers_longer(compared, compared.share(judge)), compared.prompt_ids, alone.longer, alone.prompts
        )
    }


def prefers_longer(compared: Compared, share: FloatArray) -> FloatArray:
    """A vote's share for the longer of the two answers (N,), NaN where they are of one length."""
    length = compared.styles["length"]
    return np.where(length == 0, np.nan, np.where(length > 0, share, 1.0 - share))


def powered(
    human: FloatArray, judge: FloatArray, prompts: tuple[str, ...], judge_alone: FloatArray, alone: tuple[str, ...]
) -> dict[str, Any]:
    """A mean of people's votes where both labelled, with the judge's where it alone did."""
    clusters = np.unique(np.asarray([*prompts, *alone]), return_inverse=True)[1]
    wanted = np.concatenate([np.where(np.isfinite(human), judge, np.nan), judge_alone])
    said = np.concatenate([human, np.full(len(judge_alone), np.nan)])
    found = prediction_powered_mean(said, wanted, clusters)
    return _powered_json(found)


def _powered_json(found: PredictionPowered | NotDefined) -> dict[str, Any]:
    if isinstance(found, NotDefined):
        return {"because": found.because, "num_human": found.n}
    return {
        "together": found.together.as_dict(),
        "people": found.people.as_dict(),
        "power": found.power,
        "num_human": found.num_human,
        "num_judge_only": found.num_judge_only,
        "worth_labels": found.worth_labels,
    }
