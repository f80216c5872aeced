"""The dataset as others read it: `datasets.load_dataset` on the folder, and TRL's trainers on what that gives."""

import math

import jsonlines
import pytest

from rlaif import pair_dataset
from rlaif.bundled import resolve_model
from rlaif.pair_dataset import DatasetWriter, pair_row, read_rows
from rlaif.settings import PairSettings
from tests.roads import Road, constitution, prompts, settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of 12 prompts, all pairs, as files; and its pairs."""
    folder = tmp_path_factory.mktemp("run")
    wanted = settings(pairs=PairSettings(rule="all", min_margin=0.05))
    result = Road(folder / "store").write(folder, wanted, constitution(), prompts(12))
    return folder, result


@pytest.fixture(scope="module")
def loaded(made):
    from datasets import load_dataset

    folder, _ = made
    return load_dataset(str(folder / "dataset"), cache_dir=str(folder / "cache"))["train"]


def test_load_dataset_gives_back_every_row(made, loaded):
    _, result = made
    assert loaded.num_rows == len(result.pairs) > 20
    for row, pair in zip(loaded, result.pairs, strict=True):
        assert row == pair_row(pair)


def test_jsonl_holds_the_same_rows(made):
    folder, result = made
    with jsonlines.open(folder / "pairs.jsonl") as lines:
        assert list(lines) == [pair_row(pair) for pair in result.pairs]


def test_every_judged_pair_is_in_the_labels(made):
    folder, result = made
    rows = list(read_rows(folder / "labels.parquet"))
    assert [row["pair_id"] for row in rows] == [label.pair.id for label in result.labelled]
    assert [row["probability_x"] for row in rows] == [label.probability for label in result.labelled]


def test_the_same_pairs_give_the_same_bytes_however_they_are_added(made, tmp_path):
    folder, result = made
    writer = DatasetWriter(tmp_path / "dataset")
    for start in range(0, len(result.pairs), 7):
        writer.add(result.pairs[start : start + 7])
    writer.finish("card")
    (ours,) = (tmp_path / "dataset").glob("*.parquet")
    (first,) = (folder / "dataset").glob("*.parquet")
    assert ours.read_bytes() == first.read_bytes()


def test_a_large_dataset_is_several_files_of_whole_groups(made, tmp_path, monkeypatch):
    from datasets import load_dataset

    _, result = made
    monkeypatch.setattr(pair_dataset, "_ROWS_PER_FILE", 10)
    monkeypatch.setattr(pair_dataset, "_ROWS_PER_GROUP", 4)
    writer = DatasetWriter(tmp_path / "dataset")
    writer.add(result.pairs)
    writer.finish("card")
    number = -(-len(result.pairs) // 10)
    names = sorted(path.name for path in (tmp_path / "dataset").glob("*.parquet"))
    assert names == [f"train-{n:05d}-of-{number:05d}.parquet" for n in range(number)]
    loaded = load_dataset(str(tmp_path / "dataset"), cache_dir=str(tmp_path / "cache"))["train"]
    assert loaded["pair_id"] == [pair.id for pair in result.pairs]


def _arguments(tmp_path):
    return {
        "output_dir": str(tmp_path),
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
        "logging_steps": 1,
        "gradient_checkpointing": False,
    }


def _losses(trainer):
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_trl_dpo_trainer_takes_it_as_it_is(loaded, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    model = AutoModelForCausalLM.from_pretrained(resolve_model("tiny-policy"), dtype="float32")
    tokenizer = AutoTokenizer.from_pretrained(resolve_model("tiny-policy"))
    trainer = DPOTrainer(
        model=model, args=DPOConfig(**_arguments(tmp_path)), train_dataset=loaded, processing_class=tokenizer
    )
    assert len(trainer.train_dataset) == loaded.num_rows
    losses = _losses(trainer)
    assert losses[0] == pytest.approx(math.log(2), abs=1e-4)  # policy and reference are equal before the first step
    assert len(losses) == 2


def test_trl_reward_trainer_takes_it_as_it_is(loaded, tmp_path):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from trl import RewardConfig, RewardTrainer

    tokenizer = AutoTokenizer.from_pretrained(resolve_model("tiny-policy"))
    model = AutoModelForSequenceClassification.from_pretrained(
        resolve_model("tiny-policy"), num_labels=1, dtype="float32", pad_token_id=tokenizer.pad_token_id
    )
    trainer = RewardTrainer(
        model=model, args=RewardConfig(**_arguments(tmp_path)), train_dataset=loaded, processing_class=tokenizer
    )
    assert len(trainer.train_dataset) == loaded.num_rows
    losses = _losses(trainer)
    assert len(losses) == 2
    assert all(math.isfinite(loss) for loss in losses)
