"""The card: everything measured about one judge, as one record, with its JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rlaif.evaluate.judge_card.asking import Asked
from rlaif.evaluate.judge_card.between import Between, compare_principles
from rlaif.evaluate.judge_card.families import Own
from rlaif.evaluate.judge_card.figures import (
    FLOOR,
    OWN,
    Effect,
    Group,
    group_of,
    group_of_all,
    position_figures,
    silence_figures,
    style_figures,
)
from rlaif.evaluate.judge_card.people import Known, beyond_people, calibration
from rlaif.evaluate.judge_card.sentence import plain_sentence
from rlaif.evaluate.judge_card.verdicts import Verdicts
from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.figures import Figure, FloatArray
from rlaif.numbers.flips import flip_measures
from rlaif.numbers.intervals import estimates
from rlaif.numbers.proportions import with_exact_ends

ALL = "all principles"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One principle's figures, or those of all together. Empty where nothing was asked that would tell."""

    no_answer: Mapping[str, Figure]
    position: Mapping[str, Figure]
    style: Mapping[str, Effect]
    probes: Mapping[str, Mapping[str, Figure]] = field(default_factory=dict)
    calibration: Mapping[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Card:
    """`overall` has position, silence and probes of all principles' verdicts together, and style and calibration of the
    label they end in.
    `kinds` says of each probe whether it makes an answer worse or changes nothing that matters."""

    judge: Mapping[str, str]
    mode: str
    source: str
    pairs: int
    prompts: int
    overall: Measured
    principles: Mapping[str, Measured]
    texts: Mapping[str, str]
    kinds: Mapping[str, str]
    between: Sequence[Between]
    own: Own
    beyond_people: Mapping[str, Figure]
    notes: Sequence[str]

    @property
    def sentence(self) -> str:
        overall = self.overall
        harmless = {name: one for name, one in overall.probes.items() if self.kinds.get(name) == "irrelevant"}
        return plain_sentence(self.judge["name"], overall.no_answer, overall.position, overall.style, harmless)

    def as_json(self) -> dict[str, Any]:
        return {
            "sentence": self.sentence,
            "judge": dict(self.judge),
            "mode": self.mode,
            "source": self.source,
            "pairs": self.pairs,
            "prompts": self.prompts,
            "overall": _measured_json(self.overall),
            "principles": [
                {"id": name, "text": self.texts.get(name, ""), **_measured_json(one)}
                for name, one in self.principles.items()
            ],
            "probe_kinds": dict(self.kinds),
            "between_principles": [
                {
                    "first": one.first,
                    "second": one.second,
                    "agreement": one.agreement.as_dict(),
                    "correlation": one.correlation.as_dict(),
                    "relation": one.relation or None,
                }
                for one in self.between
            ],
            "self_preference": {
                "judge_family": self.own.judge_family,
                "policies_of_the_family": dict(self.own.policies),
                "because": self.own.because,
            },
            "beyond_people": {name: one.as_dict() for name, one in self.beyond_people.items()},
            "notes": list(self.notes),
        }


def make_card(
    verdicts: Verdicts,
    *,
    judge: Mapping[str, str],
    mode: str,
    source: str,
    texts: Mapping[str, str],
    own: Own,
    known: Known | None = None,
    asked: Asked | None = None,
    notes: Sequence[str] = (),
    num_resamples: int = 2000,
) -> Card:
    """Everything that these verdicts tell."""
    principles = {
        name: _one_principle(verdicts, seat, own.column, known, asked, num_resamples)
        for seat, name in enumerate(verdicts.principles)
    }
    return Card(
        judge=judge,
        mode=mode,
        source=source,
        pairs=len(verdicts.pairs),
        prompts=verdicts.num_prompts,
        overall=_overall(verdicts, own.column, known, asked, num_resamples),
        principles=principles,
        texts=texts,
        kinds={probe.name: probe.kind for probe in asked.probes} if asked else {},
        between=compare_principles(verdicts, num_resamples=num_resamples),
        own=own,
        beyond_people=beyond_people(verdicts, known.label, own.column) if known else {},
        notes=notes,
    )


def _one_principle(
    verdicts: Verdicts, seat: int, own: FloatArray | None, known: Known | None, asked: Asked | None, num_resamples: int
) -> Measured:
    name = verdicts.principles[seat]
    people = known.by_principle.get(name) if known else None
    probability = verdicts.probability[:, seat]
    group = group_of(verdicts, seat, own)
    return Measured(
        no_answer=silence_figures(group, num_resamples=num_resamples),
        position=position_figures(group, num_resamples=num_resamples),
        style=style_figures(group),
        probes=probe_figures(asked, [seat], num_resamples) if asked else {},
        calibration={}
        if people is None
        else calibration(probability, people, verdicts.clusters, num_resamples=num_resamples),
    )


def _overall(
    verdicts: Verdicts, own: FloatArray | None, known: Known | None, asked: Asked | None, num_resamples: int
) -> Measured:
    """Silence and position over all verdicts; style, self-preference and calibration of the label they end in."""
    every = group_of_all(verdicts)
    styles = dict(verdicts.styles) | ({} if own is None else {OWN: own})
    nothing = np.full(len(verdicts.pairs), np.nan)
    label = Group(
        prompts=verdicts.clusters,
        shown_first=nothing,
        shown_second=nothing,
        probability=verdicts.label,
        styles=styles,
        asked=np.zeros(len(nothing), dtype=bool),
        silent={},
        has_orders=False,
    )
    return Measured(
        no_answer=silence_figures(every, num_resamples=num_resamples),
        position=position_figures(every, num_resamples=num_resamples),
        style=style_figures(label),
        probes=probe_figures(asked, range(len(verdicts.principles)), num_resamples) if asked else {},
        calibration=calibration(verdicts.label, known.label, verdicts.clusters, num_resamples=num_resamples)
        if known
        else {},
    )


def probe_figures(asked: Asked, seats: Sequence[int], num_resamples: int) -> dict[str, dict[str, Figure]]:
    """What each change did to the verdicts of these principles together."""
    found: dict[str, dict[str, Figure]] = {}
    for name in dict.fromkeys(probe.name for probe in asked.probes):
        own = [place for place, probe in enumerate(asked.probes) if probe.name == name]
        prompts = np.array([asked.probes[place].prompt.id for place in own])
        before, after = (array[np.ix_(list(seats), own)].reshape(-1) for array in (asked.before, asked.after))
        bootstrap = cluster_bootstrap(np.tile(prompts, len(seats)), num_resamples=num_resamples)
        figures = estimates(bootstrap, flip_measures(before, after, FLOOR))
        found[name] = {key: one if key == "shift" else with_exact_ends(one) for key, one in figures.items()}
    return found


def _measured_json(one: Measured) -> dict[str, Any]:
    return {
        "no_answer": {name: figure.as_dict() for name, figure in one.no_answer.items()},
        "position": {name: figure.as_dict() for name, figure in one.position.items()},
        "style": {
            name: {"logistic": e.logistic.as_dict(), "log_odds": e.log_odds.as_dict(), "typical_difference": e.typical}
            for name, e in one.style.items()
        },
        "probes": {name: {key: f.as_dict() for key, f in figures.items()} for name, figures in one.probes.items()},
        "calibration": {name: figure.as_dict() for name, figure in one.calibration.items()},
    }
