"""A constitution's own tests, put to a judge that is known to follow the word in « »."""

import pytest

from rlaif.constitution import PrincipleTest
from rlaif.engines.scripted import Faults
from rlaif.feedback.ask import Session
from rlaif.feedback.principle_tests import run_tests
from rlaif.feedback.progress import Quiet
from rlaif.numbers.superiority import superiority
from rlaif.settings import JudgeSettings
from rlaif.store import Store
from rlaif.store.wanted import read_wanted
from rlaif.templates import load_template
from tests.roads import Road, constitution, follows_the_word, principle

SETTINGS = JudgeSettings(model="judge")


def case(a, b, better):
    return PrincipleTest(conversation="How are you?", response_a=a, response_b=b, better=better)


def run(road, own, wanted=SETTINGS):
    road.asked = {}
    template = load_template(wanted.mode_template)
    with Store(road.store) as store, Session(road._model("judge", road.judge_rules, road.judge_faults)) as session:
        asked = {"template": template, "session": session, "store": store, "progress": Quiet()}
        return run_tests(own, wanted, wish=road.store.parent / "wish", **asked)


@pytest.fixture
def road(tmp_path):
    return Road(tmp_path / "store")


def test_a_test_passes_when_the_judge_prefers_what_it_should(road):
    cases = (case("be kind", "be off", "A"), case("be off", "be kind", "B"), case("be kind", "be off", "B"))
    found = run(road, constitution(principle("kind", "kind", tests=cases)))
    assert [one.is_passed for one in found] == [True, True, False]
    assert [one.probability for one in found] == pytest.approx([0.9, 0.9, 0.1])
    assert [one.number for one in found] == [1, 2, 3]


def test_each_is_judged_under_its_own_principle_whatever_its_tags_and_weight(road):
    own = constitution(
        principle("kind", "kind", tests=(case("be kind", "be short", "A"),), weight=0.0),
        principle("short", "short", tests=(case("be kind", "be short", "B"),), tags=frozenset({"code"})),
        principle("off", "off", tests=(case("be off", "be on", "A"),), enabled=False),
    )
    found = run(road, own)
    assert [(one.principle_id, one.is_passed) for one in found] == [("kind", True), ("short", True)]
    assert road.count("judge", verdicts=True) == 4


def test_what_was_judged_once_is_in_the_store(road):
    own = constitution(principle("kind", "kind", tests=(case("be kind", "be off", "A"),)))
    run(road, own)
    run(road, own)
    assert road.count("judge", verdicts=True) == 0
    edited = constitution(principle("kind", "off", tests=(case("be kind", "be off", "A"),)))
    assert [one.is_passed for one in run(road, edited)] == [False]
    assert road.count("judge", verdicts=True) == 2


def test_a_tie_and_a_missing_verdict_pass_no_test(tmp_path):
    own = constitution(principle("kind", "kind", tests=(case("be on", "be off", "A"),)))
    (tie,) = run(Road(tmp_path / "a"), own)
    assert (tie.probability, tie.is_passed) == (0.5, False)
    (failed,) = run(Road(tmp_path / "b", judge_faults=Faults(failed=1.0)), own)
    assert (failed.probability, failed.is_passed) == (None, False)
    assert "failed" in failed.reason


def test_a_judge_that_only_sees_the_place_is_told_as_such(tmp_path):
    def first_place(request):
        return (0.8, 0.2) if follows_the_word(request) else None

    own = constitution(principle("kind", "kind", tests=(case("be kind", "be off", "A"),)))
    (found,) = run(Road(tmp_path, judge_rules=(first_place,)), own)
    assert found.is_order_decided
    assert not found.is_passed


def test_a_constitution_without_tests_has_no_results(road):
    assert run(road, constitution()) == []


def counts_the_word(request):
    """A judge that scores: the lowest score without the principle's word, the highest with it."""
    if len(request.choices) < 3:
        return None
    text = request.messages[0].content
    word = text.split("«")[1].split("»")[0]
    says = word in text.split("<response>\n")[1].split("\n</response>")[0].split()
    return [0.9 if place == (len(request.choices) - 1 if says else 0) else 0.01 for place in range(5)]


@pytest.mark.parametrize(("mode", "kinds"), [("reasoned", ("reasonings", "judgments")), ("score", ("scores",))])
def test_tests_are_judged_in_the_mode_of_the_settings(tmp_path, mode, kinds):
    """As sure as the judge is: no range, no floor. What they rest on is wanted, of every pass."""
    road = Road(tmp_path / "store", judge_rules=(counts_the_word, follows_the_word))
    wanted = JudgeSettings(model="judge", mode=mode, score_levels=5)
    cases = (case("be kind", "be off", "A"), case("be kind", "be off", "B"), case("be on", "be off", "A"))
    own = constitution(principle("kind", "kind", tests=cases))
    found = run(road, own, wanted)
    assert [one.is_passed for one in found] == [True, False, False]
    low, high = ([one / 0.94 for one in said] for said in ([0.9] + [0.01] * 4, [0.01] * 4 + [0.9]))
    sure = 0.9 if mode == "reasoned" else superiority(high, low)
    assert [one.probability for one in found] == pytest.approx([sure, 1 - sure, 0.5])
    store = Store(road.store)
    for kind in kinds:
        kept = {key.as_py() for batch in read_wanted([tmp_path / "wish"], kind) for key in batch}
        assert len(kept) == len(store.read(kind)) > 0
    run(road, own, wanted)
    assert road.asked == {}
