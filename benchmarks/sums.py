"""Additions of two-digit numbers, and a model of nothing that can learn them: data, tokenizer, weights, accuracy.

    37+58=  →  95        8,100 sums of 10 to 99

By hash, a tenth of them is for choosing settings and another is held out from everything, settings included.

A character is a token, answers are plain numbers, and the model is a Llama of half a million random weights that
transformers loads. Used by `benchmarks.arithmetic` and, smaller, by the tests.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rlaif.checks import Scored, score
from rlaif.checks.kinds import NumberCheck
from rlaif.identity import seed_from
from rlaif.numbers.clustered_share import ClusteredShare

PAD, BOS, END, USER, ASSISTANT, UNKNOWN = "<|pad|>", "<|bos|>", "<|end|>", "<|user|>", "<|assistant|>", "<|unknown|>"
CHAT_TEMPLATE = (
    "<|bos|>{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CHECK = NumberCheck(kind="number")
Part = Literal["training", "validation", "held-out"]


@dataclass(frozen=True, slots=True)
class Sum:
    """Two numbers to be added."""

    a: int
    b: int

    @property
    def prompt(self) -> str:
        return f"{self.a}+{self.b}="

    @property
    def answer(self) -> str:
        return str(self.a + self.b)

    @property
    def part(self) -> Part:
        tenth = seed_from(f"sum|{self.prompt}") % 10
        return "validation" if tenth == 0 else "held-out" if tenth == 1 else "training"


def all_sums(lowest: int = 10, highest: int = 99) -> list[Sum]:
    """Every sum of two numbers of the range, in an order of no meaning."""
    found = [Sum(a, b) for a in range(lowest, highest + 1) for b in range(lowest, highest + 1)]
    return sorted(found, key=lambda one: seed_from(f"order|{one.prompt}"))


def write_demonstrations(path: Path, sums: Sequence[Sum]) -> Path:
    """What `train sft` imitates: conversations, as the chat template writes them."""
    return _write(
        path,
        [
            {
                "prompt": [{"role": "user", "content": one.prompt}],
                "completion": [{"role": "assistant", "content": one.answer}],
            }
            for one in sums
        ],
    )


def write_prompts(path: Path, sums: Sequence[Sum]) -> Path:
    """What `train grpo` asks, with the reference that the check compares with."""
    return _write(path, [{"prompt": one.prompt, "reference": one.answer} for one in sums])


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token per character, and the special ones."""
    specials = [PAD, BOS, END, USER, ASSISTANT, UNKNOWN]
    words = {text: place for place, text in enumerate([*specials, *"0123456789+="])}
    plain = Tokenizer(models.WordLevel(words, unk_token=UNKNOWN))
    plain.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    plain.decoder = decoders.Fuse()
    plain.add_special_tokens([AddedToken(text, special=True) for text in specials])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        unk_token=UNKNOWN,
        model_max_length=32,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def write_model(folder: Path, *, hidden: int = 128, layers: int = 3, seed: int = 0) -> Path:
    """A model that knows nothing, with its tokenizer: what SFT begins with."""
    tokenizer = make_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=hidden // 4,
        max_position_embeddings=32,
        initializer_range=hidden**-0.5 / 2,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Right answers to `num` sums, written greedily and drawn at temperature 1, with Wilson's 95 % interval."""

    greedy: float
    low: float
    high: float
    sampled: float
    num: int

    def __str__(self) -> str:
        return f"{self.greedy:.1%} ({self.low:.1%} to {self.high:.1%}) greedy, {self.sampled:.1%} drawn, n {self.num}"


def measure(folder: Path | str, sums: Sequence[Sum], seed: int = 0) -> Accuracy:
    """The accuracy of a saved model, by the checker that rewards it."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    greedy, sampled = (num_right(model, tokenizer, sums, seed=seed if drawn else None) for drawn in (False, True))
    counted = ClusteredShare()
    for place in range(len(sums)):
        counted.add(int(place < greedy), 1)
    figure = counted.figure()
    return Accuracy(greedy / len(sums), figure.low, figure.high, sampled / len(sums), len(sums))


@torch.no_grad()
def num_right(model: Any, tokenizer: Any, sums: Sequence[Sum], *, seed: int | None = None) -> int:
    """Sums with a right answer: greedy, or with a seed drawn at temperature 1. Prompts are equally long."""
    chats = [[{"role": "user", "content": one.prompt}] for one in sums]
    written = tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
    asked = tokenizer(written, return_tensors="pt", add_special_tokens=False)
    how: dict[str, Any] = {"do_sample": False}
    if seed is not None:
        how = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    with torch.random.fork_rng():
        torch.manual_seed(seed or 0)
        made = model.generate(
            input_ids=asked["input_ids"],
            attention_mask=asked["attention_mask"],
            max_new_tokens=6,
            pad_token_id=tokenizer.pad_token_id,
            **how,
        )
    texts = tokenizer.batch_decode(made[:, asked["input_ids"].shape[1] :], skip_special_tokens=True)
    return sum(is_right(text, one) for text, one in zip(texts, sums, strict=True))


def is_right(text: str, asked: Sum) -> bool:
    found = score(CHECK, text, reference=asked.answer)
    return isinstance(found, Scored) and found.value == 1.0
