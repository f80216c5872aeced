"""PPO, GRPO and RLOO of the package on the enumerable world of `rl_world`: the real learner, sampler and loop, and the
trained policy's probability of every answer.

    train_on(world, model, settings, folder)
    answer_logprobs(world, model)               # (prompts, answers)

Nothing of a method is written here a second time: a small Llama of random weights is the policy and the reference, the
world's table is the reward.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.rl_world import STOP, Array, World
from rlaif.train.forward import LogprobModel, prepare_model, sum_by_sequence
from rlaif.train.packing import TokenSequence, pack
from rlaif.train.rl.decode import DecodeSampler
from rlaif.train.rl.learner import Learner
from rlaif.train.rl.policy import PolicyModel, Reference, Value, separate_value, value_head
from rlaif.train.rl.prompts import plain_prompt
from rlaif.train.rl.rewards import Answer, from_function
from rlaif.train.rl.settings import GrpoSettings, PpoSettings, RlSettings

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 16,
    "max_position_embeddings": 32,
}


def make_model(world: World, seed: int, *, scale: float = 0.05) -> Any:
    """A Llama with room for any distribution on the answers, whose own is uneven. From larger weights even the exact
    gradient of a KL often ends where an answer of the optimum was lost on the way (measured: scale 0.15 and up)."""
    config = transformers.LlamaConfig(
        vocab_size=world.vocabulary, pad_token_id=None, bos_token_id=None, eos_token_id=STOP, **SIZES
    )
    model = transformers.LlamaForCausalLM(config)
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.copy_(torch.randn(weight.shape, generator=draws) * scale)
    return prepare_model(model.eval())


@torch.no_grad()
def answer_logprobs(world: World, model: Any, *, temperature: float = 1.0) -> Array:
    """(prompts, answers) in nats, float64: the model asked for every answer there is."""
    found = []
    for prompt in world.prompts:
        family = tuple(_sequence(prompt, answer) for answer in world.answers)
        batch = pack([family])
        found.append(sum_by_sequence(LogprobModel(model, temperature=temperature)(batch).logprobs, batch).numpy())
    return np.array(found)


def _sequence(prompt: Sequence[int], answer: Sequence[int]) -> TokenSequence:
    ids = np.array([*prompt, *answer], dtype=np.int64)
    return TokenSequence(ids, np.arange(len(ids)) >= len(prompt))


def train_on(
    world: World,
    model: Any,
    settings: RlSettings,
    folder: Path,
    *,
    noisy_value: bool = False,
    learnt_at: float | None = None,
) -> Mapping[str, float]:
    """Train `model` in place; seconds by phase. What no setting offers, for `ppo_ablation`: a value head that does not
    start at 0, and another temperature in learning than in sampling."""
    value = _value_of(model, settings)
    if noisy_value and value is not None:
        torch.nn.init.normal_(value.linear.weight, generator=torch.Generator().manual_seed(settings.loop.seed))
    temperature = settings.rollout.temperature if learnt_at is None else learnt_at
    learner = Learner(
        PolicyModel(model, value=value, temperature=temperature),
        Reference(copy.deepcopy(model)),
        [plain_prompt(" ".join(map(str, prompt)), prompt) for prompt in world.prompts],
        DecodeSampler(model, max_rows=256),
        from_function("world", lambda answers: [score_of(world, one) for one in answers]),
        settings,
        decode=lambda ids: " ".join(map(str, ids)),
        stop_ids=(STOP,),
        folder=folder,
    )
    return learner.run().seconds


def _value_of(model: Any, settings: RlSettings) -> Value | None:
    if not isinstance(settings, PpoSettings):
        return None
    return value_head(model) if settings.value == "shared" else separate_value(model)


def score_of(world: World, answer: Answer) -> float:
    prompt = tuple(int(word) for word in answer.prompt.messages[-1].content.split())
    return world.score(prompt, tuple(int(token) for token in answer.rollout.answer))


def world_settings(world: World, method: str, changes: Mapping[str, Any], *, seed: int) -> RlSettings:
    """Settings of `ppo` or `grpo` for the world, with `changes` on top, nested as in a file."""
    base: dict[str, Any] = {
        "model": "a small Llama",
        "output": "none",
        "max_length": 32,
        "prompts": [{"path": "none"}],
        "reward": [{"kind": "length", "per_token": 0.0}],  # the world's table is handed in instead
        "rollout": {"prompts": len(world.prompts), "group_size": 128, "max_new_tokens": world.max_new_tokens},
        "loop": {
            "seed": seed,
            "save_every": 100_000,
            "packing": "off",  # answers of three tokens: a segment each would cost more than their padding
            "optimiser": {"learning_rate": 2e-3, "schedule": "cosine", "warmup_share": 0.02},
        },
        "stop": {"unended": None},
    }
    kind = PpoSettings if method == "ppo" else GrpoSettings
    return kind.model_validate(merged(base, changes))


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` over `base`, mapping by mapping."""
    found = dict(base)
    for name, value in changes.items():
        inner = found.get(name)
        is_nested = isinstance(value, Mapping) and isinstance(inner, Mapping)
        found[name] = merged(inner, value) if is_nested else value  # type: ignore[arg-type]  # both are mappings
    return found
