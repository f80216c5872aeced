"""The watch over a training by sampled answers: does the reward still mean what it should, and when to stop.

    watch = Watch(settings, held_out=score)         # score(): every held-out prompt's, of the policy as it is now
    alarms = watch.note(reading)                    # after every update; an Alarm says which rule fired, and why
    state = watch.state()                           # plain numbers, for the checkpoint; Watch(..., state=state) goes on

A reward model is right about answers like those it was trained on. A policy that is pushed far enough finds others,
which it rates highly and nobody wants (Gao et al., arXiv:2210.10760). The reward cannot show that; what stands beside
it can: the distance to the reference, lengths, repetition, entropy, how far the reward's members disagree, and the
score of a judge whose verdicts the policy is not trained on.

Rules, by name. All but the last compare the mean of the last `window` readings with a limit or with the start of the
run (its first `baseline` readings), so that one odd batch stops nothing:

    kl            KL to the reference per answer is above `max_kl`, or no number. By default that is the entropy of such
                  an answer at the start: what it would cost to give one typical answer of the start and no other. A
                  policy further away writes what the reference would not
    length        answers are `max_length_factor` times as long as at the start, or a `max_length_factor`th
    repetition    4-grams said twice, or the longest repeat, rose by `max_repetition_rise`
    sameness      the batch's different 4-grams fell to `min_distinct_share` of those at the start: one answer for all
    entropy       entropy per token is below `min_entropy_share` of that at the start
    disagreement  the reward's members differ by `max_disagreement_factor` times as much as at the start
    held_out      the held-out score falls while the reward does not: a slope over many scores, or a drop from the best
                  ones, prompt by prompt (`rlaif.train.rl.trend`)

Pure but for `held_out`, which it calls every `held_out_every` steps. Who stops, saves and goes back is the learner.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from rlaif.checks import Check
from rlaif.settings import PositiveInt, PromptSource, Share, Strict
from rlaif.train.rl.readings import Reading
from rlaif.train.rl.trend import Fall, drops, slopes

Rule = Literal["kl", "length", "repetition", "sameness", "entropy", "disagreement", "held_out"]
LEAST_KL = 10.0  # nats per answer: taking the best of 20,000 costs less; where answers hardly vary, this is the limit


class HeldOutSettings(Strict):
    """Prompts that are not learnt from, and who scores the answers to them: a check or a judge."""

    prompts: tuple[PromptSource, ...] = Field(min_length=1, description="Usual: 32 to 256 of them, set with `limit`.")
    check: Check | None = Field(None, description="The score is the mean of this check, e.g. {kind: number}.")
    judge: str | None = Field(
        None, description="A settings file (rlaif.yaml): how often its judge prefers an answer to that of the start."
    )

    @model_validator(mode="after")
    def _somebody_scores(self) -> "HeldOutSettings":
        if (self.check is None) == (self.judge is None):
            raise ValueError("give either a `check` or a `judge`")
        return self


class WatchSettings(Strict):
    """When a training by sampled answers stops by itself. A limit of null never stops it; its figure is still noted."""

    stop: bool = Field(True, description="Whether an alarm ends the run; false: it is noted, and the run goes on.")
    window: PositiveInt = Field(5, description="Readings that are averaged before a limit is looked at. Usual: 3-10.")
    baseline: PositiveInt = Field(10, description="Readings at the start that later ones are held against.")
    max_kl: Annotated[float, Field(gt=0.0)] | Literal["entropy"] | None = Field(
        "entropy", description="kl: nats per answer; entropy: that of such an answer at the start, 10 at the least."
    )
    max_length_factor: float | None = Field(3.0, gt=1.0, description="length: times the tokens of the start.")
    max_repetition_rise: Share | None = Field(0.3, description="repetition: rise of a share since the start.")
    min_distinct_share: Share | None = Field(0.1, description="sameness: share of different 4-grams, of the start's.")
    min_entropy_share: Share | None = Field(0.05, description="entropy: share of that at the start. Usual: 0 to 0.1.")
    max_disagreement_factor: float | None = Field(
        4.0, gt=1.0, description="disagreement: times that at the start; for a reward of several members."
    )
    held_out: HeldOutSettings | None = Field(None, description="A score the policy is not trained on.")
    held_out_every: PositiveInt = Field(10, description="Steps between held-out scores, where there is a judge.")
    held_out_window: PositiveInt = Field(5, ge=4, description="held_out: fewest scores that can show a fall.")
    held_out_level: float | None = Field(
        0.001, gt=0.0, lt=0.5, description="held_out: chance that a score without a trend looks like falling, per look."
    )
    held_out_drop: Share | None = Field(
        0.2, description="held_out: least drop, prompt by prompt, from the best scores; null: slopes alone."
    )


@dataclass(frozen=True, slots=True)
class Alarm:
    """A rule that fired. `good_until`: the last step at which nothing of it was to be seen (of `held_out` that of the
    best score in the window); go back to a checkpoint no later than this."""

    rule: Rule
    step: int
    good_until: int
    why: str


class Watch:
    """Collects readings and looks at every rule after each of them. `readings` is the whole run, for the frontier."""

    def __init__(
        self,
        settings: WatchSettings,
        held_out: Callable[[], NDArray[np.float64]] | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings, self._held_out = settings, held_out
        kept = (state or {}).get("readings", ())
        self.readings = [Reading(**{**one, "each": tuple(one.get("each", ()))}) for one in kept]

    def state(self) -> dict[str, Any]:
        """Everything to go on from, as JSON has it."""
        return {"readings": [asdict(one) for one in self.readings]}

    def note(self, reading: Reading) -> list[Alarm]:
        """Add a reading, with a held-out score where one is due, and say which rules it breaks. The first is the one to
        go back by: a fall of the held-out score, which names the best weights, before all others."""
        assert not self.readings or reading.step > self.readings[-1].step, "steps go up"
        if self._held_out is not None and reading.held_out is None and self.is_due(reading.step):
            reading = reading.with_scores(self._held_out())
        self.readings.append(reading)
        return list(self._alarms())

    def is_due(self, step: int) -> bool:
        """Whether this step gets a held-out score: the first, and every k-th."""
        return not self.readings or step % self.settings.held_out_every == 0

    @property
    def is_best(self) -> bool:
        """Whether the newest reading has a held-out score above all before it."""
        return self.readings[-1].held_out is not None and self.best_step() == self.readings[-1].step

    def best_step(self) -> int | None:
        """The step of the best held-out score so far; of equal ones the first."""
        steps, scores, _ = self.scored()
        return steps[int(np.argmax(scores))] if steps else None

    def _alarms(self) -> Iterator[Alarm]:
        """The rules that the newest readings break."""
        rules = (
            self._fall,
            self._kl,
            self._length,
            self._repetition,
            self._sameness,
            self._entropy,
            self._disagreement,
        )
        for rule in rules:
            if alarm := rule():
                yield alarm

    # --- the rules

    def _kl(self) -> Alarm | None:
        if not math.isfinite(self.readings[-1].kl):
            return self._alarm("kl", "The KL to the reference is no longer a number.", lambda one: True, window=1)
        mean, limit = self._last("kl"), self._max_kl()
        if limit is None or mean is None or mean <= limit:
            return None
        why = f"The KL to the reference is {mean:.3g} nats per answer; the limit is {limit:.3g}"
        if self.settings.max_kl == "entropy" and limit > LEAST_KL:
            why += ", the entropy of such an answer at the start: these are answers that the reference would not give"
        return self._alarm("kl", f"{why}.", lambda one: one.kl > limit)

    def _max_kl(self) -> float | None:
        """The limit for answers as long as the newest: nats of entropy per token of the first ones, times that."""
        limit, count = self.settings.max_kl, self.settings.window
        if limit != "entropy":
            return limit
        start, length = _mean(self.readings[:count], "entropy"), self._last("length")
        return None if start is None or length is None else max(LEAST_KL, start * length)

    def _length(self) -> Alarm | None:
        factor, start, mean = self.settings.max_length_factor, self._start("length"), self._last("length")
        if factor is None or start is None or mean is None or start / factor <= mean <= start * factor:
            return None
        grown = "grew" if mean > start else "shrank"
        why = f"Answers {grown} from {start:.3g} to {mean:.3g} tokens; allowed is a factor of {factor:g}."
        return self._alarm("length", why, lambda one: not start / factor <= one.length <= start * factor)

    def _repetition(self) -> Alarm | None:
        return self._rose("repeated", "4-grams that an answer says twice") or self._rose(
            "longest_repeat", "the longest stretch that an answer says twice"
        )

    def _rose(self, name: str, words: str) -> Alarm | None:
        limit, start, mean = self.settings.max_repetition_rise, self._start(name), self._last(name)
        if limit is None or start is None or mean is None or mean <= start + limit:
            return None
        why = f"Answers repeat: {words} went from {start:.1%} to {mean:.1%}; allowed is a rise of {limit:.0%}."
        return self._alarm("repetition", why, lambda one: float(getattr(one, name)) > start + limit)

    def _sameness(self) -> Alarm | None:
        share, start, mean = self.settings.min_distinct_share, self._start("alike"), self._last("alike")
        if share is None or start is None or mean is None or 1.0 - mean >= (1.0 - start) * share:
            return None
        why = (
            f"Answers are alike: of their 4-grams {1 - mean:.1%} are different ones, at the start {1 - start:.1%}; "
            f"allowed is {share:.0%} of that."
        )
        return self._alarm("sameness", why, lambda one: 1.0 - one.alike < (1.0 - start) * share)

    def _entropy(self) -> Alarm | None:
        share, start, mean = self.settings.min_entropy_share, self._start("entropy"), self._last("entropy")
        if share is None or start is None or mean is None or mean >= start * share:
            return None
        why = (
            f"Entropy fell from {start:.3g} to {mean:.3g} nats per token, below {share:.0%} of it: answers hardly vary."
        )
        return self._alarm("entropy", why, lambda one: one.entropy < start * share)

    def _disagreement(self) -> Alarm | None:
        factor = self.settings.max_disagreement_factor
        start, mean = self._start("disagreement"), self._last("disagreement")
        if factor is None or start is None or mean is None or mean <= start * factor:
            return None
        why = (
            f"The reward's members disagree by {mean:.3g}, at the start by {start:.3g}; allowed is a factor of "
            f"{factor:g}. These answers are unlike those the reward was trained on."
        )
        return self._alarm("disagreement", why, lambda one: (one.disagreement or 0.0) > start * factor)

    def _fall(self) -> Alarm | None:
        newest = self.readings[-1]
        found = None if newest.held_out is None else self._clearest_fall()
        if found is None:
            return None
        seen = f" on {found.num_prompts} prompts" if found.num_prompts else ""
        why = (
            f"The held-out score fell from {found.score_from:.3g} to {found.score_to:.3g}{seen} between steps "
            f"{found.since} and {newest.step} while the reward went from {found.reward_from:.3g} to "
            f"{found.reward_to:.3g}: they no longer measure the same (p = {found.p:.1g} for no fall)."
        )
        return Alarm("held_out", newest.step, self.best_step() or 0, why)

    def _clearest_fall(self) -> Fall | None:
        """Both tests share the level, where both can be made: a drop needs the prompts' own scores."""
        level, least, shortest = (
            self.settings.held_out_level,
            self.settings.held_out_drop,
            self.settings.held_out_window,
        )
        if level is None:
            return None
        steps, scores, rewards = self.scored()
        each = [np.array(one.each) for one in self.readings if one.held_out is not None]
        if least is None or not all(len(one) for one in each):
            return slopes(steps, scores, rewards, shortest=shortest, level=level)
        found = (
            slopes(steps, scores, rewards, shortest=shortest, level=level / 2),
            drops(steps, each, rewards, least=least, level=level / 2),
        )
        return min((one for one in found if one), key=lambda one: one.p, default=None)

    # --- what they look at

    def scored(self) -> tuple[list[int], list[float], list[float]]:
        """Steps with a held-out score, the scores, and the mean rewards since the score before."""
        steps: list[int] = []
        scores: list[float] = []
        rewards: list[float] = []
        since: list[float] = []
        for one in self.readings:
            since.append(one.reward)
            if one.held_out is not None:
                steps.append(one.step)
                scores.append(one.held_out)
                rewards.append(float(np.mean(since)))
                since = []
        return steps, scores, rewards

    def _start(self, name: str) -> float | None:
        """Mean of the first readings; none before there are newer ones than these."""
        count = self.settings.baseline
        return _mean(self.readings[:count], name) if len(self.readings) > count else None

    def _last(self, name: str) -> float | None:
        """Mean of the last readings; none before there are as many."""
        count = self.settings.window
        return _mean(self.readings[-count:], name) if len(self.readings) >= count else None

    def _alarm(self, rule: Rule, why: str, is_bad: Callable[[Reading], bool], window: int | None = None) -> Alarm:
        """`good_until` is the step before the first reading of the window that is over the limit by itself."""
        first = max(0, len(self.readings) - (window or self.settings.window))
        bad = next((at for at in range(first, len(self.readings)) if is_bad(self.readings[at])), first)
        return Alarm(rule, self.readings[-1].step, self.readings[bad - 1].step if bad else 0, why)


def _mean(readings: Sequence[Reading], name: str) -> float | None:
    values = [getattr(one, name) for one in readings]
    return None if None in values else float(np.mean(values))
