"""A sample of pairs and a warm judge: put a constitution before them, get its labels, what they cost and why."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rlaif.constitution import Constitution
from rlaif.feedback.aggregate import label_pair
from rlaif.feedback.ask import Session, look_up
from rlaif.feedback.difference import Row
from rlaif.feedback.judge import Comparison, judge_pairs, judge_stage
from rlaif.feedback.plan_record import Group
from rlaif.feedback.progress import Progress
from rlaif.feedback.reasons import NOT_KEPT, NOT_YET, why_principle
from rlaif.feedback.watch_round import Sampled
from rlaif.pair_dataset import label_row
from rlaif.records import Outcome, Prompt, ResponsePair
from rlaif.settings import Settings
from rlaif.store import Store
from rlaif.templates import Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a save may change: the constitution, and the template through which the judge reads it."""

    constitution: Constitution
    template: Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The sample's labels under one subject, as rows of labels.parquet, and what they took."""

    subject: Subject
    labels: tuple[Row, ...]
    sampled: Sampled
    reasons: tuple[str, ...]
    reused: int
    outcomes: Counter[Outcome]


@dataclass(frozen=True, slots=True)
class Bench:
    """What stays the same between saves."""

    settings: Settings
    prompts: Sequence[Prompt]
    pairs: Sequence[ResponsePair]
    session: Session
    store: Store
    progress: Progress

    def judge(self, subject: Subject, before: Subject | None) -> Standing:
        """The sample's labels under `subject`. `before` serves to say why something has to be asked."""
        judge, identity = self.settings.judge, self.session.model.identity
        stage = judge_stage(self.pairs, subject.constitution, judge, template=subject.template, identity=identity)
        known = look_up(stage.asking, self.store).values
        missing = [place for key, place in stage.places.items() if key not in known]
        reasons = _reasons(missing, subject, before, judge.model)
        self.progress.note(f"plan: {'; '.join(reasons) or 'nothing to ask, every verdict is in the store'}")
        judgments = judge_pairs(
            self.pairs,
            subject.constitution,
            judge,
            template=subject.template,
            session=self.session,
            store=self.store,
            progress=self.progress,
        )
        floor = self.settings.pairs.probability_floor
        labels = tuple(
            label_row(
                label_pair(
                    pair,
                    judgments.get(pair.id, ()),
                    subject.constitution,
                    probability_floor=floor,
                    settings=self.settings.label,
                )
            )
            for pair in self.pairs
        )
        return Standing(
            subject=subject,
            labels=labels,
            sampled=self._sampled(subject.constitution),
            reasons=reasons,
            reused=len(known),
            outcomes=Counter(judgment.outcome for own in judgments.values() for judgment in own),
        )

    def _sampled(self, constitution: Constitution) -> Sampled:
        judged = {pair.prompt.id: pair.prompt.tags for pair in self.pairs}
        unheard = [one.id for one in constitution.enabled if not any(map(one.applies_to, judged.values()))]
        return Sampled(
            prompts=len(self.prompts),
            pairs=len(self.pairs),
            principles=len(constitution.enabled),
            unheard=tuple(unheard),
        )


def _reasons(missing: Sequence[Comparison], subject: Subject, before: Subject | None, judge: str) -> tuple[str, ...]:
    """One line per reason, with the calls it costs."""
    why = {one.id: _why(one.id, subject, before) for one in subject.constitution.enabled}
    calls = Counter(why[principle.id] for _, principle, _, _ in missing)
    groups = [Group(stage="judge", model=judge, reason=one, calls=n, estimated_calls=0) for one, n in calls.items()]
    return tuple(map(str, groups))


def _why(principle_id: str, subject: Subject, before: Subject | None) -> str:
    if before is None:
        return NOT_YET
    if subject.template.digest != before.template.digest:
        return f"template changed: {subject.template.name}"
    principle = next(one for one in subject.constitution.enabled if one.id == principle_id)
    same = [old for old in before.constitution.enabled if old.judging_content() == principle.judging_content()]
    if not same:
        return why_principle(principle, before.constitution)
    is_wider = all(old.tags != principle.tags for old in same)
    return f"principle {principle.id!r} applies to more prompts: tags" if is_wider else NOT_KEPT
