"""The learner: iterations of sampling, rewarding, scoring and learning, for PPO, GRPO and RLOO alike.

    learner = Learner(
        policy,             # PolicyModel(model, value=value_head(model)); value=None for GRPO and RLOO
        Reference(other),   # another causal model, or Reference() for a policy with adapters
        prompts,            # PolicyPrompt(prompt, ids); plain_prompt(text, ids, reference) makes one in code
        sampler,            # rollouts.Sampler; its update() gets policy.model, the transformers (or peft) model
        reward,             # answers -> Rewards; from_function("name", f) makes one of a callable
        settings,           # PpoSettings or GrpoSettings
        decode=tokenizer_decode, stop_ids=(eos,), folder=Path(…),
    )
    report = learner.run()                      # from the folder's newest checkpoint, or from the start

Optional: `identity` (what the checkpoints are of), `accelerator`, `observers` (see `Observer`: told of every iteration
before it is learnt from, may end the run), `watch(done, total, figures)`, `say(text)`, `place` (the folder errors name).

An iteration asks its prompts, keeps answers and rewards on the disk (`recorded`), reads every token under policy and
reference, looks at the rules that stop a run (`guards`), makes targets (`targets`) and takes epochs x minibatches of
optimizer steps, divided into passes by tokens. Log-probabilities are read in the very passes that the first epoch
learns with, so that the first ratios are 1 to the last bit in any precision; that is asserted in every run.

On several processes each samples, rewards and reads its share, and all hold everything then; a step's rows, weights and
targets are those of one process. Resume is exact: see `rlaif.train.loop`; what is kept beside weights and optimizer is
`Memory` and the observers' own. `metrics.jsonl` has a line per iteration, of the policy as it was when it answered, and
a last one (`final_…`) of the policy at the end, on answers nothing is learnt from.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from rlaif.errors import TrainingStopped
from rlaif.identity import seed_from
from rlaif.train import checkpoint
from rlaif.train.batches import divide
from rlaif.train.journal import Journal
from rlaif.train.memory import keep_memory
from rlaif.train.packing import Family, Ids
from rlaif.train.rl.experience import Experience, TokenReadings, joined_rewards
from rlaif.train.rl.guards import Guards
from rlaif.train.rl.kl import KlControl
from rlaif.train.rl.objectives import explained_variance
from rlaif.train.rl.online_dpo import OnlineDpoTask
from rlaif.train.rl.phases import Phases
from rlaif.train.rl.policy import PolicyModel, Reference
from rlaif.train.rl.policy_task import PolicyTask
from rlaif.train.rl.prompts import PolicyPrompt, answer_seeds, asked
from rlaif.train.rl.recorded import Recorded
from rlaif.train.rl.rewards import Answer, Reward, Rewards, check_rewards
from rlaif.train.rl.rollouts import Rollout, Sampler, Sampling
from rlaif.train.rl.settings import OnlineDpoSettings, RlSettings
from rlaif.train.rl.shaping import Moments
from rlaif.train.rl.targets import targets_of
from rlaif.train.stepping import Figures, Stepper, make_accelerator
from rlaif.train.task import Layout, Outcome

MOST_FIRST_RATIO = 1e-6  # |π / π_old - 1| of answers nothing was learnt from yet


@dataclass(frozen=True, slots=True)
class Memory:
    """What a run knows beside weights and optimizer state, as it was before the iteration that comes next."""

    coefficient: float
    moments: Moments = field(default_factory=Moments)
    guards: Guards = field(default_factory=Guards)
    stopped: str | None = None  # by an observer


@dataclass(frozen=True, slots=True)
class End:
    """An observer's wish to end the run: why, and the last iteration whose weights were still good."""

    why: str
    good_until: int


class Observer(Protocol):
    """Who looks on. `note` is told of every iteration before anything is learnt from it; its figures go into the log.
    `memory` is what it has to be given back by `restore` when a run goes on: tensors, numbers, texts in dicts."""

    def note(self, seen: Experience, figures: Mapping[str, float]) -> tuple[Mapping[str, float], End | None]: ...

    def memory(self) -> dict[str, Any]: ...

    def restore(self, memory: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class RlReport:
    """How a run ended. `last` are the figures of the last iteration, `final` those of the trained policy; `stopped` is
    an observer's reason; `seconds` by phase."""

    iterations: int
    resumed_at: int
    last: Figures
    final: Figures
    stopped: str | None
    seconds: Mapping[str, float]


class Learner:
    """See the top of this file."""

    def __init__(
        self,
        policy: PolicyModel,
        reference: Reference,
        prompts: Sequence[PolicyPrompt],
        sampler: Sampler,
        reward: Reward,
        settings: RlSettings,
        *,
        decode: Callable[[Ids], str],
        stop_ids: Sequence[int],
        folder: Path,
        identity: Mapping[str, str] | None = None,
        accelerator: Accelerator | None = None,
        observers: Sequence[Observer] = (),
        watch: Callable[[int, int, Figures], None] = lambda done, total, figures: None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        keep_memory()
        self.prompts, self.sampler, self.reward, self.settings = prompts, sampler, reward, settings
        self.reference, self.decode, self.folder, self.observers = reference, decode, folder, observers
        self.watch, self.say = watch, say
        self.accelerator = accelerator or make_accelerator(settings.loop, folder)
        self.policy = policy.prepare()
        self.stepper = Stepper(policy, settings.loop, self.accelerator)
        self.journal = Journal(folder, settings.loop, identity or {}, self.stepper)
        self.recorded = Recorded(folder / "rollouts", identity or {})
        self.layout = Layout.of(settings.loop, self.accelerator.device)
        rollout = settings.rollout
        self.sampling = Sampling(rollout.max_new_tokens, tuple(stop_ids), rollout.temperature)
        self.phases = Phases()
        self.memory = Memory(settings.kl.coefficient)
        self.starts_as_reference = settings.reference is None

    def run(self) -> RlReport:
        first, last, final = self.resume(), Figures(), Figures()
        total = self.settings.iterations
        self.journal.begin_tracking(self.settings.model_dump(mode="json"))
        for iteration in range(first, total):
            if self.memory.stopped:
                break
            last = self.iterate(iteration, is_kept=iteration > first and iteration % self.settings.loop.save_every == 0)
        if first < total and not self.memory.stopped:
            final = self.finish()
        self.journal.end_tracking()
        return RlReport(total, first, last, final, self.memory.stopped, dict(self.phases.total))

    def iterate(self, iteration: int, *, is_kept: bool = False) -> Figures:
        """One iteration. `is_kept`: write a checkpoint of the weights it begins with, once their answers are good."""
        self.phases.begin_iteration()
        seen = self.gather(iteration)
        figures = seen.figures()
        guards = self.memory.guards.after(figures, self.settings.stop, iteration=iteration, where=str(self.folder))
        if is_kept:
            self.save(iteration)
        end = self.tell(seen, figures)
        if end is not None:
            self.go_back(iteration, end)
            return figures
        with self.phases.phase("learning"):
            learnt, moments = self.learn(seen)
        figures |= {"kl_coefficient": self.memory.coefficient, "constant_rewards": guards.constant_in_all, **learnt}
        self.memory = Memory(self.control.after(figures["kl"]).coefficient, moments, guards)
        self.write(iteration + 1, figures)
        return figures

    # --- an iteration's answers

    def gather(self, iteration: int) -> Experience:
        """Answers, rewards and readings of every token, from the disk where they are kept."""
        prompts = self.prompts_of(iteration)
        kept = self.recorded.read(iteration)
        if kept is None:
            rollouts = self.sample(prompts, iteration)
            rewards = self.rewarded(self.answers(prompts, rollouts))
            if self.accelerator.is_main_process:
                self.recorded.write(iteration, rollouts, rewards)
        else:
            rollouts, rewards = kept
        answers = self.answers(prompts, rollouts)
        seen = Experience(iteration, answers, rewards, self.settings.rollout.group_size, ())
        with self.phases.phase("scoring"):
            seen = replace(seen, readings=self.read(seen.families, iteration))
        if iteration == 0 and self.starts_as_reference:
            self.check_start(seen)
        return seen

    def prompts_of(self, iteration: int) -> list[PolicyPrompt]:
        """The prompts of an iteration, each once for its whole group."""
        places = asked(len(self.prompts), self.settings.rollout.prompts, iteration, self.settings.loop.seed)
        return [self.prompts[place] for place in places]

    def sample(self, prompts: Sequence[PolicyPrompt], iteration: int) -> list[Rollout]:
        """Every prompt's answers, prompt after prompt; this process draws its share of the groups."""
        size = self.settings.rollout.group_size
        seeds = answer_seeds(prompts, size, iteration, self.settings.loop.seed)
        own = self.share(len(prompts))
        with self.phases.phase("rollout"):
            self.sampler.update(self.policy.model)
            ids = [prompts[group].ids for group in own for _ in range(size)]
            own_seeds = [seeds[group * size + number] for group in own for number in range(size)]
            found = self.sampler.sample(ids, own_seeds, self.sampling) if own else []
            groups = {group: found[at * size : (at + 1) * size] for at, group in enumerate(own)}
            together = self.together(groups)
        return [one for group in range(len(prompts)) for one in together[group]]

    def answers(self, prompts: Sequence[PolicyPrompt], rollouts: Sequence[Rollout]) -> list[Answer]:
        size = self.settings.rollout.group_size
        return [
            Answer(prompts[place // size].prompt, one, self.decode(one.answer)) for place, one in enumerate(rollouts)
        ]

    def rewarded(self, answers: Sequence[Answer]) -> Rewards:
        """The answers' rewards; this process asks for its share of the groups."""
        size = self.settings.rollout.group_size
        own = self.share(len(answers) // size)
        with self.phases.phase("reward"):
            asked_for = [answers[group * size + number] for group in own for number in range(size)]
            found = self.reward(asked_for) if own else Rewards(np.zeros(0))
            together = joined_rewards(self.together(_by_group(found, own, size)), size)
        check_rewards(together, answers)
        return together

    @torch.no_grad()
    def read(self, families: Sequence[Family], iteration: int) -> list[TokenReadings]:
        """Every group's tokens under policy and reference, in the passes that the first epoch learns with."""
        device, own = self.accelerator.device, dict[int, TokenReadings]()
        sizes = [self.layout.size(family) for family in families]
        for rows in self.minibatches(iteration, 0):
            for part in self.passes(rows, sizes):
                if not part:
                    continue
                batch = self.layout.batch([families[row] for row in part]).to(device)
                with self.stepper.autocast():
                    scores = self.policy(batch, with_stats=True)
                    reference = self.reference.logprobs(self.policy, batch)
                values = torch.zeros_like(scores.logprobs) if scores.values is None else scores.values
                columns = [one.double().cpu().numpy() for one in (scores.logprobs, reference, values, scores.entropy)]
                stops = np.cumsum([sum(one.num_scored for one in families[row]) for row in part])[:-1]
                for row, *found in zip(part, *(np.split(column, stops) for column in columns), strict=True):
                    own[row] = TokenReadings(*found)
        together = self.together(own)
        return [together[row] for row in range(len(families))]

    def check_start(self, seen: Experience) -> None:
        """The policy is its reference until something was learnt: another KL than 0 means that one is read wrongly."""
        gap = float((seen.old - seen.reference).abs().max())
        if gap > MOST_FIRST_RATIO:
            raise TrainingStopped(
                f"the policy differs from its reference by {gap:.3g} nats at a token before the first step.",
                where=str(self.folder),
                do="Name another model as `reference` if that is meant; else this is a fault of ours, please report it.",
            )

    # --- learning from them

    def learn(self, seen: Experience) -> tuple[Figures, Moments]:
        """Epochs x minibatches of optimizer steps."""
        settings = self.settings
        task, moments = self.task(seen)
        outcomes, total, norms, rate = list[Outcome](), 0.0, list[float](), 0.0
        steps = settings.epochs * settings.minibatches
        for number in range(steps):
            epoch, minibatch = divmod(number, settings.minibatches)
            rows = self.minibatches(seen.iteration, epoch)[minibatch]
            weight = sum(task.weights[row] for row in rows)
            step = seen.iteration * steps + number
            rate = self.stepper.rate(step, settings.iterations * steps)
            found, norm = self.stepper.step(
                step,
                self.passes(rows, task.sizes),
                lambda part, is_first=number == 0: self.compute(task, part, is_first),  # type: ignore[misc]
                spare=rows[:1],
                total_weight=weight,
                rate=rate,
                where=self.folder,
                place_of=lambda row: f"the answers to {seen.answers[row * seen.group_size].prompt.id[:12]}",
            )
            outcomes, total = [*outcomes, *found], total + weight
            norms.append(norm)
        figures = self.stepper.means(outcomes, total)
        if "value_error" in figures:
            figures["explained_variance"] = explained_variance(figures)
        return {**figures, "grad_norm": float(np.mean(norms)), "learning_rate": rate}, moments

    def task(self, seen: Experience) -> tuple["PolicyTask | OnlineDpoTask", Moments]:
        """What the steps of an iteration learn."""
        if isinstance(self.settings, OnlineDpoSettings):
            return OnlineDpoTask(seen, self.settings, self.layout), self.memory.moments
        coefficient = self.memory.coefficient
        targets, moments = targets_of(seen, self.settings, coefficient, self.memory.moments)
        return PolicyTask(seen, targets, self.settings, coefficient, self.layout), moments

    def compute(self, task: "PolicyTask | OnlineDpoTask", rows: Sequence[int], is_first: bool) -> Outcome:
        """A pass; of an iteration's first step, with the assertion that the policy is the one that was read."""
        with self.stepper.autocast():
            outcome = task.compute(self.stepper.module, rows, self.accelerator.device)
        if is_first and not task.furthest_ratio <= MOST_FIRST_RATIO:
            raise TrainingStopped(
                f"iteration {task.seen.iteration + 1}: a fresh answer's ratio to its own policy is off by "
                f"{task.furthest_ratio:.3g}; the policy that learns is not the one that was read.",
                where=str(self.folder),
                do="Is there randomness in the model's forward (dropout)? Set its config's dropouts to 0.",
            )
        return outcome

    def minibatches(self, iteration: int, epoch: int) -> list[list[int]]:
        """The groups of each step of an epoch, nearly equally many, in an order of the epoch's own."""
        name = f"minibatches|{self.settings.loop.seed}|{iteration}|{epoch}"
        order = np.random.default_rng(seed_from(name)).permutation(self.settings.rollout.prompts)
        return [part.tolist() for part in np.array_split(order, self.settings.minibatches)]

    def passes(self, rows: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
        """This process's passes of a step."""
        loop, count = self.settings.loop, self.accelerator.num_processes
        return divide(rows, sizes, loop.micro_batch_tokens, count)[self.accelerator.process_index]

    @property
    def control(self) -> KlControl:
        kl = self.settings.kl
        return KlControl(coefficient=self.memory.coefficient, target=kl.target, gain=kl.gain)

    # --- what is kept

    def finish(self) -> Figures:
        """The trained policy's own figures, and the last checkpoint."""
        self.phases.begin_iteration()
        total = self.settings.iterations
        seen = self.gather(total)
        figures = seen.figures()
        self.memory.guards.after(figures, self.settings.stop, iteration=total, where=str(self.folder))
        final = {f"final_{name}": value for name, value in figures.items()}
        self.write(total, final)
        self.save(total)
        return final

    def tell(self, seen: Experience, figures: Figures) -> End | None:
        """Let observers look; the first one's wish to end counts."""
        wishes = []
        for observer in self.observers:
            more, end = observer.note(seen, figures)
            figures |= dict(more)
            wishes.append(end)
        return next((end for end in wishes if end is not None), None)

    def go_back(self, iteration: int, end: End) -> None:
        """End the run with the newest kept weights that were still good, and remember why."""
        state = checkpoint.newest(self.folder, at_most=end.good_until)
        if state is not None:
            checkpoint.restore(self.stepper.plain, self.stepper.optimiser, state)
        back = f"the weights are those of iteration {state.step}" if state else "no earlier checkpoint is kept"
        self.memory = replace(self.memory, stopped=f"{end.why} Stopped at iteration {iteration}; {back}.")
        self.say(self.memory.stopped or "")
        self.save(iteration)

    def write(self, done: int, figures: Figures) -> None:
        self.journal.write(done, figures)
        if self.accelerator.is_main_process:
            self.watch(done, self.settings.iterations, figures)

    def save(self, iteration: int) -> None:
        """The weights that iteration begins with."""
        with self.phases.phase("saving"):
            watched = [one.memory() for one in self.observers]
            self.journal.save(iteration, memory={**asdict(self.memory), "observers": watched})
            if self.accelerator.is_main_process:
                self.recorded.forget_before(checkpoint.oldest_step(self.folder))

    def resume(self) -> int:
        """Go on from the newest checkpoint of this run; the iteration it stands before."""
        state = self.journal.resume()
        if state is None:
            return 0
        kept = dict(state.memory)
        for observer, memory in zip(self.observers, kept.pop("observers"), strict=True):
            observer.restore(memory)
        moments, guards = Moments(**kept.pop("moments")), Guards(**kept.pop("guards"))
        self.memory = Memory(moments=moments, guards=guards, **kept)
        return state.step

    # --- processes

    def share(self, count: int) -> range:
        """The groups that this process works on."""
        return range(self.accelerator.process_index, count, self.accelerator.num_processes)

    def together(self, own: dict[int, Any]) -> dict[int, Any]:
        """What all processes found, by group."""
        if self.accelerator.num_processes == 1:
            return own
        return dict(gather_object(list(own.items())))


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
