"""The model and the tokenizer a training begins with, checked against each other, the method and the settings."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Literal

import torch

from rlaif.errors import EngineUnavailable, InputError
from rlaif.identity import seed_from
from rlaif.train.forward import prepare_model
from rlaif.train.heads import Heads
from rlaif.train.reward import load_reward_model
from rlaif.train.settings import ModelSettings

Method = Literal["sft", "reward", "dpo", "ppo", "grpo", "online-dpo"]


def load_tokenizer(name: str) -> Any:
    from transformers import AutoTokenizer

    with _readable("tokenizer", name):
        return AutoTokenizer.from_pretrained(name)


@contextmanager
def _readable(what: str, name: str) -> Iterator[None]:
    """InputError for files that are damaged, missing or of an unknown kind."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(
            f"the {what} of {name!r} cannot be loaded: {str(error).partition(chr(10))[0].rstrip(': ')}.",
            do="A model's folder holds config.json, *.safetensors, tokenizer.json and tokenizer_config.json, whole.",
        ) from error


def load_model(
    method: Method,
    name: str,
    tokenizer: Any,
    settings: ModelSettings,
    heads: Heads = Heads(),  # noqa: B008 - a frozen value
) -> Any:
    """The model in float32, checked against the method, the tokenizer and the settings, ready for packed batches."""
    from transformers import AutoConfig, AutoModelForCausalLM

    with _readable("model", name):
        config = AutoConfig.from_pretrained(name)
    _check_kind(method, name, config)
    _check_length(name, config, settings.max_length)
    with _readable("model", name):
        if method == "reward":
            model = load_reward_model(name, tokenizer, seed=settings.loop.seed, num_outputs=heads.num_outputs)
        else:
            model = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
    num_embeddings = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > num_embeddings:
        raise InputError(
            f"the tokenizer of {name!r} has {len(tokenizer)} tokens, the model only {num_embeddings}.",
            do="Use the tokenizer that was made for this model.",
        )
    if settings.loop.packing != "off":
        prepare_model(model)
    if settings.loop.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model


def with_adapters(method: Method, model: Any, settings: ModelSettings) -> Any:
    """The model with its LoRA adapters, where they are asked for; their first weights follow from the seed."""
    if settings.lora is None:
        return model
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed_from(f"adapters|{settings.loop.seed}"))
    config = LoraConfig(
        task_type="SEQ_CLS" if method == "reward" else "CAUSAL_LM",
        r=settings.lora.rank,
        lora_alpha=settings.lora.alpha,
        lora_dropout=settings.lora.dropout,
        target_modules=list(settings.lora.targets) or "all-linear",
        modules_to_save=["score"] if method == "reward" else None,
    )
    return get_peft_model(model, config)


def check_same_tokens(name: str, tokenizer: Any, reference: str, other: Any) -> None:
    """Raise InputError unless the reference reads the policy's token ids as the same tokens."""
    own, theirs = tokenizer.get_vocab(), other.get_vocab()
    if own != theirs:
        differing = next(token for token in own.keys() | theirs.keys() if own.get(token) != theirs.get(token))
        raise InputError(
            f"the vocabularies of {name!r} ({len(own)} tokens) and of the reference {reference!r} ({len(theirs)}) "
            f"differ, for example in {differing!r}: their log-probabilities are not those of the same texts.",
            do="Use a reference with the policy's tokenizer, or leave `reference` out.",
        )


def check_trackers(names: tuple[str, ...]) -> None:
    """Raise EngineUnavailable for a tracker whose library is missing; accelerate would pass over it in silence."""
    needed = {"tensorboard": ("tensorboard", "tensorboardX")}
    for name in names:
        if not any(find_spec(library) for library in needed.get(name, (name,))):
            raise EngineUnavailable(f"the tracker {name!r} is not installed.", do=f"Install it: pip install {name}")


def _check_kind(method: Method, name: str, config: Any) -> None:
    kinds = config.architectures or []
    if method != "reward" and any(kind.endswith("ForSequenceClassification") for kind in kinds):
        raise InputError(
            f"{name!r} is a reward model ({kinds[0]}); {method} trains a language model.",
            do="Give the model that writes answers.",
        )


def _check_length(name: str, config: Any, max_length: int) -> None:
    longest = getattr(config.get_text_config(), "max_position_embeddings", None)
    if longest is not None and max_length > longest:
        raise InputError(
            f"max_length is {max_length}, but {name!r} reads at most {longest} tokens.",
            do=f"Set max_length: {longest}.",
        )
