"""PPO, RLOO and GRPO, the real learner and sampler, end at the optimum of what they optimise: two prompts, thirteen
answers each, the KL to the optimum summed, not estimated. `python -m benchmarks.rl_optimum` takes forty, three β and
twenty seeds."""

import pytest

from benchmarks import rl_optimum
from tests.scale import IS_FULL

FULL = pytest.mark.skipif(not IS_FULL, reason="half a minute of one core each: make test-full")


def check_ends_at_its_optimum(method, **size):
    found = rl_optimum.run(method, 1.0, seed=0, max_new_tokens=2, **size)
    assert found.before > 0.1  # there is something to learn
    assert found.after <= rl_optimum.LIMIT


@pytest.mark.slow
@pytest.mark.parametrize(("method", "share"), [("ppo", 0.25), ("rloo", 0.1875)])
def test_with_the_kl_in_the_reward_a_method_ends_at_its_optimum(method, share):
    check_ends_at_its_optimum(method, share=share, group=64)


@FULL
@pytest.mark.slow
@pytest.mark.parametrize("method", ["grpo as published", "grpo without std, k2", "grpo without std, k3"])
def test_with_the_kl_in_the_loss_a_method_ends_at_its_optimum(method):
    """The gradient's noise stays, so it takes more answers."""
    check_ends_at_its_optimum(method)
