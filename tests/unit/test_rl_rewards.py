"""Rewards: sums, penalties, checks, and reward models that read an answer as they were trained to."""

import json

import numpy as np
import pytest
import torch
import transformers

from rlaif.bundled import resolve_model
from rlaif.checks import NumberCheck
from rlaif.errors import InputError, TrainingStopped
from rlaif.records import Message, Prompt
from rlaif.settings import PromptSource
from rlaif.train.forward import prepare_model
from rlaif.train.heads import Heads
from rlaif.train.packing import TokenSequence
from rlaif.train.rl.experience import joined_rewards
from rlaif.train.rl.making import load_reward_model
from rlaif.train.rl.policy import PolicyModel, value_of_reward_model
from rlaif.train.rl.prompts import prompt_ids, read_policy_prompts
from rlaif.train.rl.reward_models import ModelReward
from rlaif.train.rl.rewards import (
    Answer,
    CheckReward,
    EndPenalty,
    Ensemble,
    LengthPenalty,
    Rewards,
    WeightedSum,
    check_rewards,
    from_function,
)
from rlaif.train.rl.rollouts import Rollout
from rlaif.train.scoring import RewardScorer
from rlaif.train.task import Layout
from rlaif.train.tokenise import Tokeniser
from tests.tiny_llama import write_tiny_llama

torch.set_num_threads(1)


def answer(text="yes", length=3, *, ended=True, prompt="What is 2 + 2?", reference=None):
    asked = Prompt(messages=(Message("user", prompt),), reference=reference)
    rollout = Rollout(np.array([5, 6]), np.arange(7, 7 + length), np.zeros(length, dtype=np.float32), ended)
    return Answer(asked, rollout, text)


def test_a_weighted_sum_shows_its_parts_unweighted():
    reward = WeightedSum(
        {
            "good": (from_function("good", lambda answers: [1.0, 2.0]), 2.0),
            "length_penalty": (LengthPenalty(free=2), 0.1),
            "end_penalty": (EndPenalty(), 0.5),
        }
    )
    found = reward([answer(length=2), answer(length=5, ended=False)])
    assert found.values.tolist() == [2.0, pytest.approx(4.0 - 0.3 - 0.5)]
    assert {name: values.tolist() for name, values in found.parts.items()} == {
        "good": [1.0, 2.0],
        "length_penalty": [0.0, -3.0],
        "end_penalty": [0.0, -1.0],
    }


def test_an_ensemble_is_its_mean_less_its_disagreement():
    members = [from_function("a", lambda answers: [1.0, 3.0]), from_function("b", lambda answers: [3.0, 3.0])]
    found = Ensemble("both", members, pessimism=0.5)([answer(), answer()])
    assert found.values.tolist() == [1.5, 3.0]
    assert found.parts["both_disagreement"].tolist() == [1.0, 0.0]
    assert found.members.tolist() == [[1.0, 3.0], [3.0, 3.0]]


def test_a_check_rewards_right_answers_and_says_when_it_cannot():
    reward = CheckReward(NumberCheck(kind="number"))
    asked = [answer("It is 4.", reference="4"), answer("It is 5.", reference="4"), answer("No.", reference="4")]
    assert reward(asked).values.tolist() == [1.0, 0.0, 0.0]
    with pytest.raises(TrainingStopped, match=r"the number check gives no reward .* the prompt has no reference"):
        reward([answer("4")])
    found = CheckReward(NumberCheck(kind="number"), unscored=-1.0)([answer("4"), asked[0]])
    assert found.values.tolist() == [-1.0, 1.0]
    assert found.parts["check_unscored"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_reward_that_is_no_number_names_its_part_and_its_answer(bad):
    values = np.array([0.0, bad])
    with pytest.raises(
        TrainingStopped, match=r"1 of 2 rewards are no numbers .part 'odd'.; the first is .* answer 'no'"
    ):
        check_rewards(Rewards(values, {"odd": values}), [answer(), answer("no")])


def test_rewards_of_several_processes_are_put_in_the_prompts_order():
    parts = {
        1: Rewards(np.array([3.0, 4.0]), {"a": np.array([3.0, 4.0]), "odd": np.array([1.0, 0.0])}),
        0: Rewards(np.array([1.0, 2.0]), {"a": np.array([1.0, 2.0])}),
    }
    found = joined_rewards(parts, 2)
    assert found.values.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert found.parts["odd"].tolist() == [0.0, 0.0, 1.0, 0.0]


# --- reward models


@pytest.fixture(scope="module")
def tokenizer():
    return transformers.AutoTokenizer.from_pretrained(resolve_model("tiny-policy"))


@pytest.fixture(scope="module")
def reward_folder(tmp_path_factory, tokenizer):
    """A reward model of random head on the bundled policy's backbone."""
    folder = tmp_path_factory.mktemp("models") / "reward"
    model = transformers.AutoModelForSequenceClassification.from_pretrained(resolve_model("tiny-policy"), num_labels=1)
    torch.manual_seed(0)
    torch.nn.init.normal_(model.score.weight, std=0.1)
    model.config.reward_mean, model.config.reward_std = 0.5, 2.0
    model.config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def written(tokenizer, text, *, ended=True, question="What should I wear to the town meeting?"):
    """An answer as the policy would have sampled it."""
    asked = Prompt(messages=(Message("user", question),))
    prompt = prompt_ids(asked, tokenizer)
    turns = [message.as_dict() for message in asked.messages]
    whole = Tokeniser(tokenizer).tokenise(tuple(turns), [({"role": "assistant", "content": text},)]).family[0]
    ids = whole.ids[whole.scored]
    if not ended:
        ids = ids[:-1]
    return Answer(asked, Rollout(prompt, ids, np.zeros(len(ids), dtype=np.float32), ended), text)


def as_trained(scorer, answers):
    """The rewards of the same conversations, tokenised as a dataset's are."""
    found = []
    for one in answers:
        turns = tuple(message.as_dict() for message in one.prompt.messages)
        family = Tokeniser(scorer.tokenizer).tokenise(turns, [({"role": "assistant", "content": one.text},)]).family
        found.append(float(scorer.score([family])[0].rewards[0]))
    return np.array(found)


@pytest.mark.slow
def test_a_reward_model_reads_a_sampled_answer_as_it_reads_its_own_data(reward_folder, tokenizer):
    scorer = RewardScorer.load(reward_folder)
    reward = ModelReward(scorer, tokenizer)
    assert reward.reads_the_policys_tokens
    answers = [
        written(tokenizer, "A warm coat."),
        written(tokenizer, "I do not know the weather.", question="Is it cold?"),
        written(tokenizer, "Something plain, and comfortable shoes."),
    ]
    assert reward(answers).values == pytest.approx(as_trained(scorer, answers), abs=1e-5)
    cut = written(tokenizer, "A warm coat.", ended=False)
    ids = np.concatenate([cut.rollout.prompt, cut.rollout.answer])
    alone = scorer.score([(TokenSequence(ids, np.zeros(len(ids), dtype=bool)),)])[0].rewards
    assert reward([cut]).values == pytest.approx(alone, abs=1e-5)  # without an end that would make it look finished


@pytest.mark.slow
def test_a_reward_model_of_another_tokenizer_reads_the_text(tokenizer, tmp_path):
    other = write_tiny_llama(tmp_path / "other", seed=3)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(other, num_labels=1)
    model.config.reward_mean, model.config.reward_std = 0.0, 1.0
    theirs = transformers.AutoTokenizer.from_pretrained(other)
    model.config.pad_token_id = theirs.pad_token_id
    model.save_pretrained(other)
    scorer = RewardScorer.load(other)
    reward = ModelReward(scorer, tokenizer)
    assert not reward.reads_the_policys_tokens
    answers = [written(tokenizer, text) for text in ("A warm coat.", "Nothing special.")]
    assert reward(answers).values == pytest.approx(as_trained(scorer, answers), abs=1e-5)
    cut = written(tokenizer, "A warm coat.", ended=False)
    assert reward([cut]).values != pytest.approx(reward(answers[:1]).values, abs=1e-3)
    scorer.tokenizer.chat_template = None
    with pytest.raises(InputError, match="another tokenizer than the policy and no chat template"):
        ModelReward(scorer, tokenizer)


@pytest.mark.slow
def test_an_ensembles_members_are_seen_and_a_single_head_cannot_disagree(reward_folder, tokenizer):
    scorer = RewardScorer.load(reward_folder)
    with pytest.raises(InputError, match="has a single head"):
        ModelReward(scorer, tokenizer, pessimism=1.0)
    torch.manual_seed(1)
    model = scorer.module.model
    model.score = torch.nn.Linear(model.config.hidden_size, 3, bias=False)
    several = RewardScorer(model, tokenizer, Heads(members=3), np.ones(1), Layout())
    answers = [written(tokenizer, "A warm coat."), written(tokenizer, "No idea.", question="Why?")]
    found = ModelReward(several, tokenizer, pessimism=1.0)(answers)
    assert found.members.shape == (2, 3)
    assert found.values == pytest.approx(found.members.mean(axis=1) - found.members.std(axis=1))


@pytest.mark.slow
def test_a_value_that_begins_as_a_reward_model_foresees_what_the_beginning_would_earn(reward_folder, tokenizer):
    """The value before a token is the reward model's own reward for the text up to there."""
    scorer = RewardScorer.load(reward_folder)
    policy = prepare_model(transformers.AutoModelForCausalLM.from_pretrained(resolve_model("tiny-policy")))
    value = value_of_reward_model(scorer.module.model)
    sequence = written(tokenizer, "A warm coat.").rollout.sequence()
    values = PolicyModel(policy, value=value).prepare()(Layout().batch([(sequence,)])).values.detach().numpy()
    starts = np.flatnonzero(sequence.scored)
    beginnings = [(TokenSequence(sequence.ids[:at], np.zeros(at, dtype=bool)),) for at in starts]
    wanted = [one.rewards[0] for one in scorer.score(beginnings)]
    assert values == pytest.approx(np.array(wanted), abs=1e-5)


def test_a_language_model_is_no_reward_model(tmp_path):
    with pytest.raises(InputError, match=r"'tiny-policy' is no reward model \(LlamaForCausalLM\)"):
        load_reward_model("tiny-policy", tmp_path, torch.device("cpu"), "shared")


# --- prompts


def test_prompts_that_leave_no_room_for_an_answer_are_counted(tokenizer, tmp_path):
    path = tmp_path / "prompts.jsonl"
    rows = ["What should I wear?", "", "What should I wear to the town meeting, and to the market? " * 8]
    path.write_text("".join(json.dumps({"prompt": row}) + "\n" for row in rows))
    prompts, counts = read_policy_prompts([PromptSource(path=str(path))], tokenizer, longest=40)
    assert len(prompts) == counts.kept == 1
    assert counts.rows == 3
    assert sum(counts.refused.values()) == 2
    assert counts.refused["too long"] == 1
    with pytest.raises(InputError, match="no prompt is left: the shortest has"):
        read_policy_prompts([PromptSource(path=str(path))], tokenizer, longest=3)


def test_a_prompt_ends_where_the_answer_begins(tokenizer):
    asked = written(tokenizer, "A warm coat.")
    turns = tuple(message.as_dict() for message in asked.prompt.messages)
    whole = Tokeniser(tokenizer).tokenise(turns, [({"role": "assistant", "content": "A warm coat."},)]).family[0]
    assert asked.rollout.prompt.tolist() == whole.ids[: int(whole.scored.argmax())].tolist()
