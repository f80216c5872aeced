"""The core of benchmarks/judge_bias.py on fewer runs: intervals hold planted biases, and would not without clusters."""

import numpy as np
import pytest

from benchmarks import judge_bias

ON_LOG_ODDS = {
    "first_slot_log_odds",
    *(f"{name}, log-odds" for name in ("length", "verbosity", "markdown", "lists", "own")),
    "restated: shift",
}


@pytest.fixture(scope="module")
def small_population():
    """The full one is the benchmark's; a tenth of it knows rates to about 0.003."""
    before, judge_bias.POPULATION = judge_bias.POPULATION, 8_000
    yield
    judge_bias.POPULATION = before


@pytest.mark.slow
def test_planted_biases_are_held_in_about_95_of_100_runs(small_population):
    """60 runs of 15 figures with a fixed seed. An exact interval is held in 50 or fewer of 60 once in 1,500 times; over
    the 7 biases on the log-odds, 420 intervals, the share has a standard error of about 1.1 %."""
    rows = {row["figure"]: row for row in judge_bias.coverage(60, 40, seed=7, num_resamples=499)}
    assert set(rows) > ON_LOG_ODDS
    assert min(row["coverage"] for row in rows.values()) > 50 / 60
    planted = [rows[name] for name in ON_LOG_ODDS]
    assert 0.92 < np.mean([row["coverage"] for row in planted]) < 0.98
    for row in planted:
        assert abs(row["mean"] - row["truth"]) < 4 * row["spread"] / np.sqrt(row["runs"]), row


@pytest.mark.slow
def test_pairs_taken_for_independent_would_hold_too_few(small_population):
    rows = {row["figure"]: row for row in judge_bias.coverage(40, 40, seed=7, is_by_pair=True, num_resamples=299)}
    by_pair = np.mean([rows[f"{name}, log-odds"]["coverage"] for name in ("length", "verbosity", "markdown", "lists")])
    assert rows["first_slot_log_odds"]["coverage"] < 0.85
    assert by_pair < 0.88
