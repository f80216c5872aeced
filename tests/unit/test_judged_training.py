"""The judge inside a training by sampled answers: as a reward, as a held-out score, by the settings that name it."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from rlaif.cli.train import app
from rlaif.engines.scripted import Faults
from rlaif.errors import InputError, SettingsError, TrainingStopped
from rlaif.experiment.judged import Judges, by_prompt, judged_reward, judged_score
from rlaif.records import Prompt
from rlaif.settings import JudgeSettings
from rlaif.store import Store
from rlaif.train.rl.rewards import Answer
from rlaif.train.rl.rollouts import Rollout
from rlaif.train.rl.settings import JudgeRewardSettings
from tests.roads import constitution, principle, prompts, settings
from tests.unit.test_judge_reward import TEXTS, Judge

PROMPTS = prompts(2)
NONE = Rollout(np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1, np.float32), True)


def answer(prompt: Prompt, text: str) -> Answer:
    return Answer(prompt, NONE, text)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store", will_append=True) as opened:
        yield opened


def test_groups_are_found_wherever_their_answers_lie(store):
    """Two prompts' answers mixed: each is compared with the others of its own prompt alone."""
    mixed = [answer(PROMPTS[n % 2], text) for n, text in enumerate([*TEXTS, *TEXTS])]
    assert by_prompt(mixed) == [[0, 2, 4, 6], [1, 3, 5, 7]]
    found = judged_reward(Judge(store).reward)(mixed)
    for number in range(2):
        own = [answer(PROMPTS[number], one.text) for one in mixed[number::2]]
        assert found.values[number::2] == pytest.approx(judged_reward(Judge(store).reward)(own).values)
    assert set(found.parts) == {"judge", "judge_kind", "judge_example", "judge_short"}
    assert found.values.mean() == pytest.approx(0.5)


def test_an_answer_without_a_verdict_gets_the_mean_of_its_group_and_is_counted(store):
    """A judge that never says a word about one pair: of three answers it leaves two with one comparison fewer."""
    lenient = settings(max_no_verdict_share=1.0)
    judge = Judge(store, lenient, faults=Faults(abstain=1.0))
    found = judged_reward(judge.reward, name="j")([answer(PROMPTS[0], text) for text in TEXTS[:3]])
    assert found.parts["j_without_verdict"].tolist() == [1.0, 1.0, 1.0]
    assert np.isfinite(found.values).all()
    assert np.ptp(found.values) == 0.0  # so nothing is learnt from it


def test_too_many_missing_verdicts_stop_the_run(store):
    judge = Judge(store, faults=Faults(abstain=1.0))
    with pytest.raises(TrainingStopped, match="2 of 2 answers have no verdict"):
        judged_reward(judge.reward)([answer(PROMPTS[0], text) for text in TEXTS[:2]])


def test_a_principle_that_applies_to_some_prompts_only_has_a_finite_part(store):
    own = constitution(principle("kind", "kind"), principle("tagged", "example", tags={"some"}))
    tagged = Prompt(messages=PROMPTS[1].messages, tags=frozenset({"some"}))
    answers = [answer(prompt, text) for prompt in (PROMPTS[0], tagged) for text in TEXTS[:2]]
    found = judged_reward(Judge(store, own=own).reward)(answers)
    assert np.isfinite(found.parts["judge_tagged"]).all()
    assert found.parts["judge_tagged"].mean() == pytest.approx(found.parts["judge_tagged"][2:].mean())


def test_the_held_out_score_is_the_share_preferred_to_the_first_answers(store):
    judge = Judge(store).reward
    now = [answer(PROMPTS[0], "kind example short"), answer(PROMPTS[1], "plain")]
    before = ["plain", "plain"]
    found = judged_score(judge)(now, before)
    (won,) = judge.compare([(PROMPTS[0], "kind example short", "plain")])
    assert found.tolist() == pytest.approx([won, 0.5])
    assert judged_score(judge)([answer(one, "plain") for one in PROMPTS], before).tolist() == [0.5, 0.5]


def test_a_held_out_answer_without_a_verdict_has_no_score_and_none_at_all_stops_the_run(store):
    judge = Judge(store, settings(max_no_verdict_share=1.0), faults=Faults(abstain=1.0)).reward
    first, second = answer(PROMPTS[0], "kind example short"), answer(PROMPTS[1], "plain")
    found = judged_score(judge)([first, second], ["plain", "plain"])  # equal texts are a tie without a judge
    assert np.isnan(found[0])
    assert found[1] == 0.5
    with pytest.raises(TrainingStopped, match="gave no verdict"):
        judged_score(judge)([first], ["plain"])


RLAIF_YAML = """\
name: test
constitution: small
prompts: [{path: none.jsonl}]
policies: [{model: policy}]
judge: {model: any, mode: MODE}
engine: {kind: scripted}
"""


def write(folder, name, mode="verdict"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(RLAIF_YAML.replace("MODE", mode))


def part(config):
    return JudgeRewardSettings(kind="judge", config=config, name="mine")


def test_a_judge_that_compares_needs_two_answers(tmp_path):
    write(tmp_path, "rlaif.yaml")
    write(tmp_path, "scores.yaml", mode="score")
    with Judges(tmp_path) as judges:
        with pytest.raises(InputError, match="compares answers"):
            judges.reward(part("rlaif.yaml"), 1)
        judges.reward(part("scores.yaml"), 1)


def test_judges_are_named_by_their_settings_files_and_opened_once(tmp_path):
    write(tmp_path / "sub", "rlaif.yaml")
    with Judges(tmp_path) as judges:
        reward, score = judges.reward(part("sub/rlaif.yaml"), 4), judges.score("sub/rlaif.yaml")
        found = reward([answer(PROMPTS[0], text) for text in TEXTS])
        assert found.values.sum() == pytest.approx(2.0)
        assert "mine" in found.parts
        (won,) = score([answer(PROMPTS[0], "one")], ["other"])
        assert 0.0 < won < 1.0
    assert (tmp_path / "sub" / "outputs" / "store").is_dir()  # paths count from the judge's own file


def test_wrong_settings_are_told_before_anything_is_loaded(tmp_path):
    write(tmp_path, "scores.yaml", mode="score")
    (tmp_path / "wrong.yaml").write_text("name: x\n")
    with Judges(tmp_path) as judges:
        with pytest.raises(InputError, match=r"judge.mode is score"):
            judges.score("scores.yaml")
        with pytest.raises(SettingsError):
            judges.reward(part("wrong.yaml"), 4)
        with pytest.raises(SettingsError):
            judges.reward(part("missing.yaml"), 4)


def test_scores_need_no_second_answer(store):
    judge = Judge(store, settings(judge=JudgeSettings(model="judge", mode="score", score_levels=5)))
    found = judged_reward(judge.reward)([answer(one, "a text") for one in PROMPTS])
    assert found.values.shape == (2,)
    assert "judge_without_verdict" not in found.parts


@pytest.mark.slow
def test_online_dpo_asks_the_judge_and_is_watched_by_it(tmp_path):
    """The whole command on the bundled policy with a scripted judge, and once more on what is finished."""
    write(tmp_path, "rlaif.yaml")
    asked = [{"prompt": f"How do I bake cake number {n}?"} for n in range(4)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    wanted = {
        "model": "tiny-policy",
        "prompts": [{"path": "prompts.jsonl"}],
        "output": "model",
        "reward": [{"kind": "judge", "config": "rlaif.yaml"}],
        "labels": "shares",
        "iterations": 2,
        "max_length": 128,
        "rollout": {"prompts": 4, "max_new_tokens": 12},
        "stop": {"unended": None},
        "watch": {"held_out_every": 1, "held_out": {"prompts": [{"path": "prompts.jsonl"}], "judge": "rlaif.yaml"}},
    }
    (tmp_path / "online.yaml").write_text(json.dumps(wanted))
    call = ["online-dpo", "--config", str(tmp_path / "online.yaml"), "--json"]
    first = CliRunner().invoke(app, call)
    assert first.exit_code == 0, first.output
    lines = [json.loads(line) for line in (tmp_path / "model" / "training" / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["watch_held_out"] == 0.5  # nothing was learnt yet
    assert lines[0]["reward_judge"] == pytest.approx(0.5)
    assert {"reward_judge_polite", "accuracy", "decided"} <= lines[0].keys()
    assert (tmp_path / "model" / "frontier.png").is_file()
    again = CliRunner().invoke(app, call)
    assert again.exit_code == 0, again.output
