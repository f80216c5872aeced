"""What edits were predicted to do, beside what they did: the record in the constitution, and both figures together."""

from typing import Any

from rlaif.constitution import Constitution
from rlaif.numbers.figures import Estimate, Figure


def predicted_beside_actual(constitution: Constitution | None, agreement: Figure) -> dict[str, Any] | None:
    """Of a constitution with a `prediction`: the agreement it foretold, and that of labels made with it. None without.

    The predicted interval is that of the change, on the agreement before it; both are about the pairs of the
    prediction, so it is fairest on the same people's votes.
    """
    if constitution is None or constitution.prediction is None:
        return None
    told = constitution.prediction
    predicted = {
        "value": told.agreement_before + told.change,
        "low": told.agreement_before + told.low,
        "high": told.agreement_before + told.high,
        "n": told.pairs,
    }
    return {
        "predicted": predicted,
        "actual": agreement.as_dict(),
        "before": told.agreement_before,
        "sentence": _sentence(told.agreement_before, predicted, told.pairs, agreement),
    }


def _sentence(before: float, predicted: dict[str, Any], pairs: int, agreement: Figure) -> str:
    low, value, high = (predicted[name] for name in ("low", "value", "high"))
    said = f"Predicted: agreement {before:.1%} → {value:.1%} [{low:.1%}, {high:.1%}]"
    if not isinstance(agreement, Estimate):
        return f"{said}; actual: not defined, because {agreement.because}."
    place = "within" if low <= agreement.value <= high else "outside"
    said += f"; actual: {agreement.value:.1%}, {place} the predicted interval"
    return said + ("." if agreement.n == pairs else f", on {agreement.n:,} pairs (predicted on {pairs:,}).")
