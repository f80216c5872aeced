"""What the training benchmark trains: Llama-shaped models of random weights, rows of HH-RLHF's lengths, and how much
arithmetic a row is worth. No trainer is imported here.

Token ids are drawn at random; no text is read or tokenised, by neither side. Lengths follow the quantiles of 1,153
pairs of HH-RLHF (harmless, test split, at most 512 tokens), scaled to the means a 4k vocabulary gives: prompt 118
tokens, chosen 43, rejected 52.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

PAD, BOS, EOS, FIRST_WORD = 0, 1, 2, 3
MAX_LENGTH = 512
_SHARES = (0.0, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 1.0)
_LENGTHS = {
    "prompt": (10, 15, 19, 30, 95, 166, 259, 319, 440),
    "chosen": (2, 8, 12, 17, 31, 56, 90, 123, 200),
    "rejected": (2, 8, 12, 20, 39, 68, 104, 138, 260),
}


@dataclass(frozen=True, kw_only=True)
class Size:
    """A Llama without biases, its LM head tied to the embedding."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    key_heads: int
    inner: int

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def body(self) -> int:
        """Weights of the linear layers, the LM head aside."""
        attention = self.width * self.head_width * (2 * self.heads + 2 * self.key_heads)
        return self.layers * (attention + 3 * self.width * self.inner)

    @property
    def parameters(self) -> int:
        return self.body + self.vocabulary * self.width + (2 * self.layers + 1) * self.width


SIZES = {
    "s": Size(vocabulary=4096, width=256, layers=6, heads=4, key_heads=4, inner=688),
    "m": Size(vocabulary=49152, width=576, layers=30, heads=9, key_heads=3, inner=1536),
}


def with_vocabulary(size: Size, vocabulary: int | None) -> Size:
    return size if vocabulary is None else replace(size, vocabulary=vocabulary)


@dataclass(frozen=True)
class Row:
    """A prompt and two answers; SFT reads the first one."""

    prompt: Ids
    chosen: Ids
    rejected: Ids


def rows(count: int, vocabulary: int, *, prompt_scale: float = 1.0, seed: int = 0) -> list[Row]:
    """The same rows every time. `prompt_scale` stretches the prompts, and so the share of a row that is shared."""
    draw = np.random.default_rng(seed)

    def length(part: str, scale: float = 1.0) -> int:
        return max(1, round(float(np.interp(draw.random(), _SHARES, _LENGTHS[part])) * scale))

    def row() -> Row:
        asked = min(length("prompt", prompt_scale), 2 * MAX_LENGTH)
        answers = [draw.integers(FIRST_WORD, vocabulary, length(part)) for part in ("chosen", "rejected")]
        answers[1][0] = FIRST_WORD + (answers[0][0] - FIRST_WORD + 1) % (vocabulary - FIRST_WORD)  # they differ at once
        ended = [np.append(one, EOS) for one in answers]
        return Row(np.append(BOS, draw.integers(FIRST_WORD, vocabulary, asked - 1)), *ended)

    return [row() for _ in range(count)]


def useful_flops(size: Size, given: list[Row], method: str) -> float:
    """Floating-point operations nobody can do without: every token once (the prompt of a pair too), the LM head on
    scored positions, attention to what is seen. The backward pass counts double; DPO's reference is one more forward.
    """
    tokens = pairs_seen = scored = 0
    for row in given:
        before = len(row.prompt)
        tokens += before
        pairs_seen += before * (before + 1) // 2
        for answer in (row.chosen,) if method == "sft" else (row.chosen, row.rejected):
            tokens += len(answer)
            pairs_seen += len(answer) * before + len(answer) * (len(answer) + 1) // 2
            scored += len(answer)
    attention = size.layers * 4 * size.width * pairs_seen
    head = 0 if method == "reward" else 2 * size.vocabulary * size.width * scored
    forward = 2 * size.body * tokens + attention + head
    return float(forward * (4 if method == "dpo" else 3))


def model(size: Size, kind: str, seed: int = 0) -> Any:
    """transformers' own model with its own first weights, in float32."""
    import torch
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.width,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.key_heads,
        head_dim=size.head_width,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
        num_labels=1,
    )
    torch.manual_seed(seed)
    name = "LlamaForSequenceClassification" if kind == "reward" else "LlamaForCausalLM"
    return getattr(transformers, name)(config)


def tokenizer(size: Size) -> Any:
    """TRL asks for one: a word `w17` for token 17, between white space."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": PAD, "<s>": BOS, "</s>": EOS} | {f"w{n}": n for n in range(FIRST_WORD, size.vocabulary)}
    plain = Tokenizer(models.WordLevel(words, unk_token="w3"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
