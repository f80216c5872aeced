"""From judgments to labels: a pure function of what the judge said, so it can be done again for nothing."""

import math
from collections.abc import Sequence

from rlaif.constitution import Constitution
from rlaif.numbers.pooling import both_orders, majority, pooled, side
from rlaif.records import Judgment, LabelledPair, PrincipleVerdict, ResponsePair
from rlaif.settings import LabelSettings

_SOFT = LabelSettings()


def compared(
    pair: ResponsePair,
    judgments: Sequence[Judgment],
    constitution: Constitution,
    *,
    within: tuple[float, float] | None = None,
) -> list[PrincipleVerdict]:
    """The verdict of every principle that was asked about a pair, in both orders. Each judgment's probability is kept
    `within` a range; where an order has several, their mean is the order's."""
    by_principle: dict[str, list[Judgment]] = {}
    for judgment in judgments:
        by_principle.setdefault(judgment.principle_id, []).append(judgment)
    weights = {principle.id: principle.weight for principle in constitution.principles}
    return [_verdict(pair, own, weights[name], within or (0.0, 1.0)) for name, own in by_principle.items()]


def label_verdicts(
    pair: ResponsePair,
    verdicts: tuple[PrincipleVerdict, ...],
    *,
    probability_floor: float,
    settings: LabelSettings = _SOFT,
) -> LabelledPair:
    """The label of a pair by all its verdicts. One without a probability has no say, and the weights of the others
    are taken as they are.

    The shares of a soft label add up to its log-odds. Those of a hard one add up to the log-odds of the soft label
    whose side it is, and those of a majority to its margin: the sign of their sum is the label in every kind.
    """
    heard = [(v.principle_id, v.probability, v.weight) for v in verdicts if v.probability is not None and v.weight > 0]
    if not heard:
        return LabelledPair(pair, verdicts, None, {})
    names, probabilities, own_weights = zip(*heard, strict=True)
    if settings.kind == "majority":
        probability, shares = majority(probabilities, own_weights)
    else:
        probability, shares = pooled(probabilities, own_weights, probability_floor)
        probability = probability if settings.kind == "soft" else (1.0 + side(probability)) / 2.0
    return LabelledPair(pair, verdicts, probability, dict(zip(names, shares, strict=True)))


def _verdict(
    pair: ResponsePair, judgments: Sequence[Judgment], weight: float, within: tuple[float, float]
) -> PrincipleVerdict:
    """One principle's judgments, all turned to P(x is better), and both orders put together."""
    silent = [judgment for judgment in judgments if judgment.probability_a is None]
    heard: dict[bool, list[float]] = {True: [], False: []}
    for judgment in judgments:
        if judgment.probability_a is not None:
            is_x_first = judgment.first_id == pair.x.id
            kept = min(max(judgment.probability_a, within[0]), within[1])
            heard[is_x_first].append(kept if is_x_first else 1.0 - kept)
    shown_first, shown_second = (_mean(heard[is_x_first]) for is_x_first in (True, False))
    probability = None
    if shown_first is not None and shown_second is not None:
        probability = both_orders(shown_first, shown_second)
        silent = []
    return PrincipleVerdict(
        principle_id=judgments[0].principle_id,
        outcome=silent[0].outcome if silent else ("tie" if probability == 0.5 else "ok"),
        probability=probability,
        shown_first=shown_first,
        shown_second=shown_second,
        weight=weight,
        reason=silent[0].reason if silent else "",
    )


def _mean(probabilities: Sequence[float]) -> float | None:
    if len(probabilities) < 2:
        return probabilities[0] if probabilities else None
    return math.fsum(probabilities) / len(probabilities)
