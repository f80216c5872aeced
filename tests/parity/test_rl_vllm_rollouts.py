"""Rollouts from real vLLM on the CPU follow the policy's weights: after every update its answers and log-probabilities
are those of the new weights, in float32, with a tied head. Run with `-m vllm`; half a minute.
"""

import numpy as np
import pytest
import torch
import transformers

from rlaif.engines.vllm_rollouts import READ_TOKENS
from rlaif.train.forward import LogprobModel, prepare_model
from rlaif.train.rl.decode import DecodeSampler
from rlaif.train.rl.rollouts import Sampling
from rlaif.train.rl.vllm_sampler import VllmSampler
from tests.rl_rollouts import learner_logprobs
from tests.train_models import randomise

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

VOCABULARY, STOP = 300, 2
GREEDY = Sampling(max_new_tokens=12, stop_ids=(STOP,), temperature=0.0)


def policy(seed):
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=7,  # not among the stop ids: an answer goes on behind it
        pad_token_id=0,
    )
    # Weights of a scale at which float32 itself is exact to 1e-5: at twice it, both samplers are 1e-5 from float64.
    return prepare_model(randomise(transformers.LlamaForCausalLM(config), seed, scale=0.1).eval())


def prompts(count=8):
    """Longer than vLLM's blocks, so that it keeps their keys and values, and every other one twice."""
    draw = np.random.default_rng(0)
    each = [draw.integers(3, VOCABULARY, draw.integers(40, 100)) for _ in range(count // 2)]
    return [one for one in each for _ in range(2)]


@pytest.fixture(scope="module")
def sampler(tmp_path_factory):
    with VllmSampler(policy(0), dtype="float32", log_file=tmp_path_factory.mktemp("logs") / "vllm.log") as opened:
        yield opened


@pytest.fixture(params=[0, 1, 2], ids=["first weights", "other weights", "weights with adapters"])
def updated(sampler, request):
    """The sampler after an update to the policy that comes with it; prompts stay the same from one to the next."""
    model = policy(request.param)
    if request.param == 2:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=2, target_modules="all-linear"))
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    weight.normal_(std=0.2)
        model.eval()
    sampler.update(LogprobModel(model))
    return sampler, model


def test_greedy_answers_are_those_of_the_updated_policy(updated):
    sampler, model = updated
    found = sampler.sample(prompts(), range(8), GREEDY)
    wanted = DecodeSampler(model).sample(prompts(), range(8), GREEDY)  # itself tested against `generate`
    assert [one.answer.tolist() for one in found] == [one.answer.tolist() for one in wanted]
    assert [one.is_ended for one in found] == [one.is_ended for one in wanted]


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_log_probabilities_are_the_learners_under_the_temperature(updated, temperature):
    sampler, model = updated
    how = Sampling(max_new_tokens=20, stop_ids=(STOP, 5, 9), temperature=temperature)
    rollouts = sampler.sample(prompts(), range(8), how)
    for one, wanted in zip(rollouts, learner_logprobs(model, rollouts, temperature), strict=True):
        assert len(one.answer) == len(one.logprobs)
        assert np.abs(one.logprobs - wanted.numpy()).max() < 1e-5
        assert not np.isin(one.answer[:-1], how.stop_ids).any()
        assert one.is_ended == (one.answer[-1] in how.stop_ids)
    assert len({tuple(one.answer) for one in rollouts}) == 8  # the same prompts, other seeds


def test_more_prompts_than_vllm_reads_in_a_step_are_answered_each_with_its_seed(sampler):
    draw = np.random.default_rng(1)
    many = [draw.integers(3, VOCABULARY, 240) for _ in range(READ_TOKENS // 240 + 8)]
    how = Sampling(max_new_tokens=2, stop_ids=())
    assert [len(one.answer) for one in sampler.sample(many, range(len(many)), how)] == [2] * len(many)


def test_an_answer_follows_from_its_seed_whatever_is_asked_beside_it(sampler):
    how = Sampling(max_new_tokens=10, stop_ids=(STOP,))
    together = sampler.sample(prompts(), range(8), how)
    alone = sampler.sample(prompts()[3:4], [3], how)
    assert alone[0].answer.tolist() == together[3].answer.tolist()
