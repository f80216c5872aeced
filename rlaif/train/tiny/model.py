"""The Llama of both tiny models, for training: the same weights and names as transformers', over packed contexts.

A packed context is one prefix and K tails; a tail sees the prefix and itself. The prefix is computed once, so eight
questions about a pair of answers cost about two. Linear layers run on real tokens only (`tokens`), attention on padded
blocks. Weights are float32; the arithmetic is bfloat16 when `compute_dtype` says so.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from torch import Tensor, nn

ROPE_THETA = 10_000.0
NORM_EPS = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of a model."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    inner: int
    head_dim: int = 64


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch of packed contexts as indices of real tokens.

    `tokens` (N,) holds all prefixes, then all tails, then idle rows nobody reads. `prefix_slots` and `tail_slots` say
    where each token lies in the padded blocks (B, P) and (B, K, L), flattened; `num_prefix` splits `tokens`. K = 0
    means a plain causal batch.
    """

    tokens: Tensor
    positions: Tensor
    num_prefix: int
    prefix_slots: Tensor
    tail_slots: Tensor
    blocks: tuple[int, int, int, int]  # B, P, K, L
    prefix_lengths: Tensor  # (B,)


def rope_tables(positions: Tensor, head_dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """cos and sin, each (N, 1, head_dim), in the half-rotated layout of transformers."""
    inverse = ROPE_THETA ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    angles = positions.float()[:, None] * inverse
    both = torch.cat((angles, angles), dim=-1)[:, None, :]
    return both.cos().to(dtype), both.sin().to(dtype)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return x * cos + turned * sin


def _spread(x: Tensor, slots: Tensor, total: int) -> Tensor:
    """Rows of x put in their slots of a padded block; the rest is zero."""
    return x.new_zeros((total, *x.shape[1:])).index_copy(0, slots, x)


def _causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Plain causal attention, (B, H, P, D). Written out: torch's CPU kernel is twice as slow backwards in bfloat16."""
    length = q.shape[2]
    later = torch.ones(length, length, dtype=torch.bool).triu(1)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    seen: Tensor = scores.masked_fill(later, -1e30).softmax(dim=-1) @ v
    return seen


class Attention(nn.Module):
    """Causal attention over packed contexts."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.heads * shape.head_dim
        self.heads, self.head_dim = shape.heads, shape.head_dim
        self.q_proj = nn.Linear(shape.hidden, width, bias=False)
        self.k_proj = nn.Linear(shape.hidden, width, bias=False)
        self.v_proj = nn.Linear(shape.hidden, width, bias=False)
        self.o_proj = nn.Linear(width, shape.hidden, bias=False)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], packed: Packed, masks: tuple[Tensor, Tensor]) -> Tensor:
        weights = torch.cat((self.q_proj.weight, self.k_proj.weight, self.v_proj.weight)).to(x.dtype)
        qkv = F.linear(x, weights).view(-1, 3, self.heads, self.head_dim)
        q, k = _rotate(qkv[:, 0], *rope), _rotate(qkv[:, 1], *rope)
        stacked = torch.stack((q, k, qkv[:, 2]), dim=1)
        num_batch, p_len, num_tails, t_len = packed.blocks
        head = _spread(stacked[: packed.num_prefix], packed.prefix_slots, num_batch * p_len)
        head = head.view(num_batch, p_len, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)  # 3 B H P D
        seen = _causal(head[0], head[1], head[2])
        flat = seen.transpose(1, 2).reshape(num_batch * p_len, -1)[packed.prefix_slots]
        if num_tails:
            num_real = packed.num_prefix + len(packed.tail_slots)
            tail = stacked[packed.num_prefix : num_real]
            tail = _spread(tail, packed.tail_slots, num_batch * num_tails * t_len)
            tail = tail.view(num_batch, num_tails, t_len, 3, self.heads, self.head_dim)
            seen = self._tails(tail.permute(3, 0, 4, 1, 2, 5), head, masks)
            flat = torch.cat((flat, seen.reshape(num_batch * num_tails * t_len, -1)[packed.tail_slots]))
        flat = F.pad(flat, (0, 0, 0, len(x) - len(flat)))
        return F.linear(flat, self.o_proj.weight.to(x.dtype))

    def _tails(self, tail: Tensor, head: Tensor, masks: tuple[Tensor, Tensor]) -> Tensor:
        """tail (3, B, H, K, L, D), head (3, B, H, P, D) -> (B, K, L, H, D)."""
        q, k, v = tail[0], tail[1], tail[2]
        batch, heads, num_tails, t_len, dim = q.shape
        p_len = head.shape[3]
        q = q * dim**-0.5
        to_prefix = q.reshape(batch, heads, num_tails * t_len, dim) @ head[1].transpose(-1, -2)
        to_prefix = to_prefix.view(batch, heads, num_tails, t_len, p_len) + masks[0]
        to_self = q @ k.transpose(-1, -2) + masks[1]
        shares = torch.cat((to_prefix, to_self), dim=-1).softmax(dim=-1)
        first, own = shares[..., :p_len], shares[..., p_len:]
        seen: Tensor = first.reshape(batch, heads, num_tails * t_len, p_len) @ head[2]
        seen = seen.view(batch, heads, num_tails, t_len, dim) + own @ v
        return seen.permute(0, 2, 3, 1, 4)


class FeedForward(nn.Module):
    """The gated feed-forward part (SwiGLU)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.inner, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.inner, bias=False)
        self.down_proj = nn.Linear(shape.inner, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = (F.linear(x, part.weight.to(x.dtype)) for part in (self.gate_proj, self.up_proj))
        return F.linear(F.silu(gate) * up, self.down_proj.weight.to(x.dtype))


class Layer(nn.Module):
    """One decoder layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.hidden, eps=NORM_EPS)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape.hidden, eps=NORM_EPS)
        self.mlp = FeedForward(shape)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], packed: Packed, masks: tuple[Tensor, Tensor]) -> Tensor:
        x = x + self.self_attn(_norm(x, self.input_layernorm), rope, packed, masks)
        fed: Tensor = self.mlp(_norm(x, self.post_attention_layernorm))
        return x + fed


def _norm(x: Tensor, norm: nn.RMSNorm) -> Tensor:
    return F.rms_norm(x, norm.normalized_shape, norm.weight.to(x.dtype), NORM_EPS)


class TinyLlama(nn.Module):
    """Embedding, layers, final norm; the head shares the embedding's weights."""

    def __init__(self, shape: Shape, compute_dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        self.shape, self.compute_dtype = shape, compute_dtype
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.hidden, eps=NORM_EPS)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                shrink = (2 * shape.layers) ** -0.5 if "o_proj" in name or "down_proj" in name else 1.0
                nn.init.normal_(weight, std=0.02 if "embed" in name else shrink * weight.shape[1] ** -0.5)

    def forward(self, packed: Packed, keep: tuple[int, ...] = ()) -> tuple[Tensor, dict[int, Tensor]]:
        """Hidden states of all tokens after the final norm, (N, C), and those after the layers named in `keep`."""
        x = F.embedding(packed.tokens, self.embed_tokens.weight).to(self.compute_dtype)
        rope = rope_tables(packed.positions, self.shape.head_dim, self.compute_dtype)
        masks = _masks(packed, self.compute_dtype)
        kept: dict[int, Tensor] = {}
        for index, layer in enumerate(self.layers, start=1):
            x = layer(x, rope, packed, masks)
            if index in keep:
                kept[index] = x
        return _norm(x, self.norm), kept

    def logits(self, hidden: Tensor) -> Tensor:
        """Vocabulary logits in float32."""
        return F.linear(hidden, self.embed_tokens.weight.to(hidden.dtype)).float()


def _masks(packed: Packed, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Additive masks of the tails: (B, 1, 1, 1, P) hides padding of the prefix, (L, L) hides what comes later."""
    _, p_len, _, t_len = packed.blocks
    hidden = torch.arange(p_len)[None] >= packed.prefix_lengths[:, None]
    to_prefix = torch.zeros(hidden.shape, dtype=dtype).masked_fill(hidden, -1e30)[:, None, None, None, :]
    later = torch.ones(t_len, t_len, dtype=torch.bool).triu(1)
    return to_prefix, torch.zeros(t_len, t_len, dtype=dtype).masked_fill(later, -1e30)


def next_token_loss(model: TinyLlama, hidden: Tensor, at: Tensor, following: Tensor) -> Tensor:
    """Mean cross-entropy in nats of the tokens that follow the places `at`; rows are padded to a steady shape."""
    idle = -len(at) % 256
    logits = model.logits(hidden[F.pad(at, (0, idle))])
    return F.cross_entropy(logits, F.pad(following, (0, idle), value=-100))
