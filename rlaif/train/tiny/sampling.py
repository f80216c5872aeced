"""Answers of a tiny model as it stands in a folder: sampled by transformers at temperature 1, nothing cut off.

Kept are the texts and the very tokens, so that whoever asks for log-probabilities asks about what was drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rlaif.tiny.world import Prompt
from rlaif.train.packing import Family, Ids, TokenSequence
from rlaif.train.tiny.loaded import Loaded

MAX_NEW_TOKENS = 120
_PROMPTS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Samples:
    """Per prompt its answers: as texts, and as prompt + answer in tokens (the answer's are the scored ones)."""

    texts: list[list[str]]
    families: list[Family]
    has_ended: list[list[bool]]  # by itself, before MAX_NEW_TOKENS


@torch.no_grad()
def sample(policy: Loaded, prompts: Sequence[Prompt], *, each: int, seed: int) -> Samples:
    """`each` answers to every prompt. Draws depend on the seed and the prompts' order, not on what was drawn before."""
    texts: list[list[str]] = []
    families: list[Family] = []
    has_ended: list[list[bool]] = []
    end = policy.tokenizer.eos_token_id
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for start in range(0, len(prompts), _PROMPTS_AT_ONCE):
            chats = [prompt.messages for prompt in prompts[start : start + _PROMPTS_AT_ONCE]]
            written = policy.tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
            batch = policy.tokenizer(written, return_tensors="pt", padding=True, add_special_tokens=False)
            made = policy.model.generate(
                **batch,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                num_return_sequences=each,
                max_new_tokens=MAX_NEW_TOKENS,
            )
            width = batch["input_ids"].shape[1]
            answers = made[:, width:].view(len(chats), each, -1).numpy()
            for ids, is_real, drawn in zip(batch["input_ids"], batch["attention_mask"].bool(), answers, strict=True):
                asked = ids[is_real].numpy()
                told = [_until(end, one) for one in drawn]
                texts.append(policy.tokenizer.batch_decode(told, skip_special_tokens=True))
                families.append(tuple(_sequence(asked, one) for one in told))
                has_ended.append([bool(one[-1] == end) for one in told])
    return Samples(texts, families, has_ended)


def _until(end: int, ids: Ids) -> Ids:
    """Up to and including the end-of-turn token; what follows it is padding."""
    ends = np.flatnonzero(ids == end)
    return ids[: ends[0] + 1] if len(ends) else ids


def _sequence(asked: Ids, told: Ids) -> TokenSequence:
    return TokenSequence(np.concatenate([asked, told]), np.arange(len(asked) + len(told)) >= len(asked))
