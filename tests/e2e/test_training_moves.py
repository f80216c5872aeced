"""What training on preferences does to the bundled policy: it moves what the constitution asks for, and a principle
turned round in the YAML turns its share round.

Trimmed to fit among the tests: the labels are the grammar's own under the constitution as read from the file (on the
quickstart's pairs the bundled judge agrees with them in 867 of 867), on half of its prompts. The whole, with the
judge, every principle turned, and seeds: `make bench-alignment`.
"""

import itertools
import json
import math

import pytest
import torch
from typer.testing import CliRunner

from rlaif.bundled import project_file
from rlaif.cli.main import app
from rlaif.constitution import load_constitution
from rlaif.tiny.meanings import meaning_of
from rlaif.tiny.properties import properties
from rlaif.train.tiny.loaded import load
from rlaif.train.tiny.prompt_set import set_prompts
from rlaif.train.tiny.sampling import sample

pytestmark = pytest.mark.slow
torch.set_num_threads(1)
TURNED = ("text: A good answer is polite and kind.", "text: A good answer is not polite and kind.")
LOG_ODDS_OF_A_PRINCIPLE = 0.766  # of one of six, decided as surely as a label lets it be: log(.99 / .01) / 6


@pytest.fixture(scope="module")
def answers():
    """Half of the quickstart's prompts with four answers each."""
    prompts = set_prompts()[:100]
    return list(zip(prompts, sample(load("tiny-policy", torch.float32), prompts, each=4, seed=1).texts, strict=True))


@pytest.fixture(scope="module")
def constitutions(tmp_path_factory):
    folder, text = tmp_path_factory.mktemp("constitutions"), project_file("constitution/small.yaml").read_text()
    (folder / "written.yaml").write_text(text)
    (folder / "turned.yaml").write_text(text.replace(*TURNED))
    return folder


def write_pairs(path, answers, constitution):
    """Every pair in which one answer does as more principles ask than the other."""
    asked = {one.id: meaning_of(one.text) for one in load_constitution(constitution).enabled}
    with path.open("w") as stream:
        for prompt, texts in answers:
            for pair in itertools.combinations(dict.fromkeys(texts), 2):
                met = [{name: one.is_met(properties(text)) for name, one in asked.items()} for text in pair]
                better, worse = sorted((0, 1), key=lambda side: -sum(met[side].values()))
                lead = sum(met[better].values()) - sum(met[worse].values())
                if lead:
                    said = {"chosen": pair[better], "rejected": pair[worse]}
                    row = {name: [{"role": "assistant", "content": text}] for name, text in said.items()}
                    row["probability"] = 1 / (1 + math.exp(-LOG_ODDS_OF_A_PRINCIPLE * lead))
                    row["principles"] = [
                        {"id": name, "probability": 0.5 + 0.49 * (met[better][name] - met[worse][name])}
                        for name in asked
                    ]
                    stream.write(json.dumps({"prompt": prompt.messages, **row}) + "\n")
    return path


def call(*arguments):
    result = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout[result.stdout.index("{") :])


def train(method, name, answers, constitutions, folder, *sets):
    """The quickstart's settings but for what `sets` changes."""
    pairs = write_pairs(folder / f"{name}.jsonl", answers, constitutions / f"{name}.yaml")
    settings = project_file(f"quickstart-{method}.yaml")
    flags = [flag for text in sets for flag in ("--set", text)]
    output = folder / f"{name}-{method}"
    return output, call("train", method, "--config", settings, "--data", pairs, "--output", output, "--json", *flags)


def measured(model, constitution):
    found = call("tiny", "shares", model, "--constitution", constitution, "--prompts", 40, "--json")
    return {one["id"]: one for one in found["principles"]}, found


def test_a_reward_model_foretells_labels_on_prompts_it_never_saw(answers, constitutions, tmp_path):
    _, report = train("reward", "written", answers, constitutions, tmp_path, "loop.epochs=2", "eval_share=0.25")
    assert report["figures"]["eval_accuracy"] >= 0.7  # on half of the data; .90 is the target on all of it


def test_dpo_moves_every_principle_and_a_turned_one_the_other_way(answers, constitutions, tmp_path):
    more = (f"reference_cache={tmp_path}", "kl_prompts=0")
    model, _ = train("dpo", "written", answers, constitutions, tmp_path, *more)
    written, found = measured(model, constitutions / "written.yaml")
    assert len(written) == 6
    for name, one in written.items():
        assert one["change"]["value"] > 0, name
    assert sum(one["has_risen"] for one in written.values()) >= 4  # with their whole intervals, on 160 answers
    kl = found["kl_nats_per_answer"]
    assert 0 < kl["low"] < kl["value"] < 60
    assert found["sentences_of_the_world"]["after"] > 0.8  # it still speaks the language of its world
    turned_model, _ = train("dpo", "turned", answers, constitutions, tmp_path, *more)
    turned, _ = measured(turned_model, constitutions / "turned.yaml")
    assert turned["polite"]["change"]["value"] > 0  # answers that are *not* polite: what it asks for now
    assert 1 - turned["polite"]["after"]["value"] < written["polite"]["after"]["value"] / 2
