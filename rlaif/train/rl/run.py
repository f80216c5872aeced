"""PPO, GRPO, RLOO or online DPO from its settings to the finished folder: read, check, load, learn, save.

    result = run_rl("ppo", settings, base=Path("."))

As `rlaif.train.run` does for datasets: prompts are read before a model is loaded, nothing is written to the output's
top before the training is over, the same command continues a killed run and has nothing to do on a finished one.

What `train/` must not know comes from above: `rewards` and held-out scores of a judge, and further `observers` (made
once the parts are there). The watch looks on at every run (`watching`) and leaves its frontier beside the model.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlaif.errors import InputError
from rlaif.identity import digest
from rlaif.train import hub
from rlaif.train.data_card import SourceCounts
from rlaif.train.folders import (
    check_output,
    check_same_run,
    give_up_others,
    quiet_transformers,
    write_settings,
)
from rlaif.train.kl import stop_ids_of
from rlaif.train.loading import Method, check_trackers, load_tokenizer
from rlaif.train.packing import Ids
from rlaif.train.reference import weights_digest
from rlaif.train.rl.held_out import HeldOut, Score, by_check
from rlaif.train.rl.learner import Learner, RlReport
from rlaif.train.rl.making import (
    Weighted,
    check_judges,
    check_processes,
    make_policy,
    make_reward,
    make_sampler,
    source_of,
)
from rlaif.train.rl.observing import Observer, was_stopped
from rlaif.train.rl.policy import PolicyModel, Reference
from rlaif.train.rl.prompts import PolicyPrompt, PromptCounts, read_policy_prompts
from rlaif.train.rl.rewards import WeightedSum
from rlaif.train.rl.rollouts import Sampler, Sampling
from rlaif.train.rl.settings import GrpoSettings, JudgeRewardSettings, OnlineDpoSettings, PpoSettings, RlSettings
from rlaif.train.rl.watch import Alarm, WatchSettings
from rlaif.train.rl.watching import Watching
from rlaif.train.saving import is_saved, model_card, save_model
from rlaif.train.stepping import Figures, make_accelerator

SETTINGS: dict[Method, type[RlSettings]] = {
    "ppo": PpoSettings,
    "grpo": GrpoSettings,
    "online-dpo": OnlineDpoSettings,
}
# what may change between a killed run and its continuation without changing a number of the training
_FREE: Any = {
    **dict.fromkeys(("output", "model", "reference", "prompts", "push_to_hub", "hub_private"), True),
    "loop": {"save_every", "keep_checkpoints", "trackers"},
    "lora": {"merge"},
    "watch": set(WatchSettings.model_fields) - {"held_out", "held_out_every"},  # limits say when to stop
}


@dataclass(frozen=True, slots=True)
class Parts:
    """What an observer may be made from."""

    policy: PolicyModel
    sampler: Sampler
    tokenizer: Any
    prompts: Sequence[PolicyPrompt]
    stop_ids: tuple[int, ...]
    decode: Callable[[Ids], str]


@dataclass(frozen=True, slots=True)
class FromAbove:
    """Rewards and observers that `train/` does not know, the rewards by the names of the settings' parts. `identity`
    names what they depend on; `score` gives a judge's score of held-out answers by its settings file."""

    rewards: Mapping[str, Weighted] = field(default_factory=dict)
    identity: Mapping[str, str] = field(default_factory=dict)
    score: Callable[[str], Score] | None = None
    observers: Callable[[Parts], Sequence[Observer]] = lambda parts: ()


@dataclass(frozen=True, slots=True)
class RlResult:
    """What a training left: the folder, what became of the prompts, how it ended, what the watch said, and where it was
    sent."""

    folder: Path
    prompts: PromptCounts
    report: RlReport
    figures: Figures
    alarms: Sequence[Alarm] = ()
    address: str | None = None


def run_rl(
    method: Method,
    settings: RlSettings,
    *,
    base: Path = Path(),
    begin_anew: bool = False,
    above: FromAbove = FromAbove(),
    show_prompts: Callable[[PromptCounts], None] = lambda counts: None,
    say: Callable[[str], None] = lambda text: None,
    watch: Callable[[int, int, Figures], None] = lambda done, total, figures: None,
) -> RlResult:
    """Carry a training out; paths of the settings count from `base`. `begin_anew` gives up another training that the
    output folder may hold, where it would otherwise be an error."""
    quiet_transformers()
    check_trackers(settings.loop.trackers)
    if not settings.reward and not above.rewards:
        raise InputError("there is no reward.", do="Give a reward model (--reward-model) or other parts of `reward`.")
    run = _RlRun(method, settings, base, above)
    check_output(run.output, source_of(settings.model), begin_anew=begin_anew)
    show_prompts(run.counts)
    run.load()
    if settings.push_to_hub and run.is_first:
        hub.make_repository(settings.push_to_hub, is_private=settings.hub_private)
    if begin_anew:
        give_up_others(run.output, run.identity, run.accelerator, even_its_own=was_stopped)
    check_same_run(run.folder, run.identity, settings, _FREE)
    if run.is_first:
        write_settings(run.folder, settings)
    run.accelerator.wait_for_everyone()
    report = run.learn(watch, say)
    if run.is_first:
        run.watching.write(run.output, method)
    figures = {**report.last, **report.final} or _last_figures(run.folder / "metrics.jsonl")
    address = None
    if run.is_first:
        if not (is_saved(run.output) and report.resumed_at == report.iterations):
            say(f"writing {run.output}")
            run.save(figures, report.stopped)
        if settings.push_to_hub:
            say(f"sending it to {settings.push_to_hub}")
            address = hub.push(run.output, settings.push_to_hub)
    return RlResult(run.output, run.counts, report, figures, run.watching.alarms, address)


class _RlRun:
    """What the stages of a training share."""

    policy: PolicyModel
    reference: Reference
    rewards: dict[str, Weighted]
    identity: dict[str, str]
    watching: Watching

    def __init__(self, method: Method, settings: RlSettings, base: Path, above: FromAbove) -> None:
        self.method, self.settings, self.base, self.above = method, settings, base, above
        self.output = base / settings.output
        self.folder = self.output / "training"
        self.tokenizer = load_tokenizer(source_of(settings.model))
        longest = settings.max_length - settings.rollout.max_new_tokens
        found = read_policy_prompts(settings.prompts, self.tokenizer, longest=longest, base=base)
        self.prompts, self.counts = found
        self.accelerator = make_accelerator(settings.loop, self.folder)
        check_processes(self.accelerator)

    @property
    def is_first(self) -> bool:
        return bool(self.accelerator.is_main_process)

    def load(self) -> None:
        """Models, and what the run is recognised by."""
        settings, device = self.settings, self.accelerator.device
        check_judges(settings, self.above.rewards, self.above.score is not None, self.accelerator)
        own = [part for part in settings.reward if not isinstance(part, JudgeRewardSettings)]
        made = {part.name: make_reward(part, self.tokenizer, settings, self.base, device) for part in own}
        self.rewards = {name: one for name, (one, _) in made.items()} | dict(self.above.rewards)
        rewards = [reward for reward, _ in self.rewards.values()]
        self.policy, self.reference = make_policy(self.method, settings, self.tokenizer, rewards, device)
        self.identity = {
            "method": self.method,
            "settings": digest(settings.model_dump(mode="json", exclude=_FREE)),
            "prompts": self.counts.digest,
            "model": weights_digest(self.policy),
            "reference": "" if self.reference.model is None else weights_digest(self.reference.model),
            **{f"reward {name}": about for name, (_, about) in made.items() if about},
            **self.above.identity,
        }

    def learn(self, watch: Callable[[int, int, Figures], None], say: Callable[[str], None]) -> RlReport:
        stop_ids = tuple(stop_ids_of(self.policy.model, self.tokenizer))
        sampler = make_sampler(self.settings, self.policy.model, self.folder)
        parts = Parts(self.policy, sampler, self.tokenizer, self.prompts, stop_ids, self.decode)
        folder = self.folder if self.is_first else None
        self.watching = Watching(self.settings.watch, self.held_out(parts), folder=folder, say=say)
        try:
            learner = Learner(
                self.policy,
                self.reference,
                self.prompts,
                sampler,
                WeightedSum(self.rewards),
                self.settings,
                decode=self.decode,
                stop_ids=stop_ids,
                folder=self.folder,
                identity=self.identity,
                accelerator=self.accelerator,
                observers=[self.watching, *self.above.observers(parts)],
                watch=watch,
                say=say,
            )
            return learner.run()
        finally:
            sampler.close()

    def held_out(self, parts: Parts) -> HeldOut | None:
        """The score that the policy is not trained on, where the settings name one."""
        asked, rollout = self.settings.watch.held_out, self.settings.rollout
        if asked is None:
            return None
        longest = self.settings.max_length - rollout.max_new_tokens
        prompts, _ = read_policy_prompts(asked.prompts, self.tokenizer, longest=longest, base=self.base)
        if asked.check is not None:
            score = by_check(asked.check)
        else:
            assert self.above.score is not None, "looked at in check_judges"
            score = self.above.score(str(asked.judge))
        return HeldOut(
            prompts,
            parts.sampler,
            Sampling(rollout.max_new_tokens, parts.stop_ids, rollout.temperature),
            parts.decode,
            score,
            refresh=lambda: parts.sampler.update(self.policy.model),
            seed=self.settings.loop.seed,
        )

    def decode(self, ids: Ids) -> str:
        return str(self.tokenizer.decode(ids.tolist(), skip_special_tokens=True)).strip()

    def save(self, figures: Figures, stopped: str | None) -> None:
        """The policy as a Hugging Face folder; its card says what was asked, what answers were rewarded by, and what
        reward and KL were reached."""
        settings, counts = self.settings, self.counts
        row = SourceCounts(read=counts.rows, kept=counts.kept, digest=counts.digest)
        row.refused.update(counts.refused)
        sources = {", ".join(one.path for one in settings.prompts): row.as_dict()}
        data = {"sources": sources, "digest": counts.digest, "rows": counts.kept, "tokens": counts.tokens}
        told = settings.model_dump(mode="json")
        about = model_card(self.method, settings.model, told, data, figures, stopped, rewards=self.rewarded())
        is_merged = settings.lora is None or settings.lora.merge
        save_model(self.policy.model, self.tokenizer, self.output, about, is_merged=is_merged)

    def rewarded(self) -> dict[str, tuple[str, str]]:
        """The parts of the reward in words, each with the digest of what it depends on."""
        asked = {
            part.name: part.model_dump(mode="json", exclude={"name"}, exclude_defaults=True)
            for part in self.settings.reward
        }
        words = {name: ", ".join(f"{key} {value}" for key, value in one.items()) for name, one in asked.items()}
        return {
            name: (words.get(name, "handed in by a program"), self.identity.get(f"reward {name}", ""))
            for name in self.rewards
        }


def _last_figures(log: Path) -> Figures:
    """Of a run that was killed between its last checkpoint and its model."""
    found: Figures = {}
    for line in log.read_text(encoding="utf-8").splitlines()[-2:]:
        found |= json.loads(line)
    found.pop("step", None)
    return found
