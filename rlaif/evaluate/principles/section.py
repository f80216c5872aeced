"""The section "which principle" of a comparison: every figure of every principle, and in plain words what they say.

    section = principle_section(compared, judge, made_with(ai_paths, judge))

`compared` is a `rlaif.evaluate.comparison.compared.Compared`, `judge` the name of one of its judges; {} where it has no
marks. A figure is `{"value", "low", "high", "n", "clusters"}`, or null with `because`:

    {
      "pairs", "prompts": counts, "people": "human" | "simulated" | "human and simulated",
      "agreement": figure of the label made again from its principles, ties at one half,
      "principles": {name: {"weight": number, "opinion", "agreement", "kappa", "strength", "drop_one", "worth",
                            "label_share", "disagreement_share", "people_weight", "judge_weight": figures,
                            "kept": whether the L1 penalty keeps it for people, null where not defined}},
      "order": [names, the one that costs most agreement first],
      "costly": [names without which people agree better, shown beyond doubt although all were looked at],
      "shapley": {"method": "exact" | "sampled", "orders", "error": largest standard error that sampling adds},
      "prediction": {"predicted", "actual": figures, "sentence"} or null: of a constitution that `--apply` wrote,
      "suggestions": {"edits", "total", "rewordings", "folds"} as of `rlaif compare suggest`, null above MAX_SUGGESTED
      pairs, "sentence": which principle, in plain words; "change": what to change; "notes": [what a reader should know]
    }

`section_of(ai_paths)` is the same as a function of the two, for a report of several judges.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rlaif.evaluate.principles.made import Made, made_with, surroundings, unknown_names, votes_of_principles
from rlaif.evaluate.principles.patch import change_sentence, suggestions_json
from rlaif.evaluate.principles.prediction import predicted_beside_actual
from rlaif.evaluate.principles.suggest import Suggestions, suggest
from rlaif.evaluate.principles.words import percent, points
from rlaif.numbers.bootstrap import ClusterBootstrap
from rlaif.numbers.figures import Estimate, FloatArray
from rlaif.numbers.held_out import simultaneous
from rlaif.numbers.principle_figures import PrincipleFigures, principle_figures
from rlaif.numbers.weighted_votes import WeightedVotes, changes_of_agreement, sides

if TYPE_CHECKING:
    from rlaif.evaluate.comparison.compared import Compared


MAX_SUGGESTED = 20_000  # pairs up to which a report looks at edits too: with 100,000 they take half a minute


def section_of(paths: Sequence[Path]) -> Callable[["Compared", str], dict[str, Any]]:
    """What a report calls for each judge of these files and runs."""
    return lambda compared, judge: principle_section(compared, judge, made_with(paths, judge))


def principle_section(compared: "Compared", judge: str, made: Made | None = None) -> dict[str, Any]:
    """The section of one judge."""
    made = made or Made()
    votes = votes_of_principles(compared, judge, made)
    if votes is None:
        return {}
    own = next(place for place, rater in enumerate(compared.raters) if rater.name == judge)
    label = compared.share(own) if compared.raters[own].is_soft else None
    found = principle_figures(votes, label=label, bootstrap=compared.bootstrap, seed=compared.terms.seed)
    costly = _costly(votes, compared.bootstrap)
    people = " and ".join(sorted({compared.raters[place].kind for place in compared.people}))
    offered = _suggested(compared, votes, made)
    return {
        "pairs": int(votes.counted.sum()),
        "prompts": len(np.unique(votes.codes[votes.counted])),
        "people": people,
        "agreement": found.agreement.as_dict(),
        "principles": {name: _row(found, votes, place) for place, name in enumerate(votes.names)},
        "order": list(found.order),
        "costly": [name for name in found.order if name in costly],
        "shapley": {
            "method": "sampled" if found.shapley.orders else "exact",
            "orders": found.shapley.orders,
            "error": found.sampling_error,
        },
        "prediction": predicted_beside_actual(made.constitution, found.agreement),
        "suggestions": offered and suggestions_json(offered),
        "sentence": _sentence(found, costly, "simulated people" if people == "simulated" else "people"),
        "change": "`rlaif compare suggest` looks for edits." if offered is None else change_sentence(offered, people),
        "notes": _notes(votes, label, made),
    }


def _suggested(compared: "Compared", votes: WeightedVotes, made: Made) -> Suggestions | None:
    if votes.counted.sum() > MAX_SUGGESTED:
        return None
    terms = compared.terms
    around = surroundings(compared, made.constitution)
    return suggest(votes, around, num_resamples=terms.num_resamples, seed=terms.seed)


def _row(found: PrincipleFigures, votes: WeightedVotes, place: int) -> dict[str, Any]:
    name = votes.names[place]
    figures = {what: one.as_dict() for what, one in found.by_principle[name].items()}
    return {"weight": float(votes.weights[place]), **figures, "kept": found.kept[name]}


def _costly(votes: WeightedVotes, bootstrap: ClusterBootstrap) -> set[str]:
    """Principles whose absence makes people agree better, by intervals that hold together for all of them."""
    changes = changes_of_agreement(votes, votes.sums[:, None] - votes.parts)
    figures = simultaneous(bootstrap, changes, votes.counted).figures
    return {
        name
        for name, one in zip(votes.names, figures, strict=True)
        if isinstance(one, Estimate) and one.low is not None and one.low > 0
    }


def _sentence(found: PrincipleFigures, costly: set[str], people: str) -> str:
    if not isinstance(found.agreement, Estimate):
        return f"Which principle is to blame is not defined, because {found.agreement.because}."
    name = next((one for one in found.order if one in costly), found.order[0])
    own = found.by_principle[name]
    dropped = points(own["drop_one"])
    if name not in costly:
        return (
            f"No principle can be shown to cost agreement with {people}; the one that brings least is {name!r} "
            f"({dropped} without it)."
        )
    said = f"{name!r} is to blame first: without it the labels agree with {people} more ({dropped})"
    if all(isinstance(own[what], Estimate) for what in ("disagreement_share", "label_share")):
        said += (
            f"; it makes {percent(own['disagreement_share'])} of the disagreements and {percent(own['label_share'])}"
        )
        said += " of all labels"
    others = [one for one in found.order if one in costly and one != name]
    return f"{said}." + (f" So do {', '.join(map(repr, others))}." if others else "")


def _notes(votes: WeightedVotes, label: FloatArray | None, made: Made) -> list[str]:
    notes = []
    if label is not None:
        other = (
            np.isfinite(label)
            & votes.counted
            & (sides(np.where(np.isfinite(label), label, 0.5) - 0.5) != sides(votes.sums))
        )
        if other.any():
            notes.append(
                f"{int(other.sum()):,} of {int(votes.counted.sum()):,} labels are not the weighted vote of their "
                "principles' marks; all figures but judge_weight are about that vote"
            )
    if made.constitution is not None:
        if unknown := unknown_names(votes.names, made.constitution):
            notes.append(f"marks of principles that the constitution does not have: {', '.join(unknown)}")
        written = {one.id: one.weight for one in made.constitution.principles}
        other_weights = [n for n, w in zip(votes.names, votes.weights, strict=True) if written.get(n, w) != w]
        if other_weights:
            notes.append(
                f"labels were made with other weights than the constitution has for {', '.join(other_weights)}"
            )
    return notes
