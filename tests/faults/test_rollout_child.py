"""A sampler whose child goes on with old weights is found out."""

import pytest

from rlaif.engines.vllm_rollouts import VllmRollouts
from rlaif.errors import EngineCrashed
from rlaif.settings import EngineSettings
from tests.tiny_llama import write_tiny_llama


class FakeRollouts(VllmRollouts):
    child_module = "tests.faults.fake_rollout_child"


def test_answers_drawn_from_old_weights_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("rlaif.engines.vllm_rollouts.require_vllm", lambda: None)
    folder = write_tiny_llama(tmp_path / "policy", weights=False)
    weights = folder / "model.safetensors"
    weights.write_bytes(b"weights")
    asked = {"max_tokens": [1], "stop_ids": [2], "temperature": 1.0}
    with FakeRollouts(folder, EngineSettings(), log_file=tmp_path / "log.txt") as engine:
        engine.update(weights, {})
        assert engine.sample([[3, 4]], [0], **asked)[0].tokens == (5,)
        engine.update(weights, {})
        with pytest.raises(EngineCrashed, match="weights of version 1, not 2"):
            engine.sample([[3, 4]], [0], **asked)
