"""One training with two real vLLM engines: the judge is its reward and its held-out score, the rollouts follow the
policy's weights. RLAIF's direct form, by the command that people type. Loading both takes most of a minute, so it is
part of `make test-full`; what each does alone, `make test` has.
"""

import json
import subprocess
import sys

import pytest

from rlaif.bundled import project_file
from tests.scale import IS_FULL

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(not IS_FULL, reason="two engines are loaded: a minute or more; make test-full"),
]

JUDGE = """
name: judged
constitution: {constitution}
prompts: [{{path: {prompts}}}]
policies: [{{model: tiny-policy}}]
judge: {{model: tiny-judge}}
engine: {{dtype: float32}}
"""
TRAINING = """
model: tiny-policy
prompts: [{{path: {prompts}, limit: 40}}]
output: model
max_length: 512
iterations: 3
reward: [{{kind: judge, config: judge.yaml}}]
kl: {{coefficient: 0.01}}
rollout: {{sampler: vllm, prompts: 4, group_size: 3, max_new_tokens: 60}}
loop: {{optimiser: {{learning_rate: 1.0e-3, warmup_share: 0.0}}}}
watch:
  held_out_every: 1
  held_out: {{prompts: [{{path: {prompts}, limit: 6}}], judge: judge.yaml}}
"""


@pytest.fixture
def folder(tmp_path):
    prompts = project_file("prompts/sets/tiny-world.jsonl")
    (tmp_path / "judge.yaml").write_text(
        JUDGE.format(prompts=prompts, constitution=project_file("constitution/small.yaml"))
    )
    (tmp_path / "grpo.yaml").write_text(TRAINING.format(prompts=prompts))
    return tmp_path


def train(folder):
    command = [sys.executable, "-m", "rlaif.cli.main", "train", "grpo", "--config", "grpo.yaml", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_judge_on_vllm_rewards_answers_that_vllm_drew_from_the_newest_weights(folder):
    told = train(folder)
    print(f"seconds: {told['seconds']}")
    lines = [json.loads(line) for line in (folder / "model" / "training" / "metrics.jsonl").open()]
    assert len(lines) == 4  # and one of the trained policy
    for line in lines[:3]:
        assert line["reward_judge"] == pytest.approx(0.5, abs=1e-6)  # of a group each is compared with all others
        assert line["reward_deviation"] > 0.01
        assert line["sampler_gap_most"] < 1e-3  # vLLM drew from the weights that learn, also after updates
    assert lines[0]["watch_held_out"] == 0.5  # nothing was learnt yet: each answer meets itself
    assert lines[2]["watch_held_out"] != 0.5
    assert 0 < lines[2]["watch_held_out_error"] < 0.5
    assert lines[1]["kl"] != 0.0
    assert {"reward_judge_polite", "reward_judge_brief"} <= lines[0].keys()
    assert told["alarms"] == []
    again = train(folder)
    assert (again["resumed_at"], again["figures"]) == (3, told["figures"])
