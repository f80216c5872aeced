"""A shipped model as a user would run it, through transformers: real template, real chat template, real precision."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlaif.engines.model_files import find_model
from rlaif.settings import EngineSettings
from rlaif.templates import load_template
from rlaif.tiny.wordings import Wording
from rlaif.train.tiny.judge_data import Comparison

BATCH = 64


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint and its tokenizer."""

    model: Any
    tokenizer: Any

    def batches(self, prompts: Sequence[str], begun: Sequence[str] = ()) -> Iterator[tuple[list[int], Any]]:
        """The prompts as left-padded batches of like length, each with the places its rows came from. `begun` are the
        first words of the model's turns."""
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            chats = [[{"role": "user", "content": prompts[i]}] for i in rows]
            texts = self.tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
            if begun:
                texts = [text + begun[i] for text, i in zip(texts, rows, strict=True)]
            yield rows, self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)

    @torch.no_grad()
    def shares(
        self, prompts: Sequence[str], choices: Sequence[str], begun: Sequence[str] = ()
    ) -> tuple[NDArray[np.float64], float]:
        """Each choice's share of the probability of all choices, (prompts, choices), and the mean of saying anything
        else. Behind words of its own the model puts a space before a choice."""
        space = "\u0120" if begun else ""
        ids = [self.tokenizer.convert_tokens_to_ids(space + choice) for choice in choices]
        shares, uncovered = np.zeros((len(prompts), len(ids))), np.zeros(len(prompts))
        for rows, batch in self.batches(prompts, begun):
            logits = self.model(**batch, logits_to_keep=1).logits[:, -1].float()
            found = logits.softmax(-1)[:, ids].double().numpy()
            shares[rows] = found / found.sum(1, keepdims=True)
            uncovered[rows] = 1 - found.sum(1)
        return shares, float(uncovered.mean())

    @torch.no_grad()
    def written(self, prompts: Sequence[str], *, max_new_tokens: int) -> list[str]:
        """What the model writes greedily."""
        texts = [""] * len(prompts)
        for rows, batch in self.batches(prompts):
            made = self.model.generate(**batch, max_new_tokens=max_new_tokens, do_sample=False)
            for row, ids in zip(rows, made[:, batch["input_ids"].shape[1] :], strict=True):
                texts[row] = self.tokenizer.decode(ids, skip_special_tokens=True)
        return texts


def load(name: str, dtype: torch.dtype = torch.bfloat16) -> Loaded:
    """A bundled model, as shipped (bfloat16), or the one in a folder. InputError where there is none."""
    folder = find_model(name, EngineSettings()).source
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    return Loaded(model.eval(), tokenizer)


def rendered(template: str, one: Comparison, wording: Wording) -> str:
    return load_template(template).render(
        conversation=one.prompt.conversation,
        response_a=one.a.text,
        response_b=one.b.text,
        principle=wording.text,
        question=wording.question,
    )
