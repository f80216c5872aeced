"""Leave-one-out influence and turning weights, against labels made again from the judgments by the long way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.feedback.ablate import ablate
from rlaif.numbers.pooling import pooled
from rlaif.pair_dataset import label_row
from tests.roads import Road, constitution, prompts, settings

FLOOR = 0.01


def row(**verdicts):
    """A row of labels.parquet with (probability, weight) by principle."""
    principles = [{"id": name, "probability": p, "weight": w} for name, (p, w) in verdicts.items()]
    return {"principles": principles}


def side_by_pooling(row, weights):
    """The label's side by the formula of the labels themselves; None where nobody has a say."""
    heard = [
        (one["probability"], weights.get(one["id"], one["weight"]))
        for one in row["principles"]
        if one["probability"] is not None and weights.get(one["id"], one["weight"]) > 0
    ]
    if not heard:
        return None
    probability, _ = pooled(*zip(*heard, strict=True), FLOOR)
    return (probability > 0.5 + 1e-12) - (probability < 0.5 - 1e-12)


def flips(rows, weights):
    """How many labels change sides under other weights."""
    sides = [(side_by_pooling(one, {}), side_by_pooling(one, weights)) for one in rows]
    return sum(before is not None and after is not None and before * after < 0 for before, after in sides)


def of(found, name):
    return next(one for one in found if one.principle_id == name)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    road = Road(tmp_path_factory.mktemp("store"), judge_rules=())
    return [label_row(label) for label in road.run(settings(), constitution(), prompts(10)).labelled]


@pytest.mark.parametrize("name", ["kind", "example", "short"])
def test_flips_without_a_principle_are_those_of_pooling_the_others(rows, name):
    found = of(ablate(rows, FLOOR), name)
    assert found.labels == len(rows) == 60
    assert 0 < found.flips_without == flips(rows, {name: 0.0})


@pytest.mark.parametrize("name", ["kind", "example", "short"])
def test_labels_start_to_flip_exactly_at_the_weights_named(rows, name):
    found = of(ablate(rows, FLOOR), name)
    assert found.falls_to < 1.0 < found.rises_to
    assert flips(rows, {name: found.falls_to * 1.000001}) == 0
    assert flips(rows, {name: found.falls_to * 0.999999}) == 1
    assert flips(rows, {name: found.rises_to * 0.999999}) == 0
    assert flips(rows, {name: found.rises_to * 1.000001}) == 1


def test_a_value_worked_by_hand():
    """log-odds: a = +log 4, b = -log 2, so b turns the label where its weight times log 2 is log 4: at 2."""
    found = ablate([row(a=(0.8, 1.0), b=(1 / 3, 1.0))], FLOOR)
    assert of(found, "b").rises_to == pytest.approx(2.0)
    assert of(found, "b").falls_to is None
    assert of(found, "a").falls_to == pytest.approx(0.5)
    assert (of(found, "a").flips_without, of(found, "b").flips_without) == (1, 0)


def test_ties_lost_labels_and_silent_principles():
    rows = [row(a=(0.8, 1.0), b=(0.5, 1.0)), row(a=(0.8, 1.0), b=(None, 1.0))]
    found = of(ablate(rows, FLOOR), "a")
    assert (found.labels, found.flips_without, found.ties_without, found.lost_without) == (2, 0, 1, 1)
    assert of(ablate(rows, FLOOR), "b").labels == 1


def test_a_principle_of_weight_nought_has_a_weight_at_which_it_begins_to_matter():
    found = of(ablate([row(a=(0.8, 1.0), b=(1 / 3, 0.0))], FLOOR), "b")
    assert (found.labels, found.flips_without) == (0, 0)
    assert found.rises_to == pytest.approx(2.0)


PROBABILITIES = st.one_of(st.none(), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]))
THREE_WEIGHTS = st.tuples(*[st.sampled_from([0.0, 0.5, 1.0, 2.0])] * 3)


@given(st.lists(st.tuples(PROBABILITIES, PROBABILITIES, PROBABILITIES), min_size=1, max_size=8), THREE_WEIGHTS)
def test_flips_are_those_of_brute_force_for_any_labels(labels, weights):
    rows = [row(**{name: (p, w) for name, p, w in zip("abc", ps, weights, strict=True)}) for ps in labels]
    for found in ablate(rows, FLOOR):
        assert found.flips_without == flips(rows, {found.principle_id: 0.0})
