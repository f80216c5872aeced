"""Which of the pairs are labelled: all, a random few, so many of each kind, or those of which there is most to learn.

A draw is made once and kept with the chance every pair had of being drawn, so that figures of the labels can be made to
speak of all pairs again (`rlaif/numbers/weighted_means.py`). Drawing what is informative without keeping the chances
makes every later figure wrong.

`unsure` draws by the entropy of the judge's probability. `disputed` draws by how far its principles disagree: the
entropy of their mean less the mean of their entropies, what a label would tell about which of them to believe (Houlsby
et al. 2011, arXiv:1112.5745). A pair no judge has seen counts as unsure as can be.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import xlogy

from rlaif.errors import DataError
from rlaif.identity import digest, seed_from
from rlaif.labels.blind.candidates import Candidate
from rlaif.numbers.figures import BoolArray, FloatArray
from rlaif.numbers.inclusion import chances_by_size, mixed_sizes, pivotal_draw, stratified_draw

Draw = Literal["all", "random", "stratified", "unsure", "disputed"]
By = Literal["tag", "source", "confidence"]
EVEN_SHARE = 0.2  # of the chances, whatever the judge said: no pair weighs more than 5 times the mean
_EDGES = (0.5, 0.6, 0.7, 0.8, 0.9)  # of the judge's probability for its favourite


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is drawn: `pairs` of them (None: all), how, for strata by what, and the seed of the draw."""

    draw: Draw = "random"
    pairs: int | None = None
    by: By = "tag"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Drawn:
    """A pair that is labelled, the chance it had, and its stratum ("" where there are none)."""

    pair_id: str
    chance: float
    stratum: str = ""


@dataclass(frozen=True, slots=True)
class Design:
    """A draw as it was made: from how many pairs, and which."""

    wish: Wish
    population: int
    drawn: tuple[Drawn, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "wish": asdict(self.wish),
            "population": self.population,
            "drawn": [asdict(one) for one in self.drawn],
        }


def read_design(value: dict[str, Any]) -> Design:
    """The other way. KeyError, TypeError where it is none."""
    drawn = tuple(Drawn(**one) for one in value["drawn"])
    return Design(Wish(**value["wish"]), value["population"], drawn)


def draw(wish: Wish, candidates: Sequence[Candidate]) -> Design:
    """Draw once. It depends on the pairs, what the judge said of them, and the wish: not on the order of the file."""
    total = len(candidates)
    number = total if wish.pairs is None else wish.pairs
    if not 0 < number <= total:
        raise DataError(f"{number:,} pairs of {total:,} cannot be drawn.", do="Give fewer with --pairs, or more data.")
    names = strata_of(candidates, wish.by) if wish.draw == "stratified" else [""] * total
    drawn, chances = _drawn(wish, candidates, names, number)
    kept = [
        Drawn(one.pair.id, float(chance), name)
        for one, is_in, chance, name in zip(candidates, drawn, chances, names, strict=True)
        if is_in
    ]
    return Design(wish, total, tuple(kept))


def _drawn(
    wish: Wish, candidates: Sequence[Candidate], names: Sequence[str], number: int
) -> tuple[BoolArray, FloatArray]:
    total = len(candidates)
    if number == total:
        return np.ones(total, dtype=np.bool_), np.ones(total)
    ids = sorted(one.pair.id for one in candidates)
    generator = np.random.default_rng(seed_from(digest({"draw": asdict(wish), "pairs": ids})))
    if wish.draw == "stratified":
        codes = np.unique(np.array(names), return_inverse=True)[1].reshape(-1)
        try:
            return stratified_draw(codes, number, generator)
        except ValueError as fault:
            raise DataError(f"{fault}.", do="Draw more pairs, or by something with fewer values.") from fault
    scores = scores_of(candidates, wish.draw)
    chances = chances_by_size(mixed_sizes(scores, EVEN_SHARE), number)
    return pivotal_draw(chances, generator), chances


def scores_of(candidates: Sequence[Candidate], draw: Draw) -> FloatArray:
    """What there is to learn from each pair (N,), in bits; the same for all where nothing is asked for."""
    if draw in ("unsure", "disputed") and all(one.probability is None for one in candidates):
        do = "Draw with --draw random or stratified, or judge the pairs first: rlaif generate, rlaif labels judge."
        raise DataError(f"no judge has said anything of these pairs, so none can be drawn as {draw}.", do=do)
    if draw == "unsure":
        return np.array([_unsure(one) for one in candidates])
    if draw == "disputed":
        return np.array([_disputed(one) for one in candidates])
    return np.ones(len(candidates))


def entropy(probability: FloatArray | float) -> FloatArray:
    """Of a yes or no with this probability, in bits."""
    p = np.asarray(probability, dtype=np.float64)
    return np.asarray(-(xlogy(p, p) + xlogy(1 - p, 1 - p)) / np.log(2))


def _unsure(one: Candidate) -> float:
    return 1.0 if one.probability is None else float(entropy(one.probability))


def _disputed(one: Candidate) -> float:
    said = [opinion for opinion in one.opinions if opinion.weight > 0]
    if len(said) < 2:
        return 1.0 if one.probability is None else 0.0
    weights = np.array([opinion.weight for opinion in said])
    shares, weights = np.array([opinion.probability for opinion in said]), weights / weights.sum()
    return max(float(entropy(weights @ shares) - weights @ entropy(shares)), 0.0)


def strata_of(candidates: Sequence[Candidate], by: By) -> list[str]:
    """Each pair's stratum: its tags together, its source, or how sure the judge is of its favourite."""
    if by == "tag":
        return ["+".join(sorted(one.pair.prompt.tags)) or "(no tag)" for one in candidates]
    if by == "source":
        return [one.pair.prompt.source or "(no source)" for one in candidates]
    return [_confidence(one.probability) for one in candidates]


def _confidence(probability: float | None) -> str:
    if probability is None:
        return "(not judged)"
    sure = max(probability, 1 - probability)
    low = max(edge for edge in _EDGES if sure >= edge)
    return f"{low:.1f} to {low + 0.1:.1f}"
