"""The learner: iterations of sampling, rewarding, reading and learning, for PPO, GRPO and RLOO alike.

    learner = Learner(
        policy,             # PolicyModel(model, value=value_head(model)); without a value for GRPO and RLOO
        Reference(other),   # another causal model, or Reference() for a policy with adapters
        prompts,            # PolicyPrompt(prompt, ids); plain_prompt(text, ids, reference) makes one in code
        sampler,            # rollouts.Sampler; its update() gets policy.model, the transformers (or peft) model
        reward,             # answers -> Rewards; from_function("name", f) makes one of a callable
        settings,           # PpoSettings or GrpoSettings
        decode=…,           # token ids of an answer -> its text
        stop_ids=(eos,),
        folder=Path(…),
    )
    report = learner.run()                      # from the folder's newest checkpoint, or from the start

Optional: `identity` (what the checkpoints are of), `accelerator`, `observers` (`observing.Observer`: told of every
iteration before it is learnt from, may end the run), `watch(done, total, figures)`, `say(text)`.

An iteration gathers answers (`collecting`), looks at the rules that end a run (`guards`), makes targets (`targets`) and
takes epochs x minibatches of optimizer steps on them, each divided into passes by tokens. The first ratios are asserted
to be 1 in every run. A step's rows, weights and targets do not depend on passes and processes.

Resume is exact, as in `rlaif.train.loop`: beside weights and optimizer a checkpoint holds `Memory` and the observers'
own; answers and rewards are kept in files of their own (`recorded`). `metrics.jsonl` has a line per iteration, of the
policy as it was when it answered, and a last one (`final_…`) of the policy at the end, on answers nothing learns from.

Where an observer ends the run, the weights are again those of an iteration it calls good: the best so far (`best.pt`),
where an observer knows which they are, or else the newest checkpoint's. As many checkpoints are kept as that takes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from torch import Tensor

from rlaif.errors import TrainingStopped
from rlaif.train import checkpoint
from rlaif.train.interrupting import interruptions
from rlaif.train.journal import Journal
from rlaif.train.memory import keep_memory, limit_threads
from rlaif.train.packing import Ids
from rlaif.train.rl.collecting import Collector
from rlaif.train.rl.division import Division
from rlaif.train.rl.experience import Experience
from rlaif.train.rl.kl import KlControl
from rlaif.train.rl.objectives import explained_variance
from rlaif.train.rl.observing import End, Keep, Memory, Observer
from rlaif.train.rl.online_dpo import OnlineDpoTask
from rlaif.train.rl.phases import Phases
from rlaif.train.rl.policy import PolicyModel, Reference
from rlaif.train.rl.policy_task import PolicyTask
from rlaif.train.rl.prompts import PolicyPrompt
from rlaif.train.rl.recorded import Recorded
from rlaif.train.rl.rewards import Reward
from rlaif.train.rl.rollouts import Sampler
from rlaif.train.rl.settings import OnlineDpoSettings, RlSettings
from rlaif.train.rl.shaping import Moments
from rlaif.train.rl.targets import targets_of
from rlaif.train.stepping import Figures, Stepper, make_accelerator
from rlaif.train.task import Layout, Outcome

MOST_FIRST_RATIO = 1e-6  # |π / π_old - 1| of answers nothing was learnt from yet
BEST = "best.pt"


@dataclass(frozen=True, slots=True)
class RlReport:
    """How a run ended. `last` are the figures of the last iteration, `final` those of the trained policy; `stopped` is
    an observer's reason, `last` then of iteration `returned_to`, whose weights these are; `seconds` by phase."""

    iterations: int
    resumed_at: int
    last: Figures
    final: Figures
    stopped: str | None
    returned_to: int | None
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
        limit_threads()
        self.settings, self.folder, self.observers, self.watch, self.say = settings, folder, observers, watch, say
        self.accelerator = accelerator or make_accelerator(settings.loop, folder)
        self.stepper = Stepper(policy.prepare(), settings.loop, self.accelerator)
        self.journal = Journal(folder, settings.loop, identity or {}, self.stepper)
        self.division = Division(settings, self.accelerator)
        self.layout = Layout.of(settings.loop, self.accelerator.device)
        self.phases = Phases()
        self.recorded = Recorded(folder / "rollouts", identity or {})
        self.memory = Memory(settings.kl.coefficient)
        self.is_interrupted: Callable[[], bool] = lambda: False
        self.collector = Collector(
            policy=policy,
            reference=reference,
            prompts=prompts,
            sampler=sampler,
            reward=reward,
            settings=settings,
            decode=decode,
            stop_ids=tuple(stop_ids),
            stepper=self.stepper,
            division=self.division,
            recorded=self.recorded,
            layout=self.layout,
            phases=self.phases,
        )

    def run(self) -> RlReport:
        """From the newest checkpoint, or from the start, to the end."""
        first, last, final = self.resume(), Figures(), Figures()
        total = self.settings.iterations
        if first and not self.memory.stopped:
            how = "all was learnt already" if first == total else "going on"
            self.say(f"{how}, after iteration {first} of {total}")
        told = self.settings.model_dump(mode="json")
        with self.journal.tracking(told), interruptions(self.accelerator) as self.is_interrupted:
            for iteration in range(first, total):
                if self.memory.stopped:
                    break
                is_new = iteration > first or iteration == 0
                last = self.iterate(iteration, is_kept=is_new and iteration % self.settings.loop.save_every == 0)
            stopped, weights_of = self.memory.stopped, self.memory.returned_to
            if stopped and weights_of is not None:
                last = self.journal.figures_of(weights_of + 1)
            elif first < total and not stopped:
                final = self.finish()
        return RlReport(total, first, last, final, stopped, weights_of, dict(self.phases.total))

    def iterate(self, iteration: int, *, is_kept: bool = False) -> Figures:
        """One iteration. `is_kept`: write a checkpoint of the weights it begins with, once their answers are good.
        After Ctrl-C it ends there."""
        self.phases.begin_iteration()
        seen = self.collector.gather(iteration)
        figures = seen.figures()
        guards = self.memory.guards.after(figures, self.settings.stop, iteration=iteration, where=str(self.folder))
        is_stopped = self.is_interrupted()
        if is_kept or is_stopped:
            self.save(iteration)
        if is_stopped:
            self.stop(iteration)
        end = self.tell(seen, figures)
        if end is not None:
            self.write(iteration + 1, figures)
            self.go_back(iteration, end)
            return figures
        with self.phases.phase("learning"):
            learnt, moments = self.learn(seen)
        figures |= {"kl_coefficient": self.memory.coefficient, "constant_rewards": guards.constant_in_all, **learnt}
        self.memory = Memory(self.control.after(figures["kl"]).coefficient, moments, guards)
        self.write(iteration + 1, figures)
        return figures

    def finish(self) -> Figures:
        """The trained policy's own figures, and the last checkpoint."""
        self.phases.begin_iteration()
        total = self.settings.iterations
        figures = self.collector.gather(total).figures()
        self.memory.guards.after(figures, self.settings.stop, iteration=total, where=str(self.folder))
        final = {f"final_{name}": value for name, value in figures.items()}
        self.write(total, final)
        self.save(total)
        if self.is_interrupted():
            self.stop(total)
        return final

    def stop(self, iteration: int) -> None:
        """End the run as Ctrl-C does; its checkpoint is written."""
        self.say(f"stopped after iteration {iteration} of {self.settings.iterations}, which is kept in {self.folder}")
        raise KeyboardInterrupt

    # --- learning

    def learn(self, seen: Experience) -> tuple[Figures, Moments]:
        """Epochs x minibatches of optimizer steps, and the moments of all scores so far."""
        settings = self.settings
        task, moments = self.task(seen)
        outcomes, total, norms, rate = list[Outcome](), 0.0, list[float](), 0.0
        num_steps = settings.epochs * settings.minibatches
        for number in range(num_steps):
            epoch, minibatch = divmod(number, settings.minibatches)
            rows = self.division.minibatches(seen.iteration, epoch)[minibatch]
            weight = sum(task.weights[row] for row in rows)
            step = seen.iteration * num_steps + number
            rate = self.stepper.rate(step, settings.iterations * num_steps)
            found, norm = self.stepper.step(
                step,
                self.division.passes(rows, task.sizes),
                self.compute_first(task) if number == 0 else self.compute(task),
                spare=rows[:1],
                total_weight=weight,
                rate=rate,
                where=self.folder,
                place_of=lambda row: f"the answers to prompt {seen.answers[row * seen.group_size].prompt.id[:12]}",
            )
            outcomes, total = [*outcomes, *found], total + weight
            norms.append(norm)
        figures = self.stepper.means(outcomes, total)
        if "value_error" in figures:
            figures["explained_variance"] = explained_variance(figures)
        return {**figures, "grad_norm": float(np.mean(norms)), "learning_rate": rate}, moments

    def task(self, seen: Experience) -> tuple[PolicyTask | OnlineDpoTask, Moments]:
        """What the steps of an iteration learn."""
        if isinstance(self.settings, OnlineDpoSettings):
            return OnlineDpoTask(seen, self.settings, self.layout), self.memory.moments
        coefficient = self.memory.coefficient
        targets, moments = targets_of(seen, self.settings, coefficient, self.memory.moments)
        return PolicyTask(seen, targets, self.settings, coefficient, self.layout), moments

    def compute(self, task: PolicyTask | OnlineDpoTask) -> Callable[[Sequence[int]], Outcome]:
        """What a pass does."""

        def compute(rows: Sequence[int]) -> Outcome:
            with self.stepper.autocast():
                return task.compute(self.stepper.module, rows, self.accelerator.device)

        return compute

    def compute_first(self, task: PolicyTask | OnlineDpoTask) -> Callable[[Sequence[int]], Outcome]:
        """The same, asserting that the policy that learns is the one that was read."""
        compute = self.compute(task)

        def asserting(rows: Sequence[int]) -> Outcome:
            outcome = compute(rows)
            if not task.furthest_ratio <= MOST_FIRST_RATIO:
                raise TrainingStopped(
                    f"iteration {task.seen.iteration + 1}: a fresh answer's ratio to its own policy is off by "
                    f"{task.furthest_ratio:.3g}; the policy that learns is not the one that was read.",
                    where=str(self.folder),
                    do="Is there randomness in the model's forward? Its dropouts have to be 0.",
                )
            return outcome

        return asserting

    @property
    def control(self) -> KlControl:
        kl = self.settings.kl
        return KlControl(coefficient=self.memory.coefficient, target=kl.target, gain=kl.gain)

    # --- observers

    def tell(self, seen: Experience, figures: Figures) -> End | None:
        """Let observers look; the first one's wish to end counts."""
        wishes = list[End | Keep]()
        for observer in self.observers:
            more, wish = observer.note(seen, figures)
            figures |= dict(more)
            wishes += [wish] if wish else []
        if any(isinstance(wish, Keep) for wish in wishes):
            self.keep_best(seen.iteration)
        return next((wish for wish in wishes if isinstance(wish, End)), None)

    def keep_best(self, iteration: int) -> None:
        """Put the weights aside. No optimizer state: nothing is learnt from them any more."""
        weights = checkpoint.trained_weights(self.stepper.plain)
        if self.accelerator.is_main_process:
            checkpoint.write_whole(self.folder / BEST, {"step": iteration, "weights": weights})
        self.accelerator.wait_for_everyone()

    def go_back(self, iteration: int, end: End) -> None:
        """End the run with the best weights that were still good, or the newest ones, and remember why."""
        step, weights = self.good_weights(end.good_until)
        if weights is not None:
            checkpoint.load_weights(self.stepper.plain, weights)
        back = "no earlier checkpoint is kept" if weights is None else f"the weights are those of iteration {step}"
        why = f"{end.why} Stopped before iteration {iteration + 1}; {back}."
        self.memory = replace(self.memory, stopped=why, returned_to=None if weights is None else step)
        self.save(iteration)

    def good_weights(self, until: int) -> tuple[int, Mapping[str, Tensor] | None]:
        """The kept weights of an iteration no later than this, and which one that is."""
        best = checkpoint.read_whole(self.folder / BEST) if (self.folder / BEST).is_file() else None
        if best and best["step"] <= until:
            return best["step"], best["weights"]
        state = checkpoint.newest(self.folder, at_most=until)
        return (state.step, state.weights) if state else (0, None)

    # --- what is kept

    def write(self, done: int, figures: Figures) -> None:
        self.journal.write(done, figures)
        if self.accelerator.is_main_process:
            self.watch(done, self.settings.iterations, figures)

    def save(self, iteration: int) -> None:
        """The weights that an iteration begins with."""
        with self.phases.phase("saving"):
            watched = [one.memory() for one in self.observers]
            memory = {**asdict(self.memory), "observers": watched}
            self.journal.save(iteration, memory=memory, reach=self.settings.watch.window)
            if self.accelerator.is_main_process:
                self.recorded.forget_before(checkpoint.oldest_step(self.folder))

    def resume(self) -> int:
        """Go on from the newest checkpoint of this run; the iteration it stands before."""
        state = self.journal.resume()
        if state is None:
            return 0
        self.memory = Memory.of(state.memory)
        for observer, memory in zip(self.observers, state.memory["observers"], strict=True):
            observer.restore(memory)
        return state.step
