"""A sample of pairs and a warm judge: put a constitution before them, get its labels, what they cost and why."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rlaif.constitution import Constitution
from rlaif.feedback.ask import Session
from rlaif.feedback.difference import Row
from rlaif.feedback.hear_pairs import Lack, hear_pairs, label_heard
from rlaif.feedback.modes import mode_of
from rlaif.feedback.plan_record import Group
from rlaif.feedback.progress import Progress
from rlaif.feedback.reasons import NOT_KEPT, NOT_YET, content_read, why_principle
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
        judge, constitution = self.settings.judge, subject.constitution
        mode = mode_of(judge, constitution, subject.template, self.session.model.identity)
        reasons: list[str] = []
        reused = 0

        def told(lack: Lack) -> None:
            nonlocal reused
            reused += lack.reused
            why = self._reasons(lack, subject, before)
            reasons.extend(why)
            if why or lack.asked.stage == mode.stages[0]:
                self.progress.note(f"plan: {'; '.join(why) or 'nothing to ask, every verdict is in the store'}")

        heard = hear_pairs(mode, self.pairs, session=self.session, store=self.store, progress=self.progress, told=told)
        floor, kind = self.settings.pairs.probability_floor, self.settings.label
        labels = tuple(
            label_row(label_heard(mode, pair, heard, constitution, probability_floor=floor, settings=kind))
            for pair in self.pairs
        )
        return Standing(
            subject=subject,
            labels=labels,
            sampled=self._sampled(constitution),
            reasons=tuple(reasons),
            reused=reused,
            outcomes=Counter(outcome for outcome, _ in heard.ended()),
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

    def _reasons(self, lack: Lack, subject: Subject, before: Subject | None) -> tuple[str, ...]:
        """One line per reason, with the calls it costs."""
        judge, stage = self.settings.judge, lack.asked.stage
        why = {one.id: _why(one.id, subject, before, judge.mode) for one in subject.constitution.enabled}
        calls = Counter(why[about.principle.id] for about in lack.missing)
        groups = [
            Group(stage=stage, model=judge.model, reason=one, calls=n, estimated_calls=0) for one, n in calls.items()
        ]
        return tuple(map(str, groups))


def _why(principle_id: str, subject: Subject, before: Subject | None, mode: str) -> str:
    if before is None:
        return NOT_YET
    if subject.template.digest != before.template.digest:
        return f"template changed: {subject.template.name}"
    principle = next(one for one in subject.constitution.enabled if one.id == principle_id)
    content = content_read(principle, mode)
    same = [old for old in before.constitution.enabled if content_read(old, mode) == content]
    if not same:
        return why_principle(principle, before.constitution, mode)
    is_wider = all(old.tags != principle.tags for old in same)
    return f"principle {principle.id!r} applies to more prompts: tags" if is_wider else NOT_KEPT
