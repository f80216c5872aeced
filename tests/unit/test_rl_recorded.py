"""What an iteration's answers and rewards are after they were on the disk: the same."""

import numpy as np

from rlaif.train.rl.recorded import Recorded
from rlaif.train.rl.rewards import Rewards
from rlaif.train.rl.rollouts import Rollout


def test_answers_and_rewards_come_back_as_they_were(tmp_path):
    draws = np.random.default_rng(0)
    rollouts = [
        Rollout(
            prompt=draws.integers(0, 99, size),
            answer=draws.integers(0, 99, 5 - size),
            logprobs=draws.normal(size=5 - size).astype(np.float32),
            is_ended=size % 2 == 0,
        )
        for size in (1, 4, 2, 3)
    ]
    values = draws.normal(size=4)
    rewards = Rewards(values, {"check": values}, draws.normal(size=(4, 2)))
    recorded = Recorded(tmp_path, {"run": "this one"})
    recorded.write(3, rollouts, rewards)
    found, of_them = recorded.read(3)
    for one, other in zip(found, rollouts, strict=True):
        for name in ("prompt", "answer", "logprobs"):
            mine, its = getattr(one, name), getattr(other, name)
            assert mine.dtype == its.dtype
            np.testing.assert_array_equal(mine, its)
        assert one.is_ended == other.is_ended
    np.testing.assert_array_equal(of_them.values, values)
    np.testing.assert_array_equal(of_them.parts["check"], values)
    np.testing.assert_array_equal(of_them.members, rewards.members)


def test_answers_of_another_iteration_or_run_are_none(tmp_path):
    one = Rollout(np.arange(3), np.arange(2), np.zeros(2, np.float32), True)
    Recorded(tmp_path, {"run": "this one"}).write(3, [one], Rewards(np.zeros(1)))
    assert Recorded(tmp_path, {"run": "this one"}).read(4) is None
    assert Recorded(tmp_path, {"run": "another"}).read(3) is None
