"""The watch inside a training: what it notes, that an alarm ends the run with good weights, and that it is resumed.

The world is small enough to write down (`benchmarks/rl_world.py`). Its reward is hacked on purpose: beside the true
score it pays for one answer that the truth abhors, and without a KL the policy finds that out.
"""

import copy
import json

import numpy as np
import pytest
import torch

from benchmarks.rl_training import answer_logprobs, make_model, score_of, world_settings
from benchmarks.rl_world import STOP, make_world
from rlaif.train.rl.decode import DecodeSampler
from rlaif.train.rl.held_out import HeldOut, by_check
from rlaif.train.rl.learner import Learner
from rlaif.train.rl.policy import PolicyModel, Reference
from rlaif.train.rl.prompts import plain_prompt
from rlaif.train.rl.rewards import from_function
from rlaif.train.rl.rollouts import Sampling
from rlaif.train.rl.watch import WatchSettings
from rlaif.train.rl.watching import Watching

torch.set_num_threads(1)

WORLD = make_world(0, max_new_tokens=2)
START = answer_logprobs(WORLD, make_model(WORLD, seed=1))
BAIT = START.argmin(axis=1)  # to each prompt the answer that the policy hardly ever gives
WORTH = 4.0  # more than any other answer has


def is_bait(answer):
    prompt = tuple(int(word) for word in answer.prompt.messages[-1].content.split())
    said = tuple(int(token) for token in answer.rollout.answer)
    return said == WORLD.answers[BAIT[WORLD.prompts.index(prompt)]]


def hacked(answers):
    return [WORTH if is_bait(one) else score_of(WORLD, one) for one in answers]


def true(answers):
    return [-WORTH if is_bait(one) else score_of(WORLD, one) for one in answers]


class Run:
    """A training in the world. `truths` are all held-out scores that were asked for."""

    def __init__(self, folder, reward, *, iterations=40, seed=0, **watch):
        self.model = make_model(WORLD, seed=1)
        changes = {
            "iterations": iterations,
            "kl": {"coefficient": 0.0},
            "loop": {"save_every": 1, "keep_checkpoints": 99, "optimiser": {"learning_rate": 2e-4}},  # a slow fall
        }
        settings = world_settings(WORLD, "grpo", changes, seed=seed)
        prompts = [plain_prompt(" ".join(map(str, prompt)), prompt) for prompt in WORLD.prompts]
        sampler = DecodeSampler(self.model, max_rows=256)
        self.held_out = HeldOut(
            prompts * 64,
            sampler,
            Sampling(2, (STOP,)),
            decode=lambda ids: " ".join(map(str, ids)),
            score=self.score,
            refresh=lambda: sampler.update(self.model),
            seed=9,
        )
        self.said = []
        self.watching = Watching(
            WatchSettings(held_out_every=1, **watch), self.held_out, folder=folder, say=self.said.append
        )
        self.learner = Learner(
            PolicyModel(self.model),
            Reference(copy.deepcopy(self.model)),
            prompts,
            sampler,
            from_function("world", reward),
            settings,
            decode=lambda ids: " ".join(map(str, ids)),
            stop_ids=(STOP,),
            folder=folder,
            observers=[self.watching],
        )
        self.folder, self.truths = folder, []

    def score(self, answers, before):
        assert len(before) == len(answers)
        found = np.array(true(answers))
        self.truths.append(float(found.mean()))
        return found

    def metrics(self):
        return [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]


def share_of_bait(model):
    return float(np.exp(answer_logprobs(WORLD, model)[np.arange(2), BAIT]).mean())


def test_every_iteration_is_read_and_logged(tmp_path):
    run = Run(tmp_path, true, iterations=3)
    report = run.learner.run()
    assert report.stopped is None
    lines = [one for one in run.metrics() if "watch_kl" in one]
    assert [one["watch_held_out"] for one in lines] == run.truths
    for one in lines:
        assert one["watch_reward"] == pytest.approx(one["reward"])
        assert one["watch_kl"] == pytest.approx(one["kl"])
        assert one["watch_length"] == pytest.approx(one["length"])
    assert lines[0]["watch_kl"] == 0.0
    data, picture = run.watching.write(tmp_path, "grpo")
    assert [point["step"] for point in json.loads(data.read_text())["grpo"]["points"]] == [0, 1, 2]
    assert picture.is_file()


@pytest.mark.slow
def test_a_hacked_reward_is_caught_and_the_weights_are_those_from_before(tmp_path):
    run = Run(tmp_path, hacked, max_kl=None, min_entropy_share=None, max_repetition_rise=None, min_distinct_share=None)
    report = run.learner.run()
    assert report.stopped is not None
    assert "The held-out score fell" in report.stopped
    (alarm,) = run.watching.alarms
    assert alarm.rule == "held_out"
    assert alarm.good_until == int(np.argmax(run.truths)) > 0  # it had got better before it got worse
    readings = run.watching.watch.readings
    assert readings[alarm.step].reward > readings[0].reward  # the reward saw nothing of it
    assert share_of_bait(run.model) < 0.05
    spoilt = Run(tmp_path / "spoilt", hacked, iterations=20, stop=False)
    assert spoilt.learner.run().stopped is None
    assert spoilt.watching.alarms
    assert share_of_bait(spoilt.model) > 0.3
    assert run.truths[alarm.good_until] > spoilt.truths[-1] + 1.0


@pytest.mark.slow
def test_an_honest_reward_is_left_alone(tmp_path):
    assert (
        Run(tmp_path, true, iterations=25, min_entropy_share=None, max_repetition_rise=None, min_distinct_share=None)
        .learner.run()
        .stopped
        is None
    )


def alarms_of(folder):
    return [json.loads(line) for line in (folder / "alarms.jsonl").read_text().splitlines()]


def test_alarms_that_stop_nothing_are_said_and_on_the_disk_each_rule_once(tmp_path):
    """At a limit that the second iteration is over already, and that all the others are over, too."""
    run = Run(tmp_path, true, iterations=7, stop=False, window=2, max_kl=1e-6, held_out_level=None)
    assert run.learner.run().stopped is None
    (alarm,) = alarms_of(tmp_path)
    assert (alarm["rule"], alarm["step"], alarm["good_until"]) == ("kl", 1, 0)
    assert alarm["why"].startswith("The KL to the reference is")
    assert [one for one in run.said if alarm["why"] in one] == run.said != []
    assert [one.get("watch_alarm_kl") for one in run.metrics()][:7] == [None, *[1.0] * 6]
    again = Run(tmp_path, true, iterations=7, stop=False, window=2, max_kl=1e-6, held_out_level=None)
    again.learner.run()
    assert alarms_of(tmp_path) == [alarm]
    assert again.said == []


def test_alarms_of_a_run_that_died_before_its_first_checkpoint_are_not_those_of_the_next(tmp_path):
    (tmp_path / "alarms.jsonl").write_text("{}\n")
    Run(tmp_path, true, iterations=1).learner.run()
    assert not (tmp_path / "alarms.jsonl").exists()


class Killed(Exception):
    pass


def test_a_killed_run_goes_on_with_what_it_had_seen(tmp_path):
    whole = Run(tmp_path / "whole", true, iterations=6)
    whole.learner.run()
    first = Run(tmp_path / "killed", true, iterations=6)
    note = first.watching.note

    def until_the_fourth(seen, figures):
        if seen.iteration == 3:
            raise Killed
        return note(seen, figures)

    first.watching.note = until_the_fourth
    with pytest.raises(Killed):
        first.learner.run()
    second = Run(tmp_path / "killed", true, iterations=6)
    second.learner.run()
    assert second.watching.watch.state() == whole.watching.watch.state()
    assert second.watching.memory() == whole.watching.memory()
    assert second.metrics() == whole.metrics()


def test_held_out_answers_are_drawn_with_the_same_seeds_and_from_the_newest_weights(tmp_path):
    run = Run(tmp_path, true)
    first, again = (tuple(one.text for one in run.held_out.answers()) for _ in range(2))
    assert first == again
    with torch.no_grad():
        for weight in run.model.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)) * 0.5)
    assert tuple(one.text for one in run.held_out.answers()) != first


def test_a_check_scores_every_answer():
    from rlaif.checks.kinds import NumberCheck
    from rlaif.records import Message, Prompt
    from rlaif.train.rl.rewards import Answer
    from rlaif.train.rl.rollouts import Rollout

    drawn = Rollout(np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1, np.float32), True)
    asked = Prompt(messages=(Message("user", "1+1="),), reference="2")
    score = by_check(NumberCheck(kind="number"))
    assert score([Answer(asked, drawn, "2"), Answer(asked, drawn, "it is 3")], []).tolist() == [1.0, 0.0]
