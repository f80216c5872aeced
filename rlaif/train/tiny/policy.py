"""Training the policy: a plain language model of the world's answers, under the chat template."""

from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from rlaif.tiny.world import Prompt, draw_prompt, seeded, write_answer
from rlaif.train.tiny.model import Shape, TinyLlama, next_token_loss
from rlaif.train.tiny.packing import Context, pack

POLICY_SHAPE = Shape(vocabulary=2560, hidden=192, layers=4, heads=3, inner=512)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRun:
    """The settings of a policy training."""

    steps: int
    peak_rate: float = 2e-3
    warmup_steps: int = 100
    answers: int = 32  # per step
    seed: int = 11

    def rate(self, step: int) -> float:
        if step < self.warmup_steps:
            return self.peak_rate * (step + 1) / self.warmup_steps
        left = (self.steps - step) / max(1.0, 0.5 * self.steps)
        return self.peak_rate * max(0.03, min(1.0, left))

    def batch(self, step: int, tokenizer: Tokenizer) -> tuple[list[Context], list[int]]:
        """Contexts without tails, and how long the prompt of each is."""
        rng = seeded("policy", self.seed, step)
        contexts, starts = [], []
        for _ in range(self.answers):
            prompt = draw_prompt(rng, held_out=False)
            head = tokenizer.encode(chat_text(prompt), add_special_tokens=False).ids
            body = tokenizer.encode(write_answer(prompt, rng).text + "<|end|>", add_special_tokens=False).ids
            contexts.append(Context(head + body, []))
            starts.append(len(head))
        return contexts, starts


def chat_text(prompt: Prompt) -> str:
    """The prompt under the chat template, up to where the answer begins."""
    turns = "".join(f"<|{turn['role']}|>\n{turn['content']}<|end|>\n" for turn in prompt.messages)
    return f"<|bos|>{turns}<|assistant|>\n"


def policy_losses(model: TinyLlama, contexts: list[Context], starts: list[int]) -> dict[str, Tensor]:
    """Cross-entropy per answer token (the end included), and of the prompt's words with a small weight."""
    packed = pack(contexts)
    hidden, _ = model(packed)
    answer_at: list[int] = []
    prompt_at: list[int] = []
    offset = 0
    for context, start in zip(contexts, starts, strict=True):
        answer_at += range(offset + start - 1, offset + len(context.prefix) - 1)
        prompt_at += range(offset + 2, offset + start - 1)
        offset += len(context.prefix)
    losses = {}
    for name, weight, rows in (("answer", 1.0, answer_at), ("prompt", 0.1, prompt_at)):
        at = torch.tensor(rows)
        losses[name] = weight * next_token_loss(model, hidden, at, packed.tokens[at + 1])
    return losses
