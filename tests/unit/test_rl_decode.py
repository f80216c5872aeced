"""Our own decode loop: what it draws, with which log-probabilities, and that neighbours do not matter."""

import copy
import itertools

import numpy as np
import pytest
import torch
import transformers
from scipy import stats
from torch.utils._python_dispatch import TorchDispatchMode

from rlaif.errors import InputError, TrainingStopped
from rlaif.train.forward import LogprobModel
from rlaif.train.packing import TokenSequence, pack
from rlaif.train.rl import draws
from rlaif.train.rl.decode import DecodeSampler
from rlaif.train.rl.llama_reader import LlamaReader, llama_weights
from rlaif.train.rl.rollouts import Sampling
from rlaif.train.rl.weights import merged_state
from tests.rl_rollouts import learner_logprobs
from tests.train_models import SIZES, VOCABULARY, double_gpt2, double_llama, llama

torch.set_num_threads(1)

STOP = 2
HOW = Sampling(max_new_tokens=12, stop_ids=(STOP, 7, 11, 13, 20))


def some_prompts(count, seed=0, longest=20):
    draw = np.random.default_rng(seed)
    return [draw.integers(3, VOCABULARY, draw.integers(1, longest, endpoint=True)) for _ in range(count)]


def mild_llama(**more):
    """Of weights at which float32 is exact to a third of the 1e-5 that is asked."""
    return llama(scale=0.2, **more)


def with_lora(**more):
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(mild_llama(), LoraConfig(task_type="CAUSAL_LM", r=2, target_modules="all-linear", **more))
    draws_of_adapters = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name and weight.dim() == 2:
                weight.normal_(generator=draws_of_adapters, std=0.2)
    return adapted.eval()


MODELS = {
    "llama": mild_llama,
    "llama, one key head, head tied": lambda: mild_llama(num_key_value_heads=1, tie_word_embeddings=True),
    "mistral with a window": lambda: mistral(),
    "gpt2": lambda: double_gpt2().float(),
    "llama with adapters": with_lora,
    "llama with adapters that are no plain sum": lambda: with_lora(use_dora=True),
}
BY_ITSELF = ("llama", "llama, one key head, head tied", "llama with adapters")  # the rest through its own forward


def mistral():
    from rlaif.train.forward import prepare_model
    from tests.train_models import randomise

    model = transformers.MistralForCausalLM(transformers.MistralConfig(**SIZES, sliding_window=6))
    return prepare_model(randomise(model).eval())


@pytest.mark.parametrize("name", MODELS)
def test_log_probabilities_are_those_of_the_training_forward(name):
    model = MODELS[name]()
    assert (llama_weights(model, torch.float32) is not None) == (name in BY_ITSELF)
    prompts = some_prompts(9)
    rollouts = DecodeSampler(model, max_rows=4).sample(prompts, range(9), HOW)
    assert len({len(one.answer) for one in rollouts}) > 2
    for one, wanted in zip(rollouts, learner_logprobs(model, rollouts), strict=True):
        assert np.abs(one.logprobs - wanted.numpy()).max() < 1e-5


def test_in_float64_they_are_the_same_to_rounding():
    model = double_llama()
    rollouts = DecodeSampler(model).sample(some_prompts(5), range(5), HOW)
    for one, wanted in zip(rollouts, learner_logprobs(model, rollouts), strict=True):
        assert np.abs(one.logprobs - wanted.numpy()).max() < 1e-6  # kept in float32


def test_under_a_temperature_they_are_those_of_the_divided_logits():
    model = mild_llama()
    how = Sampling(max_new_tokens=12, stop_ids=(STOP,), temperature=0.6)
    rollouts = DecodeSampler(model).sample(some_prompts(6), range(6), how)
    for one, wanted in zip(rollouts, learner_logprobs(model, rollouts, 0.6), strict=True):
        assert np.abs(one.logprobs - wanted.numpy()).max() < 1e-5


def test_in_bfloat16_they_are_as_near_as_its_rounding_allows():
    model = llama(hidden_size=64, intermediate_size=96, head_dim=16, scale=0.1)
    rollouts = DecodeSampler(model, precision="bf16").sample(some_prompts(20), range(20), HOW)
    with torch.autocast("cpu", torch.bfloat16):
        learner = learner_logprobs(model, rollouts)
    gaps = np.concatenate([one.logprobs - wanted.numpy() for one, wanted in zip(rollouts, learner, strict=True)])
    assert np.abs(gaps).mean() < 2e-3
    assert abs(gaps.mean()) < 5e-4


@pytest.mark.parametrize("name", MODELS)
def test_without_temperature_it_writes_what_transformers_generate_writes(name):
    model = MODELS[name]()
    prompts = some_prompts(7, seed=3)
    rollouts = DecodeSampler(model, max_rows=3).sample(prompts, range(7), Sampling(10, (STOP,), temperature=0))
    for prompt, one in zip(prompts, rollouts, strict=True):
        wanted = model.generate(
            input_ids=torch.from_numpy(prompt)[None],
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=10,
            do_sample=False,
            eos_token_id=STOP,
            pad_token_id=0,
        )[0, len(prompt) :]
        assert one.answer.tolist() == wanted.tolist()
        assert not one.logprobs.any()


def test_answers_are_drawn_with_the_probabilities_of_the_model():
    model = llama(vocab_size=5)
    prompt, draws_wanted = np.array([3, 4, 1]), 6000
    how = Sampling(max_new_tokens=3, stop_ids=(STOP,))
    rollouts = DecodeSampler(model, max_rows=500).sample([prompt] * draws_wanted, range(draws_wanted), how)
    answers = [
        answer
        for length in (1, 2, 3)
        for answer in itertools.product(range(5), repeat=length)
        if STOP not in answer[:-1] and (length == 3 or answer[-1] == STOP)
    ]
    rows = [TokenSequence(np.array([*prompt, *one]), np.arange(3 + len(one)) >= 3) for one in answers]
    exact = [
        math_sum.double().exp().item()
        for math_sum in map(
            torch.sum, torch.split(LogprobModel(model)(pack([tuple(rows)])).logprobs, [*map(len, answers)])
        )
    ]
    assert sum(exact) == pytest.approx(1, abs=1e-5)
    counted = dict.fromkeys(answers, 0)
    for one in rollouts:
        counted[tuple(one.answer.tolist())] += 1
    expected = np.array(exact) / sum(exact) * draws_wanted
    often = expected > 5
    seen = np.array([counted[one] for one in answers])
    statistic = stats.chisquare([*seen[often], seen[~often].sum()], [*expected[often], expected[~often].sum()])
    assert statistic.pvalue > 1e-3


@pytest.mark.parametrize("vocabulary", [3, 64, 200])
def test_draws_from_a_large_vocabulary_have_its_probabilities(vocabulary):
    logits = torch.randn(vocabulary, generator=torch.Generator().manual_seed(1)) * 1.5
    count = 40_000
    tokens, logprobs = draws.draw_tokens(logits.repeat(count, 1), np.arange(count), np.full(count, 7), 0.8)
    exact = (logits.double() / 0.8).log_softmax(-1)
    assert (logprobs - exact[tokens]).abs().max() < 1e-5
    seen = np.bincount(tokens.numpy(), minlength=vocabulary)
    assert stats.chisquare(seen, exact.exp().numpy() * count).pvalue > 1e-3


def test_random_numbers_are_splitmix64_and_differ_by_row_and_step():
    states = np.uint64(1234567) + np.arange(1, 4, dtype=np.uint64) * draws._GOLDEN
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert draws._mixed(states).tolist() == published
    seeds, steps = np.repeat(np.arange(50), 40), np.tile(np.arange(40), 50)
    found = draws.uniforms(seeds, steps, 128)
    assert len(np.unique(found)) == found.size
    assert stats.kstest(found.ravel(), "uniform").pvalue > 1e-3
    for shift in (1, 40, 128):
        assert abs(np.corrcoef(found.ravel()[shift:], found.ravel()[:-shift])[0, 1]) < 0.01


def test_neighbours_and_their_order_change_nothing():
    model, prompts = mild_llama(), some_prompts(12, seed=5)
    seeds = [int(seed) for seed in np.random.default_rng(0).integers(0, 2**63 - 1, 12)]
    together = DecodeSampler(model, max_rows=12).sample(prompts, seeds, HOW)
    order = np.random.default_rng(1).permutation(12)
    shuffled = DecodeSampler(model, max_rows=5).sample([prompts[n] for n in order], [seeds[n] for n in order], HOW)
    for place, number in enumerate(order):
        alone = DecodeSampler(model).sample([prompts[number]], [seeds[number]], HOW)[0]
        for other in (shuffled[place], alone):
            assert together[number].answer.tolist() == other.answer.tolist()
            assert np.abs(together[number].logprobs - other.logprobs).max() < 1e-5


def test_other_seeds_give_other_answers_to_the_same_prompt():
    answers = DecodeSampler(llama(scale=0.05)).sample([np.array([5, 6])] * 20, range(20), HOW)
    assert len({tuple(one.answer) for one in answers}) > 15


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_an_answer_ends_with_its_stop_token_and_nothing_comes_after(name):
    stops = (STOP, 7, 11)
    how = Sampling(max_new_tokens=9, stop_ids=stops)
    rollouts = DecodeSampler(MODELS[name](), max_rows=8).sample(some_prompts(40), range(40), how)
    assert {one.is_ended for one in rollouts} == {True, False}
    for one in rollouts:
        assert len(one.answer) == len(one.logprobs)
        assert not np.isin(one.answer[:-1], stops).any()
        assert one.is_ended == (one.answer[-1] in stops)
        assert one.is_ended or len(one.answer) == 9
        assert one.sequence().num_scored == len(one.answer)


def test_equal_prompts_are_read_once(monkeypatch):
    read, enter = [], LlamaReader.enter
    monkeypatch.setattr(LlamaReader, "enter", lambda self, *given: read.append(given) or enter(self, *given))
    prompts = some_prompts(3)
    DecodeSampler(llama(), max_rows=8).sample([prompts[n % 3] for n in range(12)], range(12), HOW)
    assert sorted(len(one) for given in read for one in given[0]) == sorted(map(len, prompts))
    assert sum(sum(given[1]) for given in read) == 12


def test_rows_beyond_what_may_be_kept_wait(monkeypatch):
    prompts, model = [np.array([5, 6])] * 7 + some_prompts(5), llama()
    wanted = DecodeSampler(model).sample(prompts, range(12), HOW)
    longest = max(map(len, prompts)) + HOW.max_new_tokens
    monkeypatch.setattr("rlaif.train.rl.decode._KEPT_BYTES", 3 * longest * 2 * 2 * 2 * 4 * 4)  # three rows'
    rows, step = [], LlamaReader.step
    monkeypatch.setattr(LlamaReader, "step", lambda self, tokens: rows.append(len(tokens)) or step(self, tokens))
    found = DecodeSampler(model).sample(prompts, range(12), HOW)
    assert max(rows) == 3
    assert [one.answer.tolist() for one in found] == [one.answer.tolist() for one in wanted]


def test_no_more_than_one_steps_logits_is_held():
    vocabulary, rows, largest = 4000, 4, []

    class Watched(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, given=(), named=None):
            found = function(*given, **(named or {}))
            is_head = isinstance(found, torch.Tensor) and found.shape == (SIZES["hidden_size"], vocabulary)
            if isinstance(found, torch.Tensor) and not is_head and found.shape[-1:].numel() >= vocabulary:
                largest.append(found.numel())
            return found

    model = llama(vocab_size=vocabulary, scale=0.05)
    with Watched():
        DecodeSampler(model, max_rows=rows).sample(some_prompts(6), range(6), HOW)
    assert rows * vocabulary <= max(largest) <= rows * (vocabulary + draws.STRETCH)


def test_a_context_that_is_full_ends_an_answer_and_a_prompt_that_fills_it_is_refused():
    model, how = llama(), Sampling(max_new_tokens=50, stop_ids=())
    room = SIZES["max_position_embeddings"]
    long = np.full(room - 3, 5)
    found = DecodeSampler(model).sample([long, np.array([5])], [0, 1], how)
    assert [len(one.answer) for one in found] == [3, 50]
    assert not any(one.is_ended for one in found)
    with pytest.raises(InputError, match="prompt 1 has 128 tokens; the model reads at most 128"):
        DecodeSampler(model).sample([long, np.full(room, 5)], [0, 1], how)
    with pytest.raises(InputError, match="prompt 1 has no tokens"):
        DecodeSampler(model).sample([long, np.zeros(0, dtype=np.int64)], [0, 1], how)


def test_spoilt_weights_stop_with_a_reason():
    model = llama()
    with torch.no_grad():
        model.lm_head.weight[7] = torch.nan
    with pytest.raises(TrainingStopped, match="not numbers"):
        DecodeSampler(model).sample(some_prompts(2), [0, 1], HOW)


def test_new_weights_are_read_at_once_and_dropout_never_applies():
    model = mild_llama(attention_dropout=0.5)
    sampler, prompts = DecodeSampler(LogprobModel(model)), some_prompts(4)
    before = sampler.sample(prompts, range(4), HOW)
    model.train()
    model.model.norm.eval()
    again = sampler.sample(prompts, range(4), HOW)
    assert model.training
    assert not model.model.norm.training
    assert [one.logprobs.tolist() for one in before] == [one.logprobs.tolist() for one in again]
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight.add_(0.1)
    sampler.update(LogprobModel(model))
    after = sampler.sample(prompts, range(4), HOW)
    for one, wanted in zip(after, learner_logprobs(model.eval(), after), strict=True):
        assert np.abs(one.logprobs - wanted.numpy()).max() < 1e-5
    assert before[0].logprobs[0] != after[0].logprobs[0]


def test_merged_weights_are_those_of_peft_itself():
    adapted = with_lora()
    wanted = copy.deepcopy(adapted).merge_and_unload().state_dict()
    found = merged_state(LogprobModel(adapted))
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        assert (value - wanted[name]).abs().max() < 1e-6
    tied = merged_state(llama(tie_word_embeddings=True))
    assert tied["lm_head.weight"].data_ptr() == tied["model.embed_tokens.weight"].data_ptr()
