"""The log-probability primitive: whatever the layout, the numbers of one sequence read alone."""

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.errors import InputError
from rlaif.train.forward import LogprobModel, RewardModel, prepare_model, sum_by_sequence
from rlaif.train.head import Head, token_logprobs
from rlaif.train.packing import TokenSequence, common_prefix, pack, packed_size, pad
from tests.train_models import VOCABULARY, double_gpt2, double_llama, llama, random_pairs, randomise, sequence

torch.set_num_threads(1)


def plain_logprobs(model, families):
    """The slow witness: every sequence alone through the model's own forward, whole logits, no padding."""
    found = []
    for one in (one for family in families for one in family):
        ids = torch.from_numpy(one.ids)[None]
        logs = model(input_ids=ids).logits[0].log_softmax(-1)
        found += [logs[at - 1, one.ids[at]] for at in np.flatnonzero(one.scored)]
    return torch.stack(found)


def gradients(model, values):
    """The gradient of a fixed uneven combination of values with respect to every weight, as one vector."""
    model.zero_grad()
    (values * torch.linspace(-1, 1, len(values), dtype=values.dtype)).sum().backward()
    return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]).clone()


LAYOUTS = {
    "packed, prefix shared": pack,
    "packed, prefix repeated": lambda families: pack(families, share_prefix=False),
    "packed, idle tokens at the end": lambda families: pack(families, multiple_of=64),
    "padded on the right": pad,
    "padded on the left": lambda families: pad(families, side="left"),
    "padded far too long": lambda families: pad(families, to_length=77),
}
MODELS = {"llama": double_llama, "gpt2": double_gpt2}


@pytest.fixture(scope="module", params=MODELS)
def witness(request):
    model, families = MODELS[request.param](), random_pairs(7)
    wanted = plain_logprobs(model, families)
    return model, families, wanted.detach(), gradients(model, wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_log_probabilities_and_gradients_are_those_of_a_sequence_read_alone(witness, layout):
    model, families, wanted, wanted_gradient = witness
    found = LogprobModel(model)(LAYOUTS[layout](families)).logprobs
    assert (found - wanted).abs().max() < 1e-12
    assert (gradients(model, found) - wanted_gradient).abs().max() < 1e-12 * wanted_gradient.abs().max()


@pytest.mark.parametrize("chunk_rows", [1, 7, 1000])
def test_the_size_of_a_chunk_changes_nothing(witness, chunk_rows):
    model, families, wanted, wanted_gradient = witness
    found = LogprobModel(model, chunk_rows=chunk_rows)(pack(families)).logprobs
    assert (found - wanted).abs().max() < 1e-12
    assert (gradients(model, found) - wanted_gradient).abs().max() < 1e-12 * wanted_gradient.abs().max()


def test_activation_checkpointing_changes_nothing(witness):
    model, families, wanted, wanted_gradient = witness
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    try:
        found = LogprobModel(model)(pack(families)).logprobs
        assert (found - wanted).abs().max() < 1e-12
        assert (gradients(model, found) - wanted_gradient).abs().max() < 1e-12 * wanted_gradient.abs().max()
    finally:
        model.eval()
        model.gradient_checkpointing_disable()


def test_the_order_of_rows_and_their_neighbours_change_nothing(witness):
    model, families, *_ = witness
    scorer = LogprobModel(model)
    together = pack(families)
    sums = sum_by_sequence(scorer(together).logprobs, together).view(-1, 2)
    backwards = pack(families[::-1])
    assert (sum_by_sequence(scorer(backwards).logprobs, backwards).view(-1, 2).flip(0) - sums).abs().max() < 1e-12
    for family, row in zip(families, sums, strict=True):
        alone = pack([family])
        assert (sum_by_sequence(scorer(alone).logprobs, alone) - row).abs().max() < 1e-12


def test_a_pad_token_that_is_also_the_end_of_sequence_changes_nothing():
    model = double_llama()
    families = [(sequence([5, 6], [7, 2]), sequence([5, 6], [8, 9, 2]))]  # both end with token 2
    wanted = plain_logprobs(model, families)
    for pad_id in (0, 2):
        batch = pad(families)
        batch.ids[batch.attention_mask == 0] = pad_id
        assert (LogprobModel(model)(batch).logprobs - wanted).abs().max() < 1e-12


@pytest.mark.parametrize("layout", LAYOUTS)
def test_in_float32_a_sum_of_log_probabilities_is_within_1e_5(layout):
    families = random_pairs(12, seed=3, prompt=(5, 30), answer=(5, 30))
    single, double = llama(), llama(dtype=torch.float64)
    batch = LAYOUTS[layout](families)
    found = sum_by_sequence(LogprobModel(single)(batch).logprobs, batch)
    first = pack(families)
    wanted = sum_by_sequence(LogprobModel(single)(first).logprobs, first)
    exact = sum_by_sequence(LogprobModel(double)(first).logprobs, first)
    assert ((found - wanted).abs() / exact.abs()).max() < 1e-5
    assert ((found - exact).abs() / exact.abs()).max() < 1e-5


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rewards_are_those_of_a_sequence_read_alone(layout):
    model = double_llama(kind=transformers.LlamaForSequenceClassification, num_labels=1)
    families = random_pairs(6)
    alone = [model(input_ids=torch.from_numpy(one.ids)[None]).logits[0] for family in families for one in family]
    wanted = torch.stack(alone)
    found = RewardModel(model)(LAYOUTS[layout](families))
    assert (found - wanted).abs().max() < 1e-12
    assert (gradients(model, found[:, 0]) - gradients(model, wanted[:, 0])).abs().max() < 1e-10


# --- the layout


ids = st.lists(st.integers(0, 3), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(ids, min_size=1, max_size=4), min_size=1, max_size=4))
def test_every_token_lies_where_the_layout_says_and_sees_what_stood_before_it(rows):
    families = [tuple(TokenSequence(np.array(one), np.arange(len(one)) > 0) for one in row) for row in rows]
    batch = pack(families)
    assert batch.ids.shape[1] == sum(packed_size(family) for family in families)
    tokens = batch.ids[0].tolist()
    for at, one in enumerate(one for family in families for one in family):
        last = int(batch.lasts[at])
        segment = next(s for s in batch.segments if s.start <= last < s.stop)
        assert tokens[segment.seen_start : segment.seen_stop] + tokens[segment.start : last + 1] == one.ids.tolist()
    assert batch.targets.tolist() == [t for family in families for one in family for t in one.ids[1:].tolist()]


def test_the_shared_prefix_ends_where_the_tokens_differ_not_where_the_prompt_does():
    merged = (sequence([5, 6, 7], [8, 9]), sequence([5, 6], [4, 9]))  # the second prompt's end merged into a token
    assert common_prefix(merged) == 2
    assert packed_size(merged) == 2 + 3 + 2
    same_start = (sequence([5], [8, 9]), sequence([5], [8, 4]))
    assert common_prefix(same_start) == 2
    assert pack([same_start]).targets.tolist() == [8, 9, 8, 4]  # what both answers say is scored for each


def test_equal_answers_and_one_that_begins_the_other_are_packed_too():
    model = double_llama()
    for family in (
        (sequence([5, 6], [7, 8]), sequence([5, 6], [7, 8])),
        (sequence([5, 6], [7, 8, 9]), sequence([5, 6], [7])),
        (sequence([5, 6], [7]), sequence([5, 6], [7, 8, 9])),
    ):
        found = LogprobModel(model)(pack([family])).logprobs
        assert (found - plain_logprobs(model, [family])).abs().max() < 1e-12


# --- the head


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_the_chunked_head_is_a_log_softmax_with_its_gradient(scale, softcap):
    draw = torch.Generator().manual_seed(1)
    hidden, weight, bias = (
        torch.randn(shape, generator=draw, dtype=torch.float64).requires_grad_() for shape in ((9, 4), (11, 4), (11,))
    )
    targets = torch.randint(0, 11, (9,), generator=draw)

    def ours(h, w, b):
        return token_logprobs(h, Head(w, b, scale, softcap), targets, chunk_rows=4).logprobs

    logits = (hidden @ weight.T + bias) * scale
    logits = logits if softcap is None else softcap * torch.tanh(logits / softcap)
    assert torch.allclose(
        ours(hidden, weight, bias), logits.log_softmax(-1).gather(1, targets[:, None])[:, 0], atol=1e-14
    )
    assert torch.autograd.gradcheck(ours, (hidden, weight, bias), atol=1e-9, rtol=1e-7)


def test_entropy_and_greedy_share_are_those_of_the_distribution():
    hidden, weight = torch.randn(6, 4), torch.randn(9, 4)
    shares = (hidden @ weight.T).softmax(-1)
    found = token_logprobs(hidden, Head(weight), shares.argmax(-1), chunk_rows=4, with_stats=True)
    assert torch.allclose(found.entropy, -(shares * shares.log()).sum(-1), atol=1e-5)
    assert found.is_greedy.all()


def test_under_bf16_the_softmax_is_float32_and_gradients_have_the_weights_type():
    torch.manual_seed(0)
    hidden, weight = (torch.randn(300, 32), torch.randn(1000, 32).requires_grad_())
    targets = torch.randint(0, 1000, (300,))
    with torch.autocast("cpu", torch.bfloat16):
        found = token_logprobs(hidden, Head(weight), targets).logprobs
    logits = (hidden.bfloat16() @ weight.bfloat16().T).float()
    assert found.dtype == torch.float32
    assert torch.allclose(found, logits.log_softmax(-1).gather(1, targets[:, None])[:, 0], atol=1e-5)
    found.sum().backward()
    assert weight.grad.dtype == torch.float32


def test_no_tensor_of_tokens_times_vocabulary_is_ever_made():
    """Traps the largest tensor any operation returns, forward and backward."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            found = func(*args, **(kwargs or {}))
            for one in found if isinstance(found, tuple | list) else [found]:
                if isinstance(one, torch.Tensor):
                    self.size = max(self.size, one.numel())
            return found

    hidden = torch.randn(640, 8, requires_grad=True)
    weight = torch.randn(512, 8, requires_grad=True)
    with Largest() as largest:
        token_logprobs(
            hidden, Head(weight), torch.zeros(640, dtype=torch.long), chunk_rows=32
        ).logprobs.sum().backward()
    assert largest.size <= 32 * 512


# --- models of other shapes


def causal(config):
    return randomise(transformers.AutoModelForCausalLM.from_config(config), scale=0.5).eval()


def small(kind, **more):
    sizes = dict(llama().config.to_dict())
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "head_dim")
    names += ("num_key_value_heads", "max_position_embeddings", "pad_token_id", "bos_token_id", "eos_token_id")
    return kind(**{name: sizes[name] for name in names}, **more)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("Qwen3Config", {}),
        ("MistralConfig", {"sliding_window": 5}),
        ("Gemma2Config", {"sliding_window": 5, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}),
        ("CohereConfig", {"logit_scale": 0.3}),
        ("GraniteConfig", {"logits_scaling": 4.0, "attention_multiplier": 0.7}),
        ("Olmo2Config", {}),
        ("GPTNeoXConfig", {}),
    ],
)
def test_unmodified_models_of_transformers_are_packed(kind, more):
    """`prepare_model` compares with the model's own eager attention and refuses beyond 0.01 nats."""
    prepare_model(causal(small(getattr(transformers, kind), **more)))


def test_a_model_that_cannot_be_packed_is_refused_with_what_to_do():
    config = transformers.BloomConfig(vocab_size=VOCABULARY, hidden_size=16, n_layer=2, n_head=4)
    with pytest.raises(InputError, match="packing: off"):
        prepare_model(causal(config))


def test_generation_is_unchanged_by_the_packed_attention():
    model = llama()
    prompts = torch.tensor([[0, 0, 5, 6], [3, 4, 5, 6]])
    call = {"attention_mask": (prompts != 0).long(), "max_new_tokens": 8, "do_sample": False}
    found = model.generate(prompts, **call)
    model.set_attn_implementation("sdpa")
    assert torch.equal(found, model.generate(prompts, **call))
