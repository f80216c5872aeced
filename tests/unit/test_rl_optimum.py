"""PPO, RLOO and GRPO, the real learner and sampler, end at the optimum of what they optimise: two prompts, forty
answers each, the KL to the optimum summed, not estimated. `python -m benchmarks.rl_optimum` takes twenty seeds."""

import pytest

from benchmarks import rl_optimum


@pytest.mark.slow
@pytest.mark.parametrize(("method", "beta"), [("ppo", 1.0), ("rloo", 0.3), ("grpo as published", 1.0)])
def test_a_method_ends_at_its_optimum(method, beta):
    found = rl_optimum.run(method, beta, seed=0)
    assert found.before > 0.01  # there is something to learn
    assert found.after <= rl_optimum.LIMIT
