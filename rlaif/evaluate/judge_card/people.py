"""Against labels that are known: calibration of the judge's probabilities, and what sways it beyond people.

People prefer longer answers too. A judge's fault is what it does beyond them: on the pairs both labelled, its effects
less theirs (`rlaif/numbers/effects.py`). So is self-preference proper: the judge's leaning to its family's answers less
that of people, who know no family (Wataoka et al. 2024, arXiv:2410.21819, condition on people's choice likewise).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from rlaif.evaluate.judge_card.figures import OWN
from rlaif.evaluate.judge_card.verdicts import Verdicts
from rlaif.labels.table import label_table, mark_table
from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.calibration import calibration_measures, equal_mass_bins, reliability_measures, towards_favourite
from rlaif.numbers.effects import excess_effects
from rlaif.numbers.figures import Estimate, Figure, FloatArray, NotDefined
from rlaif.numbers.intervals import estimates, mean_measure

_SHARE = {"x": 1.0, "tie": 0.5, "y": 0.0}  # both bad, or skipped: nothing is said about which is better
_FIGURES = ("ece_debiased", "ece", "brier", "log_loss", "log_loss_least")
NUM_BINS = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """What people prefer: the share of them for x, (N,) over whole pairs and by principle; NaN where nobody voted."""

    label: FloatArray
    by_principle: Mapping[str, FloatArray]


def read_known(files: Sequence[Path], verdicts: Verdicts) -> Known:
    """People's votes of label files on these pairs, matched by the pairs' texts."""
    votes = label_table(files).select(["pair_id", "rater", "kind", "choice_x", "probability_x"]).to_pylist()
    people = {vote["rater"] for vote in votes if vote["kind"] != "judge"}
    whole = [(vote["pair_id"], _share(vote)) for vote in votes if vote["rater"] in people]
    marks = mark_table(files).select(["pair_id", "rater", "principle", "choice_x", "probability_x"]).to_pylist()
    by_principle = {
        name: _mean_shares(
            [
                (mark["pair_id"], _share(mark))
                for mark in marks
                if mark["principle"] == name and mark["rater"] in people
            ],
            verdicts.pairs,
        )
        for name in verdicts.principles
    }
    known = {name: shares for name, shares in by_principle.items() if np.isfinite(shares).any()}
    return Known(label=_mean_shares(whole, verdicts.pairs), by_principle=known)


def _share(vote: Mapping[str, object]) -> float | None:
    probability = vote["probability_x"]
    return float(probability) if isinstance(probability, float) else _SHARE.get(str(vote["choice_x"]))


def _mean_shares(votes: Sequence[tuple[str, float | None]], pairs: Sequence[str]) -> FloatArray:
    seats = {name: place for place, name in enumerate(pairs)}
    sums, counts = np.zeros(len(pairs)), np.zeros(len(pairs))
    for pair_id, share in votes:
        if share is not None and pair_id in seats:
            sums[seats[pair_id]] += share
            counts[seats[pair_id]] += 1
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def calibration(
    probability: FloatArray, people: FloatArray, prompts: ArrayLike, *, num_resamples: int = 2000
) -> dict[str, Figure]:
    """Agreement with people, calibration errors, and the reliability curve (`bins/NN/said`, `bins/NN/came`).

    Every pair is turned so that the judge's favourite is first: which answer is called x is an accident.
    """
    both = np.isfinite(probability) & np.isfinite(people)
    said, came = towards_favourite(np.where(both, probability, np.nan), np.where(both, people, np.nan))
    bins = equal_mass_bins(said, NUM_BINS)
    bootstrap = cluster_bootstrap(np.asarray(prompts), num_resamples=num_resamples)
    every = calibration_measures(bootstrap, said, came, bins)
    measures = {"agreement": mean_measure(came, undefined="no pair has both a verdict and people's votes")}
    measures |= {name: every[name] for name in _FIGURES}
    measures |= {f"bins/{name}": measure for name, measure in reliability_measures(said, came, bins).items()}
    return estimates(bootstrap, measures)


def beyond_people(verdicts: Verdicts, people: FloatArray, own: FloatArray | None) -> dict[str, Figure]:
    """The judge's standardised logistic effects less people's, by style; of `own`, per answer of its family."""
    columns = dict(verdicts.styles) | ({} if own is None else {OWN: own})
    counted = np.isfinite(verdicts.label) & np.isfinite(people)
    used = {name: column for name, column in columns.items() if np.nan_to_num(column[counted]).any()}
    fit = excess_effects(verdicts.label, people[:, None], used, verdicts.clusters) if used else None
    found: dict[str, Figure] = {}
    for name, column in columns.items():
        if name not in used:
            found[name] = NotDefined("the two answers of every pair are alike in it", int(counted.sum()))
        elif isinstance(fit, NotDefined):
            found[name] = fit
        elif fit is not None:
            one = fit.estimate(f"excess/{name}")
            rows = counted & np.isfinite(column)
            found[name] = _scaled(one, 1 / float(np.sqrt((column[rows] ** 2).mean()))) if name == OWN else one
    return found


def _scaled(one: Estimate, factor: float) -> Estimate:
    low, high = (None if end is None else end * factor for end in (one.low, one.high))
    return replace(one, value=one.value * factor, low=low, high=high)
