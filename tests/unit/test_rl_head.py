"""The head's entropy has a gradient, and a temperature divides the logits: against dense arithmetic and autograd."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.train.forward import LogprobModel
from rlaif.train.head import Head, token_logprobs
from rlaif.train.task import Layout
from tests.train_models import double_llama, random_pairs

torch.set_num_threads(1)


def dense(hidden, head, targets):
    """Log-probabilities and entropy from whole logits, differentiated by torch."""
    logits = hidden @ head.weight.T
    logits = (logits if head.bias is None else logits + head.bias) * head.scale
    if head.softcap is not None:
        logits = head.softcap * torch.tanh(logits / head.softcap)
    logs = logits.log_softmax(-1)
    return logs.gather(1, targets[:, None])[:, 0], -(logs.exp() * logs).sum(-1)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.integers(2, 23),
    st.sampled_from([None, 3.0]),
    st.sampled_from([1.0, 0.4]),
    st.booleans(),
    st.sampled_from(["both", "entropy", "logprobs"]),
)
def test_the_entropys_gradient_is_that_of_whole_logits(seed, rows, vocabulary, softcap, scale, with_bias, used):
    draw = torch.Generator().manual_seed(seed)
    numbers = {"generator": draw, "dtype": torch.float64}
    hidden, weight = torch.randn(rows, 4, **numbers), torch.randn(vocabulary, 4, **numbers)
    bias = torch.randn(vocabulary, **numbers) if with_bias else None
    targets = torch.randint(0, vocabulary, (rows,), generator=draw)
    parts = [one.requires_grad_() for one in (hidden, weight, bias) if one is not None]
    head = Head(weight, bias, scale, softcap)
    pulls = torch.randn(2, rows, **numbers)
    pulls[0] *= used != "entropy"
    found = token_logprobs(hidden, head, targets, chunk_rows=2, with_stats=True)  # several tiles
    wanted = dense(hidden, head, targets)
    assert (found.entropy - wanted[1]).abs().max() < 1e-12

    def gradients(logprobs, entropy):
        loss = (pulls[0] * logprobs).sum() if used != "entropy" else 0.0
        loss = loss + ((pulls[1] * entropy).sum() if used != "logprobs" else 0.0)
        return torch.autograd.grad(loss, parts)

    for one, other in zip(gradients(found.logprobs, found.entropy), gradients(*wanted), strict=True):
        assert (one - other).abs().max() < 1e-10


def test_a_model_at_a_temperature_gives_the_probabilities_of_divided_logits():
    model, families = double_llama(seed=4), random_pairs(3)
    batch = Layout().batch(families)
    found = LogprobModel(model, temperature=0.7)(batch, with_stats=True)
    wanted = []
    for sequence in (one for family in families for one in family):
        logits = model(input_ids=torch.from_numpy(sequence.ids)[None], use_cache=False).logits[0]
        logs = (logits / 0.7).log_softmax(-1)
        wanted += [logs[place - 1, sequence.ids[place]] for place in sequence.scored.nonzero()[0]]
    assert (found.logprobs - torch.stack(wanted)).abs().max() < 1e-10
    assert (found.logprobs - LogprobModel(model)(batch).logprobs).abs().max() > 0.01


def test_no_temperature_is_none():
    head = Head(torch.zeros(2, 2), softcap=3.0)
    assert head.at_temperature(1.0) is head
    with pytest.raises(AssertionError):
        head.at_temperature(0.0)
