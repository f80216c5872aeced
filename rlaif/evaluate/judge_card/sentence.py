"""The plain sentence on top of a card: whether it answers, whether the order decides, and what sways it most."""

from collections.abc import Iterator, Mapping

from rlaif.evaluate.judge_card.figures import OWN, Effect
from rlaif.numbers.figures import Estimate, Figure

_TOWARDS = {
    "length": ("longer answers", "shorter answers"),
    "verbosity": ("answers that repeat themselves", "answers that do not repeat themselves"),
    "markdown": ("answers with more markdown", "answers with less markdown"),
    "lists": ("answers with lists", "answers without lists"),
    OWN: ("answers of its own family", "answers of other families"),
    "place": ("the answer shown first", "the answer shown second"),
}


def plain_sentence(
    judge: str,
    no_answer: Mapping[str, Figure],
    position: Mapping[str, Figure],
    style: Mapping[str, Effect],
    probes: Mapping[str, Mapping[str, Figure]],
) -> str:
    """One sentence of what somebody should know who uses this judge's labels."""
    parts = [_answers(no_answer.get("all")), _orders(position), _sway(position, style)]
    turned = _turned(probes)
    said = [part for part in (*parts, turned) if part]
    return f"{judge} {', '.join(said[:-1])}{', and ' if len(said) > 1 else ''}{said[-1]}."


def _answers(silent: Figure | None) -> str:
    if not isinstance(silent, Estimate):
        return "was asked nothing"
    return "answers every time" if silent.value == 0 else f"gives no answer {share(silent.value)} of the time"


def _orders(position: Mapping[str, Figure]) -> str:
    """Of clear pairs, where there are any: which side of a tie a rounding falls to means nothing."""
    clear, place = position.get("clear"), position.get("same_position_clear")
    if isinstance(clear, Estimate) and isinstance(place, Estimate):
        return (
            f"lets the place decide {share(place.value)}{_between(place)} of the {share(clear.value)} of pairs on which"
            " it is clear in both orders"
        )
    return "is clear about no pair in both orders" if isinstance(clear, Estimate) else ""


def _sway(position: Mapping[str, Figure], style: Mapping[str, Effect]) -> str:
    """The largest effect on the log-odds whose interval leaves out 0."""
    effects = {"place": position.get("first_slot_log_odds"), **{name: one.log_odds for name, one in style.items()}}
    sure = [(name, one) for name, one in effects.items() if isinstance(one, Estimate) and _leaves_out_zero(one)]
    if not sure:
        known = any(isinstance(one, Estimate) for one in effects.values())
        return "shows no sure leaning to anything measured here" if known else ""
    name, most = max(sure, key=lambda item: abs(item[1].value))
    towards = _TOWARDS[name][most.value < 0]
    return f"leans, by its principles or beside them, most to {towards} ({most.value:+.2f} log-odds)"


def _turned(probes: Mapping[str, Mapping[str, Figure]]) -> str:
    turned = list(_flipped(probes))
    if not turned:
        return ""
    most = max(turned)
    return f"turns at most {share(most[0])} of its clear verdicts over a change that should not matter ({most[1]})"


def _flipped(probes: Mapping[str, Mapping[str, Figure]]) -> Iterator[tuple[float, str]]:
    for name, figures in probes.items():
        flipped = figures["flipped_clear"]
        if isinstance(flipped, Estimate) and flipped.low is not None:  # of a handful of verdicts nothing is said here
            yield flipped.value, name


def _leaves_out_zero(one: Estimate) -> bool:
    return one.low is not None and one.high is not None and (one.low > 0 or one.high < 0)


def _between(one: Estimate) -> str:
    if one.low is None or one.high is None:
        return ""
    return f" (95 % interval {100 * one.low:.1f} to {100 * one.high:.1f} %)"


def share(value: float) -> str:
    """As a percentage, with as many digits as say something."""
    return f"{100 * value:.1f} %" if value < 0.9995 or value == 1 else f"{100 * value:.2f} %"
