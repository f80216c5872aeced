"""An embedding whose matrix is also the LM head: one gradient for both, made once.

Automatic differentiation makes two whole (V, C) gradients for one matrix, the head's and the embedding's, and holds
both until they are added. The head's backward comes first. Here it leaves its gradient with the matrix, and the
embedding's backward adds the rows that were read, and hands the sum on: one buffer, whatever the vocabulary.
"""

from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Left:
    """The gradient that a head's backward left for the embedding's, of the matrix this is an attribute of."""

    def __init__(self) -> None:
        self._gradient: Tensor | None = None

    @property
    def is_empty(self) -> bool:
        return self._gradient is None

    def add(self, gradient: Tensor) -> None:
        self._gradient = gradient if self._gradient is None else self._gradient.add_(gradient)

    def take(self, weight: Tensor) -> Tensor:
        """What was left; zeros where no head was used."""
        found, self._gradient = self._gradient, None
        return torch.zeros_like(weight) if found is None else found


def tie_gradients(model: Any) -> bool:
    """Do so where the model's embedding and head are one; whether they are."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or type(embedding) is not nn.Embedding or head.weight is not embedding.weight:
        return False
    embedding.forward = MethodType(_forward, embedding)  # type: ignore[method-assign]  # meant
    return True


def left_with(weight: Tensor) -> Left | None:
    """Where a head leaves its gradient; None where it has to give it itself."""
    found: Left | None = getattr(weight, "left", None)
    return found


def _forward(embedding: nn.Embedding, ids: Tensor) -> Tensor:
    weight = embedding.weight
    if hasattr(weight, "full_tensor") or not (weight.requires_grad and torch.is_grad_enabled()):  # sharded, or frozen
        return type(embedding).forward(embedding, ids)
    left = left_with(weight) or Left()
    weight.left = left  # type: ignore[attr-defined]  # a mark of ours
    assert left.is_empty, "a head's gradient was left and never taken: its hidden states did not come from here"
    found: Tensor = _embed(ids, weight, left, embedding.padding_idx)
    return found


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor, left: Left, padding: int | None) -> Tensor:
        ctx.save_for_backward(ids, weight)
        ctx.left, ctx.padding = left, padding
        return F.embedding(ids, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        ids, weight = ctx.saved_tensors
        rows, by_row = ids.flatten(), gradient.flatten(0, -2).to(weight.dtype)
        if ctx.padding is not None:
            by_row = by_row.masked_fill((rows == ctx.padding)[:, None], 0.0)
        return None, ctx.left.take(weight).index_add_(0, rows, by_row), None, None


_embed: Any = _Embedding.apply
