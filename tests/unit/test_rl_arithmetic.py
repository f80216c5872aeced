"""A model that can add a little learns the rest from right and wrong: a small version of `benchmarks/arithmetic.py`.

Sums of 1 to 5, so that a few seconds suffice. The full one goes from under 30 % to over 90 % on two-digit numbers.
"""

import json
from collections import Counter

import pytest
import torch

from benchmarks.arithmetic import grpo_settings, sft_settings
from benchmarks.sums import (
    Sum,
    all_sums,
    is_right,
    make_tokenizer,
    measure,
    write_demonstrations,
    write_model,
    write_prompts,
)
from rlaif.train.rl.run import run_rl
from rlaif.train.rl.settings import GrpoSettings
from rlaif.train.run import run_training
from rlaif.train.settings import SftSettings

torch.set_num_threads(1)


def test_every_character_is_a_token_and_an_answer_reads_as_it_was_written():
    tokenizer = make_tokenizer()
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "37+58="}], tokenize=False, add_generation_prompt=True
    )
    assert text == "<|bos|><|user|>37+58=<|end|><|assistant|>"
    ids = tokenizer("95", add_special_tokens=False)["input_ids"]
    assert len(ids) == 2
    assert tokenizer.decode([*ids, tokenizer.eos_token_id], skip_special_tokens=True) == "95"


def test_sums_are_all_there_and_two_tenths_are_never_learnt_from():
    sums = all_sums()
    assert len({(one.a, one.b) for one in sums}) == 90 * 90
    counts = Counter(one.part for one in sums)
    assert set(counts) == {"training", "validation", "held-out"}
    assert all(0.08 < counts[part] / len(sums) < 0.12 for part in ("validation", "held-out"))
    assert is_right("95", Sum(37, 58))
    assert not is_right("94", Sum(37, 58))
    assert not is_right("", Sum(37, 58))


@pytest.mark.slow
def test_accuracy_rises(tmp_path):
    """From under a half to over three quarters of the drawn answers, with the same sums asked before and after."""
    sums = all_sums(1, 5)
    write_model(tmp_path / "empty", hidden=64, layers=2)
    write_demonstrations(tmp_path / "demonstrations.jsonl", sums)
    write_prompts(tmp_path / "prompts.jsonl", sums)
    imitating = sft_settings(tmp_path, 0)
    imitating["loop"] |= {"epochs": 20, "batch_size": 25}
    run_training("sft", SftSettings.model_validate(imitating))
    before = measure(tmp_path / "sft", sums * 8)
    learning = grpo_settings(tmp_path, 0, 80)
    learning["rollout"] = {"prompts": 25, "group_size": 8, "max_new_tokens": 3}
    learning["watch"] = {"stop": False}
    run_rl("grpo", GrpoSettings.model_validate(learning))
    after = measure(tmp_path / "grpo", sums * 8)
    assert before.sampled < 0.5
    assert after.sampled > max(0.75, before.sampled + 0.3)
    lines = [json.loads(line) for line in (tmp_path / "grpo" / "training" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-2]["watch_reward"] > lines[0]["watch_reward"] + 0.2
