"""`rlaif train ppo | grpo` end to end on the bundled model: from prompts to a folder that transformers loads."""

import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from typer.testing import CliRunner

from rlaif.bundled import resolve_model
from rlaif.cli import main
from rlaif.cli.train import app
from rlaif.errors import DataError, InputError, RlaifError, SettingsError
from rlaif.tiny.world import draw_prompt, seeded
from rlaif.train import checkpoint
from tests.unit.test_rl_rewards import reward_folder, tokenizer  # noqa: F401 - fixtures

torch.set_num_threads(1)
SHORT = 'reward=[{"kind": "check", "check": {"kind": "length", "max_words": 13}}]'
TINY = ("rollout.prompts=4", "rollout.max_new_tokens=12", "iterations=2", "loop.save_every=1", "max_length=256")


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    """64 prompts of the tiny world."""
    path, random = tmp_path_factory.mktemp("data") / "prompts.jsonl", seeded("rl", 1)
    rows = {}
    while len(rows) < 64:
        prompt = draw_prompt(random, held_out=False)
        turns = [turn if isinstance(turn, dict) else turn.as_dict() for turn in prompt.messages]
        rows[json.dumps({"messages": turns})] = None
    path.write_text("".join(row + "\n" for row in rows))
    return path


def call(*arguments):
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    if isinstance(result.exception, RlaifError):
        raise result.exception
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result


def train(method, prompts, output, *sets, model="tiny-policy", flags=()):
    words = [flag for text in sets for flag in ("--set", text)]
    result = call(method, "--model", model, "--prompts", prompts, "--output", output, "--json", *flags, *words)
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.slow
def test_grpo_on_a_check_makes_answers_pass_it(prompts, tmp_path):
    """Answers of at most thirteen words. Iterations' mean rewards are of different prompts each: the last four lie
    above the first four by more than four standard errors of that difference."""
    rollout = "rollout={prompts: 8, group_size: 4, max_new_tokens: 24}"
    sets = ("iterations=12", rollout, "max_length=512", "mean=tokens", "kl.coefficient=0.01")
    optimiser = "loop.optimiser={learning_rate: 1e-3, warmup_share: 0}"
    report = train("grpo", prompts, tmp_path / "out", SHORT, *sets, optimiser)
    log = [json.loads(line) for line in (tmp_path / "out" / "training" / "metrics.jsonl").open()]
    rewards = np.array([line["reward"] for line in log[:-1]])
    first, last = rewards[:4], rewards[-4:]
    error = np.sqrt(first.var(ddof=1) / 4 + last.var(ddof=1) / 4)
    assert last.mean() - first.mean() > 4 * error
    assert report["figures"]["final_reward"] > first.mean()
    assert report["figures"]["final_kl"] > 0
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.config.architectures == ["LlamaForCausalLM"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| final_reward |" in card
    assert "| final_kl |" in card
    assert "| check | kind check, " in card  # what labelled the answers
    assert set(report["seconds"]) >= {"rollout", "scoring", "reward", "learning"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [("value=reward_model",), ("value=shared", "lora={rank: 4}"), ("loop.precision=bf16",)]
)
def test_ppo_on_a_reward_model_is_saved_and_goes_on(more, prompts, reward_folder, tmp_path):  # noqa: F811
    flags = ("--reward-model", reward_folder)
    report = train("ppo", prompts, tmp_path / "out", *TINY, *more, flags=flags)
    assert report["prompts"]["kept"] == 64
    assert report["figures"]["final_reward_reward_model"] == report["figures"]["final_reward"]
    assert (tmp_path / "out" / "adapter").is_dir() == ("lora={rank: 4}" in more)
    again = train("ppo", prompts, tmp_path / "out", *TINY, *more, flags=flags)
    assert (again["resumed_at"], again["iterations"]) == (2, 2)
    (tmp_path / "out" / "config.json").unlink()  # as if it was killed before the model was whole
    mended = train("ppo", prompts, tmp_path / "out", *TINY, *more, flags=flags)
    assert (tmp_path / "out" / "config.json").is_file()
    assert mended["figures"]["final_kl"] == report["figures"]["final_kl"]
    state = checkpoint.newest(tmp_path / "out" / "training")
    assert any("value" in name for name in state.weights)


@pytest.mark.slow
def test_a_run_of_other_settings_is_refused_and_anew_gives_it_up(prompts, tmp_path):
    train("grpo", prompts, tmp_path / "out", SHORT, *TINY)
    with pytest.raises(InputError, match=r"another run: settings was .* differ: entropy \(was 0\.0, now 0\.1\)"):
        train("grpo", prompts, tmp_path / "out", SHORT, *TINY, "entropy=0.1")
    assert "entropy: 0.0" in (tmp_path / "out" / "training" / "settings.yaml").read_text()
    again = train("grpo", prompts, tmp_path / "out", SHORT, *TINY, "entropy=0.1", flags=("--anew",))
    assert again["resumed_at"] == 0
    settings = (tmp_path / "out" / "training" / "settings.yaml").read_text()
    assert "entropy: 0.1" in settings


@pytest.mark.slow
def test_a_reward_model_is_no_policy_and_a_policy_no_reward_model(prompts, tmp_path):
    folder = shutil.copytree(resolve_model("tiny-policy"), tmp_path / "rm")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["LlamaForSequenceClassification"]}))
    with pytest.raises(InputError, match=r"is a reward model \(LlamaForSequenceClassification\); ppo trains"):
        train("ppo", prompts, tmp_path / "out", SHORT, *TINY, model=folder)
    with pytest.raises(InputError, match=r"is no reward model \(LlamaForCausalLM\)"):
        train("ppo", prompts, tmp_path / "out", *TINY, flags=("--reward-model", resolve_model("tiny-policy")))
    with pytest.raises(InputError, match="value: reward_model begins the value as a reward model"):
        train("ppo", prompts, tmp_path / "out", SHORT, *TINY, "value=reward_model")
    assert not (tmp_path / "out" / "config.json").exists()


def test_mistakes_are_found_before_a_model_is_loaded(prompts, tmp_path, monkeypatch):
    monkeypatch.setattr("rlaif.train.rl.making.load_model", lambda *_: pytest.fail("a model was loaded"))
    out = tmp_path / "out"
    with pytest.raises(InputError, match="there is no reward"):
        train("ppo", prompts, out, *TINY)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(DataError, match="there is no prompt"):
        train("ppo", empty, out, SHORT, *TINY)
    with pytest.raises(DataError, match="no prompt is left: the shortest has"):
        train("ppo", prompts, out, SHORT, *TINY, "max_length=14")
    with pytest.raises(SettingsError, match="leaves no room for a prompt"):
        train("ppo", prompts, out, SHORT, *TINY, "max_length=12")
    with pytest.raises(SettingsError, match="group_siz"):
        train("grpo", prompts, out, SHORT, "rollout.group_siz=4")
    with pytest.raises(SettingsError, match="group_size"):
        train("grpo", prompts, out, SHORT, "rollout.group_size=1")
    with pytest.raises(SettingsError, match="cannot be divided into 9 minibatches"):
        train("ppo", prompts, out, SHORT, *TINY, "minibatches=9")
    with pytest.raises(SettingsError, match="RL learns without dropout"):
        train("ppo", prompts, out, SHORT, "lora={dropout: 0.1}")
    with pytest.raises(SettingsError, match="two parts of the reward are called"):
        train("ppo", prompts, out, 'reward=[{"kind": "end"}, {"kind": "end"}]')
    with pytest.raises(SettingsError, match="start it above 0"):
        train("ppo", prompts, out, SHORT, "kl={coefficient: 0, target: 1}")
    assert not list(tmp_path.glob("out/*.json"))


LONG = """\
model: tiny-policy
reward: [{kind: length, per_token: -0.02}]  # pays for every token
kl: {coefficient: 0.0}
iterations: 30
max_length: 256
rollout: {prompts: 6, group_size: 4, max_new_tokens: 64}
stop: {unended: null}
loop: {save_every: 100, optimiser: {learning_rate: 1.0e-3, warmup_share: 0.0, schedule: constant}}
output: out
prompts: [{path: PROMPTS}]
watch:
  held_out_every: 1
  held_out: {prompts: [{path: PROMPTS, limit: 32}], check: {kind: regex, pattern: '[.?!]$'}}  # ends in a sentence
"""


def typed(*arguments):
    """The exit code of a command line, as a shell sees it."""
    try:
        main.run([str(one) for one in arguments])
    except SystemExit as end:
        return end.code
    return 0


@pytest.mark.slow
def test_an_over_optimised_run_is_stopped_and_leaves_the_best_weights(prompts, tmp_path, capsys):
    """Paid by length and without a KL, the policy learns not to end. The held-out score, how many answers end in a
    sentence, falls while the reward rises; the folder has the weights from the best score."""
    config = tmp_path / "long.yaml"
    config.write_text(LONG.replace("PROMPTS", str(prompts)))
    assert typed("train", "grpo", "--config", config, "--json") == 7
    shown = capsys.readouterr()
    told = json.loads(shown.out)
    (alarm,) = told["alarms"]
    assert alarm["rule"] == "held_out"
    assert alarm["why"] in told["stopped"]
    log = [json.loads(line) for line in (tmp_path / "out" / "training" / "metrics.jsonl").open()]
    scores, rewards = ([line[f"watch_{name}"] for line in log] for name in ("held_out", "reward"))
    assert len(log) == alarm["step"] + 1 < 30
    assert told["returned_to"] == alarm["good_until"] == int(np.argmax(scores))
    assert told["figures"]["watch_held_out"] == max(scores) > scores[-1] + 0.2
    assert rewards[-1] > rewards[told["returned_to"]]
    assert [json.loads(line) for line in (tmp_path / "out" / "training" / "alarms.jsonl").open()] == [alarm]
    error = " ".join(shown.err.split())
    assert "error:" in error
    assert alarm["why"] in error
    assert f"the weights are those of iteration {told['returned_to']}" in error
    saved = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").state_dict()
    best = checkpoint.read_whole(tmp_path / "out" / "training" / "best.pt")
    assert best["step"] == told["returned_to"]
    for name, weight in best["weights"].items():
        assert torch.equal(saved[name.removeprefix("model.")], weight), name
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"| watch_held_out | {max(scores):.6g} |" in card
    assert alarm["why"] in card

    assert typed("train", "grpo", "--config", config, "--json") == 7  # nothing more is learnt
    again = json.loads(capsys.readouterr().out)
    assert {**again, "resumed_at": 0, "seconds": 0} == {**told, "seconds": 0}
