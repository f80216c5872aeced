"""The main job on the scripted engine: what is asked, how often, and what becomes of the answers."""

import itertools
import math
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlaif.engines.scripted import Faults, shown_answers
from rlaif.errors import EngineCrashed
from rlaif.feedback import road as road_module
from rlaif.feedback.judge import read_verdict
from rlaif.pair_dataset import label_row, pair_row
from rlaif.records import Message, Prompt
from rlaif.settings import JudgeSettings, PairSettings, PolicySettings, SamplingSettings
from tests.roads import Road, constitution, follows_the_word, principle, prompts, settings


@pytest.fixture
def road(tmp_path):
    return Road(tmp_path / "store")


def test_every_pair_is_judged_under_every_principle_in_both_orders(road):
    result = road.run(settings(), constitution(), prompts(5))
    assert road.count("policy", verdicts=False) == 5 * 4
    assert road.count("judge", verdicts=True) == 5 * 6 * 3 * 2  # prompts x pairs of 4 answers x principles x orders
    assert len(result.labelled) == 5 * 6
    shown = [request.messages[0].content for request in road.asked["judge"] if request.choices]
    assert len(set(shown)) == len(shown)


def test_the_label_prefers_what_the_principle_prefers(road):
    wanted = settings(pairs=PairSettings(rule="all", min_margin=0.0))
    result = road.run(wanted, constitution(principle("kind", "kind")), prompts(20))
    decisive = [pair for pair in result.pairs if pair.probability > 0.5]
    assert len(decisive) > 20
    for pair in decisive:
        assert "kind" in pair.chosen.text.split()
        assert "kind" not in pair.rejected.text.split()
        assert pair.probability == pytest.approx(0.9)


def test_turning_the_scripted_judge_around_turns_every_label(tmp_path):
    """The same answers under a judge that says the opposite: P becomes 1 - P for every pair."""

    def contrary(request):
        probabilities = follows_the_word(request)
        return probabilities and probabilities[::-1]

    plain = Road(tmp_path / "a").run(settings(), constitution(), prompts(4))
    turned = Road(tmp_path / "b", judge_rules=(contrary,)).run(settings(), constitution(), prompts(4))
    for one, other in zip(plain.labelled, turned.labelled, strict=True):
        assert one.pair.id == other.pair.id
        assert one.probability + other.probability == pytest.approx(1.0, abs=1e-9)


def test_a_judge_that_always_says_the_first_makes_only_ties(tmp_path):
    road = Road(tmp_path, judge_rules=(lambda request: (0.8, 0.2) if request.choices else None,))
    result = road.run(settings(), constitution(), prompts(3))
    assert result.labelled
    assert all(label.probability == pytest.approx(0.5, abs=1e-12) for label in result.labelled)
    assert all(verdict.is_order_decided for label in result.labelled for verdict in label.verdicts)


def test_a_second_run_asks_nothing_and_makes_the_same(road):
    first = road.run(settings(), constitution(), prompts(5))
    second = road.run(settings(), constitution(), prompts(5))
    assert road.asked == {}
    assert [pair_row(pair) for pair in first.pairs] == [pair_row(pair) for pair in second.pairs]


def test_editing_one_principle_rejudges_only_that_principle(road):
    road.run(settings(), constitution(), prompts(5))
    judged = 5 * 6 * 3 * 2
    edited = constitution(principle("kind", "kind"), principle("example", "others"), principle("short", "short"))
    road.run(settings(), edited, prompts(5))
    assert road.count("judge", verdicts=True) == judged // 3
    assert "policy" not in road.asked


@pytest.mark.parametrize(
    "change",
    [
        lambda own: [own[2], own[0], own[1]],
        lambda own: [own[0].model_copy(update={"weight": 7.0}), *own[1:]],
        lambda own: [own[0].model_copy(update={"id": "renamed"}), *own[1:]],
        lambda own: [own[0].model_copy(update={"enabled": False}), *own[1:]],
        lambda own: own[1:],
    ],
    ids=["reordered", "reweighted", "renamed", "disabled", "removed"],
)
def test_what_the_judge_does_not_see_costs_no_verdict(road, change):
    own = list(constitution().principles)
    road.run(settings(), constitution(), prompts(3))
    road.run(settings(), constitution(*change(own)), prompts(3))
    assert road.count("judge", verdicts=True) == 0
    assert "policy" not in road.asked


def test_changing_pair_rules_costs_no_verdict(road):
    road.run(settings(), constitution(), prompts(3))
    for pairs in (
        PairSettings(rule="all", min_margin=0.3),
        PairSettings(keep_ties=True, min_margin=0.2),
        PairSettings(probability_floor=0.2, min_margin=0.0),
    ):
        road.run(settings(pairs=pairs), constitution(), prompts(3))
        assert road.count("judge", verdicts=True) == 0


def test_raising_the_limit_keeps_answers_that_ended_by_themselves(road):
    def policy(limit):
        return (PolicySettings(model="policy", samples=4, sampling=SamplingSettings(max_tokens=limit)),)

    first = road.run(settings(policies=policy(20)), constitution(), prompts(10))
    cut = first.stages["sample"].outcomes["truncated"]
    assert 0 < cut < 40
    raised = road.run(settings(policies=policy(40)), constitution(), prompts(10))
    assert road.count("policy", verdicts=False) == cut
    for limit, result in ((40, raised), (20, first), (40, raised)):  # cut and whole answers are kept side by side
        again = road.run(settings(policies=policy(limit)), constitution(), prompts(10))
        assert road.count("policy", verdicts=False) == 0
        assert again.labelled == result.labelled


def test_every_request_is_counted_under_faults(tmp_path):
    road = Road(
        tmp_path,
        policy_faults=Faults(failed=0.1, refused=0.1, truncated=0.1),
        judge_faults=Faults(failed=0.1, refused=0.05, abstain=0.2),
    )
    result = road.run(settings(), constitution(), prompts(20))
    for name, outcomes in (
        ("sample", {"ok", "failed", "refused", "truncated"}),
        ("judge", {"ok", "tie", "failed", "refused", "abstained"}),
    ):
        stage = result.stages[name]
        assert sum(stage.outcomes.values()) == stage.planned
        assert {outcome for outcome, count in stage.outcomes.items() if count} == outcomes
    judged_pairs = len(result.labelled)
    not_chosen = sum(count for reason, count in result.left_out.items() if not reason.startswith(("answer", "prompt")))
    assert len(result.pairs) + not_chosen == judged_pairs


def test_failures_are_asked_again_and_answers_are_not(tmp_path):
    faulty = Road(tmp_path, judge_faults=Faults(failed=0.3))
    failed = faulty.run(settings(), constitution(), prompts(6)).stages["judge"].outcomes["failed"]
    assert failed > 10
    well = Road(tmp_path)
    result = well.run(settings(), constitution(), prompts(6))
    assert well.count("judge", verdicts=True) == failed
    assert result.stages["judge"].outcomes["failed"] == 0


def test_a_crash_loses_nothing_that_was_answered(tmp_path):
    whole = Road(tmp_path / "whole").run(settings(), constitution(), prompts(4))
    broken = Road(tmp_path / "broken", judge_faults=Faults(crash_after=50))
    with pytest.raises(EngineCrashed):
        broken.run(settings(), constitution(), prompts(4))
    again = Road(tmp_path / "broken")
    result = again.run(settings(), constitution(), prompts(4))
    assert again.count("judge", verdicts=True) == 4 * 6 * 3 * 2 - 50
    assert [label_row(label) for label in result.labelled] == [label_row(label) for label in whole.labelled]


def test_a_principle_without_a_verdict_in_both_orders_has_no_say(tmp_path):
    def only_forward(request):
        """No verdict on «kind» in half of the requests: the mass is elsewhere."""
        probabilities = follows_the_word(request)
        if probabilities and "«kind»" in request.messages[0].content and len(request.messages[0].content) % 2:
            return tuple(p * 0.01 for p in probabilities)
        return probabilities

    result = Road(tmp_path, judge_rules=(only_forward,)).run(settings(), constitution(), prompts(6))
    silent = [v for label in result.labelled for v in label.verdicts if v.outcome == "abstained"]
    assert silent
    for label in result.labelled:
        for verdict in label.verdicts:
            has_both = verdict.shown_first is not None and verdict.shown_second is not None
            assert (verdict.principle_id in label.shares) is has_both
            assert (verdict.probability is not None) is has_both


def test_shares_add_up_to_the_labels_log_odds(road):
    result = road.run(settings(), constitution(), prompts(4))
    for label in result.labelled:
        p = label.probability
        assert math.fsum(label.shares.values()) == pytest.approx(math.log(p / (1 - p)), abs=1e-9)
    for pair in result.pairs:
        p = pair.probability
        assert p >= 0.5
        assert math.fsum(pair.shares.values()) == pytest.approx(math.log(p / (1 - p)), abs=1e-9)


def test_tags_choose_the_principles(road):
    tagged = constitution(principle("kind", "kind"), principle("code", "example", tags=frozenset({"code"})))
    plain = Prompt(messages=(Message("user", "Plain?"),))
    code = Prompt(messages=(Message("user", "Code?"),), tags=frozenset({"code"}))
    result = road.run(settings(), tagged, (plain, code))
    judged = {label.pair.prompt.id: {v.principle_id for v in label.verdicts} for label in result.labelled}
    assert judged == {plain.id: {"kind"}, code.id: {"kind", "code"}}


def test_equal_answers_are_one_response_and_make_no_pair(tmp_path):
    road = Road(tmp_path, policy_rules=(lambda request: "always the same",))
    result = road.run(settings(), constitution(), prompts(2))
    assert result.labelled == ()
    assert result.left_out == {"answer equal to another": 6, "prompt with fewer than two different answers": 2}


def test_best_against_worst_finds_the_ends_of_a_known_order(tmp_path):
    """A judge that prefers longer answers: the longest must meet the shortest."""

    def longer(request):
        if not request.choices:
            return None
        first, second = (len(text) for text in shown_answers(request))
        p = 1 / (1 + math.exp(-(first - second) / 50))
        return p, 1 - p

    result = Road(tmp_path, judge_rules=(longer,)).run(settings(), constitution(), prompts(6))
    assert len(result.pairs) == 6
    for pair in result.pairs:
        own = [one.pair for one in result.labelled if one.pair.prompt.id == pair.prompt.id]
        texts = set(itertools.chain.from_iterable((one.x.text, one.y.text) for one in own))
        assert len(pair.chosen.text) == max(len(text) for text in texts)
        assert len(pair.rejected.text) == min(len(text) for text in texts)


def test_ties_are_kept_as_ties_when_asked(tmp_path):
    wanted = settings(pairs=PairSettings(rule="all", keep_ties=True, min_margin=0.05))
    result = Road(tmp_path).run(wanted, constitution(principle("kind", "kind")), prompts(8))
    ties = [pair for pair in result.pairs if pair.is_tie]
    assert ties
    assert all(pair.probability == 0.5 and pair.margin == 0.0 for pair in ties)
    assert len(result.pairs) == len(result.labelled)


def test_critiques_are_written_for_every_chosen_pair_and_change_no_label(tmp_path):
    road = Road(tmp_path)
    result = road.run(settings(), constitution(), prompts(5))
    assert road.count("judge", verdicts=False) == len(result.pairs) > 0
    assert all(pair.critique and pair.critique.text for pair in result.pairs)
    without = Road(tmp_path).run(
        settings(pairs=PairSettings(min_margin=0.0, critiques="none")), constitution(), prompts(5)
    )
    assert [replace(pair, critique=None) for pair in result.pairs] == list(without.pairs)


def test_two_policies_share_a_prompt(road):
    policies = tuple(
        PolicySettings(model=name, samples=2, sampling=SamplingSettings(max_tokens=40)) for name in ("one", "two")
    )
    result = road.run(settings(policies=policies), constitution(), prompts(3))
    assert len(result.labelled) == 3 * 6
    assert {label.pair.x.policy for label in result.labelled} | {label.pair.y.policy for label in result.labelled} == {
        "one",
        "two",
    }


def test_shuffled_prompts_give_the_same_pairs(tmp_path):
    forward = Road(tmp_path / "a").run(settings(), constitution(), prompts(6))
    backward = Road(tmp_path / "b").run(settings(), constitution(), prompts(6)[::-1])
    by_id = {pair.id: pair_row(pair) for pair in backward.pairs}
    assert {pair.id: pair_row(pair) for pair in forward.pairs} == by_id


def test_read_verdict_never_invents_one():
    assert read_verdict({"outcome": "failed", "reason": "down"}, 0.2) == ("failed", "down", None)
    numbers = {"logprob_a": math.log(0.1), "logprob_b": math.log(0.05), "uncovered": 0.85}
    outcome, reason, probability = read_verdict(numbers, 0.2)
    assert (outcome, probability) == ("abstained", None)
    assert "0.150" in reason
    assert read_verdict(numbers, 0.1) == ("ok", "", pytest.approx(2 / 3))
    assert read_verdict({"logprob_a": None, "logprob_b": -0.1}, 0.2) == ("ok", "", 0.0)
    assert read_verdict({"logprob_a": None, "logprob_b": None}, 0.0)[0] == "abstained"


def test_judge_settings_do_not_touch_what_was_stored(road):
    road.run(settings(), constitution(), prompts(2))
    road.run(settings(judge=JudgeSettings(model="judge", min_covered=0.5)), constitution(), prompts(2))
    assert road.count("judge", verdicts=True) == 0


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("faults", [None, Faults(failed=0.1, refused=0.05, truncated=0.1, abstain=0.1)])
def test_a_run_in_many_blocks_asks_and_writes_what_one_block_does(tmp_path, monkeypatch, faults):
    """Blocks keep memory small; nothing else may depend on them."""
    folders, asked = [], []
    for name, judgments in (("one", road_module.BLOCK_JUDGMENTS), ("many", 40)):
        monkeypatch.setattr(road_module, "BLOCK_JUDGMENTS", judgments)
        road = Road(tmp_path / name / "store", judge_faults=faults, policy_faults=faults)
        plan = road.plan(settings(), constitution(), prompts(11))
        road.write(tmp_path / name / "run", settings(), constitution(), prompts(11))
        folders.append(files_of(tmp_path / name / "run"))
        asked.append({model: {one.id for one in requests} for model, requests in road.asked.items()})
        assert plan.calls("sample") == 11 * 4
    assert asked[0] == asked[1]
    wanted = [files.pop("wanted.parquet") for files in folders]  # the same keys, block by block
    assert folders[0] == folders[1]
    assert set(folders[0]) > {"dataset/train-00000-of-00001.parquet", "run.json", "labels.parquet"}
    one, many = (pq.read_table(pa.BufferReader(file)).to_pylist() for file in wanted)
    assert {tuple(row.values()) for row in one} == {tuple(row.values()) for row in many}


def test_a_plan_in_many_blocks_counts_what_one_block_does(tmp_path, monkeypatch):
    road = Road(tmp_path / "store")
    road.run(settings(), constitution(), prompts(7))
    edited = constitution(principle("kind", "kind"), principle("example", "others"), principle("short", "short"))
    before = road.plan(settings(), edited, prompts(12)).as_json()
    monkeypatch.setattr(road_module, "BLOCK_JUDGMENTS", 40)
    after = road.plan(settings(), edited, prompts(12)).as_json()
    for plan in (before, after):  # each block reads what blocks share anew
        del plan["shared_tokens"]
        for bill in plan["bills"]:
            del bill["shared_tokens"]
    assert before == after
