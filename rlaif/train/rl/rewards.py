"""What an answer is worth: one float per answer, and the named parts it is made of.

    reward = WeightedSum({"model": (reward_model, 1.0), "correct": (check, 0.5)})
    rewards = reward(answers)                   # Rewards: values (N,), parts by name

A `Reward` is anything that takes answers and returns `Rewards`; `from_function` makes one of a plain callable (a judge
is handed in that way: `train/` knows none). Penalties for length and for answers that never end are
rewards, too. Nothing is clipped or whitened here (`shaping`), and no KL is known. Rewards that load a model are in
`reward_models`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rlaif.checks import Check, Scored, Unscored, score
from rlaif.errors import TrainingStopped
from rlaif.records import Prompt
from rlaif.train.rl.rollouts import Rollout

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A rollout as rewards see it. `text` is the answer without special tokens."""

    prompt: Prompt
    rollout: Rollout
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Rewards:
    """values (N,): what is learnt from. `parts` (N,) each: what is shown and watched; `members` (N, M) of an ensemble:
    every member's reward, for who asks how far they disagree."""

    values: Array
    parts: Mapping[str, Array] = field(default_factory=dict)
    members: Array | None = None


class Reward(Protocol):
    def __call__(self, answers: Sequence[Answer]) -> Rewards: ...


def from_function(name: str, function: Callable[[Sequence[Answer]], Sequence[float] | Array]) -> Reward:
    """A reward of a callable that gives one number per answer."""

    def reward(answers: Sequence[Answer]) -> Rewards:
        values = np.asarray(function(answers), dtype=np.float64)
        assert values.shape == (len(answers),), "one reward per answer"
        return Rewards(values, {name: values})

    return reward


@dataclass(frozen=True)
class WeightedSum:
    """Σ weight · reward. Each part is shown under its own name, unweighted; the first ensemble's members are kept."""

    parts: Mapping[str, tuple[Reward, float]]

    def __call__(self, answers: Sequence[Answer]) -> Rewards:
        total, shown = np.zeros(len(answers)), dict[str, Array]()
        members: Array | None = None
        for name, (reward, weight) in self.parts.items():
            found = reward(answers)
            total = total + weight * found.values
            shown[name] = found.values
            shown |= {part: values for part, values in found.parts.items() if part != name}
            members = found.members if members is None else members
        return Rewards(total, shown, members)


@dataclass(frozen=True)
class Ensemble:
    """Several rewards for the same thing: their mean, less `pessimism` of their standard deviations."""

    name: str
    rewards: Sequence[Reward]
    pessimism: float = 0.0

    def __call__(self, answers: Sequence[Answer]) -> Rewards:
        found = [reward(answers) for reward in self.rewards]
        parts = {name: values for one in found for name, values in one.parts.items()}
        return of_members(self.name, np.stack([one.values for one in found], axis=1), parts, self.pessimism)


def of_members(name: str, members: Array, parts: Mapping[str, Array], pessimism: float) -> Rewards:
    """The rewards of an ensemble whose members gave (N, M); how far they disagree is a part of its own."""
    mean, spread = members.mean(axis=1), members.std(axis=1)
    shown = {**parts, name: mean, f"{name}_disagreement": spread}
    return Rewards(mean - pessimism * spread, shown, members)


@dataclass(frozen=True)
class CheckReward:
    """A verifiable reward: 0 to 1 by an objective check (`rlaif.checks`), against the prompt's reference.

    A check that cannot say is no 0: it stops the run with the reason, unless `unscored` names what it counts as.
    """

    check: Check
    unscored: float | None = None
    name: str = "check"

    def __call__(self, answers: Sequence[Answer]) -> Rewards:
        found = [self._score(one) for one in answers]
        values = np.array([value for value, _ in found])
        unscored = np.array([float(is_unscored) for _, is_unscored in found])
        parts = {self.name: values} | ({f"{self.name}_unscored": unscored} if unscored.any() else {})
        return Rewards(values, parts)

    def _score(self, answer: Answer) -> tuple[float, bool]:
        conversation = [message.as_dict() for message in answer.prompt.messages]
        found = score(self.check, answer.text, reference=answer.prompt.reference, conversation=conversation)
        match found:
            case Scored(value):
                return value, False
            case Unscored(_, reason):
                if self.unscored is None:
                    raise TrainingStopped(
                        f"the {self.check.kind} check gives no reward for an answer to prompt "
                        f"{answer.prompt.name or answer.prompt.id[:12]!r}: {reason}.",
                        do="Give the prompts what the check needs, or say what such an answer counts: `unscored: 0`.",
                    )
                return self.unscored, True


@dataclass(frozen=True)
class LengthPenalty:
    """-(tokens beyond `free`): multiply by the price per token."""

    free: int = 0

    def __call__(self, answers: Sequence[Answer]) -> Rewards:
        values = np.array([-float(max(0, len(one.rollout.answer) - self.free)) for one in answers])
        return Rewards(values, {"length_penalty": values})


@dataclass(frozen=True)
class EndPenalty:
    """-1 for an answer that was cut off before it ended, else 0."""

    def __call__(self, answers: Sequence[Answer]) -> Rewards:
        values = np.array([-float(not one.rollout.is_ended) for one in answers])
        return Rewards(values, {"end_penalty": values})


def check_rewards(rewards: Rewards, answers: Sequence[Answer]) -> None:
    """Raise TrainingStopped where a reward is no number: learning from it would spoil the weights, leaving it out would
    hide what is wrong."""
    assert rewards.values.shape == (len(answers),), "one reward per answer"
    bad = np.flatnonzero(~np.isfinite(rewards.values))
    if not len(bad):
        return
    guilty = [name for name, values in rewards.parts.items() if not np.isfinite(values).all()]
    first = answers[int(bad[0])]
    raise TrainingStopped(
        f"{len(bad)} of {len(answers)} rewards are no numbers{f' (part {guilty[0]!r})' if guilty else ''}; the first "
        f"is {rewards.values[bad[0]]} for the answer {first.text[:80]!r}.",
        do="Correct the reward. The last checkpoint is kept; the same command goes on from there.",
    )
