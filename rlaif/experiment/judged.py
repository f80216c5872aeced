"""The judge for trainings by sampled answers: as their reward, as what labels online DPO's pairs, as what watches them.

    with Judges(base) as judges:
        run_rl("online-dpo", settings, base=base, above=judges.above(settings))

Here tokens become texts and texts' rewards become arrays; the judge knows nothing of tokens, the training nothing of
judges. Verdicts that are missing are counted and never a number the judge did not give: such an answer gets the mean of
its prompt's other answers (in a group it then teaches nothing), and more of them than the settings allow stop the run.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlaif.documents import read_yaml, validate
from rlaif.errors import InputError, SettingsError, TrainingStopped
from rlaif.feedback.judge_reward import Answered, JudgeReward, open_judge_reward
from rlaif.feedback.judge_reward import Reward as Judged
from rlaif.feedback.progress import Progress
from rlaif.settings import Settings
from rlaif.train.rl.held_out import Score
from rlaif.train.rl.rewards import Answer, Array, Reward, Rewards
from rlaif.train.rl.run import FromAbove
from rlaif.train.rl.settings import JudgeRewardSettings, RlSettings


def judged_reward(judge: JudgeReward, *, name: str = "judge") -> Reward:
    """The judge's reward for rollouts, 0 to 1, and its part under each principle. A judge that compares needs several
    answers per prompt; one that scores does not."""

    def reward(answers: Sequence[Answer]) -> Rewards:
        groups = by_prompt(answers)
        asked = [Answered(answers[own[0]].prompt, tuple(answers[at].text for at in own)) for own in groups]
        found: list[Judged | None] = [None] * len(answers)
        for own, rewards in zip(groups, judge.rewards(asked), strict=True):
            for at, one in zip(own, rewards, strict=True):
                found[at] = one
        whole = [one for one in found if one is not None]
        assert len(whole) == len(answers), "a reward for every answer"
        silent = np.array([one.value is None for one in whole])
        _check_heard(whole, silent, judge.settings.max_no_verdict_share)
        values = np.array([np.nan if one.value is None else one.value for one in whole])
        values = _filled(values, groups)
        parts = {name: values, **_principles(whole, name)}
        if silent.any():
            parts[f"{name}_without_verdict"] = silent.astype(np.float64)
        return Rewards(values, parts)

    return reward


def by_prompt(answers: Sequence[Answer]) -> list[list[int]]:
    """The answers' places, prompt by prompt in the order they first appear."""
    found: dict[str, list[int]] = {}
    for at, one in enumerate(answers):
        found.setdefault(one.prompt.id, []).append(at)
    return list(found.values())


def _check_heard(found: Sequence[Judged], silent: NDArray[np.bool_], most: float) -> None:
    if silent.mean() <= most:
        return
    reasons = [one.reason for one in found if one.value is None]
    first = max(set(reasons), key=reasons.count)
    raise TrainingStopped(
        f"{int(silent.sum())} of {len(silent)} answers have no verdict, more than max_no_verdict_share {most:g}; most "
        f"often: {first}.",
        do="Look at the judge with `rlaif judge-card`, or raise max_no_verdict_share in its settings. The last "
        "checkpoint is kept.",
    )


def _filled(values: Array, groups: Sequence[Sequence[int]]) -> Array:
    """Missing values as the mean of their prompt's, or of all."""
    filled = values.copy()
    overall = np.nanmean(values) if np.isfinite(values).any() else 0.0
    for own in groups:
        missing = [at for at in own if np.isnan(values[at])]
        heard = [values[at] for at in own if not np.isnan(values[at])]
        filled[missing] = np.mean(heard) if heard else overall
    return filled


def _principles(found: Sequence[Judged], name: str) -> Mapping[str, Array]:
    """Each principle's part; where it does not apply, its mean over the others, so that means stay what they are."""
    names = dict.fromkeys(principle for one in found for principle in one.principles)
    parts = {}
    for principle in names:
        own = np.array([one.principles.get(principle, np.nan) for one in found])
        parts[f"{name}_{principle}"] = np.where(np.isnan(own), np.nanmean(own), own)
    return parts


def judged_score(judge: JudgeReward) -> Score:
    """A score for held-out answers: P(better than the one from before the training) by the judge, 0.5 at the start; NaN
    without a verdict."""

    def score(answers: Sequence[Answer], before: Sequence[str]) -> Array:
        rows = [(one.prompt, one.text, old) for one, old in zip(answers, before, strict=True)]
        found = np.array([np.nan if one is None else one for one in judge.compare(rows)])
        if np.isnan(found).all():
            raise TrainingStopped("the held-out judge gave no verdict.", do="Look at it with `rlaif judge-card`.")
        return found

    return score


class Judges(ExitStack):
    """The judges that a training's settings name, each by a settings file as `rlaif generate` reads it, opened once and
    closed with this."""

    def __init__(self, base: Path, progress: Progress | None = None) -> None:
        super().__init__()
        self.base, self.progress = base, progress
        self._opened: dict[Path, JudgeReward] = {}

    def above(self, settings: RlSettings) -> FromAbove:
        """Everything that a training with these settings takes from judges."""
        parts = [part for part in settings.reward if isinstance(part, JudgeRewardSettings)]
        rewards = {part.name: (self.reward(part, settings.rollout.group_size), part.weight) for part in parts}
        identity = {f"reward {part.name}": self.open(part.config).digest for part in parts}
        if (held_out := settings.watch.held_out) and held_out.judge is not None:
            self.score(held_out.judge)  # what is wrong with it is told before anything is loaded
            identity["held_out"] = self.open(held_out.judge).digest
        return FromAbove(rewards, identity, self.score)

    def reward(self, part: JudgeRewardSettings, group_size: int) -> Reward:
        """A part of the reward. InputError where a judge that compares would have nothing to compare."""
        judge = self.open(part.config)
        if judge.settings.judge.mode != "score" and group_size < 2:
            raise InputError(
                f"judge.mode is {judge.settings.judge.mode}, which compares answers, and there is one to each prompt.",
                where=part.config,
                do="Set rollout.group_size to 2 or more, or judge.mode to score in that file.",
            )
        return judged_reward(judge, name=part.name)

    def score(self, config: str) -> Score:
        """Who scores held-out answers. InputError for one that scores single answers: here two are compared."""
        judge = self.open(config)
        if judge.settings.judge.mode == "score":
            raise InputError(
                "judge.mode is score, but a held-out score is how often one answer is preferred to another.",
                where=config,
                do="Set judge.mode to verdict or reasoned in that file.",
            )
        return judged_score(judge)

    def open(self, config: str) -> JudgeReward:
        place = (self.base / config).resolve()
        if place not in self._opened:
            settings = validate(read_yaml(place, SettingsError), Settings, SettingsError)
            opened = open_judge_reward(settings, base=place.parent, progress=self.progress)
            self._opened[place] = self.enter_context(opened)
        return self._opened[place]
