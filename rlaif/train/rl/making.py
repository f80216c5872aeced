"""The parts of a run from its settings: policy with value, reference, sampler, rewards. Everything is checked against
everything else here, before the first answer is sampled.
"""

from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from torch import nn

from rlaif.engines.model_files import find_model
from rlaif.engines.vllm_flags import require_vllm
from rlaif.errors import InputError
from rlaif.settings import EngineSettings
from rlaif.train.loading import Method, check_same_tokens, load_model, load_tokenizer, with_adapters
from rlaif.train.reference import weights_digest
from rlaif.train.rl.policy import (
    PolicyModel,
    Reference,
    Value,
    separate_value,
    value_head,
    value_of_reward_model,
)
from rlaif.train.rl.reward_models import ModelReward
from rlaif.train.rl.rewards import CheckReward, EndPenalty, LengthPenalty, Reward
from rlaif.train.rl.rollouts import Sampler, WhenAsked
from rlaif.train.rl.settings import (
    CheckRewardSettings,
    EndRewardSettings,
    JudgeRewardSettings,
    LengthRewardSettings,
    ModelRewardSettings,
    PpoSettings,
    RewardPart,
    RlSettings,
)
from rlaif.train.scoring import RewardScorer

Weighted = tuple[Reward, float]


def source_of(name: str) -> str:
    """What transformers loads: a folder or a hub name."""
    return find_model(name, EngineSettings()).source


def make_policy(
    method: Method, settings: RlSettings, tokenizer: Any, rewards: Sequence[Reward], device: torch.device
) -> tuple[PolicyModel, Reference]:
    """The policy as it is before the first step, and what its KL is measured to."""
    name = source_of(settings.model)
    plain = load_model(method, name, tokenizer, settings).to(device)
    value = make_value(settings, plain, tokenizer, rewards)
    model = with_adapters(method, plain, settings).to(device)
    rollout = settings.rollout
    policy = PolicyModel(model, value=value, temperature=rollout.temperature, chunk_rows=settings.loop.chunk_rows)
    if settings.lora:
        return policy, Reference()
    if settings.reference:
        name = source_of(settings.reference)
        check_same_tokens(settings.model, tokenizer, settings.reference, load_tokenizer(name))
    return policy, Reference(load_model(method, name, tokenizer, settings).to(device))


def make_value(settings: RlSettings, model: Any, tokenizer: Any, rewards: Sequence[Reward]) -> Value | None:
    """PPO's value, as the settings say; `model` is the policy's before it has adapters."""
    if not isinstance(settings, PpoSettings):
        return None
    if settings.value == "shared":
        return value_head(model)
    if settings.value == "separate":
        return separate_value(model)
    own = [one for one in rewards if isinstance(one, ModelReward) and one.reads_the_policys_tokens]
    if not own:
        raise InputError(
            "value: reward_model begins the value as a reward model, but no part of the reward is one that has the "
            f"tokenizer of {settings.model!r}.",
            do="Set value: separate, or give a reward model with the policy's tokenizer.",
        )
    assert tokenizer is not None, "it was compared with the reward model's"
    return value_of_reward_model(own[0].scorer.module.model)


def make_sampler(settings: RlSettings, model: nn.Module, folder: Path) -> Sampler:
    """Who draws the answers."""
    if settings.rollout.sampler == "vllm":
        from rlaif.train.rl.vllm_sampler import VllmSampler

        require_vllm()
        dtype: Literal["float32", "bfloat16"] = "float32" if settings.loop.precision == "float32" else "bfloat16"
        return WhenAsked(lambda: VllmSampler(model, log_file=folder / "vllm.log", dtype=dtype))
    from rlaif.train.rl.decode import DecodeSampler

    return DecodeSampler(model, precision=settings.loop.precision)


def make_reward(
    part: RewardPart, tokenizer: Any, settings: RlSettings, base: Path, device: torch.device
) -> tuple[Weighted, str]:
    """One part of the reward with its weight, and what it depends on beside its settings."""
    match part:
        case ModelRewardSettings():
            scorer = load_reward_model(part.path, base, device, settings.loop.packing)
            reward = ModelReward(
                scorer,
                tokenizer,
                name=part.name,
                budget=settings.loop.micro_batch_tokens,
                pessimism=part.pessimism,
            )
            return (reward, part.weight), weights_digest(scorer.module)
        case CheckRewardSettings():
            return (CheckReward(part.check, part.unscored, part.name), part.weight), ""
        case LengthRewardSettings():
            return (LengthPenalty(part.free), part.per_token), ""
        case EndRewardSettings():
            return (EndPenalty(), part.penalty), ""
        case JudgeRewardSettings():
            raise AssertionError("a judge comes from above")


def load_reward_model(path: str, base: Path, device: torch.device, packing: str) -> RewardScorer:
    """A folder of `rlaif train reward`, or a hub name."""
    folder = base / path if (base / path).is_dir() else source_of(path)
    return RewardScorer.load(folder, device=device, packing=packing, name=path)


def check_processes(accelerator: Accelerator) -> None:
    """Raise InputError for sharded training, which sampling in this process cannot follow."""
    kind = str(accelerator.distributed_type.value)
    if kind in ("FSDP", "DEEPSPEED", "MEGATRON_LM", "TP"):
        raise InputError(
            f"accelerate is configured for {kind}; RL here is data parallel.",
            do="Launch it with plain data parallelism (accelerate launch --num_processes N), or use LoRA.",
        )


def check_judges(settings: RlSettings, handed_in: Container[str], can_score: bool, accelerator: Accelerator) -> None:
    """Raise InputError where the settings name a judge that was not handed in, or on several processes, which would
    each need one."""
    held_out = settings.watch.held_out
    names = [part.name for part in settings.reward if isinstance(part, JudgeRewardSettings)]
    is_scored = held_out is not None and held_out.judge is not None
    if (names or is_scored) and accelerator.num_processes > 1:
        raise InputError(
            "the settings name a judge, and a judge is asked by one process.",
            do="Run it without `accelerate launch`, or train on a reward model.",
        )
    missing = [name for name in names if name not in handed_in] + ["watch.held_out"] * (is_scored and not can_score)
    if missing:
        raise InputError(
            f"the settings name a judge for {', '.join(missing)}, and none was handed in.",
            do="Use `rlaif train`, or rlaif.experiment.judged.Judges(base).above(settings).",
        )
