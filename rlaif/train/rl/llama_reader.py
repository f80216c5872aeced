"""Reading a Llama one token per row at a time: the layers of `rlaif.train.written_layer`, with keys and values kept.

    weights = llama_weights(model, dtype)        # None where the model is not exactly this
    reader = LlamaReader(weights, num_rows=32, length=600)
    hidden = reader.enter(prompts, copies)       # (rows that entered, C): what the prompts' last tokens became
    hidden = reader.step(tokens)                 # (rows, C): likewise, of one more token for each row
    reader.keep(order)                           # finished rows leave; from now on row i is what row order[i] was

Prompts are packed and read with the very functions of training; a step differs from them in what attention looks at.
Rows enter and leave at any time (`rlaif.train.rl.kept`). In float32 the weights are the model's own, not copies; where
a product runs in bfloat16 or an adapter is added, each is made once per `llama_weights` and lives as long.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from torch import Tensor, nn

from rlaif.train.forward import inner_model
from rlaif.train.fused_layer import is_plain, layer_shape
from rlaif.train.layer_parts import gated, normalise
from rlaif.train.packing import Batch, Ids, TokenSequence, pack
from rlaif.train.products import add_product
from rlaif.train.rl.kept import Kept
from rlaif.train.rl.weights import effective_weight
from rlaif.train.segment_attention import attend
from rlaif.train.written_layer import LayerShape, split_heads

Look = Callable[[Tensor, Tensor, Tensor], Tensor]  # q (H, N, D), k and v (G, N, D) -> (N, H · D)

_STATIC_ROTATIONS = ("default", "linear", "llama3", "yarn")  # the others turn by angles that depend on the length
_ROWS_OF_BF16, _TOKENS_OF_BF16 = (
    16,
    128,
)  # on a CPU a kernel for bfloat16 is built per shape: steady shapes are worth it


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """A layer's weights in the products' type; what reads the same input stands together."""

    first_norm: Tensor
    qkv: tuple[Tensor, ...]
    out: Tensor
    second_norm: Tensor
    gate_up: tuple[Tensor, ...]
    down: Tensor


@dataclass(frozen=True, slots=True)
class LlamaWeights:
    layers: tuple[LayerWeights, ...]
    shape: LayerShape
    embedding: Tensor
    norm: nn.Module
    rotary: Any

    @property
    def bytes_per_token(self) -> int:
        """Of keys and values, for one row."""
        return 2 * len(self.layers) * self.shape.groups * self.shape.width * self.embedding.dtype.itemsize


def llama_weights(model: Any, dtype: torch.dtype) -> LlamaWeights | None:
    """The model's weights for products in `dtype`; None for a model that is not a plain Llama or Mistral."""
    backbone = inner_model(model).base_model
    layers = getattr(backbone, "layers", None)
    rotary = getattr(backbone, "rotary_emb", None)
    embedding = inner_model(model).get_input_embeddings()
    if not layers or not all(is_plain(one) for one in layers) or type(embedding) is not nn.Embedding:
        return None
    if getattr(rotary, "rope_type", None) not in _STATIC_ROTATIONS or embedding.weight.dtype.itemsize < 4:
        return None
    found = [_layer_weights(one, dtype) for one in layers]
    weights = tuple(one for one in found if one is not None)
    if len(weights) < len(found):
        return None
    return LlamaWeights(weights, layer_shape(layers[0], dtype), embedding.weight, backbone.norm, rotary)


def _layer_weights(layer: Any, dtype: torch.dtype) -> LayerWeights | None:
    attention, mlp = layer.self_attn, layer.mlp
    linear = (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
    found = [effective_weight(one) for one in (*linear, mlp.gate_proj, mlp.up_proj, mlp.down_proj)]
    cast = [one.detach().to(dtype) for one in found if one is not None]
    if len(cast) < len(found):
        return None
    norms = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
    return LayerWeights(norms[0], tuple(cast[:3]), cast[3], norms[1], tuple(cast[4:6]), cast[6])


class LlamaReader:
    """`num_rows` rows of up to `length` tokens."""

    def __init__(self, weights: LlamaWeights, *, num_rows: int, length: int) -> None:
        self._weights, self._shape = weights, weights.shape
        self._num_rows, self._live = num_rows, 0
        self._is_padded = weights.shape.dtype == torch.bfloat16 and weights.embedding.device.type == "cpu"
        self._multiple = _ROWS_OF_BF16 if self._is_padded else 1
        self._kept = Kept(
            num_layers=len(weights.layers),
            num_rows=-(-num_rows // self._multiple) * self._multiple,
            groups=weights.shape.groups,
            length=length,
            width=weights.shape.width,
            like=weights.embedding,
            scale=weights.shape.scale,
        )
        places = torch.arange(max(length, _TOKENS_OF_BF16), device=weights.embedding.device)[None]
        cos, sin = weights.rotary(weights.embedding, places)
        self._cos, self._sin = cos[0], sin[0]

    @property
    def room(self) -> int:
        """Rows that can enter now."""
        return self._num_rows - self._live

    def enter(self, prompts: Sequence[Ids], copies: Sequence[int]) -> Tensor:
        """Read each prompt once, for as many rows as it has copies, behind the rows that are there."""
        sequences = [TokenSequence(ids, np.arange(len(ids)) < 0) for ids in prompts]
        multiple = _TOKENS_OF_BF16 if self._is_padded else 1
        batch = pack([(one,) for one in sequences], multiple_of=multiple).to(self._cos.device)
        first_rows = self._live + np.cumsum([0, *copies])
        places = self._cos[batch.positions[0]], self._sin[batch.positions[0]]
        x = F.embedding(batch.ids[0], self._weights.embedding)
        for number, layer in enumerate(self._weights.layers):
            x = self._run(layer, x, places, self._look_within(number, batch, first_rows))
        self._kept.lengths[self._live : first_rows[-1]] = np.repeat([len(ids) for ids in prompts], copies)
        self._live = int(first_rows[-1])
        lasts = batch.lasts.repeat_interleave(torch.tensor(copies, device=batch.lasts.device))
        hidden: Tensor = self._weights.norm(x[lasts])
        return hidden

    def step(self, tokens: Tensor) -> Tensor:
        """`tokens` (rows,): the newest token of every row."""
        rows = len(tokens)
        assert rows == self._live, "a token for every row"
        ids = F.pad(tokens, (0, -rows % self._multiple))
        positions = torch.from_numpy(self._kept.begin_step(len(ids))).to(ids.device)
        places = self._cos[positions], self._sin[positions]
        x = F.embedding(ids, self._weights.embedding)
        for number, layer in enumerate(self._weights.layers):
            x = self._run(layer, x, places, lambda q, k, v, number=number: self._kept.attend(number, q, k, v))  # type: ignore[misc]  # mypy does not infer lambdas with defaults
        self._kept.lengths[rows:] = 0  # idle rows
        hidden: Tensor = self._weights.norm(x[:rows])
        return hidden

    def keep(self, order: Sequence[int]) -> None:
        """The rows that stay, each moving towards the front or staying where it is."""
        self._kept.keep(order)
        self._live = len(order)

    def _run(self, layer: LayerWeights, x: Tensor, places: tuple[Tensor, Tensor], look: Look) -> Tensor:
        """A decoder layer: x (N, C) -> (N, C)."""
        shape = self._shape
        normed = normalise(x, layer.first_norm, shape.first_eps)[0].to(shape.dtype)
        seen = look(*split_heads(_product(normed, layer.qkv), *places, shape)).to(shape.dtype)
        middle = add_product(x, seen, layer.out.T)
        normed = normalise(middle, layer.second_norm, shape.second_eps)[0].to(shape.dtype)
        return add_product(middle, gated(_product(normed, layer.gate_up)), layer.down.T)

    def _look_within(self, number: int, batch: Batch, first_rows: Ids) -> Look:
        """Attention of whole prompts to themselves; their keys and values are kept for every copy."""

        def look(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            for one, first, last in zip(batch.segments, first_rows[:-1], first_rows[1:], strict=False):
                self._kept.write(number, first, last, k[:, one.start : one.stop], v[:, one.start : one.stop])
            return attend(q, k, v, batch.segments, self._shape.scale).flatten(1)

        return look


def _product(x: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
    """x times weights that stand below each other, (N, in) -> (N, out)."""
    return torch.cat([x @ one.T for one in weights], dim=-1)
