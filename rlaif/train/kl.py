"""How far a trained policy has moved: KL(policy ‖ reference) over whole answers, from answers it samples itself.

    measured = sampled_kl(policy, reference, sequences, settings, …)      Kl(mean, error, num_prompts, mean_length)

The estimate is the plain mean of log π(y|x) - log π_ref(y|x) for y drawn from π at temperature 1 without any filter:
unbiased, and below 0 by chance alone. (Log-ratios on the dataset's own answers, which a training sees, are no KL: those
answers are not the policy's.) One answer per prompt; an answer longer than the limit counts as far as it was written,
so that the figure is the KL of answers of at most that length.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from rlaif.identity import seed_from
from rlaif.train.forward import LogprobModel, inner_model, sum_by_sequence
from rlaif.train.packing import Ids, TokenSequence, pad
from rlaif.train.settings import DpoSettings

BATCH = 16  # answers written at a time


@dataclass(frozen=True, slots=True)
class Kl:
    """In nats per answer, with its standard error; tokens per answer."""

    mean: float
    error: float
    num_prompts: int
    mean_length: float

    def as_figures(self) -> dict[str, float]:
        return {
            "kl_to_reference": self.mean,
            "kl_to_reference_error": self.error,
            "kl_prompts": float(self.num_prompts),
            "sampled_length": self.mean_length,
        }


@torch.no_grad()
def sampled_kl(
    policy: LogprobModel,
    reference: LogprobModel | None,
    sequences: Sequence[TokenSequence],
    settings: DpoSettings,
    *,
    tokenizer: Any,
    device: torch.device,
) -> Kl:
    """The KL on the prompts of `sequences`, as many as the settings say. Without a reference: to the policy without its
    adapters."""
    policy.eval()
    model = inner_model(policy.model)
    stop_ids = stop_ids_of(model, tokenizer)
    prompts = choose_prompts(sequences, settings.kl_prompts)
    with torch.autocast(device.type, torch.bfloat16, enabled=settings.loop.precision == "bf16"):
        answers = sample_answers(
            model, prompts, stop_ids=stop_ids, max_new_tokens=settings.kl_new_tokens, seed=settings.loop.seed
        )
        moved = answer_logprobs(policy, answers, device)
        with policy.model.disable_adapter() if reference is None else nullcontext():
            before = answer_logprobs(reference or policy, answers, device)
    return kl_of(moved, before, [one.num_scored for one in answers])


def stop_ids_of(model: Any, tokenizer: Any) -> list[int]:
    """The tokens that end an answer, by the tokenizer and by the model's generation settings."""
    own = inner_model(model).generation_config.eos_token_id
    return sorted({tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])} - {None})


@torch.no_grad()
def sample_answers(
    model: Any, prompts: Sequence[Ids], *, stop_ids: Sequence[int], max_new_tokens: int, seed: int
) -> list[TokenSequence]:
    """One answer per prompt, up to and with its first stop token. `model` is a causal model of transformers."""
    from transformers import GenerationConfig

    plain = GenerationConfig(  # type: ignore[no-untyped-call]  # transformers has no annotation here
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=max_new_tokens,
        eos_token_id=list(stop_ids),
        pad_token_id=stop_ids[0],
    )
    found = []
    with torch.random.fork_rng():
        torch.manual_seed(seed_from(f"kl|{seed}"))
        for start in range(0, len(prompts), BATCH):
            some = prompts[start : start + BATCH]
            asked = pad([(TokenSequence(ids, np.zeros(len(ids), dtype=bool)),) for ids in some], side="left")
            written = model.generate(
                asked.ids.to(model.device),
                attention_mask=asked.attention_mask.to(model.device),  # type: ignore[union-attr]  # padded: has one
                generation_config=plain,
            )
            answers = written[:, asked.ids.shape[1] :].cpu().numpy()
            found += [_answered(ids, answer, stop_ids) for ids, answer in zip(some, answers, strict=True)]
    return found


def _answered(prompt: Ids, answer: Ids, stop_ids: Sequence[int]) -> TokenSequence:
    ends = np.flatnonzero(np.isin(answer, stop_ids))
    said = answer[: ends[0] + 1] if len(ends) else answer
    ids = np.concatenate([prompt, said]).astype(np.int64)
    return TokenSequence(ids, np.arange(len(ids)) >= len(prompt))


@torch.no_grad()
def answer_logprobs(module: nn.Module, answers: Sequence[TokenSequence], device: torch.device) -> np.ndarray[Any, Any]:
    """log π of each whole answer, in nats, float64."""
    sums = []
    for start in range(0, len(answers), BATCH):
        batch = pad([(one,) for one in answers[start : start + BATCH]]).to(device)
        sums.append(sum_by_sequence(module(batch).logprobs, batch).cpu().numpy())
    return np.concatenate(sums)


def kl_of(policy: np.ndarray[Any, Any], reference: np.ndarray[Any, Any], lengths: Sequence[int]) -> Kl:
    """The estimate from log-probabilities of the policy's own answers."""
    ratio = policy - reference
    error = float(ratio.std(ddof=1) / np.sqrt(len(ratio))) if len(ratio) > 1 else float("nan")
    return Kl(float(ratio.mean()), error, len(ratio), float(np.mean(lengths)))


def choose_prompts(sequences: Sequence[TokenSequence], count: int) -> list[Ids]:
    """The first `count` different prompts."""
    prompts: dict[bytes, Ids] = {}
    for one in sequences:
        ids = one.ids[: int(one.scored.argmax())]
        prompts.setdefault(ids.tobytes(), ids)
        if len(prompts) == count:
            break
    return list(prompts.values())
