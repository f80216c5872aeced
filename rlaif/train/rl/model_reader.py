"""Reading any causal model of transformers one token per row at a time, through its own forward and its own cache.

The way of models that `rlaif.train.rl.llama_reader` does not know: other families, adapters that are no plain sum. The
same interface, slower: prompts are padded on the left, so all rows start together, and the cache grows by copying.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rlaif.engines.transformers_decode import left_pad
from rlaif.train.forward import inner_model
from rlaif.train.packing import Ids


class ModelReader:
    """Up to `num_rows` rows that enter together; products in `dtype`."""

    def __init__(self, model: Any, *, num_rows: int, dtype: torch.dtype) -> None:
        self._model, self._dtype = inner_model(model), dtype
        self._device = self._model.device
        self._num_rows, self._live = num_rows, 0

    @property
    def room(self) -> int:
        """Rows that can enter now: none before the last one has left."""
        return 0 if self._live else self._num_rows

    def enter(self, prompts: Sequence[Ids], copies: Sequence[int]) -> Tensor:
        """Read each prompt once, for as many rows as it has copies."""
        inputs = left_pad([tuple(ids.tolist()) for ids in prompts], self._device)
        read = self._read(**inputs)
        of_row = torch.arange(len(prompts)).repeat_interleave(torch.tensor(copies)).to(self._device)
        self._cache = read.past_key_values
        self._cache.batch_select_indices(of_row)
        self._mask, self._positions = inputs["attention_mask"][of_row], inputs["position_ids"][of_row, -1:]
        self._live = len(of_row)
        hidden: Tensor = read.last_hidden_state[of_row, -1]
        return hidden

    def step(self, tokens: Tensor) -> Tensor:
        """`tokens` (rows,): the newest token of every row."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(self._live, 1)], dim=1)
        self._positions = self._positions + 1
        read = self._read(
            input_ids=tokens[:, None],
            attention_mask=self._mask,
            position_ids=self._positions,
            past_key_values=self._cache,
        )
        hidden: Tensor = read.last_hidden_state[:, -1]
        return hidden

    def keep(self, order: Sequence[int]) -> None:
        """The rows that stay: from now on row i is what row order[i] was."""
        kept = torch.tensor(order, device=self._device, dtype=torch.long)
        if order:
            self._cache.batch_select_indices(kept)
        self._mask, self._positions = self._mask[kept], self._positions[kept]
        self._live = len(order)

    def _read(self, **inputs: Any) -> Any:
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype == torch.bfloat16):
            return self._model.base_model(**inputs, use_cache=True)
