"""What benchmarks/classic.py measures with: the held-out score on answers read by hand, and the alarms of a log."""

import json
import subprocess
import sys

import pytest

from benchmarks import classic
from rlaif.train.rl.readings import Reading
from rlaif.train.rl.settings import PpoSettings


def score(answer):
    return classic.as_asked(answer, reference=None, conversation=[])


def test_the_score_is_the_share_of_principles_followed_in_sentences_of_the_world():
    assert score("Thank you for your question.") == pytest.approx(4 / 6)
    assert score("Thank you for your question. I may be wrong about this.") == pytest.approx(5 / 6)
    assert score("Thank you for your question. You are a true genius.") == pytest.approx(3 / 6)


def test_marker_phrases_in_no_sentence_of_the_world_count_for_nothing():
    assert score("please please perhaps please.") == 0.0
    assert score("Thank you for your question. Please perhaps please.") == pytest.approx(5 / 6 / 2)
    assert score("please perhaps") == score("") == 0.0


def test_a_command_started_from_here_finds_the_score_as_an_installed_checker(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    classic.install_checker(tmp_path)
    asked = "from rlaif.checks.installed import installed_names; print(*installed_names())"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert classic.CHECKER in done.stdout.split()


def test_readings_are_those_of_a_runs_log(tmp_path):
    (tmp_path / "training").mkdir()
    shared = {"watch_kl": 1.0, "watch_length": 40.0, "watch_entropy": 0.5, "watch_alarm_kl": 1.0}
    lines = [{"step": number + 1, "watch_reward": number / 10, **shared} for number in range(4)]
    lines[2] |= {"watch_held_out": 0.8, "watch_held_out_error": 0.02}
    lines[3] = {"step": 4, "final_reward": 3.0}  # of the trained policy: no reading
    (tmp_path / "training" / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    readings = list(classic.read_log(tmp_path))
    assert [(one.step, one.reward, one.held_out) for one in readings] == [(0, 0.0, None), (1, 0.1, None), (2, 0.2, 0.8)]


def test_the_reward_models_accuracy_is_the_last_one_in_its_log(tmp_path):
    (tmp_path / "training").mkdir()
    lines = [{"step": 1, "loss": 0.7}, {"step": 1, "eval_accuracy": 0.8}, {"step": 2, "eval_accuracy": 0.9}]
    (tmp_path / "training" / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert classic.eval_accuracy(tmp_path) == 0.9


def test_what_is_told_of_a_run_has_its_course_its_alarms_and_how_it_ended():
    alarm = {"rule": "kl", "step": 2, "good_until": 1, "why": "The KL is too large."}
    readings = [
        Reading(step=n, reward=n / 10, kl=float(n), length=9.0, entropy=0.5, held_out=[0.3, 0.6, 0.2][n])
        for n in range(3)
    ]
    one = classic.Trained("watched", readings, {"alarms": [alarm], "stopped": "It was stopped."}, {}, 1.0)
    assert list(classic.told_course(one))[-3:] == [
        "  as asked, held out: best 0.600 at update 1 (KL 1.0)",
        "  alarm at update 2 (kl, good until 1): The KL is too large.",
        "  It was stopped.",
    ]


def test_a_figure_that_is_not_defined_is_no_number():
    whole = {"value": 0.5, "low": 0.4, "high": 0.62}
    assert classic.figure(whole, "+.1%") == "+50.0% (+40.0% to +62.0%)"
    assert classic.figure(whole, ".1f", has_interval=False) == "0.5"
    nothing = {"value": None, "low": None, "high": None, "because": "no answer differs"}
    assert classic.figure(nothing, ".1f") == "– (no answer differs)"


def test_only_the_run_that_is_watched_may_be_stopped(tmp_path):
    chosen = classic.parser().parse_args([str(tmp_path), "--quick"])
    made = {name: classic.ppo_settings(tmp_path, name, tmp_path / "reward", chosen) for name in classic.RUNS}
    assert {name: one["watch"]["stop"] for name, one in made.items()} == {
        "ppo": False,
        "hacked": False,
        "watched": True,
    }
    assert {name: one["kl"]["coefficient"] for name, one in made.items()} == {
        "ppo": 0.05,
        "hacked": 0.0,
        "watched": 0.0,
    }
    for one in made.values():  # a check of an installed package is there only for the commands started from it
        PpoSettings.model_validate({**one, "watch": {**one["watch"], "held_out": None}})
    usual = classic.parser().parse_args([str(tmp_path)])
    assert (usual.judged, chosen.judged, usual.rate, chosen.rate) == (200, 24, 2e-4, 2e-4)
