"""What changed between two runs' labels, taken apart into principles."""

import math

import pytest

from rlaif.feedback.difference import EXAMPLES, compare_labels, label_change, renames
from rlaif.pair_dataset import label_row
from tests.roads import Road, constitution, principle, prompts, settings


def row(pair_id, probability, **shares):
    """A row of labels.parquet, as far as a comparison reads it; a share of None is a principle without a say."""
    principles = [{"id": name, "share": share} for name, share in shares.items()]
    more = {"prompt": [], "response_x": "x", "response_y": "y"}
    return {"pair_id": pair_id, "probability_x": probability, "principles": principles, **more}


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """Labels before and after one principle was edited, one reweighted and one removed."""
    road = Road(tmp_path_factory.mktemp("store"), judge_rules=())
    before = constitution(principle("kind", "kind"), principle("example", "example"), principle("short", "short"))
    after = constitution(principle("kind", "doubt"), principle("example", "example", weight=3.0))
    runs = [road.run(settings(), own, prompts(12)) for own in (before, after)]
    return [[label_row(label) for label in run.labelled] for run in runs]


def test_contributions_add_up_to_the_change_of_the_log_odds(two_runs):
    def log_odds(p):
        return math.log(p / (1 - p))

    before, after = ({one["pair_id"]: one for one in rows} for rows in two_runs)
    assert len(before) == 72
    for name, was in before.items():
        change = label_change(was, after[name], {})
        moved = log_odds(after[name]["probability_x"]) - log_odds(was["probability_x"])
        assert math.fsum(change.contributions.values()) == pytest.approx(moved, abs=1e-9)
        assert set(change.contributions) == {"kind", "example", "short"}


def test_every_pair_is_counted_once_and_flips_are_those_that_changed_sides(two_runs):
    found = compare_labels(*two_runs, {})
    assert sum(found.counts.values()) == 72
    sides = [{one["pair_id"]: one["probability_x"] > 0.5 for one in rows} for rows in two_runs]
    turned = {name for name in sides[0] if sides[0][name] != sides[1][name]}
    assert 20 < len(turned) == found.counts["flipped"]
    assert set(found.flipped) == turned
    changes = [abs(change.log_odds_after - change.log_odds_before) for change, _ in found.examples]
    assert len(changes) == EXAMPLES
    assert changes == sorted(changes, reverse=True)


def test_a_run_against_itself_has_no_difference(two_runs):
    found = compare_labels(two_runs[0], two_runs[0], {})
    assert (found.counts["kept"], found.counts["flipped"]) == (72, 0)
    assert set(found.turned.values()) == {0}
    assert set(found.moved.values()) == {0.0}


def test_appeared_and_went_and_ties():
    before = [
        row("both", 0.9, a=2.2),
        row("went", 0.9, a=2.2),
        row("tie", 0.9, a=2.2),
        row("none", None),
        row("lost", 0.6, a=0.4),
    ]
    after = [
        row("both", 0.8, a=1.4),
        row("new", 0.9, a=2.2),
        row("tie", 0.5, a=0.0),
        row("none", 0.7, a=0.8),
        row("lost", None),
    ]
    counts = compare_labels(before, after, {}).counts
    assert counts == {"kept": 1, "went": 2, "appeared": 2, "became a tie": 1, "was a tie": 0, "flipped": 0}


def test_a_principle_turned_a_label_when_it_would_not_have_flipped_without_its_change():
    before, after = row("p", 0.7, guilty=0.5, bystander=0.2), row("p", 0.3, guilty=-1.0, bystander=0.1)
    change = label_change(before, after, {})
    assert (change.kind, change.turned_by) == ("flipped", ("guilty",))
    together = label_change(row("p", 0.6, a=0.2, b=0.2), row("p", 0.4, a=-0.1, b=-0.1), {})
    assert together.turned_by == ("a", "b")  # without either change the label would have stayed


def test_a_principle_without_a_say_counts_as_nothing():
    change = label_change(row("p", 0.7, a=0.8, b=None), row("p", 0.3, a=None, b=-0.8), {})
    assert change.contributions == {"a": -0.8, "b": -0.8}
    assert set(change.turned_by) == {"a", "b"}


def test_a_renamed_principle_is_the_same_principle(two_runs):
    own = constitution(principle("kind", "kind"))
    renamed = constitution(own.principles[0].model_copy(update={"id": "friendly"}))
    assert renames(own, renamed) == {"kind": "friendly"}
    change = label_change(row("p", 0.7, kind=0.8), row("p", 0.7, friendly=0.8), renames(own, renamed))
    assert change.contributions == {"friendly": 0.0}
