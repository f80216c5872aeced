"""Kinds of labels and drawn principles: what each says, and that switching asks nobody."""

import math

import pytest

from rlaif.feedback.aggregate import label_verdicts
from rlaif.feedback.explain import explain
from rlaif.feedback.principles_drawn import principles_asked
from rlaif.numbers.pooling import majority
from rlaif.pair_dataset import read_rows
from rlaif.records import PrincipleVerdict
from rlaif.settings import JudgeSettings, LabelSettings, PairSettings
from rlaif.store import Store
from tests.roads import Road, constitution, principle, prompts, settings
from tests.unit.test_check_verdicts import BRIEF, pair_of

PAIR, _ = pair_of("one", "other")


def label(kind, *verdicts):
    own = tuple(
        PrincipleVerdict(
            principle_id=f"p{n}", outcome="ok", probability=p, shown_first=p, shown_second=p, weight=weight
        )
        for n, (p, weight) in enumerate(verdicts)
    )
    return label_verdicts(PAIR, own, probability_floor=0.01, settings=LabelSettings(kind=kind))


@pytest.mark.parametrize(
    ("verdicts", "soft", "hard", "majority_"),
    [
        ([(0.9, 1.0), (0.45, 1.0), (0.45, 1.0)], 0.64534, 1.0, 0.0),  # one sure against two that lean
        ([(0.9, 1.0), (0.45, 1.0)], 0.73072, 1.0, 0.5),
        ([(0.9, 1.0), (0.1, 1.0)], 0.5, 0.5, 0.5),
        ([(0.2, 1.0), (0.5, 5.0)], 0.44249, 0.0, 0.0),  # a tie has no side
        ([(0.2, 3.0), (0.6, 1.0), (0.6, 1.0)], 0.33859, 0.0, 0.0),
        ([(0.4, 1.0), (None, 1.0)], 0.4, 0.0, 0.0),
    ],
)
def test_the_kinds_of_labels_by_hand(verdicts, soft, hard, majority_):
    """Soft: odds are the weighted geometric mean; the first is (9 · (9/11)²)^(1/3) = 1.8196, so 0.64534."""
    assert label("soft", *verdicts).probability == pytest.approx(soft, abs=1e-5)
    assert label("hard", *verdicts).probability == hard
    assert label("majority", *verdicts).probability == majority_


@pytest.mark.parametrize("kind", ["soft", "hard", "majority"])
def test_the_shares_point_where_the_label_does(kind):
    for verdicts in ([(0.9, 1.0), (0.45, 1.0), (0.45, 1.0)], [(0.2, 3.0), (0.6, 1.0)], [(0.9, 2.0), (0.1, 2.0)]):
        found = label(kind, *verdicts)
        total = math.fsum(found.shares.values())
        assert (total > 1e-9) - (total < -1e-9) == (found.probability > 0.5) - (found.probability < 0.5)


def test_votes_are_refused_without_any_weight():
    with pytest.raises(ValueError, match="cannot count"):
        majority([0.7], [0.0])


def test_switching_the_kind_of_label_asks_nobody_anything(tmp_path):
    road = Road(tmp_path, judge_rules=())
    no_critiques = PairSettings(min_margin=0.0, critiques="none")
    soft = road.run(settings(pairs=no_critiques), constitution(), prompts(5))
    seen = {}
    for kind in ("hard", "majority", "soft"):
        wanted = settings(pairs=no_critiques, label=LabelSettings(kind=kind))
        assert road.plan(wanted, constitution(), prompts(5)).total_calls == 0
        seen[kind] = road.run(wanted, constitution(), prompts(5))
        assert road.asked == {}
    assert seen["soft"] == soft
    for one, other in zip(soft.labelled, seen["hard"].labelled, strict=True):
        assert other.probability == float(one.probability > 0.5)
    assert {one.probability for one in seen["majority"].labelled} == {0.0, 1.0}
    assert seen["majority"].labelled != seen["hard"].labelled


# --- principles drawn per pair


DRAWN = JudgeSettings(model="judge", principles_per_pair=2)
FIVE = [principle(name, name) for name in ("kind", "example", "short", "plain", "honest")]


def test_only_the_drawn_principles_are_asked_and_the_books_balance(tmp_path):
    road = Road(tmp_path)
    wanted = settings(judge=DRAWN)
    plan = road.plan(wanted, constitution(*FIVE), prompts(5))
    result = road.run(wanted, constitution(*FIVE), prompts(5))
    assert plan.calls("judge") == road.count("judge", verdicts=True) == 5 * 6 * 2 * 2
    assert result.stages["judge"].planned == 5 * 6 * 2 * 2
    assert all(len(one.verdicts) == 2 for one in result.labelled)
    road.run(settings(), constitution(*FIVE), prompts(5))
    assert road.count("judge", verdicts=True) == 5 * 6 * 3 * 2  # what was drawn before is there


def test_every_principle_is_drawn_alike():
    """1000 pairs, 2 of 5 each: 400 expected, standard deviation 15.5."""
    drawn = [
        one.id for n in range(1000) for one in principles_asked(pair_of(f"{n}", "b")[0], constitution(*FIVE), DRAWN)
    ]
    assert len(drawn) == 2000
    assert all(abs(drawn.count(one.id) - 400) < 4 * 15.5 for one in FIVE)


def test_an_edited_principle_keeps_its_pairs_and_a_new_one_asks_only_its_own(tmp_path):
    road = Road(tmp_path)
    wanted = settings(judge=DRAWN)
    before = road.run(wanted, constitution(*FIVE), prompts(5))
    edited = [principle("kind", "others"), *FIVE[1:]]
    road.run(wanted, constitution(*edited), prompts(5))
    of_kind = sum(v.principle_id == "kind" for one in before.labelled for v in one.verdicts)
    assert road.count("judge", verdicts=True) == 2 * of_kind
    road.run(wanted, constitution(*FIVE), prompts(5))
    after = road.run(wanted, constitution(*FIVE, principle("new", "answer")), prompts(5))
    of_new = sum(v.principle_id == "new" for one in after.labelled for v in one.verdicts)
    assert road.count("judge", verdicts=True) == 2 * of_new > 0


def test_the_plan_says_why_drawn_principles_are_asked(tmp_path):
    road = Road(tmp_path)
    road.run(settings(judge=DRAWN), constitution(*FIVE), prompts(3))
    more = JudgeSettings(model="judge", principles_per_pair=3)
    reasons = {one.reason for one in road.plan(settings(judge=more), constitution(*FIVE), prompts(3)).groups}
    assert reasons >= {"principles_per_pair changed: 2 → 3"}
    reasons = {one.reason for one in road.plan(settings(judge=DRAWN), constitution(*FIVE[1:]), prompts(3)).groups}
    assert reasons >= {"other principles are drawn"}


# --- checks beside judged principles


@pytest.mark.parametrize("kind", ["soft", "hard", "majority"])
def test_explain_shows_checks_and_reaches_the_label(tmp_path, kind):
    road = Road(tmp_path / "store", judge_rules=())
    wanted = settings(label=LabelSettings(kind=kind))
    own = constitution(BRIEF, principle("kind", "kind"))
    road.write(tmp_path / "run", wanted, own, prompts(3))
    card = (tmp_path / "run" / "dataset" / "README.md").read_text()
    assert "A principle with a check was computed from each answer alone." in card
    for row in read_rows(tmp_path / "run" / "labels.parquet"):
        found = explain(tmp_path / "run", row, Store(road.store))
        assert [step.principle_id for step in found.steps] == ["brief", "kind"]
        assert [len(step.orders) for step in found.steps] == [0, 2]
        assert found.probability_x == found.recorded == row["probability_x"]
        assert found.steps[0].probability in (0.0, 0.5, 1.0)
