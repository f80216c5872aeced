"""Log-probabilities of tokens from hidden states and the LM head, never holding more than one tile of logits.

    token_logprobs(hidden, head, targets).logprobs      # (S,) float32, differentiable in hidden and the head
    token_logprobs(…, with_stats=True).entropy          # (S,) of the whole distribution, differentiable too

A tile is all scored tokens times a stretch of the vocabulary. The forward reduces each tile to its part of the
softmax's normaliser and forgets it; the backward makes it again, turns it into the gradient by logits, and finishes
that stretch of the head's gradient with one product. So memory grows neither with tokens x vocabulary nor with the
vocabulary, and the price is one more matrix product. Rows are completion positions only; which they are,
`packing.Batch.rows` says.

Precision: the matrix product runs in the autocast type where there is one (as a model's own head would), everything
after it in float32, in float64 where hidden states are float64. Sums over tiles are taken in float32.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from torch import Tensor
from torch.autograd.function import once_differentiable

from rlaif.train.products import add_to, product_dtype, put_product, steady_rows
from rlaif.train.tied import Left

CHUNK_ROWS = 256
_TILE_COLUMNS = {"cpu": 1 << 13}  # x CHUNK_ROWS: 8 MB of float32, which a CPU keeps in its cache


@dataclass(frozen=True, slots=True)
class Head:
    """An LM head: logits = cap(scale · (h Wᵀ + b)), cap(z) = softcap · tanh(z / softcap) where there is a softcap."""

    weight: Tensor  # (V, C)
    bias: Tensor | None = None  # (V,)
    scale: float = 1.0
    softcap: float | None = None
    left: Left | None = None  # where the gradient of the weight is left for the embedding's, which is the same matrix

    def at_temperature(self, temperature: float) -> "Head":
        """The head whose logits are these divided by the temperature: of the distribution that was sampled."""
        assert temperature > 0, "greedy decoding has no distribution"
        if temperature == 1.0:
            return self
        softcap = None if self.softcap is None else self.softcap / temperature  # cap(z) / T = (s/T) tanh((z/T) / (s/T))
        return replace(self, scale=self.scale / temperature, softcap=softcap)


@dataclass(frozen=True, slots=True)
class TokenScores:
    """Of each scored token: its log-probability in nats and the distribution's entropy in nats (both differentiable),
    and whether the token was the most likely one. The last two are None unless asked for."""

    logprobs: Tensor  # (S,)
    entropy: Tensor | None = None  # (S,)
    is_greedy: Tensor | None = None  # (S,)


@dataclass(frozen=True, slots=True)
class _Settings:
    """What does not change from tile to tile."""

    held: int  # logits in a tile
    dtype: torch.dtype  # of the matrix products
    scale: float
    softcap: float | None
    with_stats: bool
    left: Left | None


def token_logprobs(
    hidden: Tensor, head: Head, targets: Tensor, *, chunk_rows: int = CHUNK_ROWS, with_stats: bool = False
) -> TokenScores:
    """Score `targets` (S,) under the distributions that the hidden states (S, C) predict. A tile holds as many logits
    as `chunk_rows` rows of a vocabulary of 8,192 (on a GPU: of the whole one)."""
    assert hidden.dim() == 2, "(tokens, width)"
    assert targets.shape == hidden.shape[:1], "one target per hidden state"
    vocabulary = len(head.weight)
    held = chunk_rows * min(_TILE_COLUMNS.get(hidden.device.type, vocabulary), vocabulary)
    settings = _Settings(held, product_dtype(hidden), head.scale, head.softcap, with_stats, head.left)
    logprobs, entropy, is_greedy = _score(hidden, head.weight, head.bias, targets, settings)
    return TokenScores(logprobs, entropy, is_greedy)


def head_logits(hidden: Tensor, head: Head, dtype: torch.dtype) -> Tensor:
    """Whole logits (S, V) of a few hidden states (S, C), for drawing next tokens: the product in `dtype`, everything
    after it in float32, or float64 where the hidden states are."""
    settings = _Settings(0, dtype, head.scale, head.softcap, with_stats=False, left=None)
    with torch.autocast(hidden.device.type, enabled=False):
        return _logits(hidden.to(dtype), head.weight, head.bias, slice(None), settings)


class _TiledLogprobs(torch.autograd.Function):
    """log p(target | hidden) and the entropy H, with ∂ log p(t) / ∂ logits = onehot(t) - p and
    ∂ H / ∂ logits = -p (log p + H)."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, settings: _Settings
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        ctx.settings = settings
        cast = _cast_rows(hidden, settings.dtype)
        tiles = _tiles(len(cast), len(weight), settings.held)
        found = _Running(targets, _wide(hidden), len(tiles), settings.with_stats)
        with torch.autocast(hidden.device.type, enabled=False):
            for number, at in enumerate(tiles):
                found.add(number, at, _logits(cast, weight, bias, at, settings)[: len(targets)])
        normalisers, entropy, is_greedy = found.results()
        ctx.save_for_backward(hidden, weight, bias, targets, normalisers, entropy)
        ctx.set_materialize_grads(False)  # an entropy that nobody uses costs nothing
        if is_greedy is not None:
            ctx.mark_non_differentiable(is_greedy)
        return found.of_target - normalisers, entropy, is_greedy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_logprobs: Tensor | None, of_entropy: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, normalisers, entropy = ctx.saved_tensors
        settings: _Settings = ctx.settings
        wants_hidden, wants_weight, wants_bias, *_ = ctx.needs_input_grad
        cast = _cast_rows(hidden, settings.dtype)
        idle = len(cast) - len(targets)
        gradient = _Gradient.of(of_logprobs, of_entropy, normalisers, entropy).padded(idle)
        normalisers = F.pad(normalisers, (0, idle))
        to_hidden = torch.zeros_like(cast, dtype=normalisers.dtype) if wants_hidden else None
        to_weight = torch.empty_like(weight) if wants_weight else None
        to_bias = torch.empty_like(bias) if wants_bias and bias is not None else None
        with torch.autocast(hidden.device.type, enabled=False):
            for at in _tiles(len(cast), len(weight), settings.held):
                logits = _logits(cast, weight, bias, at, settings)
                by_logit = _by_logit(logits, at, targets, normalisers, gradient, settings)
                if to_bias is not None:
                    to_bias[at] = by_logit.sum(dim=0)
                by_logit = by_logit.to(settings.dtype)
                if to_weight is not None:
                    put_product(to_weight[at], by_logit.T, cast)
                if to_hidden is not None:
                    add_to(to_hidden, by_logit, weight[at].to(settings.dtype))
        if to_hidden is not None:
            to_hidden = to_hidden[: len(targets)].to(hidden.dtype)
        if to_weight is not None and settings.left is not None and wants_hidden:
            settings.left.add(to_weight)
            to_weight = None
        return to_hidden, to_weight, to_bias, None, None


_score: Any = _TiledLogprobs.apply


class _Running:
    """What a pass over the tiles leaves: the target's logit, the normaliser, and for the statistics the expected logit
    and the largest one."""

    def __init__(self, targets: Tensor, dtype: torch.dtype, num_tiles: int, with_stats: bool) -> None:
        self.targets, self.with_stats = targets, with_stats
        self.of_target = torch.empty(len(targets), dtype=dtype, device=targets.device)
        self.by_tile = self.of_target.new_empty(num_tiles, len(targets))  # log Σ exp of each tile
        self.expected = torch.empty_like(self.by_tile) if with_stats else None  # Σ p · logit within the tile
        self.largest = torch.full_like(self.of_target, -torch.inf)
        self.greedy = torch.zeros_like(targets)

    def add(self, number: int, at: slice, logits: Tensor) -> None:
        rows = _rows_in(at, self.targets)
        self.of_target[rows] = logits[rows, self.targets[rows] - at.start]
        self.by_tile[number] = logits.logsumexp(dim=-1)
        if self.expected is not None:
            largest, place = logits.max(dim=-1)
            is_larger = largest > self.largest  # the first of equal ones counts
            self.greedy = torch.where(is_larger, place + at.start, self.greedy)
            self.largest = torch.where(is_larger, largest, self.largest)
            shares = (logits - self.by_tile[number, :, None]).exp_()
            self.expected[number] = shares.mul_(logits).sum(dim=-1)

    def results(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        normalisers = self.by_tile.logsumexp(dim=0)
        if self.expected is None:
            return normalisers, None, None
        expected = ((self.by_tile - normalisers).exp() * self.expected).sum(dim=0)
        return normalisers, normalisers - expected, self.greedy == self.targets


@dataclass(frozen=True, slots=True)
class _Gradient:
    """What flows back to each row: by its log-probability (g) and by its entropy (h), and g + h·H, which every entry of
    the distribution shares."""

    by_logprob: Tensor
    by_entropy: Tensor | None
    common: Tensor

    @classmethod
    def of(
        cls, of_logprobs: Tensor | None, of_entropy: Tensor | None, like: Tensor, entropy: Tensor | None
    ) -> "_Gradient":
        by_logprob = torch.zeros_like(like) if of_logprobs is None else of_logprobs
        if of_entropy is None:
            return cls(by_logprob, None, by_logprob)
        assert entropy is not None, "it was computed, or nothing could flow back to it"
        return cls(by_logprob, of_entropy, by_logprob + of_entropy * entropy)

    def padded(self, idle: int) -> "_Gradient":
        """With rows of zeros for the idle ones."""
        by_entropy = None if self.by_entropy is None else F.pad(self.by_entropy, (0, idle))
        return _Gradient(F.pad(self.by_logprob, (0, idle)), by_entropy, F.pad(self.common, (0, idle)))


def _tiles(rows: int, vocabulary: int, held: int) -> list[slice]:
    """Stretches of the vocabulary, of nearly the same width, so that rows x width is at most `held`."""
    count = -(-vocabulary // max(1, min(vocabulary, held // max(1, rows))))
    width = -(-vocabulary // count)
    return [slice(start, min(start + width, vocabulary)) for start in range(0, vocabulary, width)]


def _wide(hidden: Tensor) -> torch.dtype:
    return torch.float64 if hidden.dtype == torch.float64 else torch.float32


def _cast_rows(hidden: Tensor, dtype: torch.dtype) -> Tensor:
    """Hidden states in the products' type, with idle rows of zeros where shapes should be steady."""
    cast = hidden.to(dtype)
    idle = -len(hidden) % steady_rows(dtype, hidden.device)
    if idle:
        cast = F.pad(cast, (0, 0, 0, idle))
    return cast


def _rows_in(at: slice, targets: Tensor) -> Tensor:
    """Which tokens' targets lie in a stretch of the vocabulary."""
    is_inside: Tensor = (targets >= at.start) & (targets < at.stop)
    return is_inside.nonzero()[:, 0]


def _logits(cast: Tensor, weight: Tensor, bias: Tensor | None, at: slice, settings: _Settings) -> Tensor:
    """(rows, width) in float32, or float64 where the hidden states are."""
    logits = (cast @ weight[at].to(settings.dtype).T).to(_wide(cast))
    if bias is not None:
        logits += bias[at]
    if settings.scale != 1.0:
        logits *= settings.scale
    return logits if settings.softcap is None else torch.tanh(logits / settings.softcap) * settings.softcap


def _by_logit(
    logits: Tensor, at: slice, targets: Tensor, normalisers: Tensor, gradient: _Gradient, settings: _Settings
) -> Tensor:
    """The gradient by what the matrix product gave: [g (onehot - p) - h p (log p + H)] · ∂ logit / ∂ product."""
    capped = settings.softcap
    steepness: Tensor | float = settings.scale
    if capped is not None:
        steepness = settings.scale * (1 - (logits / capped) ** 2)
    rows = _rows_in(at, targets)
    logprobs = logits.sub_(normalisers[:, None])
    if gradient.by_entropy is None:
        by_logit = logprobs.exp_().mul_(-gradient.by_logprob[:, None])
    else:
        by_logit = logprobs.exp().mul_(logprobs.mul_(-gradient.by_entropy[:, None]).sub_(gradient.common[:, None]))
    by_logit[rows, targets[rows] - at.start] += gradient.by_logprob[rows]
    return by_logit if capped is None and settings.scale == 1.0 else by_logit.mul_(steepness)
