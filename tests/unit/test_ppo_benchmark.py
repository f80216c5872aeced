"""What `make bench-ppo` makes of its runs' figures."""

from benchmarks.ppo import misses, phases, ratios, told


def run(seconds, above, **spent):
    return {"seconds": seconds, "wall_s": seconds, "episodes": 64, "loaded_bytes": 10, "peak_bytes": 10 + above} | {
        "phases": spent
    }


def test_a_ratio_is_of_runs_next_to_each_other_and_a_target_that_is_missed_is_named():
    found = {"ours": [run(2.0, 15, learning=1.5), run(4.0, 30, learning=3.5)], "trl": [run(16.0, 100), run(40.0, 100)]}
    assert ratios(found) == [8.0, 10.0]
    assert misses("ppo", found) == ["ppo: 30% of TRL's memory, target 20%"]
    assert "ours is 9.00 (8.00 to 10.00, n = 2) times as fast, with 30% of the memory" in told("ppo", found)
    slow = {"ours": [run(10.0, 10)], "trl": [run(20.0, 100)]}
    assert misses("grpo", slow) == ["grpo: 2.00 times as fast as TRL, target 3"]
    assert misses("ppo", {"ours": [], "trl": slow["trl"]}) == []


def test_phases_are_shares_of_all_runs_seconds():
    assert phases([run(2.0, 1, learning=1.0, rollout=0.5), run(2.0, 1, learning=2.0)]) == "learning 75%, rollout 12%"
