"""The written-out layers, the segments' attention and the tiled head, beside the slow paths they stand for."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import transformers

from rlaif.train import fused_layer, products, segment_attention
from rlaif.train.attention import packed_attention
from rlaif.train.forward import LogprobModel, RewardModel, hidden_states, prepare_model
from rlaif.train.head import Head, token_logprobs
from rlaif.train.packing import TokenSequence, pack, pad
from rlaif.train.segment_attention import _BLOCK, Bundle, SegmentAttention, _work
from rlaif.train.tied import Left
from tests.train_models import SIZES, double_llama, random_pairs, randomise, sequence

torch.set_num_threads(1)


def long_pairs():
    """Prompts and answers that need several blocks of queries, and short ones."""
    draw = torch.Generator().manual_seed(0)

    def ids(count):
        return torch.randint(3, 50, (count,), generator=draw).tolist()

    lengths = [(2 * _BLOCK + 9, _BLOCK + 1, 3), (5, 2, _BLOCK), (_BLOCK, 1, 1)]
    return [
        tuple(sequence(asked, [3 + place, *ids(count)]) for place, count in enumerate(answers))
        for asked, *answers in ((ids(prompt), *answers) for prompt, *answers in lengths)
    ]


@pytest.fixture
def unfused(monkeypatch):
    monkeypatch.setattr(fused_layer, "_applies", lambda *_: False)


def results(model, families, layout=pack):
    model.zero_grad()
    found = LogprobModel(model)(layout(families)).logprobs
    (found * torch.linspace(-1, 1, len(found), dtype=found.dtype)).sum().backward()
    return found.detach(), {name: weight.grad.clone() for name, weight in model.named_parameters()}


def assert_same(found, wanted, tolerance):
    assert (found[0] - wanted[0]).abs().max() <= tolerance * wanted[0].abs().max()
    for name, gradient in wanted[1].items():
        assert (found[1][name] - gradient).abs().max() <= tolerance * gradient.abs().max(), name


def calls_of_the_fused_layer(monkeypatch):
    """How many tokens each of them gave back."""
    calls, run = [], fused_layer.run_layer

    def counting(*given):
        found = run(*given)
        calls.append(len(found))
        return found

    monkeypatch.setattr(fused_layer, "run_layer", counting)
    return calls


def test_a_written_out_layer_has_the_results_and_gradients_of_the_models_own_code(monkeypatch):
    monkeypatch.setattr(products, "STRETCH", 100)  # so that there are several
    model, families = double_llama(max_position_embeddings=1024), long_pairs()
    calls = calls_of_the_fused_layer(monkeypatch)
    found = results(model, families)
    assert len(calls) == SIZES["num_hidden_layers"]
    monkeypatch.setattr(fused_layer, "_applies", lambda *_: False)
    wanted = results(model, families)
    assert len(calls) == SIZES["num_hidden_layers"]  # and the second run went the other way
    assert_same(found, wanted, 1e-12)


def short_groups(prompts=30):
    """Prompts of two lengths, each with four answers of two lengths: shapes that occur often, prefixes seen often."""
    draw = torch.Generator().manual_seed(1)

    def ids(count):
        return torch.randint(7, 50, (count,), generator=draw).tolist()

    return [
        tuple(sequence(asked, [3 + place, *ids(2 + place % 2)]) for place in range(4))
        for asked in (ids(5 + number % 2) for number in range(prompts))
    ]


@pytest.mark.parametrize("scored", [1.0, 0.5])
def test_short_answers_of_one_shape_are_one_product_and_the_same_numbers(monkeypatch, scored):
    model, families = double_llama(), with_gaps(short_groups(), scored)
    batch = pack(families)
    assert any(isinstance(one, Bundle) for one in _work(batch.segments, None))
    assert len(_work(batch.segments, None)) < len(batch.segments) / 10
    found = results(model, families)
    monkeypatch.setattr(segment_attention, "_SHORT", 0)
    segment_attention._work.cache_clear()
    alone = results(model, families)
    segment_attention._work.cache_clear()
    assert_same(found, alone, 1e-13)
    assert_same(found, results(model, families, layout=pad), 1e-12)  # torch's attention, nothing shared


def with_gaps(families, share):
    """The same sequences, their tokens scored by chance."""
    draw = np.random.default_rng(0)

    def scored(one):
        return TokenSequence(one.ids, (draw.random(len(one)) < share) & (np.arange(len(one)) > 0))

    return [tuple(scored(one) for one in family) for family in families]


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_the_last_layer_makes_only_the_tokens_that_are_read(monkeypatch, share):
    model, families = double_llama(max_position_embeddings=1024), with_gaps(long_pairs(), share)
    calls, batch = calls_of_the_fused_layer(monkeypatch), pack(families)
    found = results(model, families)
    assert calls == [batch.ids.shape[1], len(batch.rows.unique())]
    monkeypatch.setattr(fused_layer, "_applies", lambda *_: False)
    assert_same(found, results(model, families), 1e-12)


def test_the_last_layer_of_a_reward_model_makes_one_token_of_each_answer(monkeypatch):
    def rewards(model, batch):
        model.zero_grad()
        found = RewardModel(model)(batch)
        (found * torch.linspace(1, 2, len(found), dtype=found.dtype)[:, None]).sum().backward()
        return found.detach(), {name: weight.grad.clone() for name, weight in model.named_parameters()}

    model = double_llama(kind=transformers.LlamaForSequenceClassification, num_labels=1)
    calls, batch = calls_of_the_fused_layer(monkeypatch), pack(random_pairs(5, seed=4))
    found = rewards(model, batch)
    assert calls == [batch.ids.shape[1], 10]
    monkeypatch.setattr(fused_layer, "_applies", lambda *_: False)
    assert_same(found, rewards(model, batch), 1e-12)


def test_under_bf16_the_last_layer_makes_a_steady_number_of_tokens(monkeypatch):
    model = prepare_model(randomise(transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES)), scale=0.1))
    batch = pack(random_pairs(12, seed=2, prompt=(10, 40), answer=(3, 5)), multiple_of=128)
    wanted, calls = LogprobModel(model)(batch).logprobs, calls_of_the_fused_layer(monkeypatch)
    with torch.autocast("cpu", torch.bfloat16):
        found = LogprobModel(model)(batch).logprobs
    assert len(batch.rows) < calls[-1] < calls[0]
    assert calls[-1] % 128 == 0
    assert (found - wanted).abs().max() < 0.1


def test_under_bf16_the_layers_are_no_further_from_float32_than_the_models_own_code(unfused, monkeypatch):
    config = transformers.LlamaConfig(**{**SIZES, "hidden_size": 64, "head_dim": 16, "intermediate_size": 96})
    model = prepare_model(randomise(transformers.LlamaForCausalLM(config), scale=0.1))
    families = random_pairs(8, seed=2, prompt=(10, 40), answer=(10, 40))
    exact = results(model, families)[1]

    def distance():
        with torch.autocast("cpu", torch.bfloat16):
            found = results(model, families)[1]
        gap, length = (
            torch.cat([part.flatten() for part in parts]).norm()
            for parts in ([found[name] - exact[name] for name in exact], exact.values())
        )
        return float(gap / length)

    own = distance()
    monkeypatch.undo()
    assert 0 < distance() < 1.1 * own


def test_layers_with_adapters_dropout_or_a_window_go_through_the_models_own_code(monkeypatch):
    from peft import LoraConfig, get_peft_model

    calls = calls_of_the_fused_layer(monkeypatch)
    families = random_pairs(2)
    dropping = double_llama(attention_dropout=0.5)
    LogprobModel(dropping)(pack(families))
    assert calls  # not in training: nothing is dropped
    calls.clear()
    dropping.train()
    LogprobModel(dropping)(pack(families))
    mistral = transformers.MistralForCausalLM(transformers.MistralConfig(**SIZES, sliding_window=4))
    LogprobModel(prepare_model(randomise(mistral)))(pack(families))
    adapted = get_peft_model(double_llama(), LoraConfig(task_type="CAUSAL_LM", target_modules=["v_proj", "up_proj"]))
    calls.clear()
    LogprobModel(adapted)(pack(families))
    assert not calls


def tied_llama(**changes):
    return double_llama(tie_word_embeddings=True, **changes)


def loss_of(model, families):
    logprobs = LogprobModel(model)(pack(families)).logprobs
    return (logprobs * torch.linspace(-1, 1, len(logprobs), dtype=logprobs.dtype)).sum()


def learn(model, parts, *, is_one_backward=False):
    if is_one_backward:
        sum(loss_of(model, part) for part in parts).backward()
    else:
        for part in parts:
            loss_of(model, part).backward()


@pytest.mark.parametrize("is_one_backward", [False, True])
def test_a_tied_matrix_has_the_gradient_of_the_models_own_code(is_one_backward, monkeypatch):
    families, left = random_pairs(4, seed=3), []
    plain, tied = tied_llama(), tied_llama()
    del plain.get_input_embeddings().forward  # the class's own is back
    add = Left.add
    monkeypatch.setattr(Left, "add", lambda self, gradient: left.append(1) or add(self, gradient))
    for model in (plain, tied):
        learn(model, (families[:2], families[2:]), is_one_backward=is_one_backward)
    assert len(left) == 2  # the tied one's two heads
    wanted = {name: weight.grad for name, weight in plain.named_parameters()}
    for name, weight in tied.named_parameters():
        assert (weight.grad - wanted[name]).abs().max() <= 1e-12 * wanted[name].abs().max(), name


def test_the_gradient_of_a_tied_matrix_is_the_buffer_the_head_made(monkeypatch):
    model, made, add = tied_llama(), [], Left.add
    monkeypatch.setattr(Left, "add", lambda self, gradient: made.append(gradient.data_ptr()) or add(self, gradient))
    learn(model, [random_pairs(2, seed=3)])
    assert [model.get_input_embeddings().weight.grad.data_ptr()] == made


def test_a_tied_matrix_learns_as_an_embedding_where_the_head_is_not_used():
    model, batch = tied_llama(), pack(random_pairs(2, seed=3))
    hidden_states(model, batch).sum().backward()
    gradient = model.get_input_embeddings().weight.grad
    read = torch.zeros(len(gradient), dtype=torch.bool)
    read[batch.ids] = True
    assert gradient[read].abs().sum(dim=1).min() > 0
    assert gradient[~read].abs().sum() == 0


def test_a_copied_model_reads_its_own_weights():
    model = double_llama()
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for weight in copied.model.layers.parameters():
            weight.mul_(1.5)
    batch = pack(random_pairs(3))
    plain = LogprobModel(model)(batch).logprobs
    assert not torch.allclose(LogprobModel(copied)(batch).logprobs, plain)
    assert torch.equal(LogprobModel(model)(batch).logprobs, plain)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_attention_by_products_is_that_of_torchs_kernel_segment_by_segment(groups):
    batch = pack(long_pairs())
    draw = torch.Generator().manual_seed(1)
    given = [
        torch.randn(heads, batch.ids.shape[1], 8, generator=draw, dtype=torch.float64).requires_grad_()
        for heads in (4, groups, groups)
    ]
    found = SegmentAttention.apply(*given, batch.segments, 0.3)
    # a window nothing reaches, weights never dropped: only the way differs
    slow, _ = packed_attention(
        torch.nn.Module(), *(one[None] for one in given), None, segments=batch.segments, scaling=0.3, dropout=1e-300
    )
    assert (found - slow[0]).abs().max() < 1e-13
    upstream = torch.randn(found.shape, generator=draw, dtype=torch.float64)
    for ours, theirs in zip(
        torch.autograd.grad(found, given, upstream), torch.autograd.grad(slow[0], given, upstream), strict=True
    ):
        assert (ours - theirs).abs().max() < 1e-12


@pytest.mark.parametrize("chunk_rows", [1, 5, 40, 1000])
def test_tiles_of_any_width_give_a_log_softmax_with_its_gradient_and_statistics(chunk_rows):
    draw = torch.Generator().manual_seed(2)
    hidden, weight = (
        torch.randn(shape, generator=draw, dtype=torch.float64).requires_grad_() for shape in ((37, 6), (101, 6))
    )
    targets = torch.randint(0, 101, (37,), generator=draw)
    found = token_logprobs(hidden, Head(weight), targets, chunk_rows=chunk_rows, with_stats=True)
    logs = F.linear(hidden, weight).log_softmax(-1)
    assert (found.logprobs - logs.gather(1, targets[:, None])[:, 0]).abs().max() < 1e-13
    assert (found.entropy + (logs.exp() * logs).sum(-1)).abs().max() < 1e-13
    assert torch.equal(found.is_greedy, logs.argmax(-1) == targets)
    upstream = torch.linspace(-1, 1, 37, dtype=torch.float64)
    wanted = torch.autograd.grad((logs.gather(1, targets[:, None])[:, 0] * upstream).sum(), (hidden, weight))
    for ours, theirs in zip(torch.autograd.grad(found.logprobs, (hidden, weight), upstream), wanted, strict=True):
        assert (ours - theirs).abs().max() < 1e-12


def test_a_tile_does_not_grow_with_the_vocabulary():
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            found = func(*args, **(kwargs or {}))
            for one in found if isinstance(found, tuple | list) else [found]:
                if isinstance(one, torch.Tensor) and one.shape[:1] == (64,):  # of the tokens, not of the head
                    self.size = max(self.size, one.numel())
            return found

    def largest(vocabulary):
        hidden, weight = torch.randn(64, 2, requires_grad=True), torch.randn(vocabulary, 2, requires_grad=True)
        with Largest() as trap:
            token_logprobs(
                hidden, Head(weight), torch.zeros(64, dtype=torch.long), chunk_rows=4
            ).logprobs.sum().backward()
        return trap.size

    assert largest(200_000) <= 4 * 8192
