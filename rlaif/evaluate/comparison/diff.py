"""Two judges on the same people's labels, or two reports: is one nearer to people? Paired, pair by pair.

What both had to answer is compared, and nothing else: the difference of two agreements on different pairs says more of
the pairs. McNemar's test takes the prompt as the unit (`rlaif/numbers/mcnemar.py`); the sign-flip test needs no formula
and is given beside it. A report carries what is needed (`per_pair`), so last month's can be compared with today's when
its labels are gone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlaif.errors import DataError, nearest
from rlaif.evaluate.comparison.report import FORMAT, settled
from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.figures import BoolArray, FloatArray, IntArray, NotDefined
from rlaif.numbers.intervals import Measure, difference, estimates, mean_measure
from rlaif.numbers.mcnemar import clustered_mcnemar, sign_flip_p_value

Told = Mapping[str, Any]
_UNCHANGED = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Both:
    """What two judges said of the same things: all (N,), NaN for no verdict. `people` are the votes that the second was
    held against."""

    prompts: tuple[str, ...]
    right: tuple[FloatArray, FloatArray]
    share: tuple[FloatArray, FloatArray]
    people: FloatArray
    num_relabelled: int  # things on which people's votes differ between the two
    only: tuple[int, int]


def judge_of_report(report: Told, where: str, name: str | None) -> tuple[str, Told]:
    """A judge's name and its `per_pair`. DataError for a file that is no report, or a name that is not in it."""
    if not isinstance(report, Mapping) or report.get("format") != FORMAT:
        do = f"`rlaif compare … --json > report.json` writes one; this version reads {FORMAT!r}."
        raise DataError("this is no report of `rlaif compare`.", where=where, do=do)
    judges = report["judges"]
    if name is None and len(judges) != 1:
        said = f"the report has {len(judges)} judges: {', '.join(judges) or 'none'}."
        raise DataError(said, where=where, do="Say which with --judges NAME,NAME.")
    chosen = name or next(iter(judges))
    if chosen not in judges:
        raise DataError(
            f"no judge {chosen!r}{nearest(chosen, judges)}.", where=where, do=f"There are: {', '.join(judges)}."
        )
    return chosen, judges[chosen]["per_pair"]


def paired(first: Told, second: Told) -> Both:
    """The things of both. DataError where they have none in common."""
    places = [
        {key: place for place, key in enumerate(zip(own["pair"], own["item"], strict=True))} for own in (first, second)
    ]
    shared = sorted(places[0].keys() & places[1].keys())
    if not shared:
        raise DataError(
            f"the two have no pair in common ({len(places[0]):,} and {len(places[1]):,}).",
            do="Compare judges on the same people's labels.",
        )
    columns = [
        {name: _column(own[name], [place[key] for key in shared]) for name in ("right", "share", "people")}
        for own, place in zip((first, second), places, strict=True)
    ]
    people = [own["people"] for own in columns]
    return Both(
        prompts=tuple(second["prompt"][places[1][key]] for key in shared),
        right=(columns[0]["right"], columns[1]["right"]),
        share=(columns[0]["share"], columns[1]["share"]),
        people=people[1],
        num_relabelled=int((~_same(people[0], people[1])).sum()),
        only=(len(places[0]) - len(shared), len(places[1]) - len(shared)),
    )


def _column(values: list[float | None], places: list[int]) -> FloatArray:
    return np.array([np.nan if values[place] is None else values[place] for place in places], dtype=np.float64)


def _same(one: FloatArray, other: FloatArray) -> BoolArray:
    return np.asarray((np.abs(one - other) < _UNCHANGED) | (np.isnan(one) & np.isnan(other)))


def diff(
    names: tuple[str, str], first: Told, second: Told, *, num_resamples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """The record that `rlaif compare diff` prints: `difference` is always the second less the first."""
    both = paired(first, second)
    known = np.isfinite(both.right[0]) & np.isfinite(both.right[1])
    prompts = np.unique(np.asarray(both.prompts), return_inverse=True)[1].reshape(-1).astype(np.int64)
    found = estimates(cluster_bootstrap(prompts, num_resamples=num_resamples, seed=seed), _measures(both))
    told: dict[str, Any] = {
        "first": names[0],
        "second": names[1],
        "compared": {"things": len(prompts), "both_answered": int(known.sum()), "prompts": len(set(both.prompts)),
                     "only_first": both.only[0], "only_second": both.only[1], "relabelled": both.num_relabelled},
        "agreement": {key: found[f"agreement/{key}"].as_dict() for key in ("first", "second", "difference")},
        "brier": {key: found[f"brier/{key}"].as_dict() for key in ("first", "second", "difference")},
        "changed": found["changed"].as_dict(),
        "test": _test(both, prompts, seed),
    }  # fmt: skip
    told["sentence"] = sentence(told)
    return settled(told)  # type: ignore[no-any-return]  # a dict is settled to a dict


def _measures(both: Both) -> dict[str, Measure]:
    known = np.isfinite(both.right[0]) & np.isfinite(both.right[1])
    no_pair = "no pair has a verdict of both and people's votes"
    right = [mean_measure(np.where(known, own, np.nan), undefined=no_pair) for own in both.right]
    squares = [(own - both.people) ** 2 for own in both.share]
    shared = np.isfinite(squares[0]) & np.isfinite(squares[1])
    brier = [mean_measure(np.where(shared, own, np.nan), undefined=no_pair) for own in squares]
    sides = [np.sign(own - 0.5) for own in both.share]
    changed = np.where(np.isfinite(sides[0]) & np.isfinite(sides[1]), sides[0] != sides[1], np.nan)
    return {
        "agreement/first": right[0],
        "agreement/second": right[1],
        "agreement/difference": difference(right[1], right[0]),
        "brier/first": brier[0],
        "brier/second": brier[1],
        "brier/difference": difference(brier[1], brier[0]),
        "changed": mean_measure(changed, undefined=no_pair),
    }


def _test(both: Both, prompts: IntArray, seed: int) -> dict[str, Any]:
    found = clustered_mcnemar(both.right[1], both.right[0], prompts)
    if isinstance(found, NotDefined):
        return {"because": found.because, "n": found.n}
    flips = sign_flip_p_value(both.right[1], both.right[0], prompts, seed=seed)
    return {
        "only_first_right": found.only_second,
        "only_second_right": found.only_first,
        "p_clustered": found.p_clustered,
        "p_sign_flip": None if isinstance(flips, NotDefined) else flips,
        "p_exact": found.p_exact,
    }


def sentence(told: Told) -> str:
    """Which is nearer to people, and whether that can be told."""
    gap, test = told["agreement"]["difference"], told["test"]
    if gap["value"] is None:
        return f"Nothing can be said: {gap['because']}."
    n = f"on {told['compared']['both_answered']:,} pairs of {told['compared']['prompts']:,} prompts"
    if "because" in test:
        return f"{told['second']} and {told['first']} agree with people equally {n}: {test['because']}."
    ends = (
        "" if gap["low"] is None or gap["high"] is None else f" ({100 * gap['low']:+.1f} to {100 * gap['high']:+.1f})"
    )
    said = f"{100 * gap['value']:+.1f} points of agreement with people{ends} {n}"
    said += f", p = {test['p_clustered']:.3g} with prompts as the unit"
    clear = "" if test["p_clustered"] < 0.05 else ": too little to tell them apart"
    return f"{told['second']} against {told['first']}: {said}{clear}."
