"""Eight chat formats in small: tokenizers and templates of our own, in the formats of well-known families.

Each is written to a folder as a model's tokenizer lies there, so that transformers, `LightChat` and the engines read it
as they would the real one. They differ where it matters here: in which tokens are special, which are only added, how
spaces are written, whether a template trims, refuses a system turn, opens a thinking block or writes turns in words.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from rlaif.bundled import resolve_model
from tests.tiny_llama import CORPUS


@dataclass(frozen=True)
class Family:
    template: str
    special: tuple[str, ...]
    added: tuple[str, ...] = ()  # tokens of their own, but not "special": transformers decodes them as text
    style: str = "bytes"  # how the vocabulary writes spaces: bytes (GPT), or "▁" (SentencePiece)
    has_system: bool = True
    eats_spaces: bool = False  # its special tokens swallow the white space behind them
    normalizer: normalizers.Normalizer | None = None


FAMILIES = {
    "chatml": Family(
        template=(
            "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endfor %}"
            "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
            "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}"
            "{%- endif %}{%- endif %}"
        ),
        special=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        added=("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"),
    ),
    "llama3": Family(
        template=(
            "{{ '<|begin_of_text|>' }}{% for m in messages %}"
            "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}"
            "{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
        ),
        special=(
            *("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
            *(f"<|reserved_special_token_{n}|>" for n in range(250)),
        ),
    ),
    "mistral": Family(
        template=(
            "{{ '<s>' }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + '[/INST]' }}"
            "{% elif m.role == 'system' %}{{ '[SYSTEM_PROMPT]' + m.content + '[/SYSTEM_PROMPT]' }}"
            "{% else %}{{ ' ' + m.content + '</s>' }}{% endif %}{% endfor %}"
        ),
        special=(
            *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
            *("[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[THINK]", "[/THINK]"),
        ),
        style="▁",
    ),
    "gemma": Family(
        template=(
            "{{ '<bos>' }}{% for m in messages %}{% if m.role == 'system' %}"
            "{{ raise_exception('System role not supported') }}{% endif %}"
            "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + m.content | trim"
            " + '<end_of_turn>\\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
        ),
        special=("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
        added=("\n\n", "\n\n\n", "▁▁", "<table>", "</table>", "<h1>"),
        style="▁",
        has_system=False,
    ),
    "phi": Family(
        template=(
            "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ '<|endoftext|>' }}{% endif %}"
        ),
        special=("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        eats_spaces=True,
    ),
    "deepseek": Family(
        template=(
            "{{ '<｜begin▁of▁sentence｜>' }}{% for m in messages %}"
            "{% if m.role == 'user' %}{{ '<｜User｜>' + m.content }}"
            "{% elif m.role == 'assistant' %}{% set said = m.content %}{% if '</think>' in said %}"
            "{% set said = said.split('</think>')[-1] %}{% endif %}"
            "{{ '<｜Assistant｜>' + said + '<｜end▁of▁sentence｜>' }}"
            "{% else %}{{ m.content }}{% endif %}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif %}"
        ),
        special=("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"),
        added=("<think>", "</think>"),
    ),
    "plain": Family(
        template=(
            "{{ '<s>' }}{% for m in messages %}{{ m.role.capitalize() + ': ' + m.content + '\\n\\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
        ),
        special=("<s>", "</s>"),
    ),
    "in words": Family(  # Zephyr's markers, which are no tokens, and a normaliser that drops invisible characters
        template=(
            "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '</s>\\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
        ),
        special=("<s>", "</s>"),
        normalizer=normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("\u2060", "")]),
    ),
}
NAMES = (*FAMILIES, "ours")


def family_folder(name: str, folder: Path) -> Path:
    """The folder of a family's tokenizer, written below `folder`; of ours, the bundled judge's own."""
    if name == "ours":
        return Path(resolve_model("tiny-judge"))
    family, place = FAMILIES[name], folder / name.replace(" ", "-")
    place.mkdir(parents=True)
    _tokenizer(family).save(str(place / "tokenizer.json"))
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": family.special[1]}
    (place / "tokenizer_config.json").write_text(json.dumps(described))
    (place / "chat_template.jinja").write_text(family.template)
    (place / "config.json").write_text(json.dumps({"max_position_embeddings": 100_000}))
    (place / "model.safetensors").write_bytes(b"")
    return place


def _tokenizer(family: Family) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(byte_fallback=family.style == "▁"))
    alphabet = []
    if family.style == "▁":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
        tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="never")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    bytes_as_tokens = [f"<0x{value:02X}>" for value in range(256)] if family.style == "▁" else []
    trainer = trainers.BpeTrainer(
        vocab_size=900, initial_alphabet=alphabet, special_tokens=bytes_as_tokens, show_progress=False
    )
    tokenizer.train_from_iterator([CORPUS] * 8, trainer)
    if bytes_as_tokens:  # in a real vocabulary they are ordinary tokens that no text is matched against
        tokenizer = _without_added(tokenizer)
    if family.normalizer is not None:
        tokenizer.normalizer = family.normalizer
    is_late = family.normalizer is not None  # these are looked for after the normaliser has been at the text
    tokenizer.add_special_tokens(
        [AddedToken(text, special=True, rstrip=family.eats_spaces, normalized=is_late) for text in family.special]
    )
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in family.added])
    return tokenizer


def _without_added(tokenizer: Tokenizer) -> Tokenizer:
    described = json.loads(tokenizer.to_str())
    described["added_tokens"] = []
    return Tokenizer.from_str(json.dumps(described))
