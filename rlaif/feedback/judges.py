"""Who judges: one judge, a panel in which all judge everything, or a cascade in which each judges what the one before
left unsure; and how several verdicts about one principle of one pair become one.

Every verdict is an ordinary stored result under a key that holds its judge. Nothing here asks anybody: which pool,
which weights and, for what is stored, which threshold are decided anew each time.

Judges are asked one after the other, so only one of them is loaded at a time, and none twice. The first plays the
rounds of the schedule. What decides about later questions (who meets whom in the next round, what the next judge is
asked) are its verdicts alone, principle by principle: weights, pool, floor, range and kind of label play no part, so
that changing those costs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rlaif.constitution import Constitution
from rlaif.engines.base import ModelIdentity
from rlaif.errors import SettingsError
from rlaif.feedback.keys import answering
from rlaif.feedback.mode import Heard, Mode
from rlaif.feedback.modes import mode_of
from rlaif.feedback.plan_record import StageName
from rlaif.feedback.rounds import Schedule
from rlaif.numbers.pooling import majority, pooled
from rlaif.records import PrincipleVerdict, ResponsePair
from rlaif.settings import JudgeSettings, JudgesSettings, LabelSettings, Settings
from rlaif.templates import Template

AS_GIVEN = LabelSettings(reasoned_range=None)  # verdicts as the judge gave them, whatever the label makes of them
_ROUNDING = 1e-9  # 0.8 - 0.5 is more than 0.3 by rounding, and 0.5 - 0.2 is not: a pair has no first side


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One judge. No two of a run have the same `name`."""

    name: str
    settings: JudgeSettings
    identity: ModelIdentity
    mode: Mode
    weight: float


@dataclass(frozen=True, slots=True)
class Sitting:
    """One pass of one judge: in which round, and which pass of its mode (`part`)."""

    judge: int
    round: int
    part: int
    stage: StageName
    is_last_part: bool


@dataclass(frozen=True)
class Judges:
    """The judges of a road in the order they are asked; the last one is `judge` of the settings."""

    members: tuple[Member, ...]
    settings: JudgesSettings
    schedule: Schedule
    constitution: Constitution

    @cached_property
    def sittings(self) -> tuple[Sitting, ...]:
        """Every pass of the run, in order: the first judge's round by round, then those of the others."""
        return tuple(
            Sitting(judge, number, part, stage, part == len(member.mode.stages) - 1)
            for judge, member in enumerate(self.members)
            for number in range(self.schedule.num_rounds if judge == 0 else 1)
            for part, stage in enumerate(member.mode.stages)
        )

    def sittings_of(self, judge: int) -> list[int]:
        """The numbers of a judge's sittings."""
        return [number for number, sitting in enumerate(self.sittings) if sitting.judge == judge]

    @property
    def are_several(self) -> bool:
        return len(self.members) > 1

    @property
    def is_cascade(self) -> bool:
        return self.are_several and self.settings.ask == "cascade"

    @property
    def name(self) -> str:
        """All of them, for a column or a card."""
        return " + ".join(member.name for member in self.members)

    def book(self, judge: int, stage: StageName) -> str:
        """The name under which a judge's requests are counted; that of `judge` is the stage's own."""
        return stage if judge == len(self.members) - 1 else f"{stage}: {self.members[judge].name}"

    def verdicts(
        self, pair: ResponsePair, heard: Sequence[Heard], settings: LabelSettings, floor: float
    ) -> list[PrincipleVerdict]:
        """The verdict of every judged principle, put together from those of the judges that were asked."""
        own = [member.mode.verdicts(pair, one, settings) for member, one in zip(self.members, heard, strict=True)]
        if len(own) == 1:
            return own[0]
        given: dict[str, list[tuple[PrincipleVerdict, float]]] = {}
        for member, verdicts in zip(self.members, own, strict=True):
            for verdict in verdicts:
                given.setdefault(verdict.principle_id, []).append((verdict, member.weight))
        return [pool_verdicts(several, self.settings, floor) for several in given.values()]

    def is_passed_on(self, verdict: PrincipleVerdict, threshold: float | None = None) -> bool:
        """Whether a cascade asks the next judge about what this one said: it is unsure, inconsistent or silent."""
        if verdict.probability is None or verdict.is_order_decided:
            return True
        limit = self.settings.threshold if threshold is None else threshold
        return abs(verdict.probability - 0.5) <= limit + _ROUNDING


def judges_of(
    settings: Settings,
    constitution: Constitution,
    identities: Sequence[ModelIdentity],
    templates: Sequence[Template],
) -> Judges:
    """The judges of these settings; identities and templates are theirs, in the order they are asked.

    Raises SettingsError where two of them would give the very same answers.
    """
    names: list[str] = []
    members = []
    weights = settings.judges.weights or (1.0,) * len(identities)
    rows = zip(settings.judges_in_order(), identities, templates, weights, strict=True)
    for judge, identity, template, weight in rows:
        mode = mode_of(judge, constitution, template, identity)
        name = judge.model if judge.model not in names else f"{judge.model} ({judge.mode})"
        names.append(name if name not in names else f"{judge.model} (judge {len(names) + 1})")
        members.append(Member(name=names[-1], settings=judge, identity=identity, mode=mode, weight=weight))
    _refuse_twins(members, templates)
    most_answers = sum(policy.samples for policy in settings.policies)
    return Judges(tuple(members), settings.judges, Schedule(settings.schedule, most_answers), constitution)


def _refuse_twins(members: Sequence[Member], templates: Sequence[Template]) -> None:
    seen: dict[tuple[object, ...], str] = {}
    for member, template in zip(members, templates, strict=True):
        what = (*answering(member.identity).values(), member.settings.mode, template.digest)
        if what in seen:
            raise SettingsError(
                f"the judges {seen[what]!r} and {member.name!r} are the same model asked in the same way.",
                do="A judge beside another is another model, or has a mode or template of its own.",
            )
        seen[what] = member.name


def pool_verdicts(
    given: Sequence[tuple[PrincipleVerdict, float]], settings: JudgesSettings, floor: float
) -> PrincipleVerdict:
    """One verdict of several judges about one principle, each with its weight; those without a probability have no
    say. `given` is in the order they were asked.

    Each judge's two orders are averaged first, so one that only looks at positions says 0.5. `shown_first` and
    `shown_second` are put together in the same way, each by itself.
    """
    heard = [(verdict, weight) for verdict, weight in given if verdict.probability is not None]
    if len(heard) < 2 or settings.pool == "last":
        return (heard or given)[-1][0]
    probability, first, second = (
        _pool([getattr(verdict, name) for verdict, _ in heard], [weight for _, weight in heard], settings, floor)
        for name in ("probability", "shown_first", "shown_second")
    )
    return PrincipleVerdict(
        principle_id=heard[0][0].principle_id,
        outcome="tie" if probability == 0.5 else "ok",
        probability=probability,
        shown_first=first,
        shown_second=second,
        weight=heard[0][0].weight,
    )


def _pool(probabilities: Sequence[float], weights: Sequence[float], settings: JudgesSettings, floor: float) -> float:
    if settings.pool == "majority":
        return majority(probabilities, weights)[0]
    return pooled(probabilities, weights, floor)[0]
