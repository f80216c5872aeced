"""PPO, GRPO or RLOO from its settings to the finished folder: read, check, load, learn, save.

    result = run_rl("ppo", settings, base=Path("."))

As `rlaif.train.run` does for datasets: prompts are read before a model is loaded, nothing is written to the output's
top before the training is over, the same command continues a killed run and has nothing to do on a finished one.

What `train/` must not know comes from above: `rewards` (a judge) and `observers` (made once the parts are there).
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
from rlaif.train.folders import give_up_others, quiet_transformers, write_settings
from rlaif.train.kl import stop_ids_of
from rlaif.train.loading import Method, check_trackers, load_tokenizer
from rlaif.train.packing import Ids
from rlaif.train.reference import weights_digest
from rlaif.train.rl.learner import Learner, RlReport
from rlaif.train.rl.making import (
    Weighted,
    check_processes,
    make_policy,
    make_reward,
    make_sampler,
    source_of,
)
from rlaif.train.rl.observing import Observer
from rlaif.train.rl.policy import PolicyModel
from rlaif.train.rl.prompts import PolicyPrompt, PromptCounts, read_policy_prompts
from rlaif.train.rl.rewards import WeightedSum
from rlaif.train.rl.rollouts import Sampler
from rlaif.train.rl.settings import GrpoSettings, PpoSettings, RlSettings
from rlaif.train.saving import is_saved, model_card, save_model
from rlaif.train.stepping import Figures, make_accelerator

SETTINGS: dict[Method, type[RlSettings]] = {"ppo": PpoSettings, "grpo": GrpoSettings}
# what may change between a killed run and its continuation without changing a number of the training
_FREE: Any = {
    **dict.fromkeys(("output", "model", "reference", "prompts", "push_to_hub", "hub_private"), True),
    "loop": {"save_every", "keep_checkpoints", "trackers"},
    "lora": {"merge"},
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
    """Rewards and observers that `train/` does not know. `identity` names what the rewards depend on."""

    rewards: Mapping[str, Weighted] = field(default_factory=dict)
    identity: Mapping[str, str] = field(default_factory=dict)
    observers: Callable[[Parts], Sequence[Observer]] = lambda parts: ()


@dataclass(frozen=True, slots=True)
class RlResult:
    """What a training left: the folder, what became of the prompts, how it ended, and where it was sent."""

    folder: Path
    prompts: PromptCounts
    report: RlReport
    figures: Figures
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
    output = base / settings.output
    tokenizer = load_tokenizer(source_of(settings.model))
    longest = settings.max_length - settings.rollout.max_new_tokens
    prompts, counts = read_policy_prompts(settings.prompts, tokenizer, longest=longest, base=base)
    show_prompts(counts)
    accelerator = make_accelerator(settings.loop, output / "training")
    check_processes(accelerator)
    made = {part.name: make_reward(part, tokenizer, settings, base, accelerator.device) for part in settings.reward}
    weighted = {**{name: one for name, (one, _) in made.items()}, **above.rewards}
    policy, reference = make_policy(
        method, settings, tokenizer, [reward for reward, _ in weighted.values()], accelerator.device
    )
    if settings.push_to_hub and accelerator.is_main_process:
        hub.make_repository(settings.push_to_hub, is_private=settings.hub_private)
    identity = {
        "method": method,
        "settings": digest(settings.model_dump(mode="json", exclude=_FREE)),
        "prompts": counts.digest,
        "model": weights_digest(policy),
        "reference": "" if reference.model is None else weights_digest(reference.model),
        **{f"reward {name}": about for name, (_, about) in made.items() if about},
        **above.identity,
    }
    if begin_anew:
        give_up_others(output, identity, accelerator)
    if accelerator.is_main_process:
        write_settings(output / "training", settings)
    accelerator.wait_for_everyone()
    stop_ids = tuple(stop_ids_of(policy.model, tokenizer))
    sampler = make_sampler(settings, policy.model, output / "training")

    def decode(ids: Ids) -> str:
        return str(tokenizer.decode(ids.tolist(), skip_special_tokens=True)).strip()

    try:
        learner = Learner(
            policy,
            reference,
            prompts,
            sampler,
            WeightedSum(weighted),
            settings,
            decode=decode,
            stop_ids=stop_ids,
            folder=output / "training",
            identity=identity,
            accelerator=accelerator,
            observers=above.observers(Parts(policy, sampler, tokenizer, prompts, stop_ids, decode)),
            watch=watch,
            say=say,
        )
        report = learner.run()
    finally:
        sampler.close()
    figures = {**report.last, **report.final}
    address = None
    if accelerator.is_main_process:
        if not (is_saved(output) and report.resumed_at == report.iterations):
            say(f"writing {output}")
            figures = figures or _last_figures(output / "training" / "metrics.jsonl")
            about = _card(method, settings, counts, figures)
            is_merged = settings.lora is None or settings.lora.merge
            save_model(policy.model, tokenizer, output, about, is_merged=is_merged)
        if settings.push_to_hub:
            say(f"sending it to {settings.push_to_hub}")
            address = hub.push(output, settings.push_to_hub)
    return RlResult(output, counts, report, figures, address)


def _card(method: Method, settings: RlSettings, counts: PromptCounts, figures: Figures) -> str:
    """The model card: what was asked, and what reward and KL were reached."""
    name = ", ".join(one.path for one in settings.prompts)
    row = SourceCounts(read=counts.rows, kept=counts.kept, digest=counts.digest)
    row.refused.update(counts.refused)
    data = {"sources": {name: row.as_dict()}, "digest": counts.digest, "rows": counts.kept, "tokens": counts.tokens}
    return model_card(method, settings.model, settings.model_dump(mode="json"), data, figures)


def _last_figures(log: Path) -> Figures:
    """Of a run that was killed between its last checkpoint and its model."""
    found: Figures = {}
    for line in log.read_text(encoding="utf-8").splitlines()[-2:]:
        found |= json.loads(line)
    found.pop("step", None)
    return found
