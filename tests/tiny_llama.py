"""A Llama of random weights with a small tokenizer, made in a temporary folder: for engine tests that need a model of
their own (odd tokenizers, tiny contexts) or that must not wait for the bundled one."""

import json
from pathlib import Path

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
CORPUS = (
    "A B C the answer is better because it is honest and kind. Which answer follows the principle? Answer A or B. "
    "The first answer helps with the question; the second one does not say what it does not know.\n"
)


def write_tiny_llama(
    folder: Path,
    *,
    split_letters: bool = False,
    context: int = 2048,
    chat_template: str | None = CHAT_TEMPLATE,
    seed: int = 0,
    scale: float = 0.3,
    weights: bool = True,
) -> Path:
    """Write config, tokenizer and random float32 weights. With `split_letters`, "A" and "B" are written as two tokens
    each, so that no choice of a verdict has a single-token spelling. Without `weights`, no heavy library is loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _bpe_tokenizer(split_letters=split_letters)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": context, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    if chat_template is not None:
        (folder / "chat_template.jinja").write_text(chat_template)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "max_position_embeddings": context,
        "bos_token_id": tokenizer.token_to_id("<s>"),
        "eos_token_id": tokenizer.token_to_id("</s>"),
        "pad_token_id": tokenizer.token_to_id("<pad>"),
        "tie_word_embeddings": True,
    }
    (folder / "config.json").write_text(json.dumps(config))
    if weights:
        _write_weights(folder, seed, scale)
    return folder


def _write_weights(folder: Path, seed: int, scale: float) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig.from_pretrained(folder)).to(torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, scale)
    model.save_pretrained(folder)


def _bpe_tokenizer(*, split_letters: bool = False):
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = set(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<pad>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>"],
        initial_alphabet=sorted(alphabet - set("AB") if split_letters else alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator([CORPUS.lower() if split_letters else CORPUS] * 8, trainer)
    if split_letters:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Replace("A", "q1"), normalizers.Replace("B", "q2")])
    return tokenizer
