"""What `benchmarks.judge` makes of its timings, worked by hand; and that it always asks about the same pairs."""

import pytest

from benchmarks.judge import CHATS, OURS, TOKENS, figures, table
from benchmarks.judging_requests import first_principles, judged_pairs

COSTS = {"requests": 24, "verdicts": 24, "read": 12, "computed": 1000, "written": 24, "processor_s": 0.5, "pairs": 2}


def took(seconds):
    return [COSTS | {"seconds": one} for one in seconds]


def test_rates_and_ratios_are_taken_repetition_by_repetition():
    """Ours: 2 pairs in 1, 2 and 4 s. The other: in 3, 4 and 20 s, so 3, 2 and 5 times as long."""
    found = figures({OURS: took((1, 2, 4)), "other": took((3, 4, 20))})
    assert found[OURS]["labels_per_s"] == (1.0, 0.5, 2.0)
    assert found["other"]["labels_per_s"] == (0.5, 0.1, pytest.approx(2 / 3))
    assert found["other"]["times_ours"] == (3.0, 2.0, 5.0)
    assert found["other"]["processor_ms_per_label"] == 250.0
    assert (found["other"]["computed_per_label"], found["other"]["read_per_label"]) == (500.0, 6.0)


def test_the_overhead_is_what_ours_takes_longer_than_bare_vllm():
    told = {"overhead": figures({OURS: took((1.1, 1.1, 1.2)), TOKENS: took((1, 1, 1)), CHATS: took((1.1, 1.1, 1.2))})}
    lines = table(told).splitlines()
    assert f"over {TOKENS}: +10.0% [+10.0%, +20.0%]; aimed at: at most 5%" in lines
    assert f"over {CHATS}: +0.0% [+0.0%, +0.0%]; aimed at: at most 5%" in lines


def test_a_repetition_has_pairs_of_its_own_and_every_run_the_same_ones():
    def drawn(seed):
        return [pair.id for pair in judged_pairs(num_prompts=3, num_answers=3, words=(5, 9), seed=seed)]

    assert drawn(1) == drawn(1)
    assert len(drawn(1)) == len(set(drawn(1))) == 9
    assert not set(drawn(1)) & set(drawn(2))
    assert len(first_principles(12).enabled) == 12
