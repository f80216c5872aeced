"""Traps between tokens and the numbers a model gives them: padding, positions, precision, references, heads."""

import ast
import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model

import rlaif.train
from rlaif.bundled import resolve_model
from rlaif.errors import InputError
from rlaif.tiny.world import draw_prompt, seeded
from rlaif.train import checkpoint, forward, head, packing, reference, reward, run, task
from rlaif.train.dpo import DpoTask
from rlaif.train.examples import TrainingRow
from rlaif.train.forward import LogprobModel, RewardModel
from rlaif.train.settings import DpoSettings, LoraSettings, RewardSettings
from rlaif.train.task import Layout
from rlaif.train.tiny.loaded import load
from rlaif.train.tiny.sampling import sample
from tests.train_models import double_gpt2, double_llama, llama, random_pairs, sequence
from tests.traps.planted import planted, trap
from tests.unit.test_train_forward import plain_logprobs

torch.set_num_threads(1)
CLASSIFIER = {"kind": transformers.LlamaForSequenceClassification, "num_labels": 1}
END = 2
PAD, PACK, HIDDEN = packing.pad, packing.pack, forward.hidden_states
CPU = torch.device("cpu")


def rewards_alone(model, families):
    """The slow witness: each sequence by the classification model's own forward, without padding."""
    one_by_one = [model(input_ids=torch.from_numpy(one.ids)[None]).logits[0] for row in families for one in row]
    return torch.stack(one_by_one)


# --- 6, 7, 8: padding


def by_the_first_pad_id(families, **more):
    """ "The token before the first pad id": where pad is the end of sequence, that is a token of the prompt."""
    batch = PAD(families, **more)
    batch.ids[batch.attention_mask == 0] = END
    first = (batch.ids == END).long().argmax(1)
    return replace(batch, lasts=(first - 1) % batch.ids.shape[1] + torch.arange(len(first)) * batch.ids.shape[1])


@trap(
    6,
    planted("rlaif.train.task.pad", by_the_first_pad_id),
    planted("rlaif.train.reward.check_pad_token", lambda tokenizer: None),
)
def test_a_pad_token_that_is_the_end_of_sequence_moves_no_reward():
    model = double_llama(**CLASSIFIER)
    talk = [5, 6, END, 7, 8]  # two turns: the first one ends inside the prompt
    families = [(sequence(talk, [9, END]), sequence(talk, [9, 4, 3, END]))]
    batch = Layout("off").batch(families)
    batch.ids[batch.attention_mask == 0] = END
    assert (RewardModel(model)(batch) - rewards_alone(model, families)).abs().max() < 1e-12
    tokenizer = transformers.AutoTokenizer.from_pretrained(resolve_model("tiny-policy"))
    tokenizer.pad_token = tokenizer.eos_token  # transformers' classifiers would read another token than we trained
    with pytest.raises(InputError, match="pads with its end-of-sequence token"):
        reward.check_pad_token(tokenizer)


def without_positions(model, batch, asked=None):
    if batch.segments:
        return HIDDEN(model, batch, asked)
    positions = torch.arange(batch.ids.shape[1]).expand_as(batch.ids)
    return HIDDEN(model, replace(batch, positions=positions))


def as_if_padded_on_the_right(families, **more):
    batch = PAD(families, **more)
    rows = torch.arange(len(batch.ids)) * batch.ids.shape[1]
    return replace(batch, lasts=batch.attention_mask.sum(1) - 1 + rows)


@trap(
    7,
    planted("rlaif.train.forward.hidden_states", without_positions),
    planted("rlaif.train.packing.pad", as_if_padded_on_the_right),
)
def test_padding_on_the_left_shifts_neither_positions_nor_the_last_token():
    families = random_pairs(4)
    absolute = double_gpt2()  # rotary positions forgive a shift, absolute ones do not
    found = LogprobModel(absolute)(packing.pad(families, side="left")).logprobs
    assert (found - plain_logprobs(absolute, families)).abs().max() < 1e-12
    model = double_llama(**CLASSIFIER)
    rewards = RewardModel(model)(packing.pad(families, side="left"))
    assert (rewards - rewards_alone(model, families)).abs().max() < 1e-12


def by_the_last_column(families, **more):
    batch = PAD(families, **more)
    width = batch.ids.shape[1]
    return replace(batch, lasts=torch.arange(len(batch.ids)) * width + width - 1)


@trap(8, planted("rlaif.train.task.pad", by_the_last_column))
def test_a_reward_does_not_depend_on_the_batch_it_is_computed_in():
    model, families = double_llama(**CLASSIFIER), random_pairs(20)
    wanted = rewards_alone(model, families)
    for layout in (Layout(), Layout("packed"), Layout("off")):
        for size in (1, 5, 16, 20):
            parts = [families[at : at + size] for at in range(0, 20, size)]
            found = torch.cat([RewardModel(model)(layout.batch(part)) for part in parts])
            assert (found - wanted).abs().max() < 1e-12


# --- 9, 17: precision


def head_in_bf16(self, batch):
    last = forward.hidden_states(self.model, batch).index_select(0, batch.lasts)
    return torch.nn.functional.linear(last, self.model.score.weight).float()


@trap(9, planted("rlaif.train.forward.RewardModel.forward", head_in_bf16))
def test_under_bf16_rewards_are_no_multiples_of_a_32nd():
    """Between 4 and 8 bfloat16 has steps of 0.031: the differences that a reward model is about."""
    model, families = llama(**CLASSIFIER), random_pairs(12)
    with torch.autocast("cpu", torch.bfloat16):
        rewards = RewardModel(model)(Layout().batch(families))
    assert rewards.dtype == torch.float32
    assert (rewards != rewards.bfloat16().float()).float().mean() > 0.9


REFERENCE, SCORE = reference.reference_sums, head.token_logprobs


def always_float32(*args, precision="float32", **more):
    return REFERENCE(*args, **more)


def softmax_in_bf16(hidden, of, targets, **_):
    logits = (hidden.bfloat16() @ of.weight.bfloat16().T).log_softmax(-1)
    return head.TokenScores(logits.gather(1, targets[:, None])[:, 0].float())


@trap(
    17,
    planted("rlaif.train.reference.reference_sums", always_float32),
    planted("rlaif.train.head.token_logprobs", softmax_in_bf16),
)
def test_a_policy_that_is_its_reference_has_no_reward_in_bf16_either():
    rows = [TrainingRow(family=family) for family in random_pairs(12)]
    module = LogprobModel(llama())
    sums = reference.reference_sums(module, rows, Layout(), 10_000, cache=None, precision="bf16")
    pairs = DpoTask(rows, Layout(), DpoSettings(model="m", data=[{"path": "d"}], output="o", beta=1.0), sums)
    with torch.autocast("cpu", torch.bfloat16):
        outcome = pairs.compute(module, range(12), CPU)
    assert float(outcome.loss) / 12 == pytest.approx(math.log(2), abs=1e-6)
    hidden, weight, targets = torch.randn(200, 16), torch.randn(1000, 16), torch.randint(0, 1000, (200,))
    with torch.autocast("cpu", torch.bfloat16):
        found = head.token_logprobs(hidden, head.Head(weight), targets).logprobs
    exact = (hidden.bfloat16() @ weight.bfloat16().T).double().log_softmax(-1).gather(1, targets[:, None])[:, 0]
    assert (found - exact).abs().max() < 1e-5


def computing_softmaxes(folder):
    """The modules in which a log-softmax or a log-sigmoid is taken."""
    names = {"log_softmax", "logsumexp", "cross_entropy_loss", "logsigmoid", "softplus"}
    return {
        path.stem
        for path in sorted(Path(folder).glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in names
    }


def test_there_is_one_place_for_log_probabilities_and_one_for_losses(tmp_path):
    """Trap 17, second half: two copies of a loss drift apart. `forward` has the check of `prepare_model`."""
    assert computing_softmaxes(Path(rlaif.train.__file__).parent) <= {"head", "losses", "forward"}
    (tmp_path / "second_copy.py").write_text("def loss(x):\n    return -F.logsigmoid(x)\n")
    assert computing_softmaxes(tmp_path) == {"second_copy"}


# --- 18, 19: LoRA


def base_without_adapters(module, *args, **more):
    inner = module.model
    with inner.disable_adapter() if hasattr(inner, "disable_adapter") else nullcontext():
        return REFERENCE(module, *args, **more)


@trap(18, planted("rlaif.train.reference.reference_sums", base_without_adapters))
def test_the_reference_of_a_trained_adapter_is_the_model_with_it():
    torch.manual_seed(0)
    adapted = get_peft_model(llama(), LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj", "v_proj"]))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(0.0, 0.5)
    rows = [TrainingRow(family=family) for family in random_pairs(6)]
    module = LogprobModel(adapted.eval())
    sums = reference.reference_sums(module, rows, Layout(), 10_000, cache=None)
    pairs = DpoTask(rows, Layout(), DpoSettings(model="m", data=[{"path": "d"}], output="o"), sums)
    gap, count = pairs.compute(module, range(6), CPU).metrics["reward_chosen"]
    assert abs(float(gap)) / count < 1e-5


def without_the_head(method, model, settings):
    return get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))


def adapters_alone(module):
    return {name: weight.detach() for name, weight in module.named_parameters() if "lora" in name}


@trap(
    19,
    planted("rlaif.train.run.with_adapters", without_the_head),
    planted("rlaif.train.checkpoint.trained_weights", adapters_alone),
)
def test_a_fresh_reward_head_is_trained_and_kept_with_the_adapters():
    settings = RewardSettings(model="m", data=[{"path": "d"}], output="o", lora=LoraSettings(rank=2))
    module = RewardModel(run.with_adapters("reward", llama(**CLASSIFIER), settings))
    kept = [name for name in checkpoint.trained_weights(module) if "score" in name]
    assert len(kept) == 1
    module(Layout().batch(random_pairs(2))).sum().backward()
    assert module.get_parameter(kept[0]).grad.abs().sum() > 0


# --- 20: the head's first weights


def deviation_for_variance(model, seed):
    with torch.no_grad():
        model.score.weight.normal_(0.0, 1 / (model.score.weight.shape[1] + 1))


@trap(20, planted("rlaif.train.reward.init_head", deviation_for_variance))
def test_a_fresh_reward_head_has_variance_one_over_width_plus_one():
    wide = {"hidden_size": 2048, "intermediate_size": 8, "num_hidden_layers": 1, "head_dim": 4}
    model = transformers.LlamaForSequenceClassification(llama().config.__class__(vocab_size=8, num_labels=1, **wide))
    reward.init_head(model, 0)
    assert model.score.weight.var().item() * 2049 == pytest.approx(1.0, rel=0.15)  # four standard errors


# --- 21 (second half): off by one


def predicted_by_itself(families, **more):
    batch = PACK(families, **more)
    return replace(batch, rows=batch.rows + 1)


def one_before_the_last(families, **more):
    batch = PACK(families, **more)
    return replace(batch, lasts=batch.lasts - 1)


@trap(21, planted("rlaif.train.task.pack", predicted_by_itself), planted("rlaif.train.task.pack", one_before_the_last))
def test_a_token_is_predicted_from_the_one_before_it_and_a_reward_read_at_the_last():
    families = random_pairs(5)
    model, scorer = double_llama(), double_llama(**CLASSIFIER)
    batch = task.Layout().batch(families)
    assert (LogprobModel(model)(batch).logprobs - plain_logprobs(model, families)).abs().max() < 1e-12
    assert (RewardModel(scorer)(batch) - rewards_alone(scorer, families)).abs().max() < 1e-12


# --- 22 (the part that concerns figures): nothing is cut off the distribution that a KL is estimated on


GENERATE = transformers.GenerationMixin.generate


def with_the_models_own_filters(self, *args, **more):
    kept = {name: value for name, value in more.items() if name not in ("top_k", "top_p", "temperature")}
    return GENERATE(self, *args, **kept)


@trap(22, planted("transformers.GenerationMixin.generate", with_the_models_own_filters))
def test_samples_for_a_kl_come_from_the_whole_distribution():
    policy = load("tiny-policy", torch.float32)
    policy.model.generation_config.top_k = 1  # a model's own habit, which would make every answer the same
    prompt = draw_prompt(seeded("trap 22"), held_out=True)
    (answers,) = sample(policy, [prompt], each=4, seed=0).texts
    assert len(set(answers)) > 1
