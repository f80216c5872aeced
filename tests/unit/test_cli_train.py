"""`rlaif train` end to end on the bundled model: from a file of pairs to a folder that transformers loads."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from typer.testing import CliRunner

from rlaif.bundled import resolve_model
from rlaif.cli.train import app
from rlaif.errors import DataError, InputError, RlaifError, SettingsError
from rlaif.tiny.world import draw_prompt, seeded, write_answer
from rlaif.train import checkpoint
from rlaif.train.examples import DataEntry, Limits, read_preferences
from rlaif.train.forward import RewardModel, prepare_model
from rlaif.train.reward import load_reward_model
from rlaif.train.run import run_training
from rlaif.train.settings import DpoSettings, RewardSettings, SftSettings
from rlaif.train.task import Layout
from rlaif.train.tokenise import Tokeniser

torch.set_num_threads(1)
FAST = ["loop.batch_size=8", "loop.optimiser.learning_rate=1e-3"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """48 pairs of the tiny world, the shorter answer preferred."""
    path, random = tmp_path_factory.mktemp("data") / "pairs.jsonl", seeded("train", 1)
    rows = []
    while len(rows) < 48:
        prompt = draw_prompt(random, held_out=False)
        texts = sorted({write_answer(prompt, random).text for _ in range(4)}, key=len)
        if len(texts) > 1:
            turns = [turn if isinstance(turn, dict) else turn.as_dict() for turn in prompt.messages]
            answers = {"chosen": texts[0], "rejected": texts[-1]}
            said = {name: [{"role": "assistant", "content": text}] for name, text in answers.items()}
            rows.append({"prompt": turns, **said, "probability": 0.9})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def tokenizer_of(name):
    return transformers.AutoTokenizer.from_pretrained(resolve_model(name))


def call(*arguments):
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    if isinstance(result.exception, RlaifError):
        raise result.exception
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result


def train(method, pairs, output, *sets, model="tiny-policy"):
    flags = [flag for text in (*FAST, *sets) for flag in ("--set", text)]
    result = call(method, "--model", model, "--data", pairs, "--output", output, "--json", *flags)
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_reward_model_is_a_folder_that_transformers_scores_with(pairs, tmp_path):
    report = train("reward", pairs, tmp_path / "rm")
    assert report["steps"] == 6
    assert report["rows"] == 48
    folder = tmp_path / "rm"
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert "_attn_implementation" not in (folder / "config.json").read_text()
    rows, _ = read_preferences([DataEntry(path=str(pairs), name="a")], Tokeniser(tokenizer), Limits(max_length=512))
    raw = [json.loads(line) for line in pairs.open()][:8]
    texts = [tokenizer.apply_chat_template(row["prompt"] + row["chosen"], tokenize=False) for row in raw]
    inputs = tokenizer(texts, padding=True, return_tensors="pt", add_special_tokens=False)
    inputs.pop("token_type_ids", None)
    with torch.no_grad():
        padded = model(**inputs).logits[:, 0]
        packed = RewardModel(prepare_model(model))(Layout().batch([row.family for row in rows[:8]])).view(-1, 2)[:, 0]
    assert (padded - packed).abs().max() < 1e-4  # what others read from the folder is what was trained
    both = RewardModel(model)(Layout().batch([row.family for row in rows])).double()
    assert model.config.reward_mean == pytest.approx(both.mean().item(), abs=1e-4)
    assert model.config.reward_std == pytest.approx(both.std(correction=0).item(), abs=1e-4)
    log = [json.loads(line) for line in (folder / "training" / "metrics.jsonl").open()]
    assert log[-1]["loss"] < log[0]["loss"]
    card = (folder / "README.md").read_text()
    assert report["digest"] in card


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sft", "reward", "dpo"])
def test_who_labelled_the_pairs_changes_no_bit_of_the_weights(method, pairs, tmp_path):
    kept = [f"reference_cache={tmp_path / 'kept'}"] if method == "dpo" else []
    for who in ("human", "ai"):
        data = tmp_path / f"{who}.jsonl"
        named = [{**json.loads(line), "source": who, "judge": who} for line in pairs.open()]
        data.write_text("".join(json.dumps(row) + "\n" for row in named))
        train(method, data, tmp_path / who, *kept, "loop.max_steps=3")
    human, ai = (tmp_path / who / "model.safetensors" for who in ("human", "ai"))
    assert human.read_bytes() == ai.read_bytes()
    assert len(list(tmp_path.glob("kept/*.npz"))) == len(kept)


@pytest.mark.slow
def test_sft_then_dpo_on_its_result_and_a_second_call_has_nothing_to_do(pairs, tmp_path):
    first = train("sft", pairs, tmp_path / "sft")
    again = train("sft", pairs, tmp_path / "sft")
    assert (first["resumed_at"], again["resumed_at"], again["steps"]) == (0, 6, 6)
    kept = f"reference_cache={tmp_path / 'kept'}"
    report = train("dpo", pairs, tmp_path / "dpo", kept, "loss=ipo", model=tmp_path / "sft")
    assert report["figures"]["length_chosen"] > 1
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "dpo")
    assert model.config.architectures == ["LlamaForCausalLM"]
    shorter = tmp_path / "shorter.jsonl"
    shorter.write_text("".join(pairs.open().readlines()[:40]))
    with pytest.raises(InputError, match="another run: data was"):
        train("sft", shorter, tmp_path / "sft")
    config = tmp_path / "config.yaml"
    config.write_text("loop: {batch_size: 8, max_steps: 2}\neval_share: 0.2\n")
    anew = call("sft", "-c", config, "-m", "tiny-policy", "-d", shorter, "-o", tmp_path / "sft", "--anew", "--json")
    told = json.loads(anew.stdout.splitlines()[-1])
    assert (told["resumed_at"], told["steps"]) == (0, 2)
    assert told["figures"]["eval_loss"] > 0  # on the prompts that were held out


@pytest.mark.slow
@pytest.mark.parametrize("method", ["reward", "dpo"])
def test_lora_trains_adapters_and_head_and_saves_a_whole_model(method, pairs, tmp_path):
    report = train(
        method,
        pairs,
        tmp_path / "out",
        "lora={rank: 4}",
        "loop.max_steps=4",
        f"reference_cache={tmp_path / 'kept'}" if method == "dpo" else "centring=0",
    )
    assert report["steps"] == 4
    kinds = {"reward": transformers.AutoModelForSequenceClassification, "dpo": transformers.AutoModelForCausalLM}
    before = kinds[method].from_pretrained(resolve_model("tiny-policy"), dtype=torch.float32)
    after = kinds[method].from_pretrained(tmp_path / "out")
    names = {name for name, _ in after.named_parameters()}
    assert names == {name for name, _ in before.named_parameters()}  # nothing of the adapters' own
    changed = {name for name, w in after.named_parameters() if not torch.equal(w, before.get_parameter(name))}
    assert {"model.layers.0.self_attn.q_proj.weight", "model.layers.3.mlp.down_proj.weight"} < changed
    assert "model.embed_tokens.weight" not in changed
    if method == "reward":
        state = checkpoint.newest(tmp_path / "out" / "training")
        (head,) = [w for name, w in state.weights.items() if "score" in name]
        assert torch.equal(after.score.weight, head)  # the head is trained, kept in checkpoints and saved
        first = RewardModel(load_reward_model(resolve_model("tiny-policy"), tokenizer_of("tiny-policy"), seed=0))
        assert not torch.equal(after.score.weight, first.model.score.weight)


# --- mistakes: one clear error each, and no model written


def settings_of(kind, pairs, output, **changes):
    return kind(**{"model": "tiny-policy", "data": [{"path": str(pairs)}], "output": str(output), **changes})


@pytest.mark.slow
def test_a_reward_model_is_no_policy(pairs, tmp_path):
    folder = shutil.copytree(resolve_model("tiny-policy"), tmp_path / "rm")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["LlamaForSequenceClassification"]}))
    with pytest.raises(InputError, match=r"is a reward model \(LlamaForSequenceClassification\); dpo trains"):
        run_training("dpo", settings_of(DpoSettings, pairs, tmp_path / "out", model=str(folder)))
    assert not (tmp_path / "out" / "config.json").exists()


@pytest.mark.slow
def test_a_pad_token_that_ends_sequences_is_refused_for_rewards(pairs, tmp_path):
    folder = shutil.copytree(resolve_model("tiny-policy"), tmp_path / "policy")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "pad_token": config["eos_token"]}))
    with pytest.raises(InputError, match="pads with its end-of-sequence token"):
        run_training("reward", settings_of(RewardSettings, pairs, tmp_path / "out", model=str(folder)))


@pytest.mark.slow
def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(pairs, tmp_path):
    folder = shutil.copytree(resolve_model("tiny-policy"), tmp_path / "policy")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"<extra{n}>" for n in range(40)])
    tokenizer.save_pretrained(folder)
    with pytest.raises(InputError, match="tokens, the model only 2560"):
        run_training("sft", settings_of(SftSettings, pairs, tmp_path / "out", model=str(folder)))


def test_mistakes_in_data_and_settings_are_found_before_a_model_is_loaded(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr("rlaif.train.run._load", lambda *_: pytest.fail("a model was loaded"))
    bad = tmp_path / "bad.jsonl"
    bad.write_text(json.dumps({"prompt": "a", "chosen": "b", "rejected": "c", "probability": 1.5}) + "\n")
    with pytest.raises(DataError, match=r"bad\.jsonl:1: `probability` is 1\.5"):
        train("dpo", bad, tmp_path / "out")
    with pytest.raises(DataError, match="no row is left to train on: 48 × too long"):
        train("dpo", pairs, tmp_path / "out", "max_length=4")
    with pytest.raises(SettingsError, match="learning_rat"):
        call("dpo", "--model", "m", "--data", pairs, "--output", "o", "--set", "loop.optimiser.learning_rat=1")
    with pytest.raises(SettingsError, match="'simpo' has no reference"):
        call("dpo", "--model", "m", "--data", pairs, "--output", "o", "--set", "loss=simpo", "--set", "reference=m")
    with pytest.raises(SettingsError, match="output"):
        call("dpo", "--model", "m", "--data", pairs)
    assert not list(Path(tmp_path).glob("out/*.json"))
