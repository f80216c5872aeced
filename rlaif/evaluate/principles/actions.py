"""What could be done about a principle, and what each would do to the labels. No model is asked.

Three of them are edits of the YAML that ask nobody anything: another `weight`, `enabled: false`, and `tags` that keep
the principle where it is right (half of a split: the other half needs words of its own). The others need new words, and
say what these are for: a principle people want the other way round, or one that is wrong where it prefers the longer
(or the shorter) answer. Of new words nobody knows what the judge will make; their effect is that of words that do
exactly this.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rlaif.numbers.figures import BoolArray, FloatArray

Kind = Literal["disable", "reweight", "split", "turn", "not_for_longer", "not_for_shorter"]
EDITS: tuple[Kind, ...] = ("disable", "reweight", "split")
FACTORS = (0.5, 2.0, 0.25, 4.0)  # of a weight; among equal effects the first is taken
MIN_PAIRS = 20  # of a tag that a principle may be split by
MAX_TAGS = 20  # the most frequent ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """`weight` is the new one of a reweighting; `tags` are those that a split keeps."""

    principle: str
    kind: Kind
    weight: float | None = None
    tags: tuple[str, ...] = ()

    @property
    def is_edit(self) -> bool:
        """Whether the YAML can say it without new words."""
        return self.kind in EDITS


@dataclass(frozen=True, kw_only=True, eq=False)
class Surroundings:
    """What is known of the pairs (N,) beside the votes: which have a tag; `longer`, 1 where the first answer is the
    longer one, −1 where the second, 0 for neither; and the tags each principle is limited to today."""

    tags: Mapping[str, BoolArray]
    longer: FloatArray
    limits: Mapping[str, frozenset[str]]


def actions_on(name: str, weight: float, mean_weight: float, around: Surroundings) -> Iterator[Action]:
    """Every edit of a principle that is looked at; the simplest first, for equal effects."""
    if weight > 0:
        yield Action(principle=name, kind="disable")
        yield from (Action(principle=name, kind="split", tags=kept) for kept in _splits(name, around))
    for factor in FACTORS if weight > 0 else (1.0, 0.5, 2.0):
        changed = round((weight or mean_weight) * factor, 6)
        yield Action(principle=name, kind="reweight", weight=changed)


def rewordings_of(name: str, around: Surroundings) -> Iterator[Action]:
    """What new words could be for."""
    yield Action(principle=name, kind="turn")
    if around.longer.any():
        yield Action(principle=name, kind="not_for_longer")
        yield Action(principle=name, kind="not_for_shorter")


def _splits(name: str, around: Surroundings) -> Iterator[tuple[str, ...]]:
    """Sets of tags to keep a principle to: one tag alone, or all but one. Never more than it has today."""
    sizes = {tag: int(mask.sum()) for tag, mask in around.tags.items()}
    frequent = sorted((tag for tag in sizes if sizes[tag] >= MIN_PAIRS), key=lambda tag: (-sizes[tag], tag))[:MAX_TAGS]
    today = around.limits.get(name, frozenset())
    usable = [tag for tag in frequent if not today or tag in today]
    everything = today or frozenset(sizes)
    if len(everything) > 1:
        yield from ((tag,) for tag in usable)
    if len(everything) > 2 and (today or np.any(list(around.tags.values()), axis=0).all()):
        yield from (tuple(sorted(everything - {tag})) for tag in usable)


def changed_part(action: Action, odds: FloatArray, part: FloatArray, around: Surroundings) -> FloatArray:
    """What the principle would add to each sum (N,), of its log-odds (N,) and what it adds now (N,)."""
    match action.kind:
        case "disable":
            return np.zeros_like(part)
        case "reweight":
            assert action.weight is not None
            return odds * action.weight
        case "split":
            kept = np.any([around.tags[tag] for tag in action.tags], axis=0)
            return np.where(kept, part, 0.0)
        case "turn":
            return -part
        case "not_for_longer":
            return np.where(part * around.longer > 0, 0.0, part)
        case "not_for_shorter":
            return np.where(part * around.longer < 0, 0.0, part)
