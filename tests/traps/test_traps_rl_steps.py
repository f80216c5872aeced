"""Traps of a whole RL step: how often gradients are added up, what the policy is compared with before it has learnt
anything, and who reads its answers.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model

from rlaif.bundled import resolve_model
from rlaif.errors import TrainingStopped
from rlaif.train.packing import pack
from rlaif.train.rl import objectives, reward_models
from rlaif.train.rl.policy import Reference
from rlaif.train.rl.reward_models import ModelReward
from rlaif.train.rl.rewards import from_function
from rlaif.train.scoring import RewardScorer
from tests.rl_kit import SlowSampler, grpo, make_learner
from tests.tiny_llama import write_tiny_llama
from tests.train_models import double_llama, llama
from tests.traps.planted import planted, trap
from tests.unit.test_rl_rewards import as_trained, written

torch.set_num_threads(1)
CPU = torch.device("cpu")


def flat(gradients):
    return torch.cat([one.flatten() for one in gradients])


# --- 15: accumulation


def mean_of_its_own_pass(losses, per_token):
    return (losses.double() * per_token).sum() / len(losses)


WEIGHTS = objectives.answer_weights


def by_the_group_again(lengths, mean, **others):
    found = WEIGHTS(lengths, mean, **others)
    return objectives.AnswerWeights(found.per_token / 3, found.total)


class Ragged(SlowSampler):
    """Answers of one to six tokens."""

    def answer(self, prompt, seed, how):
        return super().answer(prompt, seed, replace(how, max_new_tokens=1 + seed % 6))


def some_reward(answers):
    return [float(one.rollout.answer.sum() % 7) for one in answers]


def share_of(answer, answers, mean):
    """What a token of an answer counts in the loss, by each mean's own words: 3 answers to each of 4 prompts."""
    lengths = [len(one.rollout.answer) for one in answers]
    own = answer - answer % 3
    return {
        "tokens": 1 / sum(lengths),
        "groups": 1 / sum(lengths[own : own + 3]) / 4,
        "answers": 1 / lengths[answer] / 12,
    }[mean]


@trap(
    15,
    planted("rlaif.train.rl.policy_task.weighted_sum", mean_of_its_own_pass),
    planted("rlaif.train.rl.targets.answer_weights", by_the_group_again),
)
def test_an_rl_steps_gradient_is_the_formulas_in_one_pass_and_in_four(tmp_path):
    for mean in ("tokens", "groups", "answers"):
        settings = grpo(minibatches=1, mean=mean, kl={"coefficient": 0.0})
        reward = from_function("some", some_reward)
        learner = make_learner(settings, tmp_path / mean, make=double_llama, sampler=Ragged(), reward=reward)
        seen = learner.collector.gather(0)
        assert len(set(seen.lengths.tolist())) > 3
        task, _ = learner.task(seen)
        weights = list(learner.stepper.module.parameters())
        whole = torch.zeros((), dtype=torch.float64)
        for place, one in enumerate(seen.answers):  # the policy gradient: each answer alone, ratio 1
            logprobs = learner.stepper.module(pack([(one.rollout.sequence(),)])).logprobs
            advantage = task.targets.advantages[int(seen.lengths[:place].sum())]
            whole = whole - share_of(place, seen.answers, mean) * advantage * logprobs.sum()
        wanted = flat(torch.autograd.grad(whole, weights))
        assert wanted.abs().max() > 1e-3
        for passes in ([[0, 1, 2, 3]], [[2], [0], [3], [1]]):
            found = torch.zeros_like(wanted)
            for rows in passes:
                found += flat(torch.autograd.grad(task.compute(learner.stepper.module, rows, CPU).loss, weights))
            assert (found / sum(task.weights) - wanted).abs().max() < 1e-9, (mean, len(passes))


# --- 17, 18: before anything is learnt the policy is its reference


def unlearnt(learner):
    """The gap of the first answers' log-probabilities; what the run says of it is a failure here."""
    try:
        seen = learner.collector.gather(0)
    except TrainingStopped as stopped:
        pytest.fail(str(stopped))
    return float((seen.old - seen.reference).abs().max())


LOGPROBS = Reference.logprobs


def always_float32(self, policy, batch):
    with torch.autocast("cpu", enabled=False):
        return LOGPROBS(self, policy, batch)


@trap(17, planted("rlaif.train.rl.policy.Reference.logprobs", always_float32))
def test_a_policy_in_bf16_is_compared_with_its_reference_in_bf16(tmp_path):
    settings = grpo(loop={"precision": "bf16", "micro_batch_tokens": 40})
    assert unlearnt(make_learner(settings, tmp_path, sampler=SlowSampler())) == 0.0


def trained_adapter():
    """A policy whose adapters were trained before, as after SFT with LoRA."""
    torch.manual_seed(0)
    model = get_peft_model(llama(), LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj", "v_proj"]))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0.0, 0.5)
    return model.eval()


@trap(18, planted("rlaif.train.rl.collecting.Collector.check_start", lambda self, seen: None))
def test_adapters_switched_off_are_no_reference_of_a_policy_that_had_been_trained_with_them(tmp_path):
    settings = grpo()
    with pytest.raises(TrainingStopped, match="the policy differs from its reference by"):
        make_learner(settings, tmp_path, make=trained_adapter, reference=Reference()).collector.gather(0)
    assert unlearnt(make_learner(settings, tmp_path, make=trained_adapter)) < 1e-5


# --- 24: another tokenizer


def by_its_own_tokens(scorer, tokenizer):
    return reward_models._SameTokens(tokenizer)


@trap(24, planted("rlaif.train.rl.reward_models.reader_of", by_its_own_tokens))
def test_a_reward_model_of_another_tokenizer_gets_no_ids_of_the_policys(tmp_path_factory):
    folder = write_tiny_llama(tmp_path_factory.mktemp("other"), seed=3)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    model.config.reward_mean, model.config.reward_std = 0.0, 1.0
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    model.config.pad_token_id = theirs.pad_token_id
    model.save_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(resolve_model("tiny-policy"))
    scorer = RewardScorer.load(folder)
    answers = [written(tokenizer, text) for text in ("A warm coat.", "Nothing special.")]
    try:
        found = ModelReward(scorer, tokenizer)(answers).values
    except IndexError:  # ids beyond its vocabulary
        pytest.fail("it was given tokens that it does not have")
    assert np.abs(found - as_trained(scorer, answers)).max() < 1e-5
