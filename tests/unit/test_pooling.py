"""Verdicts put together: against values worked by hand and the properties that define the pool."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.numbers.pooling import both_orders, choice_probability, log_odds, pooled

probabilities = st.floats(0.0, 1.0)
weights = st.floats(0.01, 10.0)


def test_choice_probability_is_the_softmax_of_two_log_probabilities():
    assert choice_probability(math.log(0.6), math.log(0.2)) == pytest.approx(0.75, abs=1e-15)
    assert choice_probability(-math.inf, -3.0) == 0.0
    assert choice_probability(-3.0, -math.inf) == 1.0
    assert choice_probability(-1000.0, 0.0) == 0.0  # exp(1000) would overflow


@given(probabilities, probabilities)
def test_swapping_the_responses_gives_the_complement(first, second):
    """P(x) from (first, second) and P(y), seen from y, whose places are exchanged, add up to one."""
    assert both_orders(first, second) + both_orders(1 - second, 1 - first) == pytest.approx(1.0, abs=1e-12)


def test_a_judge_that_only_sees_positions_makes_a_tie():
    always_first = 0.9
    assert both_orders(always_first, 1 - always_first) == pytest.approx(0.5, abs=1e-15)


def test_pool_of_one_half_and_nine_tenths_worked_by_hand():
    """logit(0.5) = 0, logit(0.9) = ln 9; weights 1 and 3: ln(9) * 3 / 4 = ln(9 ** 0.75); 9 ** 0.75 = 5.19615."""
    probability, shares = pooled([0.5, 0.9], [1.0, 3.0], 0.01)
    assert shares == pytest.approx([0.0, 0.75 * math.log(9)], abs=1e-12)
    assert probability == pytest.approx(5.196152422706632 / 6.196152422706632, abs=1e-12)


@given(st.lists(st.tuples(probabilities, weights), min_size=1, max_size=8))
def test_shares_add_up_to_the_labels_log_odds(parts):
    probability, shares = pooled([p for p, _ in parts], [w for _, w in parts], 0.01)
    assert math.fsum(shares) == pytest.approx(math.log(probability / (1 - probability)), abs=1e-9)


@given(st.lists(st.tuples(probabilities, weights), min_size=1, max_size=8))
def test_pool_of_complements_is_the_complement_of_the_pool(parts):
    own, _ = pooled([p for p, _ in parts], [w for _, w in parts], 0.01)
    other, _ = pooled([1 - p for p, _ in parts], [w for _, w in parts], 0.01)
    assert own + other == pytest.approx(1.0, abs=1e-9)


@given(probabilities, weights, weights)
def test_agreeing_principles_make_their_own_label_whatever_the_weights(p, first, second):
    kept = min(max(p, 0.01), 0.99)
    assert pooled([p, p], [first, second], 0.01)[0] == pytest.approx(kept, abs=1e-9)


def test_no_verdict_outweighs_the_floor():
    assert log_odds(1.0, 0.01) == pytest.approx(math.log(99), abs=1e-12)
    assert log_odds(0.0, 0.01) == pytest.approx(-math.log(99), abs=1e-12)


@pytest.mark.parametrize(("values", "own_weights"), [([], []), ([0.5], [0.0]), ([0.5], [1.0, 2.0])])
def test_nothing_to_pool_is_an_error_not_a_number(values, own_weights):
    with pytest.raises(ValueError, match="cannot pool"):
        pooled(values, own_weights, 0.01)


@pytest.mark.parametrize(("p", "q"), [(0.9, 0.1), (0.7, 0.3), (0.99, 0.01), (2 / 3, 1 / 3)])
def test_opposite_opinions_of_equal_weight_are_a_tie_exactly(p, q):
    assert pooled([p, q], [1.0, 1.0], 0.01)[0] == 0.5
    assert pooled([p, q, q, p], [3.0, 3.0, 0.1, 0.1], 0.01)[0] == 0.5
    assert pooled([p, q], [1.0, 1.0 - 1e-9], 0.01)[0] > 0.5
