"""What becomes of a sampler whose child goes on with old weights, or dies: with a stand-in for vLLM's child."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from rlaif.engines.vllm_rollouts import VllmRollouts
from rlaif.errors import EngineCrashed, InputError
from rlaif.train.rl import vllm_sampler
from rlaif.train.rl.rollouts import Sampling
from tests.train_models import SIZES, llama

HOW = Sampling(max_new_tokens=1, stop_ids=(2,))
PROMPT = [np.array([3, 4])]


class FakeRollouts(VllmRollouts):
    child_module = "tests.faults.fake_rollout_child"


@pytest.fixture
def sampler(tmp_path, monkeypatch):
    monkeypatch.setattr("rlaif.engines.vllm_rollouts.require_vllm", lambda: None)
    monkeypatch.setattr(vllm_sampler, "VllmRollouts", FakeRollouts)
    with vllm_sampler.VllmSampler(llama(), log_file=tmp_path / "log.txt") as opened:  # sends its weights once
        yield opened


def test_answers_drawn_from_old_weights_are_refused(sampler):
    assert sampler.sample(PROMPT, [0], HOW)[0].answer.tolist() == [5]
    sampler.update(llama(seed=1))
    with pytest.raises(EngineCrashed, match="weights of version 1, not 2"):
        sampler.sample(PROMPT, [0], HOW)


def test_no_weights_are_left_lying_and_a_child_that_dies_is_an_error_with_its_cause(sampler):
    folder, pid = Path(sampler._folder.name), sampler._engine.pid
    assert not list(folder.glob("*.safetensors"))
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(EngineCrashed, match="which draws the rollouts, died: killed by signal 9"):
        sampler.sample(PROMPT, [0], HOW)
    sampler.close()
    assert not folder.exists()


def test_a_prompt_that_fills_the_context_is_refused_before_vllm_sees_it(sampler):
    room = SIZES["max_position_embeddings"]
    with pytest.raises(InputError, match=f"prompt 0 has {room} tokens; the model reads at most {room}"):
        sampler.sample([np.full(room, 5)], [0], HOW)
    assert sampler.sample([], [], HOW) == []
