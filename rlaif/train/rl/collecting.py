"""An iteration's answers: asked, sampled, rewarded, kept, and read token by token under policy and reference.

    seen = collector.gather(iteration)      # Experience

Log-probabilities are read in the very passes that the first epoch learns with, so that the first ratios are 1 to the
last bit in any precision. On one process the first of these passes is computed once: its reading is what is learnt
from. On several processes each samples, rewards and reads its share, and all hold everything then.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from rlaif.errors import TrainingStopped
from rlaif.train.packing import Family, Ids
from rlaif.train.rl.division import Division
from rlaif.train.rl.experience import Experience, FirstPass, TokenReadings, joined_rewards
from rlaif.train.rl.phases import Phases
from rlaif.train.rl.policy import PolicyModel, PolicyScores, Reference
from rlaif.train.rl.prompts import PolicyPrompt, answer_seeds, asked
from rlaif.train.rl.recorded import Recorded
from rlaif.train.rl.rewards import Answer, Reward, Rewards, check_rewards
from rlaif.train.rl.rollouts import Rollout, Sampler, Sampling
from rlaif.train.rl.settings import RlSettings
from rlaif.train.stepping import Stepper
from rlaif.train.task import Layout

MOST_AT_START = 1e-6  # nats between the policy and its reference before anything was learnt


@dataclass(frozen=True, eq=False)
class Collector:
    """What asks, samples, rewards and reads."""

    policy: PolicyModel
    reference: Reference
    prompts: Sequence[PolicyPrompt]
    sampler: Sampler
    reward: Reward
    settings: RlSettings
    decode: Callable[[Ids], str]
    stop_ids: tuple[int, ...]
    stepper: Stepper
    division: Division
    recorded: Recorded
    layout: Layout
    phases: Phases

    def gather(self, iteration: int) -> Experience:
        """Answers, rewards and readings of every token; answers and rewards from the disk where they are kept."""
        prompts = self.prompts_of(iteration)
        kept = self.recorded.read(iteration)
        if kept is None:
            rollouts = self.sample(prompts, iteration)
            rewards = self.rewarded(self.answers(prompts, rollouts))
            if self.stepper.accelerator.is_main_process:
                self.recorded.write(iteration, rollouts, rewards)
        else:
            rollouts, rewards = kept
        size = self.settings.rollout.group_size
        seen = Experience(iteration, self.answers(prompts, rollouts), rewards, size, ())
        with self.phases.phase("scoring"):
            readings, first = self.read(seen.families, iteration)
            seen = replace(seen, readings=readings, first=first)
        if iteration == 0 and self.settings.reference is None:
            self.check_start(seen)
        return seen

    def prompts_of(self, iteration: int) -> list[PolicyPrompt]:
        """The prompts of an iteration, each once for its whole group."""
        places = asked(len(self.prompts), self.settings.rollout.prompts, iteration, self.settings.loop.seed)
        return [self.prompts[place] for place in places]

    def sample(self, prompts: Sequence[PolicyPrompt], iteration: int) -> list[Rollout]:
        """Every prompt's answers, prompt after prompt; this process draws its share of the groups."""
        size, rollout = self.settings.rollout.group_size, self.settings.rollout
        how = Sampling(rollout.max_new_tokens, self.stop_ids, rollout.temperature)
        seeds = answer_seeds(prompts, size, iteration, self.settings.loop.seed)
        own = self.division.share(len(prompts))
        with self.phases.phase("rollout"):
            self.sampler.update(self.policy.model)
            self.policy.prepare()  # a sampler may have left it in another mode
            ids = [prompts[group].ids for group in own for _ in range(size)]
            own_seeds = [seeds[group * size + number] for group in own for number in range(size)]
            found = self.sampler.sample(ids, own_seeds, how) if own else []
            groups = {group: found[at * size : (at + 1) * size] for at, group in enumerate(own)}
            together = self.division.together(groups)
        return [one for group in range(len(prompts)) for one in together[group]]

    def answers(self, prompts: Sequence[PolicyPrompt], rollouts: Sequence[Rollout]) -> list[Answer]:
        size = self.settings.rollout.group_size
        return [
            Answer(prompts[place // size].prompt, one, self.decode(one.answer)) for place, one in enumerate(rollouts)
        ]

    def rewarded(self, answers: Sequence[Answer]) -> Rewards:
        """The answers' rewards; this process asks for its share of the groups."""
        size = self.settings.rollout.group_size
        own = self.division.share(len(answers) // size)
        with self.phases.phase("reward"):
            wanted = [answers[group * size + number] for group in own for number in range(size)]
            found = self.reward(wanted) if own else Rewards(np.zeros(0))
            together = joined_rewards(self.division.together(_by_group(found, own, size)), size)
        check_rewards(together, answers)
        return together

    def read(self, families: Sequence[Family], iteration: int) -> tuple[list[TokenReadings], FirstPass | None]:
        """Every group's tokens under policy and reference; and the pass that will learn first, which is read last so
        that nothing else is held beside what its backward needs."""
        sizes = [self.layout.size(family) for family in families]
        passes = [
            part for rows in self.division.minibatches(iteration, 0) for part in self.division.passes(rows, sizes)
        ]
        is_learnt = iteration < self.settings.iterations and self.stepper.accelerator.num_processes == 1
        own: dict[int, TokenReadings] = {}
        for part in passes[is_learnt:]:
            own |= self.read_pass(families, part)[0] if part else {}
        first = None
        if is_learnt:
            found, scores = self.read_pass(families, passes[0], is_learnt=True)
            own, first = own | found, FirstPass(passes[0], scores, self.policy)
        together = self.division.together(own)
        return [together[row] for row in range(len(families))], first

    def read_pass(
        self, families: Sequence[Family], rows: Sequence[int], *, is_learnt: bool = False
    ) -> tuple[dict[int, TokenReadings], PolicyScores]:
        """One pass, by group, and what the policy gave."""
        chosen = [families[row] for row in rows]
        batch = self.layout.batch(chosen).to(self.stepper.accelerator.device)
        with self.stepper.autocast():
            reference = self.reference.logprobs(self.policy, batch)
            with torch.set_grad_enabled(is_learnt):
                scores = self.policy(batch, with_stats=True)
        values = torch.zeros_like(scores.logprobs) if scores.values is None else scores.values
        found = (scores.logprobs, reference, values, scores.entropy)
        columns = [one.detach().double().cpu().numpy() for one in found]
        stops = np.cumsum([sum(one.num_scored for one in family) for family in chosen])[:-1]
        split = zip(*(np.split(column, stops) for column in columns), strict=True)
        return {row: TokenReadings(*part) for row, part in zip(rows, split, strict=True)}, scores

    def check_start(self, seen: Experience) -> None:
        """The policy is its reference until something was learnt: another KL than 0 means that one is read wrongly."""
        gap = float((seen.old - seen.reference).abs().max())
        if gap > MOST_AT_START:
            raise TrainingStopped(
                f"the policy differs from its reference by {gap:.3g} nats at a token before the first step.",
                do="Name the other model as `reference` if that is meant; otherwise this is a fault of ours.",
            )


def _by_group(rewards: Rewards, groups: Sequence[int], size: int) -> dict[int, Rewards]:
    """The rewards of single groups."""

    def cut(values: Any, at: int) -> Any:
        return None if values is None else values[at * size : (at + 1) * size]

    return {
        group: Rewards(
            cut(rewards.values, at),
            {name: cut(values, at) for name, values in rewards.parts.items()},
            cut(rewards.members, at),
        )
        for at, group in enumerate(groups)
    }
