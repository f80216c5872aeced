"""What must hold for any labels: order of rows, sides of all pairs, doubled data, names of raters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.numbers.agreement import agreement_measures
from rlaif.numbers.alternative import advantage_measure
from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.ceiling import ceiling_measures, worth_measure
from rlaif.numbers.choices import shares
from rlaif.numbers.figures import Estimate
from rlaif.numbers.intervals import Measure, estimates
from rlaif.numbers.panel import panel_measures

QUICK = settings(max_examples=30, deadline=None)


@st.composite
def labelled(draw):
    """Choices of three people and a judge (N, 4), −1 missing, with the pairs' prompts."""
    rows = draw(st.integers(1, 30))
    codes = draw(st.lists(st.lists(st.integers(-1, 2), min_size=4, max_size=4), min_size=rows, max_size=rows))
    prompts = draw(st.lists(st.integers(0, 15), min_size=rows, max_size=rows))
    return np.array(codes), np.array(prompts)


def all_measures(codes, ties="class") -> dict[str, Measure]:
    people, judge = shares(codes[:, :3], ties), shares(codes[:, 3], ties)
    named = agreement_measures(people[:, 0], judge) | {f"panel/{k}": m for k, m in panel_measures(people).items()}
    named |= {f"ceiling/{name}": measure for name, measure in ceiling_measures(people, judge).items()}
    return named | {"worth": worth_measure(people, judge), "advantage": advantage_measure(people, judge)}


def figures(codes, prompts, ties="class"):
    return estimates(cluster_bootstrap(prompts, num_resamples=50), all_measures(codes, ties))


def equal(one, other):
    for name, figure in one.items():
        match = other[name]
        assert type(figure) is type(match), name
        if isinstance(figure, Estimate):
            assert (figure.n, figure.clusters) == (match.n, match.clusters)
            assert figure.value == pytest.approx(match.value, abs=1e-9), name
            for end, its in ((figure.low, match.low), (figure.high, match.high)):
                assert (end is None) == (its is None), name
                assert end is None or end == pytest.approx(its, abs=1e-9), name
        else:
            assert figure == match


@QUICK
@given(labelled(), st.randoms(use_true_random=False), st.sampled_from(["class", "half", "drop"]))
def test_the_order_of_rows_changes_no_figure(given_labels, chance, ties):
    codes, prompts = given_labels
    order = list(range(len(prompts)))
    chance.shuffle(order)
    equal(figures(codes, prompts, ties), figures(codes[order], prompts[order], ties))


@QUICK
@given(labelled())
def test_calling_all_first_answers_second_changes_no_figure(given_labels):
    codes, prompts = given_labels
    equal(figures(codes, prompts), figures(np.where(codes == -1, -1, 2 - codes), prompts))


@QUICK
@given(labelled())
def test_turning_any_pairs_around_leaves_what_does_not_ask_for_habits(given_labels):
    codes, prompts = given_labels
    turned = (np.arange(len(codes)) % 2 == 0)[:, None] & (codes != -1)
    one, other = figures(codes, prompts), figures(np.where(turned, 2 - codes, codes), prompts)
    steady = ("agreement", "pabak", "panel/agreement", "ceiling/human", "ceiling/judge", "worth", "advantage")
    equal({name: one[name] for name in steady}, other)


@QUICK
@given(labelled(), st.permutations([0, 1, 2]))
def test_the_order_of_people_changes_nothing_about_the_panel(given_labels, order):
    codes, prompts = given_labels
    one, other = figures(codes, prompts), figures(codes[:, [*order, 3]], prompts)
    equal({name: figure for name, figure in one.items() if "/" in name or name == "worth"}, other)


@QUICK
@given(labelled())
def test_values_lie_where_they_can_and_intervals_are_the_right_way_round(given_labels):
    for name, figure in figures(*given_labels).items():
        if not isinstance(figure, Estimate):
            assert figure.because
            continue
        assert figure.value <= 1 + 1e-9 or name == "worth"
        assert figure.low is None or figure.high is None or figure.low <= figure.high
        assert (figure.low is not None and figure.high is not None) or figure.because
