"""Where a judge agrees less with people: by tag, by source, by which answer is longer, by the judge's own confidence.

Of each slice: how often the judge says what most people say, how often a person says what most others say there (people
too agree less on some things), and by how much the judge's agreement differs from that on all other pairs. The
differences of one kind are tested together, and only those that stand up to it (Benjamini and Yekutieli 2001) are
called lower.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import stats

from rlaif.evaluate.comparison.batch import Batch, Key
from rlaif.evaluate.comparison.compared import Compared
from rlaif.numbers.ceiling import ceiling_measures
from rlaif.numbers.coefficients import Coefficients
from rlaif.numbers.figures import BoolArray, Estimate, Figure, FloatArray
from rlaif.numbers.intervals import MIN_CLUSTERS, Measure, difference, mean_measure
from rlaif.numbers.linear import fit_linear

MOST_SLICES = 25  # of a kind, those with most things
FALSE_DISCOVERY_RATE = 0.05
FIGURES = ("agreement", "human", "difference")
NO_VOTE = "no pair here has both a verdict of the judge and people's votes"
_LENGTH_EDGES = (-1.0, -0.3, 0.3, 1.0)  # doublings: half, about four fifths, five fourths, twice
_LENGTH_NAMES = (
    "the judge's choice is less than half as long",
    "the judge's choice is shorter",
    "both are about as long",
    "the judge's choice is longer",
    "the judge's choice is more than twice as long",
)
_CONFIDENCE_EDGES = (0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """`inside` (N,) of the things it is about, and `known` (N,) all things that could be in it."""

    kind: str
    name: str
    inside: BoolArray
    known: BoolArray


def slices_of(compared: Compared, judge: int) -> Iterator[Slice]:
    """Every slice of enough prompts for an interval that is not everything."""
    voted = np.isfinite(right(compared, judge))
    for one in (
        *_by_tag(compared),
        *_by_source(compared),
        *_by_length(compared, judge),
        *_by_confidence(compared, judge),
    ):
        inside, known = one.inside & voted, one.known & voted
        num_prompts = len(np.unique(compared.prompts[inside]))
        if num_prompts >= MIN_CLUSTERS and (inside.sum() < known.sum() or one.kind == "confidence"):
            yield one


def right(compared: Compared, judge: int) -> FloatArray:
    """How far the judge says what most people say (N,): 1, 0, a share on a draw of people; NaN without both."""
    votes, majority = compared.votes(judge), compared.majority
    known = (votes.sum(axis=1) > 0) & (majority.sum(axis=1) > 0)
    return np.where(known, (votes * majority).sum(axis=1), np.nan)


def _by_tag(compared: Compared) -> Iterator[Slice]:
    everything = np.ones(compared.num_things, dtype=bool)
    counts = Counter(tag for tags in compared.tags for tag in tags)
    for tag, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_SLICES]:
        yield Slice("tag", tag, np.array([tag in tags for tags in compared.tags]), everything)


def _by_source(compared: Compared) -> Iterator[Slice]:
    everything = np.ones(compared.num_things, dtype=bool)
    sources = np.asarray(compared.sources, dtype=object)
    counts = Counter(compared.sources)
    for source, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_SLICES]:
        yield Slice("source", source or "(none)", sources == source, everything)


def _by_length(compared: Compared, judge: int) -> Iterator[Slice]:
    """By how much longer the answer is that the judge prefers."""
    share, length = compared.share(judge), compared.styles["length"]
    known = np.isfinite(share) & (share != 0.5)
    longer = np.where(share > 0.5, length, -length)
    place = np.digitize(longer, _LENGTH_EDGES)
    for number, name in enumerate(_LENGTH_NAMES):
        yield Slice("length", name, known & (place == number), known)


def _by_confidence(compared: Compared, judge: int) -> Iterator[Slice]:
    if not compared.raters[judge].is_soft:
        return
    share = compared.share(judge)
    known = np.isfinite(share)
    place = np.digitize(np.maximum(share, 1 - share), _CONFIDENCE_EDGES)
    ends = (0.5, *_CONFIDENCE_EDGES, 1.0)
    for number, (low, high) in enumerate(pairwise(ends)):
        yield Slice("confidence", f"{low:.2f} to {high:.2f}", known & (place == number), known)


def add_slices(batch: Batch, compared: Compared, judge: int) -> list[Slice]:
    """Under ("judges", NAME, "slices", KIND, SLICE): `agreement`, `human`, `difference`. Gives the slices."""
    name, hits = compared.raters[judge].name, right(compared, judge)
    human = ceiling_measures(compared.people_votes, np.zeros_like(compared.majority))["human"]
    found = list(slices_of(compared, judge))
    for one in found:
        own = mean_measure(np.where(one.inside, hits, np.nan), undefined=NO_VOTE)
        rest = mean_measure(np.where(one.known & ~one.inside, hits, np.nan), undefined=NO_VOTE)
        people = Measure(human.columns * one.inside[:, None], human.statistic)
        measures = {"agreement": own, "human": people, "difference": difference(own, rest)}
        batch.add(("judges", name, "slices", one.kind, one.name), measures, shares=("agreement", "human"))
    return found


def slices_json(found: Mapping[Key, Figure], compared: Compared, judge: int, slices: list[Slice]) -> dict[str, Any]:
    """By kind, those of one kind tested together."""
    name, hits = compared.raters[judge].name, right(compared, judge)
    told: dict[str, Any] = {}
    for kind in dict.fromkeys(one.kind for one in slices):
        own = [one for one in slices if one.kind == kind]
        p_values = _adjusted([_p_value(hits, one, compared) for one in own])
        told[kind] = [
            _row(one.name, {key: found["judges", name, "slices", kind, one.name, key] for key in FIGURES}, p_value)
            for one, p_value in zip(own, p_values, strict=True)
        ]
    return told


def _row(name: str, figures: Mapping[str, Figure], p_value: float | None) -> dict[str, Any]:
    gap = figures["difference"]
    is_clear = p_value is not None and p_value <= FALSE_DISCOVERY_RATE
    return {
        "name": name,
        **{key: figure.as_dict() for key, figure in figures.items()},
        "p_adjusted": p_value,
        "is_lower": is_clear and isinstance(gap, Estimate) and gap.value < 0,
    }


def _p_value(hits: FloatArray, one: Slice, compared: Compared) -> float | None:
    """Two-sided, of no difference between the slice and the rest, by prompt; None where there is no telling."""
    known = one.known & np.isfinite(hits)
    columns = {"all": np.ones(int(known.sum())), "inside": one.inside[known].astype(np.float64)}
    fit = fit_linear(columns, hits[known], compared.prompts[known])
    if not isinstance(fit, Coefficients) or fit.covariance[1, 1] <= 0:
        return None
    return fit.p_value("inside")


def _adjusted(p_values: list[float | None]) -> list[float | None]:
    known = [one for one in p_values if one is not None]
    if not known:
        return p_values
    adjusted = iter(stats.false_discovery_control(known, method="by").tolist())
    return [None if one is None else next(adjusted) for one in p_values]
