"""Schedules of comparisons: no pair twice, degrees as promised, and nothing that depends on order or interruption."""

import random
from collections import Counter
from functools import partial
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.feedback.schedule import (
    all_pairs,
    half_of_all_pairs,
    play,
    random_opponents,
    ring,
    standings,
    swiss,
)

names = st.lists(st.text("abcdef0123456789", min_size=4, max_size=8), min_size=1, max_size=9, unique=True)
SCHEDULES = {
    "all": all_pairs,
    "ring": ring,
    "random": partial(random_opponents, k=3, seed="prompt"),
    "swiss": partial(swiss, max_comparisons=20),
}
schedules = st.sampled_from(sorted(SCHEDULES)).map(SCHEDULES.get)


def judge(pair, seed=0):
    """A judge who answers by the pair alone, and now and then not at all."""
    drawn = random.Random(f"{seed} {pair}").random()
    return None if drawn < 0.05 else drawn


def to_the_end(ids, next_round, *, known=None, at_a_time=None, seed=0):
    """Play a tournament, answering at most so many comparisons before the schedule is asked again."""
    known = dict(known or {})
    while True:
        tournament = play(ids, known, next_round)
        if tournament.is_over:
            return tournament
        for pair in tournament.missing[:at_a_time]:
            known[pair] = judge(pair, seed)


def degrees(ids, pairs):
    counts = Counter(name for pair in pairs for name in pair)
    return [counts[name] for name in ids]


def num_groups(ids, pairs):
    group = {name: name for name in ids}

    def top(name):
        return name if group[name] == name else top(group[name])

    for x, y in pairs:
        group[top(x)] = top(y)
    return len({top(name) for name in ids})


@settings(deadline=None, max_examples=40)
@given(names, schedules, st.randoms())
def test_the_order_in_which_answers_are_given_changes_nothing(ids, next_round, shuffle):
    shuffled = [*ids]
    shuffle.shuffle(shuffled)
    assert to_the_end(ids, next_round) == to_the_end(shuffled, next_round)


@settings(deadline=None, max_examples=40)
@given(names, schedules)
def test_no_pair_is_compared_twice_and_none_with_itself(ids, next_round):
    pairs = to_the_end(ids, next_round).pairs
    assert len(set(pairs)) == len(pairs)
    assert all(x < y and {x, y} <= set(ids) for x, y in pairs)


@settings(deadline=None, max_examples=40)
@given(names, schedules, st.integers(1, 5))
def test_an_interrupted_tournament_ends_as_an_undisturbed_one(ids, next_round, at_a_time):
    assert to_the_end(ids, next_round, at_a_time=at_a_time) == to_the_end(ids, next_round)


@settings(deadline=None, max_examples=40)
@given(names, schedules)
def test_outcomes_the_schedule_did_not_ask_for_change_nothing(ids, next_round):
    """All of a round-robin is in the store already: the tournament asks nothing and is the same."""
    everything = {pair: judge(pair) for pair in combinations(sorted(ids), 2)}
    tournament = play(ids, everything, next_round)
    assert tournament.is_over
    assert tournament == to_the_end(ids, next_round)


@settings(deadline=None, max_examples=40)
@given(names, schedules)
def test_a_round_waits_for_nothing_but_earlier_rounds(ids, next_round):
    """Outcomes of round r and later do not move round r."""
    tournament = to_the_end(ids, next_round)
    for number, played in enumerate(tournament.rounds):
        assert sorted(next_round(ids, tournament.rounds[:number])) == sorted(played)


@given(names)
def test_all_pairs_are_all(ids):
    assert len(to_the_end(ids, all_pairs).pairs) == len(ids) * (len(ids) - 1) // 2


@given(names)
def test_a_ring_gives_everyone_two_opponents_and_one_ring(ids):
    pairs = to_the_end(ids, ring).pairs
    n = len(ids)
    assert degrees(ids, pairs) == ([2] * n if n > 2 else [n - 1] * n)
    assert num_groups(ids, pairs) == 1


@settings(deadline=None, max_examples=120)
@given(names, st.integers(1, 10), st.text(max_size=5))
def test_k_random_opponents_are_k_and_connect_everyone(ids, k, seed):
    pairs = random_opponents(ids, [], k=k, seed=seed)
    n = len(ids)
    wanted = min(k, n - 1)
    found = sorted(degrees(ids, pairs))
    assert found[: n - 1] == [wanted] * (n - 1)
    assert found[-1] == wanted + (n * wanted) % 2
    assert len(set(pairs)) == len(pairs) == (n * wanted + 1) // 2
    if k >= 2:
        assert num_groups(ids, pairs) == 1


def test_random_opponents_are_drawn_by_the_seed_and_each_pair_as_often_as_another():
    ids = [f"answer-{i}" for i in range(7)]
    drawn = [random_opponents(ids, [], k=4, seed=f"prompt {i}") for i in range(600)]
    assert drawn[0] == random_opponents(ids, [], k=4, seed="prompt 0")
    counts = Counter(pair for pairs in drawn for pair in pairs)
    assert len(counts) == 21
    # each is expected 600 · 14/21 = 400 times, with a standard deviation of 11.5
    assert all(350 < count < 450 for count in counts.values())


def test_an_answer_without_opponents_is_refused():
    with pytest.raises(ValueError, match="at least one opponent"):
        random_opponents(["a", "b"], [], k=0, seed="")
    with pytest.raises(ValueError, match="duplicate"):
        all_pairs(["a", "a"], [])


# --- Swiss


@settings(deadline=None, max_examples=50)
@given(names, st.integers(0, 40))
def test_swiss_rounds_spend_their_budget_and_no_more(ids, budget):
    pairs = to_the_end(ids, partial(swiss, max_comparisons=budget)).pairs
    assert len(pairs) == min(budget, len(ids) * (len(ids) - 1) // 2)


@settings(deadline=None, max_examples=50)
@given(names, st.integers(0, 3))
def test_in_a_swiss_round_everyone_plays_once_but_at_most_one_bye(ids, seed):
    """As long as half of the opponents are left, there always is such a round (Dirac's theorem)."""
    n = len(ids)
    rounds = to_the_end(ids, partial(swiss, max_comparisons=1000), seed=seed).rounds
    for number, played in enumerate(rounds):
        counts = degrees(ids, played)
        assert max(counts) == 1
        if n - 1 - number >= (n + 1) / 2:
            assert counts.count(0) == n % 2


@settings(deadline=None, max_examples=50)
@given(names.filter(lambda ids: len(ids) % 2 == 1 and len(ids) >= 5), st.integers(0, 3))
def test_nobody_sits_out_twice_before_all_could_have_sat_out_once(ids, seed):
    budget = (len(ids) // 2) * ((len(ids) - 1) // 2)
    pairs = to_the_end(ids, partial(swiss, max_comparisons=budget), seed=seed).pairs
    counts = degrees(ids, pairs)
    assert max(counts) - min(counts) <= 1


def test_the_strong_meet_the_strong():
    ids = [f"{i:02d}" for i in range(8)]  # the lower the name, the stronger
    known = dict.fromkeys(combinations(ids, 2), 0.9)
    third = [*play(ids, known, partial(swiss, max_comparisons=12)).rounds[2]]
    first = standings(ids, {pair: known[pair] for pair in play(ids, known, partial(swiss, max_comparisons=8)).pairs})
    gaps = [abs(first[x] - first[y]) for x, y in third]
    assert sum(gaps) / 4 < sum(abs(first[x] - first[y]) for x, y in combinations(ids, 2)) / 28 / 2


def test_a_last_round_cut_short_keeps_its_closest_pairs():
    ids = [f"{i:02d}" for i in range(6)]
    known = {(x, y): 0.6 + 0.01 * i for i, (x, y) in enumerate(combinations(ids, 2))}
    whole = play(ids, known, partial(swiss, max_comparisons=6))
    cut = play(ids, known, partial(swiss, max_comparisons=4))
    strength = standings(ids, whole.rounds[0])
    gaps = {pair: abs(strength[pair[0]] - strength[pair[1]]) for pair in whole.rounds[1]}
    assert [*cut.rounds[1]] == sorted(gaps, key=lambda pair: (round(gaps[pair], 9), pair))[:1]


def test_a_comparison_without_a_verdict_is_played_and_says_nothing():
    ids = ["a", "b", "c", "d"]
    first = play(ids, {}, partial(swiss, max_comparisons=6)).missing
    silent = play(ids, dict.fromkeys(first), partial(swiss, max_comparisons=6))
    assert not set(silent.missing) & set(first)
    assert set(standings(ids, dict.fromkeys(first)).values()) == {0.0}


def test_half_of_all_pairs_is_rounded_up():
    assert [half_of_all_pairs(n) for n in (2, 3, 4, 8, 16)] == [1, 2, 3, 14, 60]
