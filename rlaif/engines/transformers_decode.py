"""Drawing text with transformers: one loop over positions, every row with a random generator of its own.

transformers' own `generate` draws a whole batch from one generator, so a row's text would depend on its neighbours.
Here a row's draws come from its request's seed alone. Texts still differ from vLLM's for the same seed: the store, not
the seed, is what makes a rerun identical.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from rlaif.engines.base import Completion, FinishReason, Sampling
from rlaif.engines.choices import Tokens
from rlaif.engines.prepare import Prepared


def left_pad(rows: Sequence[Tokens], device: torch.device) -> dict[str, torch.Tensor]:
    """Inputs of a forward pass, each (row, time): ids, a mask that is 1 for real tokens, and their positions."""
    width = max(len(row) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, width - len(row) :] = torch.tensor(row)
        mask[place, width - len(row) :] = 1
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    return {
        "input_ids": ids.to(device),
        "attention_mask": mask.to(device),
        "position_ids": positions.to(device),
    }


def draw(logits: torch.Tensor, sampling: Sampling, generator: torch.Generator | None) -> int:
    """One token id from the logits of one position, (vocabulary,): temperature, then top-k, then top-p, as vLLM."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    logits = logits.float().cpu() / sampling.temperature
    if 0 < sampling.top_k < len(logits):
        logits = logits.masked_fill(logits < logits.topk(sampling.top_k).values[-1], -torch.inf)
    if sampling.top_p < 1:
        ordered, places = logits.sort(descending=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)  # mass of all likelier tokens
        logits[places[before >= sampling.top_p]] = -torch.inf
    return int(torch.multinomial(logits.softmax(-1), 1, generator=generator))


class Row:
    """One text being written."""

    def __init__(self, prepared: Prepared, tokenizer: Any, ends: frozenset[int], max_model_len: int) -> None:
        self.prepared = prepared
        self._room = min(prepared.request.sampling.max_tokens, max_model_len - len(prepared.tokens))
        self.written: list[int] = []
        self.text = ""
        self.finish_reason: FinishReason | None = None
        self._tokenizer, self._ends = tokenizer, ends
        seed = prepared.request.sampling.seed
        self._generator = None if seed is None else torch.Generator().manual_seed(seed)

    def take(self, logits: torch.Tensor) -> int:
        """Draw the next token and see whether the text ends with it; a finished row repeats its last token."""
        if self.finish_reason is not None:
            return self.written[-1]
        sampling = self.prepared.request.sampling
        token = draw(logits, sampling, self._generator)
        self.written.append(token)
        ended = token in self._ends
        self.text = self._tokenizer.decode(self.written[:-1] if ended else self.written, skip_special_tokens=True)
        cuts = [self.text.find(stop) for stop in sampling.stop if stop in self.text]
        if cuts:
            self.text = self.text[: min(cuts)]
        if ended or cuts:
            self.finish_reason = "stop"
        elif len(self.written) >= self._room:
            self.finish_reason = "length"
        return token

    def completion(self) -> Completion:
        assert self.finish_reason is not None
        request = self.prepared.request
        split = self.prepared.format.split(request, self.text, self.written)
        return Completion(
            request_id=request.id,
            text=split.text,
            finish_reason=self.finish_reason,
            prompt_tokens=len(self.prepared.tokens),
            output_tokens=len(self.written),
            thinking=split.thinking,
            is_thinking_open=split.is_open,
        )


class Decoder:
    """Writes the texts of a batch, one position at a time, keeping the keys and values of what it has read."""

    def __init__(self, model: Any, tokenizer: Any, device: torch.device, max_model_len: int) -> None:
        self._model, self._tokenizer, self._device = model, tokenizer, device
        self._max_model_len = max_model_len
        ends = model.generation_config.eos_token_id
        listed = ends if isinstance(ends, list) else [ends]
        self._ends = frozenset(end for end in [*listed, tokenizer.eos_token_id] if end is not None)

    @torch.inference_mode()
    def decode(self, batch: Sequence[Prepared]) -> Iterator[Completion]:
        rows = [Row(prepared, self._tokenizer, self._ends, self._max_model_len) for prepared in batch]
        inputs = left_pad([prepared.tokens for prepared in batch], self._device)
        mask, positions = inputs["attention_mask"], inputs["position_ids"]
        output = self._model(**inputs, logits_to_keep=1, use_cache=True)
        while True:
            tokens = [row.take(logits) for row, logits in zip(rows, output.logits[:, -1], strict=True)]
            if all(row.finish_reason is not None for row in rows):
                break
            positions = positions[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            output = self._model(
                input_ids=torch.tensor(tokens, device=self._device)[:, None],
                attention_mask=mask,
                position_ids=positions,
                past_key_values=output.past_key_values,
                use_cache=True,
            )
        yield from (row.completion() for row in rows)
