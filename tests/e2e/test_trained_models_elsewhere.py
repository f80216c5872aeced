"""A folder that `rlaif train` wrote is an ordinary Hugging Face checkpoint: vLLM serves the policy, TRL evaluates the
reward model, and both find what transformers and our own trainer found."""

import json

import datasets
import pytest
import torch
import transformers
import trl
from typer.testing import CliRunner

from rlaif.cli.train import app
from rlaif.engines import open_engine
from rlaif.engines.base import Request, Sampling
from rlaif.records import Message
from rlaif.settings import EngineSettings
from rlaif.tiny.world import draw_prompt, seeded, write_answer

torch.set_num_threads(1)
NUM_PAIRS, NUM_ASKED = 32, 4


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Pairs of the tiny world, the shorter answer preferred."""
    path, random, rows = tmp_path_factory.mktemp("data") / "pairs.jsonl", seeded("elsewhere", 1), []
    while len(rows) < NUM_PAIRS:
        prompt = draw_prompt(random, held_out=False)
        texts = sorted({write_answer(prompt, random).text for _ in range(4)}, key=len)
        if len(texts) > 1:
            turns = [{"role": one.role, "content": one.content} for one in map(as_message, prompt.messages)]
            said = zip(("chosen", "rejected"), (texts[0], texts[-1]), strict=True)
            answers = {name: [{"role": "assistant", "content": text}] for name, text in said}
            rows.append({"prompt": turns, **answers})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def as_message(turn):
    return turn if isinstance(turn, Message) else Message(**turn)


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def train(method, pairs, output, *sets):
    sets = ("loop.batch_size=8", "loop.optimiser.learning_rate=1e-3", *sets)
    flags = [flag for text in sets for flag in ("--set", text)]
    arguments = [method, "--model", "tiny-policy", "--data", str(pairs), "--output", str(output), "--json", *flags]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.vllm
@pytest.mark.slow
def test_vllm_says_what_transformers_says_for_a_trained_policy(pairs, tmp_path):
    folder = tmp_path / "dpo"
    train("dpo", pairs, folder, "kl_prompts=0")
    chats = [tuple(as_message(turn) for turn in row["prompt"]) for row in read(pairs)[:NUM_ASKED]]
    greedy = Sampling(max_tokens=40, temperature=0.0)
    requests = [Request(id=str(n), messages=one, sampling=greedy) for n, one in enumerate(chats)]
    settings = EngineSettings(dtype="float32", kv_cache_gib=0.5)
    with open_engine(settings, str(folder), log_file=tmp_path / "vllm.log") as engine:
        served = {one.request_id: one.text for one in engine.complete(requests)}
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for number, turns in enumerate(chats):
        prompt = [{"role": one.role, "content": one.content} for one in turns]
        ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_tensors="pt", return_dict=False)
        written = model.generate(ids, max_new_tokens=40, do_sample=False)[0, ids.shape[1] :]
        assert served[str(number)] == tokenizer.decode(written, skip_special_tokens=True)


@pytest.mark.slow
def test_trl_finds_the_accuracy_we_report_for_a_trained_reward_model(pairs, tmp_path):
    folder = tmp_path / "reward"
    report = train("reward", pairs, folder, f"eval_data=[{{path: {json.dumps(str(pairs))}}}]")
    rows = datasets.Dataset.from_list(read(pairs))
    arguments = trl.RewardConfig(
        output_dir=str(tmp_path / "trl"),
        per_device_eval_batch_size=NUM_PAIRS,
        report_to="none",
        bf16=False,
        use_cpu=True,
        max_length=512,
        disable_tqdm=True,
    )
    trainer = trl.RewardTrainer(model=str(folder), args=arguments, train_dataset=rows, eval_dataset=rows)
    theirs = trainer.evaluate()
    assert theirs["eval_accuracy"] == pytest.approx(report["figures"]["eval_accuracy"], abs=1e-6)
    assert theirs["eval_loss"] == pytest.approx(report["figures"]["eval_loss"], abs=1e-5)
    assert report["figures"]["eval_accuracy"] > 0.7  # it learnt something to be compared
