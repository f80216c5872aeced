"""What became of the labels between two runs: which flipped, which appeared or went, and which principle did it.

A pure function of the two runs' labels. A label's log-odds are the sum of its principles' shares, so the change of the
log-odds is the sum of the changes of the shares: every flip is taken apart into principles without a rest.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rlaif.constitution import Constitution
from rlaif.constitution import diff as constitution_changes

Row = Mapping[str, Any]
Kind = Literal["flipped", "became a tie", "was a tie", "kept", "appeared", "went"]
KINDS: tuple[Kind, ...] = ("flipped", "became a tie", "was a tie", "kept", "appeared", "went")
EXAMPLES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelChange:
    """One pair with a label in both runs. Everything is for response x; `contributions` add up to the change of the
    label's log-odds. `turned_by` are the principles without whose change the label would not have flipped."""

    pair_id: str
    kind: Kind
    before: float
    after: float
    log_odds_before: float
    log_odds_after: float
    contributions: Mapping[str, float]
    turned_by: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`counts` hold every pair that has a label in either run once; `turned` how many flips each principle was needed
    for; `examples` the flips with the largest change, with the later run's row."""

    counts: Mapping[Kind, int]
    turned: Mapping[str, int]
    moved: Mapping[str, float]
    examples: tuple[tuple[LabelChange, Row], ...]
    renamed: Mapping[str, str]
    flipped: tuple[str, ...]


def compare_labels(before: Iterable[Row], after: Iterable[Row], renamed: Mapping[str, str]) -> Difference:
    """Compare two runs' rows of labels.parquet. `renamed` gives the new id of each renamed principle."""
    old = {row["pair_id"]: row for row in before if row["probability_x"] is not None}
    counts: Counter[Kind] = Counter()
    turned: Counter[str] = Counter()
    moved: dict[str, float] = {}
    flips: list[tuple[LabelChange, Row]] = []
    for row in after:
        if row["probability_x"] is None:
            continue
        earlier = old.pop(row["pair_id"], None)
        if earlier is None:
            counts["appeared"] += 1
            continue
        change = label_change(earlier, row, renamed)
        counts[change.kind] += 1
        for name, contribution in change.contributions.items():
            moved[name] = moved.get(name, 0.0) + abs(contribution)
        if change.kind == "flipped":
            turned.update(change.turned_by)
            flips.append((change, row))
    counts["went"] = len(old)
    flips.sort(key=lambda flip: (-abs(flip[0].log_odds_after - flip[0].log_odds_before), flip[0].pair_id))
    compared = sum(counts[kind] for kind in KINDS[:4])
    return Difference(
        counts={kind: counts[kind] for kind in KINDS},
        turned={name: turned[name] for name in moved},
        moved={name: total / compared for name, total in moved.items()},
        examples=tuple(flips[:EXAMPLES]),
        renamed=dict(renamed),
        flipped=tuple(sorted(change.pair_id for change, _ in flips)),
    )


def label_change(before: Row, after: Row, renamed: Mapping[str, str]) -> LabelChange:
    """One label of two runs, taken apart. A principle that has no say in one of them counts there as 0."""
    was = {renamed.get(name, name): share for name, share in shares(before).items()}
    now = shares(after)
    contributions = {name: now.get(name, 0.0) - was.get(name, 0.0) for name in dict.fromkeys((*now, *was))}
    log_odds_before, log_odds_after = math.fsum(was.values()), math.fsum(now.values())
    kind = _kind(before["probability_x"], after["probability_x"])
    turned_by = [
        name
        for name, contribution in contributions.items()
        if kind == "flipped" and (log_odds_after - contribution) * log_odds_after <= 0
    ]
    return LabelChange(
        pair_id=after["pair_id"],
        kind=kind,
        before=before["probability_x"],
        after=after["probability_x"],
        log_odds_before=log_odds_before,
        log_odds_after=log_odds_after,
        contributions=contributions,
        turned_by=tuple(turned_by),
    )


def shares(row: Row) -> dict[str, float]:
    """The parts of a label's log-odds by principle; those without a say are left out."""
    return {one["id"]: one["share"] for one in row["principles"] if one["share"] is not None}


def renames(before: Constitution, after: Constitution) -> dict[str, str]:
    """New ids by old ones, of principles whose words stayed."""
    found = constitution_changes(before, after)
    return {change.before: change.after for change in found if change.kind == "renamed"}


def _kind(before: float, after: float) -> Kind:
    was, now = before - 0.5, after - 0.5
    if was * now < 0:
        return "flipped"
    if (was == 0) == (now == 0):
        return "kept"
    return "became a tie" if now == 0 else "was a tie"


def as_json(difference: Difference) -> dict[str, Any]:
    """The difference as plain JSON."""
    return {
        "counts": {kind.replace(" ", "_"): count for kind, count in difference.counts.items()},
        "principles": [
            {"id": name, "turned": difference.turned[name], "mean_change": difference.moved[name]}
            for name in _by_part(difference)
        ],
        "renamed": difference.renamed,
        "flipped": list(difference.flipped),
        "examples": [_example(change, row) for change, row in difference.examples],
    }


def _by_part(difference: Difference) -> Sequence[str]:
    return sorted(difference.moved, key=lambda name: (-difference.turned[name], -difference.moved[name], name))


def _example(change: LabelChange, row: Row) -> dict[str, Any]:
    return {
        "pair_id": change.pair_id,
        "prompt": row["prompt"],
        "response_x": row["response_x"],
        "response_y": row["response_y"],
        "probability_x_before": change.before,
        "probability_x_after": change.after,
        "log_odds_before": change.log_odds_before,
        "log_odds_after": change.log_odds_after,
        "contributions": dict(change.contributions),
        "turned_by": list(change.turned_by),
    }
