"""Draws keep to their chances, and weighted means are those of all rows: by hand, by counting draws, by simulation.

The full counts (10,000 draws a design) are those of `make bench-label-draws` and `make test-full`.
"""

import itertools

import numpy as np
import pytest

from benchmarks.label_draws import drawn_by, world
from rlaif.numbers.figures import Estimate, NotDefined
from rlaif.numbers.inclusion import allocate, chances_by_size, mixed_sizes, pivotal_draw, stratified_draw
from rlaif.numbers.weighted_means import as_share, hajek, hajek_beyond, horvitz_thompson, worth_rows
from tests.scale import times

# --- draws


def test_chances_are_in_proportion_and_what_is_too_large_is_certain():
    assert chances_by_size(np.array([1.0, 2.0, 3.0]), 1).tolist() == pytest.approx([1 / 6, 1 / 3, 1 / 2])
    # 10 of 14 times 2 is above 1: certain; the other three share one place by 1, 1, 2
    assert chances_by_size(np.array([10.0, 1.0, 1.0, 2.0]), 2).tolist() == pytest.approx([1.0, 0.25, 0.25, 0.5])
    assert chances_by_size(np.ones(5), 5).tolist() == [1.0] * 5


def test_a_row_that_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        chances_by_size(np.array([1.0, 0.0]), 1)
    with pytest.raises(ValueError, match="cannot be drawn"):
        chances_by_size(np.ones(2), 3)


def test_the_even_part_bounds_every_weight():
    scores = np.array([0.0] * 99 + [100.0])
    chances = chances_by_size(mixed_sizes(scores, 0.2), 10)
    assert (1 / chances).max() <= 100 / 10 / 0.2 + 1e-9
    assert mixed_sizes(np.zeros(3), 0.2).tolist() == [1.0] * 3


def test_a_pivotal_draw_takes_a_fixed_number_and_keeps_to_every_chance():
    """The chance of each row over 20,000 draws, to 4 standard errors; hundreds of rows, some certain, in one draw."""
    chances = np.array([0.1, 0.9, 0.5, 0.5, 1.0, 0.25, 0.75])
    generator, draws = np.random.default_rng(0), 20_000
    counts = np.zeros(len(chances))
    for _ in range(draws):
        drawn = pivotal_draw(chances, generator)
        assert drawn.sum() == 4
        counts += drawn
    error = np.sqrt(chances * (1 - chances) / draws)
    assert np.abs(counts / draws - chances).max() <= 4 * error.max()
    assert counts[4] == draws
    many = chances_by_size(generator.pareto(1.2, 700) + 0.01, 200)
    assert {int(pivotal_draw(many, generator).sum()) for _ in range(20)} == {200}


@pytest.mark.parametrize(
    ("counts", "number", "expected"),
    [([50, 30, 20], 10, [5, 3, 2]), ([97, 2, 1], 10, [7, 2, 1]), ([3, 3, 3], 7, None), ([5, 5], 10, [5, 5])],
)
def test_strata_get_their_share_and_never_less_than_two(counts, number, expected):
    given = allocate(np.array(counts), number)
    assert given.sum() == number
    assert (given >= np.minimum(counts, 2)).all()
    assert (given <= counts).all()
    if expected:
        assert given.tolist() == expected


def test_every_allocation_that_is_possible_is_found():
    for counts in itertools.product(range(1, 6), repeat=3):
        least = sum(min(count, 2) for count in counts)
        for number in range(least, sum(counts) + 1):
            given = allocate(np.array(counts), number)
            assert given.sum() == number
            assert (given <= counts).all()
    with pytest.raises(ValueError, match="strata"):
        allocate(np.array([5, 5]), 3)


def test_a_stratified_draw_takes_from_each_what_its_chances_say():
    strata = np.repeat([0, 1, 2], [60, 30, 10])
    drawn, chances = stratified_draw(strata, 20, np.random.default_rng(1))
    assert np.bincount(strata[drawn]).tolist() == [12, 6, 2]
    assert chances[[0, 70, 99]].tolist() == [0.2, 0.2, 0.2]


# --- means by hand


def test_two_rows_by_hand():
    """y = 1 with π = 1/2 and y = 0 with π = 1/4 of 6 rows: HT 2 / 6; Hájek 2 / (2 + 4), the same by accident; with y =
    1 twice HT is 1 and Hájek 1."""
    values, chances = np.array([1.0, 0.0]), np.array([0.5, 0.25])
    assert horvitz_thompson(values, chances, 6).value == pytest.approx(1 / 3)
    assert hajek(values, chances).value == pytest.approx(1 / 3)
    assert horvitz_thompson(values, chances, 5).value == pytest.approx(2 / 5)


def test_even_chances_are_the_textbooks_simple_random_sample():
    """s² / n · (1 − n/N), Cochran 1977, eq. 2.20, with Student's t."""
    values = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    variance = values.var(ddof=1) / 8 * (1 - 8 / 40)
    for found in (hajek(values, np.full(8, 0.2)), horvitz_thompson(values, np.full(8, 0.2), 40)):
        assert found.value == pytest.approx(values.mean())
        assert ((found.high - found.low) / 2 / 2.364624) ** 2 == pytest.approx(variance, rel=1e-5)  # t with 7 degrees


def test_strata_are_the_textbooks():
    """Σ W² s² / n (1 − f), Cochran 1977, eq. 5.6, with n − H degrees."""
    values = np.array([1.0, 2.0, 3.0, 10.0, 12.0])
    chances, strata = np.array([0.3] * 3 + [0.1] * 2), ["a"] * 3 + ["b"] * 2
    variance = (10 / 30) ** 2 * 1.0 / 3 * 0.7 + (20 / 30) ** 2 * 2.0 / 2 * 0.9
    found = horvitz_thompson(values, chances, 30, strata=strata)
    assert found.value == pytest.approx((10 * 2 + 20 * 11) / 30)
    assert ((found.high - found.low) / 2 / 3.182446) ** 2 == pytest.approx(variance, rel=1e-5)


def test_drawing_everything_leaves_no_doubt_about_these_rows_and_some_about_others():
    values = np.array([1.0, 0.0, 1.0, 1.0])
    assert hajek(values, np.ones(4)) == Estimate(0.75, 0.75, 0.75, 4, 4)
    beyond = hajek_beyond(values, np.ones(4), ["a", "b", "c", "d"])
    assert beyond.low < 0.75 < beyond.high


def test_one_row_a_prompt_and_even_chances_are_the_plain_t_interval():
    values = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    found = hajek_beyond(values, np.full(6, 0.1), np.arange(6))
    assert (found.high - found.low) / 2 == pytest.approx(2.570582 * values.std(ddof=1) / np.sqrt(6), rel=1e-6)


def test_an_interval_of_a_share_is_wilsons():
    """3 of 10 by hand, z in the place of t: [0.1078, 0.6032] (Wilson 1927)."""
    half = 1.959964 * np.sqrt(0.3 * 0.7 / 10)
    found = as_share(Estimate(0.3, 0.3 - half, 0.3 + half, 10, 10))
    assert (found.low, found.high) == pytest.approx((0.107789, 0.603222), abs=1e-5)
    assert as_share(Estimate(1.0, 0.9, 1.1, 3, 3)).high == 1.1


def test_what_cannot_be_told_is_said():
    assert isinstance(hajek(np.array([np.nan]), np.array([0.5])), NotDefined)
    assert isinstance(hajek_beyond(np.array([1.0, 0.0]), np.array([0.5, 0.5]), ["a", "a"]), NotDefined)
    assert isinstance(horvitz_thompson(np.array([]), np.array([]), 5), NotDefined)
    alike = hajek(np.ones(3), np.full(3, 0.5))
    assert (alike.value, alike.low, bool(alike.because)) == (1.0, None, True)
    lonely = hajek(np.array([1.0, 0.0, 1.0]), np.full(3, 0.5), strata=["a", "a", "b"])
    assert lonely.low is None


def test_rows_without_a_value_change_the_interval_and_not_the_mean():
    values, chances = np.array([1.0, 0.0, 1.0, 0.0]), np.full(4, 0.2)
    full = hajek(values, chances)
    some = hajek(np.append(values, [np.nan, np.nan]), np.full(6, 0.2))
    assert some.value == full.value
    assert some.n == 4


def test_worth_is_the_number_drawn_where_chances_are_even():
    assert worth_rows(np.full(7, 0.3)) == pytest.approx(7)
    assert worth_rows(np.array([1.0, 0.25])) == pytest.approx(25 / 17)


# --- means by simulation


def is_near_95(covered, draws):
    """93 to 97 %, or within three standard errors where there are few draws."""
    return abs(covered / draws - 0.95) <= max(0.02, 3 * np.sqrt(0.95 * 0.05 / draws))


@pytest.mark.slow
@pytest.mark.parametrize("design", ["even", "stratified", "sized"])
def test_weighted_means_are_those_of_all_rows_and_their_intervals_hold_them(design):
    generator, draws, number = np.random.default_rng(7), times(600, full=10_000), 200
    values, size, _ = world(generator)
    truth, found = values.mean(), {"ht": [], "hajek": [], "share": [], "plain": []}
    covered = {"ht": 0, "hajek": 0, "share": 0}
    for _ in range(draws):
        mask, chances, strata = drawn_by(design, size, generator, number)
        one = {
            "ht": horvitz_thompson(values[mask], chances[mask], len(values), strata=strata[mask]),
            "hajek": hajek(values[mask], chances[mask], strata=strata[mask]),
        }
        one["share"] = as_share(one["hajek"])
        for name, figure in one.items():
            found[name].append(figure.value)
            covered[name] += figure.low <= truth <= figure.high
        found["plain"].append(values[mask].mean())
    for name in covered:
        error = np.std(found[name]) / np.sqrt(draws)
        assert abs(np.mean(found[name]) - truth) < 4 * error
        assert is_near_95(covered[name], draws)
    if design == "sized":
        assert abs(np.mean(found["plain"]) - truth) > 0.05  # what not weighing would have cost


@pytest.mark.slow
def test_intervals_for_prompts_like_these_hold_the_rate_of_all_prompts():
    """Every time new prompts, a draw of their pairs, one interval; ignoring prompts would be too narrow."""
    generator, draws = np.random.default_rng(11), times(600, full=5000)
    truth = np.mean([world(generator, 4000)[0].mean() for _ in range(20)])
    covered = 0
    for _ in range(draws):
        values, size, prompts = world(generator, 150)
        mask, chances, _ = drawn_by("sized", size, generator, 300)
        figure = as_share(hajek_beyond(values[mask], chances[mask], prompts[mask]))
        covered += figure.low <= truth <= figure.high
    assert is_near_95(covered, draws)
