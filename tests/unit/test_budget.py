"""Limits on a run: kept to, resumable, and without an effect on the result."""

import pytest

from rlaif.engines.scripted import Faults
from rlaif.errors import BudgetReached
from rlaif.feedback.budget import Budget
from rlaif.pair_dataset import pair_row
from tests.roads import Road, constitution, prompts, settings

ALL = 4 * 4 + 4 * 6 * 3 * 2 + 4  # samples, verdicts and critiques of four prompts


@pytest.fixture
def road(tmp_path):
    return Road(tmp_path / "store")


def run(road):
    return road.run(settings(), constitution(), prompts(4))


def num_asked(road):
    return sum(map(len, road.asked.values()))


@pytest.mark.parametrize("limit", [1, 16, 17, 100, ALL - 1])
def test_a_limit_on_calls_is_kept_to_exactly_and_the_next_run_goes_on(road, limit):
    road.budget = Budget(calls=limit)
    with pytest.raises(BudgetReached, match=r"limit of .* calls \(--budget-calls\)(?s:.)*the same command continues"):
        run(road)
    assert num_asked(road) == limit
    road.budget = None
    run(road)
    assert num_asked(road) == ALL - limit


def test_a_limit_that_is_just_enough_stops_nothing(road):
    road.budget = Budget(calls=ALL)
    run(road)
    assert num_asked(road) == ALL


def test_a_run_in_small_steps_ends_as_one_in_one_step(road, tmp_path):
    num_runs, result = 0, None
    while result is None:
        num_runs += 1
        road.budget = Budget(calls=20)
        try:
            result = run(road)
        except BudgetReached:
            assert num_asked(road) == 20
    assert num_runs == -(-ALL // 20)
    whole = run(Road(tmp_path / "whole"))
    assert [pair_row(pair) for pair in result.pairs] == [pair_row(pair) for pair in whole.pairs]


def test_a_limit_on_tokens_counts_prompts_and_answers(road):
    road.budget = Budget(tokens=1000)
    with pytest.raises(BudgetReached, match=r"1,000 tokens \(--budget-tokens\)"):
        run(road)
    assert 1000 <= road.budget.tokens_used < 1000 + 200  # what was in flight is one request of the scripted engine


def test_a_limit_on_time_stops_between_requests(road):
    now = iter(range(10_000))
    road.budget = Budget(seconds=30, clock=lambda: next(now))
    with pytest.raises(BudgetReached, match=r"0.5 minutes \(--max-minutes\)"):
        run(road)
    assert 0 < num_asked(road) <= 30


def test_a_used_up_budget_loads_no_model(road):
    road.budget = Budget(calls=16)  # the samples alone
    with pytest.raises(BudgetReached):
        run(road)
    assert "judge" not in road.asked


def test_what_is_in_the_store_costs_no_budget(road):
    run(road)
    road.budget = Budget(calls=1)
    run(road)
    assert num_asked(road) == 0


def test_failed_requests_count_as_calls(tmp_path):
    road = Road(tmp_path, policy_faults=Faults(failed=1.0), budget=Budget(calls=5))
    with pytest.raises(BudgetReached):
        run(road)
    assert num_asked(road) == 5
