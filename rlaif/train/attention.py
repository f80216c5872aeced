"""Attention over a packed row, for models of transformers as they are.

`use_packed_attention(model)` registers one attention function with transformers' `AttentionInterface` and selects it.
The packing layout travels as a keyword argument of the model's forward (`segments=…`), which transformers hands through
to every attention layer, also when a checkpointed layer is computed a second time. Without `segments` the function is
transformers' own SDPA, with its masks: padded batches and `generate` work as before (and Gemma 2's capped scores, which
SDPA leaves uncapped in silence, are capped).

On a CPU the products are `rlaif.train.segment_attention`'s. Elsewhere, and where scores are capped, windows close or
weights dropped, every segment is one call of `scaled_dot_product_attention`: causal without a mask where the segment
stands alone, with a small mask where it continues a prefix. Nothing of size N × N is ever made. Rotary and learned
positions are the model's own affair (it is given `position_ids`); sliding windows and capped scores are honoured here,
attention sinks and position biases are refused. That a model really computes the same packed and plain is not believed
but measured: `rlaif.train.forward.check_packing` does it once per model.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from torch import Tensor

from rlaif.errors import InputError
from rlaif.train.packing import Segment
from rlaif.train.segment_attention import SegmentAttention

NAME = "rlaif_packed"
_UNKNOWN = ("s_aux", "sinks", "position_bias", "head_mask")  # what would change the scores and is not computed here


def use_packed_attention(model: Any) -> None:
    """Make a transformers model take `segments`. Its other behaviour stays as it is under SDPA."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def no_mask(like: Tensor) -> Tensor:
    """A stand-in for the attention mask of a packed batch: transformers takes a mask of four dimensions for a finished
    one and builds none of its own, which would be N × N."""
    return like.new_zeros((1, 1, 1, 1))


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    segments: Sequence[Segment] = (),
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """query (1, H, N, D), key and value (1, G, N, D) -> (1, N, H, D); G divides H."""
    if not segments and softcap is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        rest = {"scaling": scaling, "dropout": dropout, **others}
        found, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **rest)
        return found, None
    if unknown := [name for name in _UNKNOWN if others.get(name) is not None]:
        raise InputError(
            f"{type(module).__name__} asks its attention for {', '.join(unknown)}, which packed batches do not know.",
            do="Set packing: off.",
        )
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    if segments and query.device.type == "cpu" and _is_plain(segments, dropout, sliding_window, softcap):
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else query.dtype
        parts = (part[0].to(dtype) for part in (query, key, value))
        return _attend_segments(*parts, tuple(segments), scale)[None], None
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key, value = (part.repeat_interleave(repeats, dim=1) for part in (key, value))
    if not segments:
        assert softcap is not None
        if attention_mask is None:
            attention_mask = _visible(query.shape[2], key.shape[2], sliding_window, query.device)
        return _capped(query, key, value, scale, dropout, softcap, attention_mask).transpose(1, 2), None
    # split, not slices: the backward of split is one concatenation, that of each slice a zero tensor of full size
    sizes = [one.stop - one.start for one in segments]
    queries, keys, values = (torch.split(part, sizes, dim=2) for part in (query, key, value))
    by_start = {one.start: number for number, one in enumerate(segments)}
    seen = []
    for number, one in enumerate(segments):
        k, v = keys[number], values[number]
        before = one.seen_stop - one.seen_start
        if before:
            first = by_start[one.seen_start]
            k = torch.cat((keys[first][:, :, :before], k), dim=2)
            v = torch.cat((values[first][:, :, :before], v), dim=2)
        seen.append(_attend(queries[number], k, v, scale, dropout, sliding_window, softcap))
    return torch.cat(seen, dim=2).transpose(1, 2), None


_attend_segments: Any = SegmentAttention.apply


def _is_plain(segments: Sequence[Segment], dropout: float, window: int | None, softcap: float | None) -> bool:
    """Nothing but a softmax over all that a segment may see."""
    longest = max(one.stop - one.start + one.seen_stop - one.seen_start for one in segments)
    return not dropout and softcap is None and (window is None or longest <= window)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, scale: float, dropout: float, window: int | None, softcap: float | None
) -> Tensor:
    """q (1, H, L, D) are the last L of the K tokens of k and v (1, H, K, D)."""
    length, total = q.shape[2], k.shape[2]
    is_plain = window is None or total <= window
    if softcap is None:
        mask = None if is_plain and length == total else _visible(length, total, window, q.device)
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=mask is None, scale=scale
        )
    return _capped(q, k, v, scale, dropout, softcap, _visible(length, total, window, q.device))


def _capped(q: Tensor, k: Tensor, v: Tensor, scale: float, dropout: float, softcap: float, visible: Tensor) -> Tensor:
    """Attention with scores softcap · tanh(score / softcap), which SDPA does not have. `visible` is boolean."""
    scores = torch.tanh((q @ k.transpose(-1, -2)) * (scale / softcap)) * softcap
    scores = scores.masked_fill(~visible, torch.finfo(scores.dtype).min)
    return F.dropout(scores.softmax(dim=-1, dtype=torch.promote_types(q.dtype, torch.float32)).to(q.dtype), dropout) @ v


def _visible(length: int, total: int, window: int | None, device: torch.device) -> Tensor:
    """(L, K) True where the query, the last L of K tokens, may look: not ahead, not beyond the window."""
    at = torch.arange(total - length, total, device=device)[:, None]
    to = torch.arange(total, device=device)[None]
    seen = to <= at
    return seen if window is None else seen & (at - to < window)
