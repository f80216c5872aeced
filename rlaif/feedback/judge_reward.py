"""The judge as a reward: what a training by sampled answers asks while it runs, exactly as `generate` would.

    with open_judge_reward(settings, base=folder) as judge:
        judge.rewards([Answered(prompt, texts)])        # a reward from 0 to 1 for every answer
        judge.compare([(prompt, one, other)])           # P(one is better), as the dataset would hold it

Same templates, modes, both orders, principles one by one, labels, and through the store: what was asked once is not
asked again, so a training that is killed and resumed meets the same rewards. This is RLAIF's direct form (Lee et al.,
arXiv:2309.00267, section 2.3), without a reward model between.

In mode `score` an answer is scored alone: the mean score under each principle on a scale from 0 to 1, averaged with the
principles' weights. In the other modes answers are compared, and a reward is the mean of P(it is better) over the
prompt's other answers. An empty answer is never shown to a judge: it loses to every other. Without a verdict there is
no reward but a reason (`Reward.value` is None); what that means for the training is decided there. Nothing here knows
of tokens or of training.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from rlaif.checks import Scored
from rlaif.constitution import Constitution, load_constitution
from rlaif.feedback.ask import Session, ask
from rlaif.feedback.check_verdicts import score_answer
from rlaif.feedback.hear_pairs import hear_pairs, label_heard
from rlaif.feedback.judge import refuse_several_judges
from rlaif.feedback.keys import answering
from rlaif.feedback.mode import Heard, Mode
from rlaif.feedback.mode_score import ScoreMode
from rlaif.feedback.modes import mode_of
from rlaif.feedback.progress import Progress, Quiet
from rlaif.feedback.run import judge_of, judge_template
from rlaif.identity import digest
from rlaif.records import LabelledPair, Prompt, Response, ResponsePair
from rlaif.settings import Settings
from rlaif.store import Store
from rlaif.templates import Template

LOG = "judge-reward.log"
NO_PRINCIPLE = "no principle applies to the prompt"


@dataclass(frozen=True, slots=True)
class Answered:
    """A prompt and its sampled answers."""

    prompt: Prompt
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reward:
    """What an answer got, from 0 to 1, also under each principle; or None and the reason."""

    value: float | None
    principles: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class JudgeReward:
    """One judge under one constitution, loaded when it is first asked."""

    settings: Settings
    constitution: Constitution
    template: Template
    session: Session
    store: Store
    progress: Progress = field(default_factory=Quiet)

    @cached_property
    def mode(self) -> Mode:
        return mode_of(self.settings.judge, self.constitution, self.template, self.session.model.identity)

    @cached_property
    def digest(self) -> str:
        """Everything that can change a reward: what a resumed training must have unchanged."""
        return digest(
            {
                "judge": answering(self.session.model.identity),
                "template": self.template.digest,
                "constitution": self.constitution.model_dump(mode="json"),
                "settings": {name: getattr(self.settings, name).model_dump(mode="json") for name in ("judge", "label")},
                "floor": self.settings.pairs.probability_floor,
            }
        )

    def rewards(self, asked: Sequence[Answered]) -> list[list[Reward]]:
        """The reward of every answer of every prompt, in their order."""
        if isinstance(self.mode, ScoreMode):
            return self._scored(self.mode, asked)
        met = {(one.prompt.id, *two): (one.prompt, *two) for one in asked for own in _meetings(one) for two in own}
        outcomes = dict(zip(met, self._compared([*met.values()]), strict=True))
        return [
            [_mean_outcome([outcomes[one.prompt.id, *two] for two in own]) for own in _meetings(one)] for one in asked
        ]

    def compare(self, pairs: Sequence[tuple[Prompt, str, str]]) -> list[float | None]:
        """P(the first answer is better) of each pair; None without a verdict."""
        return [one.value for one in self._compared(pairs)]

    def _compared(self, pairs: Sequence[tuple[Prompt, str, str]]) -> list[Reward]:
        """Each pair's label for its first answer."""
        records: dict[str, ResponsePair] = {}
        places: list[tuple[str, bool] | None] = []
        for prompt, one, other in pairs:
            place = None
            if one.strip() and other.strip() and one.strip() != other.strip():
                first, second = answer_to(prompt, one), answer_to(prompt, other)
                pair = ResponsePair(prompt, *sorted((first, second), key=lambda response: response.id))
                records[pair.id] = pair
                place = (pair.id, pair.x.id == first.id)
            places.append(place)
        labelled = self._labels(list(records.values()))
        return [
            _undisputed(one, other) if place is None else _for_side(labelled[place[0]], is_x=place[1])
            for place, (_, one, other) in zip(places, pairs, strict=True)
        ]

    def _labels(self, pairs: Sequence[ResponsePair]) -> dict[str, LabelledPair]:
        if not pairs:
            return {}
        heard = hear_pairs(self.mode, pairs, session=self.session, store=self.store, progress=self.progress)
        floor, kind = self.settings.pairs.probability_floor, self.settings.label
        return {
            one.id: label_heard(self.mode, one, heard, self.constitution, probability_floor=floor, settings=kind)
            for one in pairs
        }

    def _scored(self, mode: ScoreMode, asked: Sequence[Answered]) -> list[list[Reward]]:
        answers = [(one.prompt, answer_to(one.prompt, text)) for one in asked for text in one.texts if text.strip()]
        plan = mode.plan_answers(answers)
        values = ask(plan.asking, session=self.session, store=self.store, progress=self.progress) if answers else {}
        heard = mode.hear([plan], [values])
        return [[self._score(heard, one.prompt, text) for text in one.texts] for one in asked]

    def _score(self, heard: Heard, prompt: Prompt, text: str) -> Reward:
        """The mean score on a scale from 0 to 1, weighted by principle; a check's own score counts as it is."""
        if not text.strip():
            return Reward(0.0)
        response, top = answer_to(prompt, text), self.settings.judge.score_levels - 1
        found: dict[str, float] = {}
        reasons: list[str] = []
        for principle in self.constitution.for_tags(prompt.tags):
            if principle.check is not None:
                checked = score_answer(principle, prompt, response)
                value, reason = (checked.value, "") if isinstance(checked, Scored) else (None, checked.reason)
            else:
                score = heard.scores[response.id, principle.id]
                value, reason = None if score.mean is None else (score.mean - 1) / top, score.reason
            if value is None:
                reasons.append(reason)
            else:
                found[principle.id] = value
        weights = {one.id: one.weight for one in self.constitution.principles if one.id in found and one.weight > 0}
        if not weights:
            return Reward(None, found, (*reasons, NO_PRINCIPLE)[0])
        total = math.fsum(weights.values())
        return Reward(math.fsum(weights[name] * found[name] for name in weights) / total, found)


@contextmanager
def open_judge_reward(settings: Settings, *, base: Path, progress: Progress | None = None) -> Iterator[JudgeReward]:
    """The judge, constitution, labels and store of a settings file; its paths count from `base`."""
    refuse_several_judges(settings, "the judge as a reward")
    constitution = load_constitution(settings.constitution, base=base)
    template = judge_template(settings.judge, base)
    model = judge_of(settings, base / settings.output / LOG)
    with Store(settings.store_place(base), will_append=True) as store, Session(model) as session:
        yield JudgeReward(settings, constitution, template, session, store, progress or Quiet())


def answer_to(prompt: Prompt, text: str) -> Response:
    """A sampled text as a record; its id is that of the text under its prompt."""
    return Response(
        prompt_id=prompt.id,
        text=text,
        policy="rollout",
        sample_index=0,
        finish_reason="stop",
        prompt_tokens=0,
        output_tokens=0,
    )


def _meetings(one: Answered) -> list[list[tuple[str, str]]]:
    """Per answer, the comparisons its reward rests on: with every other one."""
    return [
        [(text, other) for place, other in enumerate(one.texts) if place != own] for own, text in enumerate(one.texts)
    ]


def _undisputed(one: str, other: str) -> Reward:
    """Where no judge is asked: equal answers tie, and an empty one loses."""
    return Reward(0.5 if one.strip() == other.strip() else float(bool(one.strip())))


def _for_side(label: LabelledPair, *, is_x: bool) -> Reward:
    own = {v.principle_id: v.probability for v in label.verdicts if v.probability is not None}
    principles = {name: p if is_x else 1.0 - p for name, p in own.items()}
    if label.probability is None:
        reasons = [v.reason for v in label.verdicts if v.reason]
        return Reward(None, principles, (*reasons, NO_PRINCIPLE)[0])
    return Reward(label.probability if is_x else 1.0 - label.probability, principles)


def _mean_outcome(outcomes: Sequence[Reward]) -> Reward:
    """Over those comparisons that have a verdict."""
    heard = [one.value for one in outcomes if one.value is not None]
    names = dict.fromkeys(name for one in outcomes for name in one.principles)
    means = {name: _mean([one.principles[name] for one in outcomes if name in one.principles]) for name in names}
    if not heard:
        return Reward(None, means, next((one.reason for one in outcomes), "there is no answer to compare it with"))
    return Reward(_mean(heard), means)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
