"""A score the policy is not trained on: its answers to held-out prompts, scored by a check or by a judge handed in.

    held_out = HeldOut(prompts, sampler, how, decode, score, refresh, seed=0)
    held_out.begin()                    # the answers before the training, which a judge compares with
    held_out()                          # every prompt's score of the policy as the sampler has it now

Every prompt has one seed for the whole run, so two scores differ by what the policy has learnt and little else; they
are compared prompt by prompt (`trend`). What
the policy answered before the training goes into the checkpoint (`before`), since a resumed run cannot ask it again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rlaif.checks import Check
from rlaif.train.packing import Ids
from rlaif.train.rl.prompts import PolicyPrompt, answer_seeds
from rlaif.train.rl.rewards import Answer, Array, CheckReward
from rlaif.train.rl.rollouts import Sampler, Sampling

_NO_ITERATION = -1  # so that no iteration has these seeds

# The answers now and the texts from before the training -> each answer's score; NaN where nothing is known of it.
Score = Callable[[Sequence[Answer], Sequence[str]], Array]


@dataclass
class HeldOut:
    """Held-out prompts and how their answers are scored; higher is better."""

    prompts: Sequence[PolicyPrompt]
    sampler: Sampler
    how: Sampling
    decode: Callable[[Ids], str]
    score: Score
    refresh: Callable[[], None]  # gives the sampler the weights as they are now
    seed: int = 0
    before: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """Let the policy answer before anything was learnt, unless a resumed run brought its answers along."""
        if not self.before:
            self.before = [one.text for one in self.answers()]
        assert len(self.before) == len(self.prompts), "one answer per prompt"

    def __call__(self) -> Array:
        found = self.score(self.answers(), self.before)
        assert found.shape == (len(self.prompts),), "one score per prompt"
        return found

    def answers(self) -> list[Answer]:
        """One answer per prompt."""
        self.refresh()
        seeds = answer_seeds(self.prompts, 1, _NO_ITERATION, self.seed)
        drawn = self.sampler.sample([one.ids for one in self.prompts], seeds, self.how)
        return [
            Answer(asked.prompt, rollout, self.decode(rollout.answer))
            for asked, rollout in zip(self.prompts, drawn, strict=True)
        ]


def by_check(check: Check) -> Score:
    """What an objective check says of each answer."""
    reward = CheckReward(check)

    def score(answers: Sequence[Answer], before: Sequence[str]) -> Array:
        return reward(answers).values

    return score
