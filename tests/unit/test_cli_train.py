"""`rlaif train` end to end on the bundled model: from a file of pairs to a folder that transformers loads."""

import json
import shutil
from pathlib import Path

import numpy as np
import peft
import pytest
import safetensors.torch
import torch
import transformers
from typer.testing import CliRunner

from rlaif.bundled import resolve_model
from rlaif.cli.train import app
from rlaif.errors import DataError, EngineUnavailable, InputError, RlaifError, SettingsError
from rlaif.tiny.world import draw_prompt, seeded, write_answer
from rlaif.train import checkpoint
from rlaif.train.examples import DataEntry, Limits, read_preferences
from rlaif.train.forward import RewardModel, prepare_model
from rlaif.train.reward import load_reward_model
from rlaif.train.run import run_training
from rlaif.train.scoring import RewardScorer
from rlaif.train.settings import DpoSettings, RewardSettings, SftSettings
from rlaif.train.task import Layout
from rlaif.train.tokenise import Tokeniser

torch.set_num_threads(1)
FAST = ["loop.batch_size=8", "loop.optimiser.learning_rate=1e-3"]
NO_KL = "kl_prompts=0"


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
    kept = [f"reference_cache={tmp_path / 'kept'}", NO_KL] if method == "dpo" else []
    for who in ("human", "ai"):
        data = tmp_path / f"{who}.jsonl"
        named = [{**json.loads(line), "source": who, "judge": who} for line in pairs.open()]
        data.write_text("".join(json.dumps(row) + "\n" for row in named))
        train(method, data, tmp_path / who, *kept, "loop.max_steps=3")
    human, ai = (tmp_path / who / "model.safetensors" for who in ("human", "ai"))
    assert human.read_bytes() == ai.read_bytes()
    assert (
        "| 48 judge human |" in (tmp_path / "human" / "README.md").read_text()
    )  # the card says it, the weights do not
    assert len(list(tmp_path.glob("kept/*.npz"))) == (method == "dpo")


@pytest.mark.slow
def test_sft_then_dpo_on_its_result_and_a_second_call_has_nothing_to_do(pairs, tmp_path):
    first = train("sft", pairs, tmp_path / "sft")
    again = train("sft", pairs, tmp_path / "sft")
    assert again["figures"] == first["figures"]
    assert (first["resumed_at"], again["resumed_at"], again["steps"]) == (0, 6, 6)
    kept = f"reference_cache={tmp_path / 'kept'}"
    report = train("dpo", pairs, tmp_path / "dpo", kept, "loss=ipo", "kl_new_tokens=16", model=tmp_path / "sft")
    assert report["figures"]["length_chosen"] > 1
    figures = report["figures"]
    assert figures["kl_prompts"] == 32
    assert figures["kl_to_reference"] > -3 * figures["kl_to_reference_error"]  # a KL is below 0 by chance alone
    assert 1 <= figures["sampled_length"] <= 16
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
        *((f"reference_cache={tmp_path / 'kept'}", "kl_new_tokens=8") if method == "dpo" else ()),
    )
    assert report["steps"] == 4
    kinds = {"reward": transformers.AutoModelForSequenceClassification, "dpo": transformers.AutoModelForCausalLM}
    folder, more = tmp_path / "out", {"num_labels": 1} if method == "reward" else {}
    before = kinds[method].from_pretrained(resolve_model("tiny-policy"), dtype=torch.float32)
    after = kinds[method].from_pretrained(tmp_path / "out")
    names = {name for name, _ in after.named_parameters()}
    assert names == {name for name, _ in before.named_parameters()}  # nothing of the adapters' own
    changed = {name for name, w in after.named_parameters() if not torch.equal(w, before.get_parameter(name))}
    assert {"model.layers.0.self_attn.q_proj.weight", "model.layers.3.mlp.down_proj.weight"} < changed
    assert "model.embed_tokens.weight" not in changed
    adapted = peft.PeftModel.from_pretrained(
        kinds[method].from_pretrained(resolve_model("tiny-policy"), dtype=torch.float32, **more), folder / "adapter"
    )
    ids = torch.arange(5, 25)[None]
    after.config.pad_token_id = adapted.config.pad_token_id = 0
    with torch.no_grad():
        assert (adapted.eval()(input_ids=ids).logits - after.eval()(input_ids=ids).logits).abs().max() < 1e-3
    if method == "reward":
        state = checkpoint.newest(tmp_path / "out" / "training")
        (head,) = [w for name, w in state.weights.items() if "score" in name]
        assert torch.equal(after.score.weight, head)  # the head is trained, kept in checkpoints and saved
        first = RewardModel(load_reward_model(resolve_model("tiny-policy"), tokenizer_of("tiny-policy"), seed=0))
        assert not torch.equal(after.score.weight, first.model.score.weight)


@pytest.mark.slow
def test_adapters_alone_are_a_folder_of_peft(pairs, tmp_path):
    train("reward", pairs, tmp_path / "out", "lora={rank: 4, merge: false}", "loop.max_steps=2")
    saved = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "README.md"} < saved
    assert "config.json" not in saved
    base = transformers.AutoModelForSequenceClassification.from_pretrained(
        resolve_model("tiny-policy"), num_labels=1, dtype=torch.float32
    )
    loaded = peft.PeftModel.from_pretrained(base, tmp_path / "out")
    state = checkpoint.newest(tmp_path / "out" / "training")
    (head,) = [w for name, w in state.weights.items() if "score" in name]
    assert torch.equal(loaded.base_model.model.score.weight.cpu(), head)
    again = train("reward", pairs, tmp_path / "out", "lora={rank: 4, merge: false}", "loop.max_steps=2")
    assert again["resumed_at"] == 2


@pytest.mark.slow
def test_a_reward_model_of_principles_and_members_is_used_with_its_figures_applied(pairs, tmp_path):
    """Saved is an ordinary reward model; `RewardScorer` gives rewards of mean 0 and deviation 1, and what is behind."""
    data = tmp_path / "principles.jsonl"
    rows = [json.loads(line) for line in pairs.open()]
    for number, row in enumerate(rows):
        row["principles"] = [{"id": "short", "probability": 0.9}, {"id": "noise", "probability": float(number % 2)}]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    heads = ("principles=[short, noise]", "members=2", "group_prompts=true")
    report = train("reward", data, tmp_path / "rm", *heads, "loop.max_steps=12", "loop.epochs=4")
    assert report["figures"]["accuracy_short"] > 0.8
    assert report["figures"]["disagreement"] > 0
    folder = tmp_path / "rm"
    scorer = RewardScorer.load(folder)
    read, _ = read_preferences(
        [DataEntry(path=str(data), name="a")], Tokeniser(scorer.tokenizer), Limits(max_length=512)
    )
    families = [row.family for row in read]
    scores = scorer.score(families, budget=500)
    rewards = np.array([one.rewards for one in scores])
    unique = {
        one.ids.tobytes(): float(r)
        for f, s in zip(families, scores, strict=True)
        for one, r in zip(f, s.rewards, strict=True)
    }
    assert np.mean(list(unique.values())) == pytest.approx(0, abs=1e-4)
    assert np.std(list(unique.values())) == pytest.approx(1, abs=1e-4)
    assert (rewards[:, 0] > rewards[:, 1]).mean() > 0.8
    assert all((one.disagreement > 0).all() and one.principles.keys() == {"short", "noise"} for one in scores)
    said = [
        json.loads(line)
        for line in call("score", "--model", folder, "--data", data).stdout.splitlines()
        if line[:1] == "{"
    ]
    assert [one["rewards"] for one in said] == [pytest.approx(list(one.rewards), abs=1e-4) for one in scores]
    assert said[1]["place"] == f"{data}:2"
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    assert plain.config.num_labels == 1
    alone = RewardModel(prepare_model(plain))(Layout().batch(families)).detach().double().view(-1, 2).numpy()
    assert np.abs((alone - plain.config.reward_mean) / plain.config.reward_std - rewards).max() < 1e-4


@pytest.mark.slow
def test_kto_from_single_answers_by_the_command(pairs, tmp_path):
    data = tmp_path / "single.jsonl"
    rows = [json.loads(line) for line in pairs.open()]
    single = [
        {"prompt": row["prompt"], "completion": row[side], "label": side == "chosen"}
        for number, row in enumerate(rows)
        for side in [("chosen", "rejected")[number % 2]]
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in single))
    report = train(
        "dpo", data, tmp_path / "kto", "loss=kto", f"reference_cache={tmp_path / 'kept'}", NO_KL, "loop.epochs=3"
    )
    assert report["rows"] == 48
    assert report["figures"]["reward_desirable"] > report["figures"]["reward_undesirable"]
    assert report["figures"]["kl"] >= 0


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
def test_a_damaged_model_is_named(pairs, tmp_path):
    folder = shutil.copytree(resolve_model("tiny-policy"), tmp_path / "policy")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    with pytest.raises(InputError, match=r"the model of .* cannot be loaded"):
        run_training("sft", settings_of(SftSettings, pairs, tmp_path / "out", model=str(folder)))
    state = safetensors.torch.load(whole)
    state["model.norm.weight"][3] = torch.nan
    safetensors.torch.save_file(state, weights, metadata={"format": "pt"})
    with pytest.raises(InputError, match="its weights hold NaN"):
        run_training("sft", settings_of(SftSettings, pairs, tmp_path / "out", model=str(folder)))


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


@pytest.mark.slow
def test_a_reference_of_another_vocabulary_is_refused(pairs, tmp_path):
    folder = shutil.copytree(resolve_model("tiny-policy"), tmp_path / "other")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<extra>"])
    tokenizer.save_pretrained(folder)
    changes = {"reference": str(folder), "reference_cache": str(tmp_path / "kept")}
    with pytest.raises(InputError, match=r"the vocabularies of 'tiny-policy' .* differ, for example in '<extra>'"):
        run_training("dpo", settings_of(DpoSettings, pairs, tmp_path / "out", **changes))
    assert not (tmp_path / "out" / "config.json").exists()


def test_mistakes_in_data_and_settings_are_found_before_a_model_is_loaded(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr("rlaif.train.run.load_model", lambda *_: pytest.fail("a model was loaded"))
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
    with pytest.raises(SettingsError, match="--output is missing"):
        call("dpo", "--model", "m", "--data", pairs)
    with pytest.raises(InputError, match=r"no method 'dp' \(did you mean 'dpo'\?\)"):
        call("settings", "dp")
    assert "\nloss: sigmoid\n" in call("settings", "dpo").stdout
    single = tmp_path / "single.jsonl"
    single.write_text(json.dumps({"prompt": "a", "completion": "b", "label": True}) + "\n")
    with pytest.raises(DataError, match=r"single\.jsonl:1: this is one answer; a preference is between two.*\n.*kto"):
        train("reward", single, tmp_path / "out")
    ties = tmp_path / "ties.jsonl"
    ties.write_text("".join(json.dumps({**json.loads(line), "probability": 0.5}) + "\n" for line in pairs.open()))
    with pytest.raises(DataError, match="all 48 rows are ties"):
        train("reward", ties, tmp_path / "out")
    good = tmp_path / "good.jsonl"
    good.write_text("".join(json.dumps({"prompt": "a", "completion": f"b{n}", "label": True}) + "\n" for n in range(3)))
    with pytest.raises(DataError, match="none of the 3 answers is undesirable"):
        train("dpo", good, tmp_path / "out", "loss=kto")
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(DataError, match="no row is left to evaluate on: the data are empty"):
        train("dpo", pairs, tmp_path / "out", f"eval_data=[{{path: {tmp_path / 'none.jsonl'}}}]")
    with pytest.raises(DataError, match="no row has a verdict under the principle 'kind'"):
        train("reward", pairs, tmp_path / "out", "principles=[kind]")
    with pytest.raises(SettingsError, match="`combination` has to give a weight"):
        train("reward", pairs, tmp_path / "out", "principles=[kind]", "combination={rude: 1}")
    with pytest.raises(SettingsError, match="two datasets are called"):
        train("dpo", pairs, tmp_path / "out", f"data=[{{path: {pairs}}}, {{path: {pairs}}}]")
    with pytest.raises(EngineUnavailable, match=r"tracker 'wandb' is not installed.*\n.*pip install wandb"):
        train("dpo", pairs, tmp_path / "out", "loop.trackers=[wandb]")
    assert not list(Path(tmp_path).glob("out/*.json"))
