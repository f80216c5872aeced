"""What a judge's labels were made with, as far as its files say: constitution, floor, kind of label, and the votes of
its principles as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rlaif.constitution import Constitution, load_constitution
from rlaif.errors import nearest
from rlaif.evaluate.principles.actions import Surroundings
from rlaif.feedback.previous import read_settings
from rlaif.labels.table import judge_of
from rlaif.numbers.weighted_votes import Kind, WeightedVotes

if TYPE_CHECKING:
    from rlaif.evaluate.comparison.compared import Compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """How labels were made. The defaults are those of `rlaif generate`, for label files, which do not say."""

    constitution: Constitution | None = None
    floor: float = 0.01
    kind: Kind = "soft"


def made_with(paths: Sequence[Path], judge: str) -> Made:
    """Of the run among these paths whose judge has this name; the defaults where none is a run of it."""
    for folder in paths:
        if (folder / "settings.yaml").is_file() and judge_of(folder) == judge:
            settings = read_settings(folder)
            return Made(
                constitution=load_constitution(folder / "constitution.yaml"),
                floor=settings.pairs.probability_floor,
                kind=settings.label.kind,
            )
    return Made()


def votes_of_principles(compared: "Compared", judge: str, made: Made) -> WeightedVotes | None:
    """One judge's principles on the things compared, with the weights of its labels; None where it has no marks.

    Where labels do not say a weight, the constitution does, or else it is 1.
    """
    marks = compared.marks.get(judge)
    if marks is None:
        return None
    written = {} if made.constitution is None else {one.id: one.weight for one in made.constitution.principles}
    default = np.array([written.get(name, 1.0) for name in marks.principles])
    return WeightedVotes(
        names=marks.principles,
        probabilities=marks.probability,
        weights=np.where(np.isfinite(marks.weight), marks.weight, default),
        people=compared.people_share,
        codes=compared.prompts,
        floor=made.floor,
        kind=made.kind,
    )


def surroundings(compared: "Compared", constitution: Constitution | None) -> Surroundings:
    """What is known of the pairs beside the votes."""
    places: dict[str, list[int]] = {}
    for place, own in enumerate(compared.tags):
        for tag in own:
            places.setdefault(tag, []).append(place)
    masks = {tag: np.isin(np.arange(compared.num_things), places[tag]) for tag in sorted(places)}
    length = compared.styles.get("length", np.zeros(compared.num_things))
    principles = () if constitution is None else constitution.principles
    return Surroundings(
        tags=masks,
        longer=np.sign(np.nan_to_num(length)),
        limits={one.id: one.tags for one in principles if one.tags},
    )


def unknown_names(names: Sequence[str], constitution: Constitution) -> list[str]:
    """Principles of marks that the constitution does not have, each with the nearest that it has, in words."""
    known = [one.id for one in constitution.principles]
    return [f"{name!r}{nearest(name, known)}" for name in names if name not in known]
