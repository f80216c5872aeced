"""What each principle does to the labels: which flip without it, and how far its weight can move before one does.

A pure function of a run's labels. The sign of a label is that of the weighted sum of its principles' log-odds, which
is linear in each weight; so for one weight, the value at which a label turns is where that line crosses zero.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.numbers import pooling
from rlaif.numbers.pooling import log_odds

Row = Mapping[str, Any]
_SAME = 1e-12  # sums this near zero are a tie: shares are rounded, and a principle may cancel another exactly


@dataclass(frozen=True, slots=True, kw_only=True)
class Influence:
    """One principle. `flips_without` labels turn around without it, `ties_without` lose their side, `lost_without`
    have no label left; of `labels` it has a say in. `falls_to` and `rises_to` are the nearest weights below and above
    today's at which a label starts to turn; None where no weight does."""

    principle_id: str
    weight: float
    labels: int
    flips_without: int
    ties_without: int
    lost_without: int
    falls_to: float | None
    rises_to: float | None


@dataclass(frozen=True, slots=True)
class Vote:
    """A principle's log-odds on one pair, within the floor, and its weight."""

    log_odds: float
    weight: float


def ablate(rows: Iterable[Row], floor: float, kind: str = "soft") -> list[Influence]:
    """The influence of every principle over a run's labels of this kind, in the order the principles first appear."""
    ballots = [votes(row, floor, kind) for row in rows]
    names = list(dict.fromkeys(name for ballot in ballots for name in ballot))
    return [_influence(name, [ballot for ballot in ballots if name in ballot]) for name in names]


def votes(row: Row, floor: float, kind: str = "soft") -> dict[str, Vote]:
    """What each principle said about a pair, those without a verdict left out. In a majority each has its side alone
    to say; a hard label is the side of the soft one."""
    return {
        one["id"]: Vote(
            float(pooling.side(one["probability"])) if kind == "majority" else log_odds(one["probability"], floor),
            one["weight"],
        )
        for one in row["principles"]
        if one["probability"] is not None
    }


def side(ballot: Iterable[Vote]) -> int:
    """Which response the votes prefer: 1 for x, -1 for y, 0 for neither."""
    total = math.fsum(vote.weight * vote.log_odds for vote in ballot)
    return 0 if abs(total) <= _SAME else int(math.copysign(1, total))


def turning_weight(name: str, ballot: Mapping[str, Vote]) -> float | None:
    """The weight of this principle at which the label is a tie; None where no weight makes it one.

    sum of the others + w * own = 0, so w = -(sum of the others) / own.
    """
    own = ballot[name].log_odds
    rest = math.fsum(vote.weight * vote.log_odds for other, vote in ballot.items() if other != name)
    if abs(own) <= _SAME or abs(rest) <= _SAME:
        return None
    weight = -rest / own
    return weight if weight > 0 else None


def _influence(name: str, ballots: Sequence[Mapping[str, Vote]]) -> Influence:
    flips = ties = lost = 0
    weight = ballots[0][name].weight
    for ballot in ballots:
        others = [vote for other, vote in ballot.items() if other != name]
        before, after = side(ballot.values()), side(others)
        if not any(vote.weight > 0 for vote in others):
            lost += weight > 0
        else:
            flips += before * after < 0
            ties += before != 0 and after == 0
    turning = [found for ballot in ballots if (found := turning_weight(name, ballot)) is not None]
    return Influence(
        principle_id=name,
        weight=weight,
        labels=len(ballots) if weight > 0 else 0,
        flips_without=flips,
        ties_without=ties,
        lost_without=lost,
        falls_to=max((found for found in turning if found < weight), default=None),
        rises_to=min((found for found in turning if found > weight), default=None),
    )
