"""The books of a run: every planned request in exactly one outcome, and the sums checked."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from rlaif.records import OUTCOMES, Outcome

_REASONS_NAMED = 20


@dataclass(frozen=True, slots=True)
class StageCount:
    """How one stage's requests ended. `outcomes` holds all seven, zeros included."""

    planned: int
    outcomes: dict[Outcome, int]
    reasons: dict[str, int]

    @property
    def no_verdict_share(self) -> float:
        """The share of requests that gave nothing to use; 0 for an empty stage."""
        useful = self.outcomes["ok"] + self.outcomes["tie"]
        return 1.0 - useful / self.planned if self.planned else 0.0


def count_stage(planned: int, ended: Iterable[tuple[Outcome, str]]) -> StageCount:
    """Count (outcome, reason) of every request. AssertionError when they are not as many as were planned."""
    outcomes: Counter[Outcome] = Counter()
    reasons: Counter[str] = Counter()
    for outcome, reason in ended:
        outcomes[outcome] += 1
        if reason:
            reasons[f"{outcome}: {reason}"] += 1
    counted = sum(outcomes.values())
    assert counted == planned, f"{planned} requests were planned, {counted} ended"
    named = dict(reasons.most_common(_REASONS_NAMED))
    if len(reasons) > len(named):
        named["other reasons"] = reasons.total() - sum(named.values())
    return StageCount(planned, {outcome: outcomes[outcome] for outcome in OUTCOMES}, named)
