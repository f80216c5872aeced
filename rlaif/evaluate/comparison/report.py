"""The report: everything that these labels tell, as one JSON-able dict. Same votes and terms, same bytes.

A *figure* is `{"value", "low", "high", "n", "clusters"}`, a 95 % interval that knows that pairs share prompts; where
something is missing it is null and `because` says why. Raters' names are people's, then judges', then MAJORITY.

    {
      "format": "rlaif-compare/1",
      "terms": {"ties", "tie_width", "skipped", "epsilon", "num_resamples", "seed"},
      "compared": {"things", "pairs", "prompts", "people", "judges", "as_listed"},
      "left_out": {"unmatched" | "duplicates" | "contradictions": {"people": count, "judges": count, "first": [rows]}},
      "sentences": {"as_people_agree", "where_not", "which_principle", "what_to_change", "how_sure": one sentence each},
      "raters": [{"name", "kind", "labels", "first", "tie", "second", "skipped", "prefers_longer": figure,
                  "effects": {"position" | style: figure}, "excess": {the same, judges only}}],
      "rater_pairs": {"A / B": {"raters": [A, B], "agreement" | "cohen_kappa" | "krippendorff_alpha" | "gwet_ac1" |
                      "accuracy" | "precision" | "recall" | "f1" | "precision/first" | …: figure}},
                      (precision and so on are of the second against the first, who is people where one is)
      "people": {"agreement" | "krippendorff_alpha" | "fleiss_kappa" | "gwet_ac1" | …: figure},
      "consensus": {"raters": {name: {"labels", "accuracy", "confusion"}}, "prior", …} or {"because"},
      "judges": {NAME: {
        "ceiling": {"judge", "human", "excess": figure},
        "advantage": figure, "worth_people": figure,
        "alternative": {"passes", "winning_rate", "epsilon", "people": {name: {…}}} or {"because"},
        "calibration": {"ece" | "ece_debiased" | "brier" | … | "log_loss_least": figure,
                        "bins": [{"said": figure, "came": figure}]},
        "recalibration": {"isotonic" | "platt": {"log_loss" | "ece_debiased" | "brier": figure, "gain": figure}},
        "position": {"swap_consistency" | "same_position" | …: figure},
        "slices": {"tag" | "source" | "length" | "confidence":
                   [{"name", "agreement", "human", "difference": figure, "p_adjusted", "is_lower"}]},
        "prediction_powered": {what: {"together", "people": figure, "power", "num_human", "num_judge_only",
                               "worth_labels"} or {"because"}},
        "principles": {…}: `principles.py`'s own, {} where no mark says anything of principles,
        "per_pair": {"pair", "item", "prompt", "right", "share", "people": lists as long as `things`}}},
      "models": {…} where asked for,
      "notes": [what a reader should know]
    }

`per_pair` is what a later `rlaif compare diff` needs of it: ids shortened to 16 digits, `right` the share of people's
majority that the judge's choice hits, `share` the judge's and `people` their vote for the pair's x; null for no vote.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rlaif.evaluate.comparison.agreement import add_pairs, add_people, consensus, listed_people
from rlaif.evaluate.comparison.batch import Batch, Key, under
from rlaif.evaluate.comparison.beside import add_beside, alternative
from rlaif.evaluate.comparison.compared import ALL_PEOPLE, Compared
from rlaif.evaluate.comparison.gathering import Gathered
from rlaif.evaluate.comparison.models import add_models, model_names, models_json
from rlaif.evaluate.comparison.sentences import sentences
from rlaif.evaluate.comparison.slices import Slice, add_slices, right, slices_json
from rlaif.evaluate.comparison.sway import add_sway, effects, excess
from rlaif.evaluate.comparison.trust import (
    add_calibration,
    add_recalibration,
    calibration_json,
    prediction_powered,
    recalibration_json,
)
from rlaif.numbers.figures import Figure, FloatArray

FORMAT = "rlaif-compare/1"
PrincipleSection = Callable[[Compared, str], dict[str, Any]]
_DIGITS = 12  # of every number in a report: the last few depend on the machine
_ID_DIGITS = 16


def no_principles(compared: Compared, judge: str) -> dict[str, Any]:
    """In place of `rlaif.evaluate.principles.section.principle_section`."""
    return {}


def make_report(
    gathered: Gathered, *, by_model: bool = False, principles: PrincipleSection = no_principles
) -> dict[str, Any]:
    """Everything these labels tell. `principles` writes the section of a judge's principles."""
    compared = gathered.compared
    batch = Batch(compared.bootstrap)
    named = add_pairs(batch, compared)
    if compared.people:
        add_people(batch, compared)
    add_sway(batch, compared)
    judging = {judge: _Judging(batch, compared, judge) for judge in compared.judges}
    if by_model and len(model_names(compared)) > 1:
        add_models(batch, compared)
    found = batch.figures()
    report = {
        "format": FORMAT,
        "terms": compared.terms.as_json(),
        "compared": _counts(compared),
        "left_out": gathered.left_out,
        "sentences": {},
        "raters": [_rater(compared, place, found) for place in (*listed_people(compared), *compared.judges)],
        "rater_pairs": {key: {"raters": own, **under(found, "rater_pairs", key)} for key, own in named.items()},
        "people": under(found, ALL_PEOPLE),
        "consensus": consensus(compared),
        "judges": {
            compared.raters[judge].name: own.as_json(found, principles) for judge, own in judging.items()
        },
        "notes": [*gathered.notes, *_notes(compared, by_model=by_model)],
    }  # fmt: skip
    if by_model:
        report["models"] = models_json(found, compared)
    report["sentences"] = sentences(report)
    found_report: dict[str, Any] = settled(report)
    return found_report


class _Judging:
    """One judge's part: what is wanted of the batch, and then what became of it."""

    def __init__(self, batch: Batch, compared: Compared, judge: int) -> None:
        self.compared, self.judge = compared, judge
        add_beside(batch, compared, judge)
        add_calibration(batch, compared, judge)
        self.not_mended = add_recalibration(batch, compared, judge)
        self.slices: list[Slice] = add_slices(batch, compared, judge)

    def as_json(self, found: Mapping[Key, Figure], principles: PrincipleSection) -> dict[str, Any]:
        compared, judge, name = self.compared, self.judge, self.compared.raters[self.judge].name
        alone = {key: found["judges", name, key].as_dict() for key in ("advantage", "worth_people")}
        return {
            "ceiling": under(found, "judges", name, "ceiling"),
            **alone,
            "alternative": alternative(compared, judge),
            "calibration": calibration_json(found, name),
            "recalibration": recalibration_json(found, name, self.not_mended),
            "position": under(found, "judges", name, "position"),
            "slices": slices_json(found, compared, judge, self.slices),
            "prediction_powered": prediction_powered(compared, judge),
            "principles": principles(compared, name),
            "per_pair": per_pair(compared, judge),
        }


def per_pair(compared: Compared, judge: int) -> dict[str, list[Any]]:
    """What a later comparison of two reports needs."""
    hits = right(compared, judge)
    return {
        "pair": [one[:_ID_DIGITS] for one in compared.pair_ids],
        "item": list(compared.items),
        "prompt": [one[:_ID_DIGITS] for one in compared.prompt_ids],
        "right": _known(hits),
        "share": _known(_of_x(compared, compared.share(judge))),
        "people": _known(_of_x(compared, compared.people_share)),
    }


def _of_x(compared: Compared, share: FloatArray) -> FloatArray:
    return np.where(compared.is_x_first, share, 1.0 - share)


def _known(values: FloatArray) -> list[float | None]:
    return [None if math.isnan(one) else one for one in values.tolist()]


def _counts(compared: Compared) -> dict[str, int]:
    return {
        "things": compared.num_things,
        "pairs": len(set(compared.pair_ids)),
        "prompts": len(set(compared.prompt_ids)),
        "people": len(compared.people),
        "judges": len(compared.judges),
        "as_listed": int(compared.is_listed.sum()),
    }


def _rater(compared: Compared, place: int, found: Mapping[Key, Figure]) -> dict[str, Any]:
    rater, codes = compared.raters[place], compared.codes(place)
    voted = int((compared.ballots.rater == place).sum())
    counts = {name: int((codes == code).sum()) for code, name in enumerate(("first", "tie", "second"))}
    told = {
        "name": rater.name,
        "kind": rater.kind,
        "labels": voted,
        **counts,
        "skipped": voted - sum(counts.values()),
        "prefers_longer": found["raters", rater.name, "prefers_longer"].as_dict(),
        "effects": effects(compared, place),
    }
    return told | ({"excess": excess(compared, place)} if rater.kind == "judge" and compared.people else {})


def _notes(compared: Compared, *, by_model: bool) -> list[str]:
    said = []
    listed = listed_people(compared)
    if len(listed) < len(compared.people):
        said.append(
            f"{len(listed)} people of {len(compared.people)} are compared one by one, those with most labels; the"
            " majority and the figures of all people are of everybody"
        )
    num_models = len(model_names(compared))
    if num_models > 1 and not by_model:
        said.append(f"{num_models} models are named in these labels; --models compares how people and judges rank them")
    people_tie = any((compared.codes(place) == 1).any() for place in listed)
    for judge in compared.judges:
        rater = compared.raters[judge]
        if compared.terms.ties == "class" and people_tie and not (compared.codes(judge) == 1).any():
            said.append(
                f"people call ties and {rater.name} calls none, so it is wrong wherever most people tie; --ties half or"
                " drop counts otherwise" + (", --tie-width lets it tie" if rater.is_soft else "")
            )
    return said


def settled(value: Any) -> Any:
    """Numbers to twelve digits, so that the last ones, which depend on the machine, make no difference. ValueError for
    a number that is none."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} has no place in a report")
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: settled(one) for key, one in value.items()}
    return [settled(one) for one in value] if isinstance(value, list | tuple) else value


def as_bytes(report: Mapping[str, Any]) -> bytes:
    """The report as it is printed and kept."""
    return (json.dumps(report, ensure_ascii=False, allow_nan=False) + "\n").encode()
