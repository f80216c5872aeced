"""Prompts as the policy reads them: rendered by the chat template, tokenised, and short enough to be answered.

    prompts, counts = read_policy_prompts(sources, tokenizer, longest=…, base=…)

A prompt that is too long to leave room for an answer is refused and counted; one that would be cut is another prompt.
Which prompts an iteration asks follows from the seed and the iteration (`asked`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlaif.errors import DataError
from rlaif.identity import digest, seed_from
from rlaif.prompt_sets import read_prompts
from rlaif.records import Message, Prompt
from rlaif.settings import PromptSource
from rlaif.train.packing import Ids

TOO_LONG = "too long"


@dataclass(frozen=True, slots=True, eq=False)
class PolicyPrompt:
    """A prompt and its token ids, up to where the answer begins."""

    prompt: Prompt
    ids: Ids


@dataclass(frozen=True, slots=True)
class PromptCounts:
    """What became of the rows read: rows = kept + Σ refused. `digest` is that of the token ids, in order."""

    rows: int
    kept: int
    refused: dict[str, int]
    tokens: int
    digest: str


def read_policy_prompts(
    sources: Sequence[PromptSource], tokenizer: Any, *, longest: int, base: Path = Path()
) -> tuple[list[PolicyPrompt], PromptCounts]:
    """The sources' prompts of at most `longest` tokens, and the counts of all others."""
    found = read_prompts(sources, base=base)
    all_of_them = [PolicyPrompt(prompt, prompt_ids(prompt, tokenizer)) for prompt in found.prompts]
    kept = [one for one in all_of_them if len(one.ids) <= longest]
    refused = Counter(found.drop_counts)
    if len(kept) < len(all_of_them):
        refused[TOO_LONG] += len(all_of_them) - len(kept)
    if not kept:
        shortest = min(len(one.ids) for one in all_of_them)
        raise DataError(
            f"no prompt is left: the shortest has {shortest} tokens, and {longest} leave room for an answer.",
            do="Raise max_length, or lower rollout.max_new_tokens.",
        )
    tokens = sum(len(one.ids) for one in kept)
    return kept, PromptCounts(found.num_rows, len(kept), dict(refused), tokens, prompts_digest(kept))


def prompt_ids(prompt: Prompt, tokenizer: Any) -> Ids:
    """A conversation through the chat template, up to the answer's beginning; a tokenizer without a template reads a
    single turn as plain text."""
    turns = [message.as_dict() for message in prompt.messages]
    if tokenizer.chat_template:
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    elif len(turns) == 1:
        ids = tokenizer(turns[0]["content"])["input_ids"]
        if ids and ids[-1] == tokenizer.eos_token_id:
            ids = ids[:-1]
    else:
        raise DataError(
            f"the tokenizer has no chat template, and prompt {prompt.name or prompt.id[:12]!r} is a conversation.",
            do="Use the model's instruction-tuned version, or put a chat_template.jinja beside its tokenizer.",
        )
    return np.array(ids, dtype=np.int64)


def prompts_digest(prompts: Sequence[PolicyPrompt]) -> str:
    """Of what the policy reads, in order, and of the references that checks compare with."""
    return digest([[one.prompt.id, one.prompt.reference, one.ids.tolist()] for one in prompts])


def plain_prompt(text: str, ids: Sequence[int], reference: str | None = None) -> PolicyPrompt:
    """A prompt made in code: a user's turn whose tokens are given."""
    prompt = Prompt(messages=(Message("user", text),), reference=reference)
    return PolicyPrompt(prompt, np.array(ids, dtype=np.int64))


def asked(num_prompts: int, count: int, iteration: int, seed: int) -> list[int]:
    """The prompts of an iteration: the next `count` of a stream that holds every prompt once per pass, each pass in an
    order of its own."""
    places = range(iteration * count, (iteration + 1) * count)
    orders: dict[int, Sequence[int]] = {}
    found = []
    for place in places:
        lap, number = divmod(place, num_prompts)
        if lap not in orders:
            drawn = np.random.default_rng(seed_from(f"prompts|{seed}|{lap}")).permutation(num_prompts)
            orders[lap] = [int(one) for one in drawn]
        found.append(orders[lap][number])
    return found


def answer_seeds(prompts: Sequence[PolicyPrompt], group_size: int, iteration: int, seed: int) -> list[int]:
    """A seed for every answer, prompt after prompt: of the prompt, the iteration and the answer's number, so that the
    order of work changes no answer. A prompt that is asked twice gets other answers."""
    counts: Counter[str] = Counter()
    seeds = []
    for one in prompts:
        for _ in range(group_size):
            seeds.append(seed_from(f"answer|{seed}|{iteration}|{one.prompt.id}|{counts[one.prompt.id]}"))
            counts[one.prompt.id] += 1
    return seeds
