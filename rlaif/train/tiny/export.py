"""From training weights to a folder that transformers and vLLM load: safetensors, config, tokenizer, chat template."""

import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import GenerationConfig, LlamaConfig, PreTrainedTokenizerFast

from rlaif.train.tiny.model import NORM_EPS, ROPE_THETA, Shape, TinyLlama

MAX_POSITIONS = 2048


def llama_config(shape: Shape, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """The model's sizes in transformers' words."""
    return LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        head_dim=shape.head_dim,
        rms_norm_eps=NORM_EPS,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        max_position_embeddings=MAX_POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="bfloat16",
    )


def export_model(model: TinyLlama, tokenizer_folder: Path, folder: Path, *, temperature: float) -> None:
    """Write the model beside its tokenizer; the old weights stay until the new ones are whole."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tokenizer_folder)
    for file in tokenizer_folder.iterdir():
        shutil.copyfile(file, folder / file.name)
    llama_config(model.shape, tokenizer).save_pretrained(folder)
    GenerationConfig(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=temperature > 0,
        temperature=temperature if temperature > 0 else None,
        max_new_tokens=160,
    ).save_pretrained(folder)
    weights = {f"model.{name}": weight.detach().to(torch.bfloat16) for name, weight in model.state_dict().items()}
    partial = folder / "model.safetensors.partial"
    save_file(weights, partial, metadata={"format": "pt"})
    partial.chmod(0o644)  # safetensors leaves it readable by its owner alone
    partial.replace(folder / "model.safetensors")
