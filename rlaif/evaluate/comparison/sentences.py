"""The answers in plain words, one sentence for each question and judge. They say nothing that no figure says, and that
something cannot be told is an answer too."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from rlaif.evaluate.comparison.compared import MAJORITY

Told = Mapping[str, Any]
QUESTIONS: Mapping[str, str] = {
    "as_people_agree": "Does the judge agree with people as well as people agree with each other?",
    "where_not": "Where does it not?",
    "which_principle": "Which principle is to blame?",
    "what_to_change": "What should be changed?",
    "how_sure": "How sure is this?",
}
WANTED_HALF_WIDTH = 0.03
_SURER = {
    "length": ("longer answers", "shorter answers"),
    "verbosity": ("answers that repeat themselves", "answers that do not repeat themselves"),
    "markdown": ("answers with more markdown", "answers with less markdown"),
    "lists": ("answers with lists", "answers without lists"),
    "position": ("the answer shown first", "the answer shown second"),
}


def sentences(report: Told) -> dict[str, str]:
    """One entry per question; several judges' sentences follow each other."""
    judges = report["judges"]
    if not judges:
        return {"as_people_agree": _people(report), "how_sure": _how_sure_of_people(report)}
    asked = {
        "as_people_agree": _as_people_agree,
        "where_not": _where_not,
        "which_principle": _which_principle,
        "what_to_change": _what_to_change,
        "how_sure": _how_sure,
    }
    return {question: " ".join(tell(report, name) for name in judges) for question, tell in asked.items()}


def agreement_of(report: Told, judge: str) -> tuple[str, Told]:
    """Whom the judge is measured against, and the figures: the majority, or the only person there is."""
    pairs = report["rater_pairs"]
    if f"{MAJORITY} / {judge}" in pairs:
        return f"the {MAJORITY}", pairs[f"{MAJORITY} / {judge}"]
    (key,) = (
        key for key, own in pairs.items() if own["raters"][1] == judge and own["raters"][0] not in report["judges"]
    )
    return pairs[key]["raters"][0], pairs[key]


def _people(report: Told) -> str:
    agreement, alpha = report["people"]["agreement"], report["people"]["krippendorff_alpha"]
    if agreement["value"] is None:
        return f"Nothing can be said of how far people agree: {agreement['because']}."
    beyond = "" if alpha["value"] is None else f"; Krippendorff's α is {alpha['value']:.3f}{_ends(alpha, digits=3)}"
    return f"Two people give the same answer on {_share(agreement)} of pairs{_ends_percent(agreement)}{beyond}."


def _as_people_agree(report: Told, name: str) -> str:
    judge, person, excess = (report["judges"][name]["ceiling"][key] for key in ("judge", "human", "excess"))
    if excess["value"] is None:
        whom, own = agreement_of(report, name)
        if own["agreement"]["value"] is None:
            return f"Nothing can be said of {name}: {own['agreement']['because']}."
        said = f"{name} agrees with {whom} on {_share(own['agreement'])} of pairs{_ends_percent(own['agreement'])}"
        return f"{said}; how well people agree with each other is not known: no pair has labels of two people."
    said = (
        f"{name} says what most people say {_share(judge)} of the time{_ends_percent(judge)}, and a person says what"
        f" most others say {_share(person)}{_ends_percent(person)}"
    )
    points = f"{100 * excess['value']:+.1f} points{_ends_points(excess)}"
    if not _is_clear(excess):
        return f"{said}: the difference, {points}, cannot be told from none."
    return f"{said}: the judge agrees {'better' if excess['value'] > 0 else 'worse'} than people do, by {points}."


def _where_not(report: Told, name: str) -> str:
    slices = report["judges"][name]["slices"]
    looked = [(kind, one) for kind in ("tag", "source", "length") for one in slices.get(kind, ())]
    lower = [(kind, one) for kind, one in looked if one["is_lower"]]
    if not looked:
        return f"Of {name} nothing can be said: the pairs have no tags or sources that differ, and too few lengths."
    if not lower:
        return f"{name} agrees with people about equally in all {len(looked)} tags, sources and lengths looked at."
    kind, worst = min(lower, key=lambda pair: pair[1]["difference"]["value"])
    human = worst["human"]
    people = "" if human["value"] is None else f"; people agree with each other there {_share(human)}"
    more = f" {len(lower) - 1} more stand out." if len(lower) > 1 else ""
    where = worst["name"] if kind == "length" else f"{kind} {worst['name']!r}"
    return (
        f"{name} agrees least where {where}: {_share(worst['agreement'])} of {worst['agreement']['n']:,} pairs, "
        f"{100 * -worst['difference']['value']:.1f} points below all others{people}.{more}"
    )


def _which_principle(report: Told, name: str) -> str:
    own = report["judges"][name]["principles"]
    if own.get("sentence"):
        return str(own["sentence"])
    return f"Not known of {name}: its labels say nothing of single principles (a run's do, and `rlaif labels judge`'s)."


def _what_to_change(report: Told, name: str) -> str:
    found = [part for part in (_principle_change(report, name), _sway(report, name), _mend(report, name)) if part]
    if found:
        return " ".join(found)
    own = report["judges"][name]
    if _is_clear(own["ceiling"]["excess"]) and own["ceiling"]["excess"]["value"] < 0:
        why = "no principle, style or place can be shown to bring it about"
        if not own["principles"]:
            why = "its labels say nothing of principles, and no style or place can be shown to bring it about"
        return f"What would bring {name} nearer to people is not known: {why}."
    return f"Nothing measured here surely calls for a change of {name}."


def _principle_change(report: Told, name: str) -> str:
    return str(report["judges"][name]["principles"].get("change", ""))


def _sway(report: Told, name: str) -> str:
    """The largest effect beyond people's whose interval leaves out zero."""
    (rater,) = (one for one in report["raters"] if one["name"] == name and one["kind"] == "judge")
    sure = [(key, one) for key, one in rater.get("excess", {}).items() if one["value"] is not None and _is_clear(one)]
    if not sure:
        return ""
    what, most = max(sure, key=lambda pair: abs(pair[1]["value"]))
    towards = _SURER[what][most["value"] < 0]
    return (
        f"{name} leans to {towards} more than people do ({most['value']:+.2f} log-odds{_ends(most, digits=2)}): name"
        " this in the principles."
    )


def _mend(report: Told, name: str) -> str:
    """The better of the two recalibrations, where it is sure to be one."""
    methods = report["judges"][name]["recalibration"]
    gains = [
        (own["gain"], method) for method, own in methods.items() if "gain" in own and own["gain"]["value"] is not None
    ]
    sure = [(gain["value"], method, gain) for gain, method in gains if _is_clear(gain) and gain["value"] > 0]
    if not sure:
        return ""
    value, method, gain = max(sure, key=lambda one: one[0])
    return (
        f"Its probabilities foretell people's votes better once recalibrated ({method}: {value:.3f} nats less log"
        f" loss{_ends(gain, digits=3)}): --soft-labels writes them so."
    )


def _how_sure(report: Told, name: str) -> str:
    whom, own = agreement_of(report, name)
    figure = own["agreement"]
    if figure["value"] is None:
        return f"Not at all of {name}: {figure['because']}."
    return f"{name} with {whom}: {_surety(figure)}"


def _how_sure_of_people(report: Told) -> str:
    figure = report["people"]["agreement"]
    return _surety(figure) if figure["value"] is not None else f"Not at all: {figure['because']}."


def _surety(figure: Told) -> str:
    based = f"{figure['n']:,} pairs of {figure['clusters']:,} prompts"
    if figure["low"] is None or figure["high"] is None:
        return f"from {based}, and {figure['because']}."
    half = (figure["high"] - figure["low"]) / 2
    said = f"from {based}, agreement is known to about ± {100 * half:.1f} points"
    if half <= WANTED_HALF_WIDTH:
        return f"{said}."
    needed = math.ceil(figure["n"] * (half / WANTED_HALF_WIDTH) ** 2 / 100) * 100
    return f"{said}; ± {100 * WANTED_HALF_WIDTH:.0f} would take about {needed:,} pairs from as many more prompts."


# --- figures in words


def _is_clear(figure: Told) -> bool:
    """Whether the interval leaves out 0."""
    return figure["low"] is not None and figure["high"] is not None and (figure["low"] > 0 or figure["high"] < 0)


def _share(figure: Told) -> str:
    return f"{100 * figure['value']:.1f} %"


def _between(figure: Told) -> Iterator[float]:
    if figure["low"] is not None and figure["high"] is not None:
        yield from (figure["low"], figure["high"])


def _ends_percent(figure: Told) -> str:
    ends = [f"{100 * end:.1f}" for end in _between(figure)]
    return f" ({' to '.join(ends)})" if ends else ""


def _ends_points(figure: Told) -> str:
    ends = [f"{100 * end:+.1f}" for end in _between(figure)]
    return f" ({' to '.join(ends)})" if ends else ""


def _ends(figure: Told, digits: int) -> str:
    ends = [f"{end:.{digits}f}" for end in _between(figure)]
    return f" ({' to '.join(ends)})" if ends else ""
