"""Side by side with TRL's trainers: the same rows, first weights, order, optimizer and float32; the loss of every step.

Where the two compute the same thing they must agree to 1e-5. TRL pads, repeats the prompt and runs two passes; we pack,
share and chunk. What differs by decision is not compared here but written down in docs/training.md: labels with a
probability, means over an epoch's last step, IPO's length normalisation, and the white space after an end-of-turn
token. The texts below end with the end-of-sequence token, as TRL writes it, so that the sequences are the same.
"""

import json

import datasets
import pytest
import torch
import transformers
import trl

from rlaif.train.dpo import DpoTask
from rlaif.train.examples import DataEntry, Limits, read_answers, read_preferences
from rlaif.train.forward import LogprobModel, RewardModel, prepare_model
from rlaif.train.kto import KtoTask, with_mismatched
from rlaif.train.loop import train
from rlaif.train.reference import reference_sums
from rlaif.train.reward import RewardTask
from rlaif.train.settings import DpoSettings, LoopSettings, OptimiserSettings
from rlaif.train.task import Layout
from rlaif.train.tokenise import Tokeniser
from tests.tiny_llama import write_tiny_llama

torch.set_num_threads(1)
STEPS, BATCH = 50, 4
RATE = 1e-3  # at 3e-3 the reward model's steps grow rounding of 1e-7 to 5e-5 by the end; one seed, both ways
CORPUS = "honest kind better because answer follows the principle helps question does not say what it knows"


@pytest.fixture(scope="module")
def rows():
    """50 steps of pairs with prompts and answers of uneven lengths."""
    import random

    chance = random.Random(3)

    def text(low, high):
        return " ".join(chance.choices(CORPUS.split(), k=chance.randint(low, high)))

    def row():
        first, second = chance.sample(["honest", "kind"], 2)  # so that no two answers are equal
        answers = {"chosen": f" {first} {text(1, 8)}", "rejected": f" {second} {text(1, 8)}"}
        return {"prompt": text(2, 12) + " :", **answers, "margin": chance.random()}

    return [row() for _ in range(STEPS * BATCH)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_llama(tmp_path_factory.mktemp("llama"), scale=0.08)


def load(folder, kind=transformers.AutoModelForCausalLM, **more):
    torch.manual_seed(5)  # the reward head is new
    model = kind.from_pretrained(folder, dtype=torch.float32, **more)
    return model, transformers.AutoTokenizer.from_pretrained(folder)


def trl_arguments(kind, where, **more):
    return kind(
        output_dir=str(where),
        per_device_train_batch_size=BATCH,
        max_steps=STEPS,
        learning_rate=RATE,
        lr_scheduler_type="linear",
        warmup_steps=0,
        max_grad_norm=1.0,
        adam_beta2=0.999,
        weight_decay=0.0,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        max_length=512,
        disable_tqdm=True,
        **more,
    )


class InOrder:
    """TRL's trainers draw rows at random; here they come as they stand."""

    def _get_train_sampler(self, *_):
        return torch.utils.data.SequentialSampler(self.train_dataset)


class Dpo(InOrder, trl.DPOTrainer):
    pass


class Reward(InOrder, trl.RewardTrainer):
    pass


def their_losses(trainer):
    trainer.train()
    return [line for line in trainer.state.log_history if "loss" in line]


def our_figures(rows, folder, tmp_path, build, reader=read_preferences):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    model, tokenizer = folder
    read, card = reader([DataEntry(path=str(path), name="a")], Tokeniser(tokenizer), Limits(max_length=512))
    assert card.num_rows == len(rows)
    task, module = build(model, read)
    optimiser = OptimiserSettings(learning_rate=RATE, warmup_share=0.0)
    settings = LoopSettings(batch_size=BATCH, micro_batch_tokens=150, optimiser=optimiser)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rlaif.train.batches.Plan.rows", lambda plan, step: list(range(step * BATCH, (step + 1) * BATCH)))
        # transformers' linear schedule reaches 0 one step after the last
        patch.setattr("rlaif.train.stepping.learning_rate", lambda step, total, **_: RATE * (1 - step / total))
        train(task, module, settings, folder=tmp_path / "ours")
    return [json.loads(line) for line in (tmp_path / "ours" / "metrics.jsonl").open()]


def assert_equal_losses(ours, theirs):
    assert len(ours) == len(theirs) == STEPS
    gaps = [abs(one["loss"] - other["loss"]) for one, other in zip(ours, theirs, strict=True)]
    assert max(gaps) < 1e-5, gaps
    for one, other in zip(ours, theirs, strict=True):
        assert one["grad_norm"] == pytest.approx(float(other["grad_norm"]), rel=1e-3, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["sigmoid", "hinge", "robust"])
def test_dpo_has_trls_loss_at_every_step(loss, rows, folder, tmp_path):
    model, tokenizer = load(folder)
    reference, _ = load(folder)
    data = datasets.Dataset.from_list([{k: row[k] for k in ("prompt", "chosen", "rejected")} for row in rows])
    arguments = trl_arguments(
        trl.DPOConfig, tmp_path, loss_type=[loss], beta=0.2, label_smoothing=0.1 if loss == "robust" else 0.0
    )
    theirs = their_losses(
        Dpo(model=model, ref_model=reference, args=arguments, train_dataset=data, processing_class=tokenizer)
    )

    def build(model, read):
        module = LogprobModel(prepare_model(model))
        sums = reference_sums(module, read, Layout(), 400, cache=None)
        settings = DpoSettings(model="m", data=[{"path": "d"}], output="o", loss=loss, beta=0.2, flip_rate=0.1)
        return DpoTask(read, Layout(), settings, sums), module

    assert_equal_losses(our_figures(rows, load(folder), tmp_path, build), theirs)


class Kto(InOrder, trl.KTOTrainer):
    pass


@pytest.mark.slow
def test_kto_has_trls_loss_at_every_step(rows, folder, tmp_path):
    """With TRL's mismatched answers: that of the row before in the same batch, the last row's for the first."""
    model, tokenizer = load(folder)
    reference, _ = load(folder)
    single = [
        {"prompt": row["prompt"], "completion": row["chosen" if number % 2 else "rejected"], "label": bool(number % 2)}
        for number, row in enumerate(rows)
    ]
    arguments = trl_arguments(
        trl.KTOConfig, tmp_path, beta=0.2, desirable_weight=1.3, undesirable_weight=0.8, loss_type="kto"
    )
    data = datasets.Dataset.from_list(single)
    theirs = their_losses(
        Kto(model=model, ref_model=reference, args=arguments, train_dataset=data, processing_class=tokenizer)
    )
    partners = [row - 1 if row % BATCH else row + BATCH - 1 for row in range(len(single))]

    def build(model, read):
        module = LogprobModel(prepare_model(model))
        sums = reference_sums(module, with_mismatched(read, partners, 512), Layout(), 400, cache=None)
        chosen = {"loss": "kto", "beta": 0.2, "desirable": 1.3, "undesirable": 0.8}
        settings = DpoSettings(model="m", data=[{"path": "d"}], output="o", **chosen)
        return KtoTask(read, Layout(), settings, sums, partners), module

    ours = our_figures(single, load(folder), tmp_path, build, read_answers)
    assert_equal_losses(ours, theirs)
    assert max(one["kl"] for one in ours) > 0.01  # the baseline did something


@pytest.mark.slow
@pytest.mark.parametrize("use_margin", [False, True])
def test_the_reward_model_has_trls_loss_at_every_step(use_margin, rows, folder, tmp_path):
    kind = {"kind": transformers.AutoModelForSequenceClassification, "num_labels": 1}
    model, tokenizer = load(folder, **kind)
    columns = ("prompt", "chosen", "rejected", *(["margin"] if use_margin else []))
    data = datasets.Dataset.from_list([{k: row[k] for k in columns} for row in rows])
    arguments = trl_arguments(trl.RewardConfig, tmp_path, center_rewards_coefficient=0.01)
    theirs = their_losses(Reward(model=model, args=arguments, train_dataset=data, processing_class=tokenizer))

    def build(model, read):
        return RewardTask(read, Layout(), use_margin=use_margin, centring=0.01), RewardModel(prepare_model(model))

    assert_equal_losses(our_figures(rows, load(folder, **kind), tmp_path, build), theirs)
