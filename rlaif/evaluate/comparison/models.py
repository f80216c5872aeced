"""The models that wrote the answers: how often each wins by people and by a judge, and whether both rank them alike.

Asked for by name (`--models`), for a report without it knows no model's name. Win rates count a tie as half a win, over
all of a model's comparisons; strengths are Bradley and Terry's, which take the opponents into account. With a judge's
labels on pairs that no person saw, a win rate by people becomes surer (`rlaif/numbers/prediction_powered.py`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlaif.evaluate.comparison.batch import Batch, Key, under
from rlaif.evaluate.comparison.compared import ALL_PEOPLE, Compared
from rlaif.evaluate.comparison.trust import powered
from rlaif.numbers.bradley_terry import Comparisons, Strengths, fit_strengths
from rlaif.numbers.figures import Figure, FloatArray, IntArray
from rlaif.numbers.ranking import rank_agreement_measures, win_rate_measures

NO_MODELS = "fewer than two models are named in these labels"
_UNKNOWN = -1


def model_names(compared: Compared) -> tuple[str, ...]:
    """All of whom some thing says that they wrote an answer, sorted."""
    return tuple(sorted({name for pair in compared.models for name in pair if name}))


def _codes(models: tuple[tuple[str, str], ...], names: tuple[str, ...]) -> tuple[IntArray, IntArray]:
    places = {name: place for place, name in enumerate(names)} | {"": _UNKNOWN}
    codes = np.array([[places.get(name, _UNKNOWN) for name in pair] for pair in models], dtype=np.int64)
    codes = codes.reshape(-1, 2)
    codes[(codes == _UNKNOWN).any(axis=1)] = _UNKNOWN  # a model against nobody we know has no win
    return codes[:, 0], codes[:, 1]


def _sources(compared: Compared) -> dict[str, FloatArray]:
    """People's mean vote, and each judge's, for the first answer."""
    judges = {compared.raters[judge].name: compared.share(judge) for judge in compared.judges}
    return {ALL_PEOPLE: compared.people_share, **judges}


def add_models(batch: Batch, compared: Compared) -> None:
    """Win rates under ("models", SOURCE, "win_rate"), rank agreement under ("models", JUDGE, "rank")."""
    names = model_names(compared)
    first, second = _codes(compared.models, names)
    sources = _sources(compared)
    for source, share in sources.items():
        rates = win_rate_measures(first, second, share, len(names))
        batch.add(("models", source, "win_rate"), {names[place]: one for place, one in rates.items()}, shares=True)
        if source != ALL_PEOPLE:
            ranks = rank_agreement_measures(first, second, sources[ALL_PEOPLE], share, len(names))
            batch.add(("models", source, "rank"), ranks)


def models_json(found: Mapping[Key, Figure], compared: Compared) -> dict[str, Any]:
    names = model_names(compared)
    if len(names) < 2:
        return {"because": NO_MODELS}
    told: dict[str, Any] = {"names": list(names), "sources": {}}
    for source, share in _sources(compared).items():
        own: dict[str, Any] = {
            "win_rate": under(found, "models", source, "win_rate"),
            "strength": strengths(compared, names, share),
        }
        if source != ALL_PEOPLE:
            own["rank"] = under(found, "models", source, "rank")
            own["prediction_powered"] = {name: win_rate_powered(compared, source, name) for name in names}
        told["sources"][source] = own
    return told


def strengths(compared: Compared, names: tuple[str, ...], share: FloatArray) -> dict[str, Any]:
    """Bradley–Terry strengths in log-odds, with the model's own standard errors."""
    first, second = _codes(compared.models, names)
    rows = np.flatnonzero(np.isfinite(share) & (first != _UNKNOWN) & (first != second))
    comparisons = Comparisons(len(names), first[rows], second[rows], share[rows], np.ones(len(rows)))
    fitted = fit_strengths(comparisons)
    if not isinstance(fitted, Strengths):
        return {"because": fitted.because}
    errors = fitted.standard_errors
    return {
        name: {"value": float(fitted.values[place]), "standard_error": float(errors[place]), "n": len(rows)}
        for place, name in enumerate(names)
    }


def win_rate_powered(compared: Compared, judge: str, model: str) -> dict[str, Any]:
    """One model's win rate by people, alone and with the judge's labels on what people did not see."""
    (place,) = (place for place in compared.judges if compared.raters[place].name == judge)
    alone = compared.alone[judge]
    return powered(
        _won(compared.people_share, compared.models, model),
        _won(compared.share(place), compared.models, model),
        compared.prompt_ids,
        _won(alone.share, alone.models, model),
        alone.prompts,
    )


def _won(share: FloatArray, models: tuple[tuple[str, str], ...], model: str) -> FloatArray:
    """The model's part of the vote (N,), NaN where it did not play, or not against a model that is known."""
    is_first = np.array([one == model and other not in ("", model) for one, other in models], dtype=bool)
    is_second = np.array([other == model and one not in ("", model) for one, other in models], dtype=bool)
    return np.where(is_first, share, np.where(is_second, 1.0 - share, np.nan))
