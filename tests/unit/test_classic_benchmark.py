"""What benchmarks/classic.py measures with: the held-out score on answers read by hand, and the alarms of a log."""

import json
import subprocess
import sys

import pytest

from benchmarks import classic


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


def test_alarms_are_read_from_a_runs_log_with_the_update_and_the_sentence(tmp_path):
    (tmp_path / "training").mkdir()
    lines = [
        {"step": number + 1, "watch_reward": number / 10, "watch_kl": 1.0, "watch_length": 40.0, "watch_entropy": 0.5}
        | ({"watch_held_out": 0.8 - number / 100} if number % 2 == 0 else {})
        for number in range(30)
    ]
    lines[-1] = {"step": 30, "final_reward": 3.0}  # of the trained policy: no reading
    path = tmp_path / "training" / "metrics.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    readings = list(classic.read_log(tmp_path))
    assert [one.step for one in readings] == list(range(29))
    alarms = classic.alarms_of(readings)
    assert set(alarms) == {"held_out"}
    assert alarms["held_out"].step == 8  # the fifth score is the first that can show a fall
    assert "from 0.8 to 0.72 between steps 0 and 8" in alarms["held_out"].why
