"""The books of a run: every planned request in exactly one outcome, and the sums checked."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rlaif.feedback.road import Block
from rlaif.feedback.sample import Sample
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


def most_first(counted: Mapping[str, int]) -> dict[str, int]:
    """The same, the most frequent first, equals by name: no order depends on what was met first."""
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


@dataclass
class Ledger:
    """One stage's requests while they are counted."""

    planned: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, planned: int, ended: Iterable[tuple[Outcome, str]]) -> None:
        """Count (outcome, reason) of every request. AssertionError when they are not as many as were planned."""
        self.planned += planned
        for outcome, reason in ended:
            self.outcomes[outcome] += 1
            if reason:
                self.reasons[f"{outcome}: {reason}"] += 1
        counted = self.outcomes.total()
        assert counted == self.planned, f"{self.planned} requests were planned, {counted} ended"

    def close(self) -> StageCount:
        named = dict(list(most_first(self.reasons).items())[:_REASONS_NAMED])
        if len(self.reasons) > len(named):
            named["other reasons"] = self.reasons.total() - sum(named.values())
        return StageCount(self.planned, {outcome: self.outcomes[outcome] for outcome in OUTCOMES}, named)


@dataclass
class RunCount:
    """A run's requests by how they ended, stage by stage, and what was left out on the way, block after block."""

    sample: Ledger = field(default_factory=Ledger)
    passes: dict[str, Ledger] = field(default_factory=dict)
    critique: Ledger = field(default_factory=Ledger)
    left_out: Counter[str] = field(default_factory=Counter)
    found_and_kept: Counter[str] = field(default_factory=Counter)
    unanswered: list[Sample] = field(default_factory=list)

    def add(self, block: Block) -> None:
        settings = block.road.settings
        self.sample.add(
            len(block.prompts) * sum(policy.samples for policy in settings.policies),
            ((sample.outcome, sample.reason) for sample in block.samples),
        )
        self._add_judging(block)
        asked = {place[0].id for place in block.critiquing.places.values()}  # what checks found is computed
        self.critique.add(
            len(asked),
            ((one.critique.outcome, one.critique.reason) for one in block.pairs if one.critique and one.id in asked),
        )
        self.left_out.update(block.pairing.left_out)
        if spared := len(block.pairing.pairs) - len(block.compared):
            self.left_out[f"pair not compared, by schedule {settings.schedule.kind}"] += spared
        self.left_out.update(block.choice.left_out)
        self.found_and_kept.update(block.found_and_kept)
        self.unanswered += [sample for sample in block.samples if sample.outcome in ("refused", "failed")]

    def _add_judging(self, block: Block) -> None:
        """Every pass of every judge's mode, over all rounds; the last is that of the verdicts."""
        judges = block.road.judges
        for judge, member in enumerate(judges.members):
            planned, sittings = block.hearing.planned(judge), judges.sittings_of(judge)
            for part, stage in enumerate(member.mode.stages[:-1]):
                own = [block.answers(number) for number in sittings if judges.sittings[number].part == part]
                ended = ((value["outcome"], value["reason"]) for values in own for value in values.values())
                self._book(judges.book(judge, stage)).add(planned, ended)
            self._book(judges.book(judge, member.mode.stages[-1])).add(planned, block.heard[judge].ended())

    def _book(self, name: str) -> Ledger:
        return self.passes.setdefault(name, Ledger())

    def stages(self) -> dict[str, StageCount]:
        ledgers = {"sample": self.sample, **(self.passes or {"judge": Ledger()}), "critique": self.critique}
        return {name: ledger.close() for name, ledger in ledgers.items()}
