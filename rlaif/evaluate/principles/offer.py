"""From label files and a constitution to suggested edits: what `rlaif compare suggest` prints and applies."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rlaif.bundled import project_file
from rlaif.constitution import Constitution, load_constitution
from rlaif.errors import DataError, nearest
from rlaif.evaluate.comparison.compared import Compared
from rlaif.evaluate.comparison.gathering import gather
from rlaif.evaluate.comparison.terms import Terms
from rlaif.evaluate.principles.made import made_with, surroundings, unknown_names, votes_of_principles
from rlaif.evaluate.principles.patch import change_sentence, patch_text, suggestions_json
from rlaif.evaluate.principles.suggest import Suggestions, suggest
from rlaif.feedback.previous import read_settings
from rlaif.numbers.weighted_votes import WeightedVotes


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """`source` is the document to edit and `beside` where its new version belongs (for a shipped one: here). `people`:
    whose votes these are."""

    found: Suggestions
    constitution: Constitution
    source: Path
    beside: Path
    judge: str
    people: str
    notes: tuple[str, ...]

    @property
    def patch(self) -> str:
        """A constitution that extends the edited one, or nothing where there is no edit."""
        if not self.found.edits:
            return ""
        extends = self.beside.stem if self.source.parent != self.beside.parent else self.beside.name
        return patch_text(self.found, self.constitution, extends, people=self.people)

    @property
    def sentence(self) -> str:
        """What to change, in one sentence."""
        return change_sentence(self.found, self.people)

    def as_json(self) -> dict[str, Any]:
        found = self.found
        return {
            "judge": self.judge,
            "people": self.people,
            "constitution": {"name": self.constitution.name, "version": self.constitution.version},
            "agreement": found.agreement.as_dict(),
            **suggestions_json(found),
            "sentence": self.sentence,
            "patch": self.patch,
            "notes": list(self.notes),
        }


def make_offer(
    ai: Sequence[Path],
    human: Sequence[Path],
    *,
    constitution: str | None = None,
    judge: str | None = None,
    num_folds: int = 5,
    seed: int = 0,
) -> Offer:
    """Read, match and suggest. DataError where labels say nothing of principles, or of others than the document has."""
    gathered = gather(human, ai, Terms(seed=seed))
    compared = gathered.compared
    name = _judge_with_marks(compared, judge)
    source, beside = _source(ai, constitution)
    edited = load_constitution(source)
    made = replace(made_with(ai, name), constitution=edited)
    votes = votes_of_principles(compared, name, made)
    assert votes is not None
    votes, notes = _as_written(votes, edited, source)
    found = suggest(votes, surroundings(compared, edited), num_folds=num_folds, seed=seed)
    kinds = sorted({compared.raters[place].kind for place in compared.people})
    return Offer(
        found=found,
        constitution=edited,
        source=source,
        beside=beside,
        judge=name,
        people=" and ".join(kinds),
        notes=(*gathered.notes, *notes),
    )


def _judge_with_marks(compared: Compared, judge: str | None) -> str:
    known = sorted(compared.marks)
    if judge is not None and judge not in known:
        named = [compared.raters[place].name for place in compared.judges]
        why = "has no marks" if judge in named else f"is not among {', '.join(named)}"
        raise DataError(
            f"the judge {judge!r} {why}{nearest(judge, known)}.", do=f"With marks: {', '.join(known) or 'none'}."
        )
    if not known:
        do = "Labels of `rlaif generate` and `rlaif labels judge` have them; `marks` in docs/labels.md is the field."
        raise DataError("no label on these pairs has marks, so nothing is known of its principles.", do=do)
    if judge is None and len(known) > 1:
        raise DataError(f"there are marks of several judges: {', '.join(known)}.", do="Name one with --judge.")
    return judge or known[0]


def _source(ai: Sequence[Path], constitution: str | None) -> tuple[Path, Path]:
    """(the document to edit, where its new version belongs)."""
    if constitution is not None:
        path = Path(constitution)
        if path.suffix or path.exists():
            return path, path
        return project_file(f"constitution/{constitution}.yaml"), Path(f"{constitution}.yaml")
    runs = [folder for folder in ai if (folder / "settings.yaml").is_file()]
    if len(runs) != 1:
        raise DataError("label files do not say what they were judged by.", do="Name it with --constitution.")
    named, project = read_settings(runs[0]).constitution, runs[0].resolve().parents[2]
    if (project / named).is_file():
        return project / named, project / named
    return runs[0] / "constitution.yaml", Path(f"{Path(named).stem}.yaml")


def _as_written(votes: WeightedVotes, edited: Constitution, source: Path) -> tuple[WeightedVotes, list[str]]:
    """The votes with the weights that the document has now, whatever the labels were made with. What it has turned off
    is silent, and left alone."""
    if unknown := unknown_names(votes.names, edited):
        found = f"the labels have marks of principles that are not in the constitution: {', '.join(unknown)}."
        do = "Name the constitution that the labels were made with (--constitution), or make them again."
        raise DataError(found, where=str(source), do=do)
    now = {one.id: one.weight if one.enabled else 0.0 for one in edited.principles}
    weights = np.array([now[name] for name in votes.names])
    notes = []
    if other := [name for name, new, old in zip(votes.names, weights, votes.weights, strict=True) if new != old]:
        notes.append(f"weights are those of {source}; the labels were made with others for {', '.join(other)}")
    if silent := [one.id for one in edited.enabled if one.id not in votes.names]:
        notes.append(f"the labels have no marks of {', '.join(silent)}")
    is_on = {one.id for one in edited.enabled}
    off = np.array([name not in is_on for name in votes.names])
    return replace(votes, weights=weights, probabilities=np.where(off, np.nan, votes.probabilities)), notes
