"""The one road from token sequences to numbers: log-probabilities of scored tokens, and rewards at sequences' ends.

    LogprobModel(policy)(batch)     TokenScores, one entry per scored token, sequence after sequence
    RewardModel(model)(batch)       (Q, K) float32: K values at each sequence's last token
    sum_by_sequence(values, batch)  (Q,) float64

Every trainer goes through here and nowhere else, with the batches of `rlaif.train.packing`, packed or padded. Both
classes are modules, so that DDP and FSDP wrap them and see their forward. The transformers model inside is unmodified;
its backbone runs on every token, its head (and, where it is ours, its last layer) on the rows that are read.

Sums over a sequence are taken in float64: a log-probability of -1500 nats has steps of 1e-4 in float32, and DPO's
log-ratio is a difference of four such numbers.

`check_packing` compares packed and padded batches with the model's own eager forward, once, before anything is
trained: a model whose attention looks elsewhere (state spaces, convolutions, ALiBi) is refused with a word about what
to do instead.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rlaif.errors import InputError
from rlaif.train.attention import no_mask, use_packed_attention
from rlaif.train.fused_layer import fuse_layers
from rlaif.train.head import CHUNK_ROWS, Head, TokenScores, token_logprobs
from rlaif.train.packing import Batch, TokenSequence, pack, pad
from rlaif.train.products import product_dtype, steady_rows
from rlaif.train.ragged import sums_of
from rlaif.train.tied import left_with, tie_gradients

_TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-2}  # nats; models compute norms and angles in float32 at best
_LOW_PRECISION_TOLERANCE = 0.5


class LogprobModel(nn.Module):
    """A causal language model of transformers, read through `token_logprobs`. Its logits are divided by `temperature`:
    an answer's probabilities are those it was sampled with."""

    def __init__(self, model: Any, *, chunk_rows: int = CHUNK_ROWS, temperature: float = 1.0) -> None:
        super().__init__()
        self.model, self.chunk_rows, self.temperature = model, chunk_rows, temperature

    def forward(self, batch: Batch, *, with_stats: bool = False) -> TokenScores:
        hidden = states_at(self.model, batch, batch.rows)
        head = head_of(self.model).at_temperature(self.temperature)
        return token_logprobs(hidden, head, batch.targets, chunk_rows=self.chunk_rows, with_stats=with_stats)


class RewardModel(nn.Module):
    """A sequence-classification model of transformers; its head reads each sequence's last token, in float32."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> Tensor:
        last = states_at(self.model, batch, batch.lasts)
        score = inner_model(self.model).score
        wide = torch.promote_types(last.dtype, torch.float32)
        with torch.autocast(last.device.type, enabled=False):
            rewards: Tensor = nn.functional.linear(last.to(wide), score.weight.to(wide))
        return rewards


def inner_model(model: Any) -> Any:
    """The transformers model, out of its PEFT wrapper where it has one (the adapters stay in place)."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def states_at(model: Any, batch: Batch, rows: Tensor) -> Tensor:
    """What the backbone makes of the tokens at `rows`, in their order; one may be named twice: (len(rows), C)."""
    asked = _asked(rows, batch, inner_model(model))
    found = hidden_states(model, batch, asked)
    if asked is None or len(found) > len(asked):
        return found.index_select(0, rows)
    return found.index_select(0, torch.searchsorted(asked, rows))


def _asked(rows: Tensor, batch: Batch, model: Any) -> Tensor | None:
    """The rows in ascending order, each once, and some others where products want a steady number of them; None where
    that is all, or the layers are not ours."""
    if not batch.segments or rows.device.type != "cpu":
        return None
    is_asked = torch.zeros(batch.ids.numel(), dtype=torch.bool)
    is_asked[rows] = True
    weight = model.get_input_embeddings().weight
    idle = -int(is_asked.sum()) % steady_rows(product_dtype(weight), weight.device)
    is_asked[(~is_asked).nonzero()[:idle, 0]] = True
    return None if is_asked.all() else is_asked.nonzero()[:, 0]


def hidden_states(model: Any, batch: Batch, asked: Tensor | None = None) -> Tensor:
    """What the backbone makes of every token: (R · N, C). Of those at `asked` alone (in ascending order), where its
    last layer is one of `rlaif.train.fused_layer`'s: (len(asked), C)."""
    inputs: dict[str, Any] = {"input_ids": batch.ids, "position_ids": batch.positions, "use_cache": False}
    if batch.segments:
        inputs |= {"segments": batch.segments, "asked": asked, "attention_mask": no_mask(batch.ids)}
    else:
        inputs |= {"attention_mask": batch.attention_mask}
    hidden: Tensor = inner_model(model).base_model(**inputs).last_hidden_state
    return hidden.flatten(0, 1)


def head_of(model: Any) -> Head:
    """The LM head of a causal model, with what its config does to the logits."""
    inner = inner_model(model)
    linear = inner.get_output_embeddings()
    config = inner.config.get_text_config()
    scale = float(getattr(config, "logit_scale", None) or 1.0) / float(getattr(config, "logits_scaling", None) or 1.0)
    return Head(
        weight=_whole(linear.weight),
        bias=_whole(linear.bias) if getattr(linear, "bias", None) is not None else None,
        scale=scale,
        softcap=getattr(config, "final_logit_softcapping", None),
        left=left_with(linear.weight),
    )


def _whole(weight: Tensor) -> Tensor:
    """A sharded parameter put together (its gradient goes back to the shards); any other as it is."""
    full: Tensor = weight.full_tensor() if hasattr(weight, "full_tensor") else weight
    return full


def sum_by_sequence(values: Tensor, batch: Batch) -> Tensor:
    """Sums of the scored tokens' values, per sequence: (S,) -> (Q,) in float64. 0 for a sequence without any."""
    wide = values if values.device.type == "mps" else values.double()
    return sums_of(wide, batch.lengths)


def prepare_model(model: Any) -> Any:
    """Switch a causal or classification model to packed attention and check that it computes the same that way."""
    use_packed_attention(inner_model(model))
    fuse_layers(inner_model(model))
    tie_gradients(inner_model(model))
    check_packing(model)
    return model


@torch.no_grad()
def check_packing(model: Any, *, length: int = 24) -> None:
    """Raise InputError unless packed and padded batches give what the model's own plain (eager) forward gives."""
    inner = inner_model(model)
    config = inner.config.get_text_config()
    draws = np.random.default_rng(0).integers(0, config.vocab_size, (3, length))
    draws[draws == config.pad_token_id] += 1 if config.pad_token_id == 0 else -1  # a classifier looks for the pad token
    draws[1, : length // 2] = draws[0, : length // 2]  # a family with a shared prefix, and one sequence alone
    sequences = [TokenSequence(ids[: length - cut], np.arange(length - cut) > 0) for cut, ids in enumerate(draws)]
    families = [tuple(sequences[:2]), (sequences[2],)]
    was_training = model.training
    model.eval()
    try:
        wanted = _plain_results(inner, sequences)
        if not torch.isfinite(wanted).all():
            raise InputError(
                f"the outputs of this {type(inner).__name__} are no numbers: its weights hold NaN or infinities.",
                do="Its training may have diverged; use an earlier checkpoint.",
            )
        for batch in (pack(families), pad(families)):
            gap = float((_results(model, batch.to(inner.device)) - wanted).abs().max())
            if not gap <= _TOLERANCE.get(inner.dtype, _LOW_PRECISION_TOLERANCE):
                raise _cannot_pack(inner, f"packed and plain results differ by {gap:.2g}")
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        raise _cannot_pack(inner, str(error)) from error
    finally:
        model.train(was_training)


def _results(model: Any, batch: Batch) -> Tensor:
    if inner_model(model).get_output_embeddings() is None:
        rewards: Tensor = RewardModel(model)(batch).flatten()
        return rewards
    scores: TokenScores = LogprobModel(model)(batch)
    return scores.logprobs


def _plain_results(inner: Any, sequences: list[TokenSequence]) -> Tensor:
    """Log-probabilities (or rewards) from whole logits, each sequence alone, by transformers' own eager attention."""
    selected = inner.config._attn_implementation
    inner.set_attn_implementation("eager")
    found = []
    for one in sequences:
        ids = torch.from_numpy(one.ids)[None].to(inner.device)
        logits = inner(input_ids=ids, use_cache=False).logits
        if inner.get_output_embeddings() is None:
            found.append(logits.flatten())
        else:
            found.append(logits[0, :-1].double().log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0])
    inner.set_attn_implementation(selected)
    return torch.cat(found)


def _cannot_pack(inner: Any, reason: str) -> InputError:
    return InputError(
        f"{type(inner).__name__} cannot read packed batches: {reason}.",
        do="Set packing: off; every sequence then has a row of its own.",
    )
