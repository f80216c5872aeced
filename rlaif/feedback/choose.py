"""Which labelled pairs enter the dataset: a rule per prompt, a margin, and what becomes of ties. No model is asked."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby

from rlaif.feedback.pair_rules import most_decided, take_by_rule
from rlaif.records import LabelledPair, Pair, PrincipleVerdict
from rlaif.settings import PairSettings


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen pairs, and how many judged pairs ended otherwise, by reason. Together they are all judged pairs."""

    pairs: tuple[Pair, ...]
    left_out: dict[str, int]


def choose_pairs(labelled: Iterable[LabelledPair], settings: PairSettings, *, judge: str) -> Choice:
    """Apply the pair rule to each prompt's labelled pairs (which stand together), then margin, ties and the limit."""
    pairs: list[Pair] = []
    left_out: Counter[str] = Counter()
    for _, group in groupby(labelled, key=lambda one: one.pair.prompt.id):
        own = list(group)
        with_label = [one for one in own if one.probability is not None]
        left_out["no verdict"] += len(own) - len(with_label)
        candidates = take_by_rule(with_label, settings)
        left_out[f"not by the rule {settings.rule}"] += len(with_label) - len(candidates)
        entering: list[Pair] = []
        for candidate in candidates:
            reason = _left_out_because(candidate, settings)
            if reason:
                left_out[reason] += 1
            else:
                entering.append(_pair(candidate, settings, judge))
        kept = most_decided({pair.id: pair.margin for pair in entering}, settings.max_pairs_per_prompt)
        left_out[f"over {settings.max_pairs_per_prompt} pairs of its prompt"] += len(entering) - len(kept)
        pairs += [pair for pair in entering if pair.id in kept]
    return Choice(tuple(pairs), {reason: count for reason, count in left_out.items() if count})


def _is_tie(one: LabelledPair, settings: PairSettings) -> bool:
    assert one.probability is not None
    margin = abs(2.0 * one.probability - 1.0)
    return margin == 0.0 or margin < settings.min_margin


def _left_out_because(one: LabelledPair, settings: PairSettings) -> str | None:
    if settings.keep_ties or not _is_tie(one, settings):
        return None
    return "tie" if one.probability == 0.5 else f"margin under {settings.min_margin}"


def _pair(one: LabelledPair, settings: PairSettings, judge: str) -> Pair:
    """A labelled pair turned so that the likelier response is chosen."""
    assert one.probability is not None
    is_x_chosen = one.probability >= 0.5
    chosen, rejected = (one.pair.x, one.pair.y) if is_x_chosen else (one.pair.y, one.pair.x)
    probability = one.probability if is_x_chosen else 1.0 - one.probability
    return Pair(
        id=one.pair.id,
        prompt=one.pair.prompt,
        chosen=chosen,
        rejected=rejected,
        probability=probability,
        margin=2.0 * probability - 1.0,
        is_tie=_is_tie(one, settings),
        verdicts=tuple(turned(verdict, is_x_chosen) for verdict in one.verdicts),
        shares={name: share if is_x_chosen else -share for name, share in one.shares.items()},
        judge=judge,
    )


def turned(verdict: PrincipleVerdict, is_x_chosen: bool) -> PrincipleVerdict:
    """A verdict for the chosen response: P(y | y first) is 1 - P(x | x second), so the two places change too."""
    if is_x_chosen:
        return verdict
    return replace(
        verdict,
        probability=_complement(verdict.probability),
        shown_first=_complement(verdict.shown_second),
        shown_second=_complement(verdict.shown_first),
    )


def _complement(probability: float | None) -> float | None:
    return None if probability is None else 1.0 - probability
