"""A clustered share's interval against Wilson's own, against copies of rows, and against the truth in simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from rlaif.numbers.clustered_share import ClusteredShare
from rlaif.numbers.figures import NotDefined

CLUSTERS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5)).map(lambda pair: (min(pair), max(pair))), min_size=1
)


def share_of(clusters):
    share = ClusteredShare()
    for successes, rows in clusters:
        share.add(successes, rows)
    return share


@given(st.lists(st.booleans(), min_size=1))
def test_one_row_per_cluster_is_wilsons_interval(rows):
    found = share_of([(int(row), 1) for row in rows]).figure()
    known = binomtest(sum(rows), len(rows)).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=1e-12)
    assert (found.n, found.clusters) == (len(rows), len(rows))


@given(CLUSTERS, st.integers(1, 4))
def test_rows_written_again_within_their_clusters_say_nothing_new(clusters, times):
    """k copies of every row of clusters of one: the interval is that of the rows themselves."""
    single = [(int(successes > 0), 1) for successes, _ in clusters]
    once, copied = share_of(single).figure(), share_of([(r * times, n * times) for r, n in single]).figure()
    assert (copied.value, copied.low, copied.high) == pytest.approx((once.value, once.low, once.high))


@given(CLUSTERS)
def test_the_design_effect_is_the_clustered_variance_over_the_binomial_one(clusters):
    share = share_of(clusters)
    if not share.rows:
        assert isinstance(share.figure(), NotDefined)
        return
    found = share.figure()
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0
    p = share.successes / share.rows
    if 0 < p < 1:
        slow = sum((r - p * n) ** 2 for r, n in clusters) / share.rows / (p * (1 - p))
        assert share.design_effect == pytest.approx(max(1.0, slow))


@pytest.mark.parametrize(("mean", "prompts", "rows"), [(0.5, 60, 4), (0.8, 60, 4), (0.9, 120, 3)])
def test_intervals_cover_the_truth_where_rows_of_a_prompt_go_together(mean, prompts, rows):
    """Beta-binomial prompts with a correlation of 1/3 between rows: Wilson's own interval would cover in about 83 %."""
    random, runs, spread = np.random.default_rng(5), 2000, 2.0
    own = random.beta(mean * spread, (1 - mean) * spread, size=(runs, prompts))
    drawn = random.binomial(rows, own)
    figures = [share_of([(int(r), rows) for r in one]).figure() for one in drawn]
    covered = np.mean([one.low <= mean <= one.high for one in figures])
    assert 0.93 <= covered <= 0.97


def test_more_successes_than_rows_are_refused():
    with pytest.raises(ValueError, match="3 successes among 2 rows"):
        ClusteredShare().add(3, 2)
