"""PPO, RLOO and GRPO, the real learner and sampler, end at the optimum of what they optimise: two prompts, thirteen
answers each, the KL to the optimum summed, not estimated. `python -m benchmarks.rl_optimum` takes forty, three β and
twenty seeds."""

import pytest

from benchmarks import rl_optimum


@pytest.mark.slow
@pytest.mark.parametrize(("method", "share"), [("ppo", 0.4), ("rloo", 0.4), ("grpo as published", 0.5)])
def test_a_method_ends_at_its_optimum(method, share):
    found = rl_optimum.run(method, 1.0, seed=0, share=share, group=64, max_new_tokens=2)
    assert found.before > 0.1  # there is something to learn
    assert found.after <= rl_optimum.LIMIT
