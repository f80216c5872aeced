"""What an edit costs: the plan says it beforehand, and the engine's own count of calls must be exactly that."""

import pytest

from rlaif.engines.scripted import Faults
from rlaif.feedback.plan_record import STAGES
from rlaif.feedback.road import Templates
from rlaif.settings import JudgeSettings, PairSettings, PolicySettings, SamplingSettings
from rlaif.templates import load_template
from tests.roads import Road, constitution, principle, prompts, settings

N = 5
JUDGED = N * 6 * 3 * 2  # prompts x pairs of 4 answers x principles x orders


@pytest.fixture
def road(tmp_path):
    """A road with one finished run of N prompts."""
    road = Road(tmp_path / "store")
    road.run(settings(), constitution(), prompts(N))
    return road


def policies(**more):
    """The road's policy, with its limit, temperature or number of samples changed."""
    drawn = {name: more.pop(name) for name in ("max_tokens", "temperature") if name in more}
    return (PolicySettings(model="policy", sampling=SamplingSettings(**{"max_tokens": 40} | drawn), **more),)


def asked(road, judge) -> dict[str, int]:
    return {
        "sample": road.count("policy", verdicts=False),
        "judge": road.count(judge, verdicts=True),
        "critique": road.count(judge, verdicts=False),
    }


def plan_and_run(road, wanted=None, principles=None, own_prompts=None):
    """Plan, then run; the engines must be asked exactly what the plan said. Returns the plan."""
    arguments = (wanted or settings(), principles or constitution(), own_prompts or prompts(N))
    plan = road.plan(*arguments)
    result = road.run(*arguments)
    said = {stage: plan.calls(stage) for stage in STAGES if not plan.is_estimated(stage)}
    counted = asked(road, arguments[0].judge.model)
    assert said == {stage: counted[stage] for stage in said}
    assert plan.calls("judge") == counted["judge"]
    assert plan.wanted("judge") == result.stages["judge"].planned
    return plan


def reasons(plan, stage="judge"):
    return {group.reason: group.calls for group in plan.groups if group.stage == stage}


def test_a_first_run_is_planned_to_the_call(tmp_path):
    plan = plan_and_run(Road(tmp_path))
    assert {stage: plan.calls(stage) for stage in STAGES} == {"sample": N * 4, "judge": JUDGED, "critique": N}
    assert plan.is_estimated("judge")
    assert reasons(plan) == {"never run": JUDGED}
    assert [(group.stage, group.estimated_calls) for group in plan.groups] == [
        ("sample", 0),
        ("judge", JUDGED),
        ("critique", N),
    ]


def test_a_plan_asks_and_writes_nothing(tmp_path):
    road = Road(tmp_path / "store")
    road.plan(settings(), constitution(), prompts(2))
    assert road.asked == {}
    assert not road.store.exists()


def test_a_second_plan_after_a_finished_run_is_empty(road):
    plan = plan_and_run(road)
    assert plan.total_calls == 0
    assert plan.groups == ()
    assert plan.wanted("judge") == JUDGED
    assert plan.as_json()["prompt_tokens"] == 0


def test_an_edited_principle_is_one_of_p_of_the_judge_calls_and_no_sampling(road):
    edited = constitution(principle("kind", "kind"), principle("example", "others"), principle("short", "short"))
    plan = plan_and_run(road, principles=edited)
    assert (plan.calls("sample"), plan.calls("judge")) == (0, JUDGED // 3)
    assert reasons(plan) == {"principle 'example' changed: text": JUDGED // 3}


def test_an_edited_question_is_named(road):
    own = list(constitution().principles)
    own[1] = own[1].model_copy(update={"question": "Which one follows it better?"})
    assert reasons(plan_and_run(road, principles=constitution(*own))) == {
        "principle 'example' changed: question": JUDGED // 3
    }


def test_an_added_principle_is_judged_alone(road):
    added = constitution(*constitution().principles, principle("new", "doubt"))
    plan = plan_and_run(road, principles=added)
    assert (plan.calls("sample"), plan.calls("judge")) == (0, JUDGED // 3)
    assert reasons(plan) == {"principle 'new' is new": JUDGED // 3}


@pytest.mark.parametrize(
    "change",
    [
        lambda own: own[1:],
        lambda own: [own[0].model_copy(update={"enabled": False}), *own[1:]],
        lambda own: [own[0].model_copy(update={"weight": 7.0}), *own[1:]],
        lambda own: [own[2], own[0], own[1]],
        lambda own: [own[0].model_copy(update={"id": "renamed"}), *own[1:]],
        lambda own: [own[0].model_copy(update={"critique_request": "Anything?", "revision_request": "So?"}), *own[1:]],
        lambda own: own,
    ],
    ids=["removed", "disabled", "reweighted", "reordered", "renamed", "other requests", "commented"],
)
def test_what_the_judge_does_not_see_costs_no_judge_call(road, change):
    plan = plan_and_run(road, principles=constitution(*change(list(constitution().principles))))
    assert (plan.calls("sample"), plan.calls("judge")) == (0, 0)


@pytest.mark.parametrize(
    "pairs",
    [
        PairSettings(rule="all", min_margin=0.0),
        PairSettings(rule="all", min_margin=0.3, keep_ties=True),
        PairSettings(min_margin=0.9),
        PairSettings(min_margin=0.0, probability_floor=0.2),
        PairSettings(min_margin=0.0, critiques="none"),
    ],
    ids=["rule", "ties", "margin", "floor", "critiques"],
)
def test_pair_rule_margin_and_aggregation_cost_no_verdict_and_the_critiques_are_known(road, pairs):
    plan = plan_and_run(road, settings(pairs=pairs))
    assert (plan.calls("sample"), plan.calls("judge")) == (0, 0)
    assert not plan.is_estimated("critique")


def test_the_threshold_of_a_verdict_costs_nothing(road):
    plan = plan_and_run(road, settings(judge=JudgeSettings(model="judge", min_covered=0.5)))
    assert plan.total_calls == 0


def test_added_prompts_are_asked_alone(road):
    plan = plan_and_run(road, own_prompts=prompts(N + 2))
    assert (plan.calls("sample"), plan.calls("judge")) == (2 * 4, 2 * 6 * 3 * 2)
    assert reasons(plan, "sample") == {"new prompts: 2": 8}
    assert reasons(plan) == {"new prompts: 2": 2 * 6 * 3 * 2}


def test_another_judge_judges_all_and_samples_nothing(road):
    plan = plan_and_run(road, settings(judge=JudgeSettings(model="judge2")))
    assert plan.calls("sample") == 0
    assert reasons(plan) == {"judge model changed: judge → judge2": JUDGED}


def test_another_template_judges_all_and_samples_nothing(road):
    judge = load_template("judge")
    changed = type(judge)(judge.name, judge.body + "\n", judge.variables, judge.choices)
    road.templates = Templates(judge=changed, critique=road.templates.critique)
    plan = plan_and_run(road)
    assert plan.calls("sample") == 0
    assert reasons(plan) == {"template changed: judge": JUDGED}


def test_raising_the_limit_keeps_every_answer_that_was_not_cut(tmp_path):
    road = Road(tmp_path)
    cut = road.run(settings(policies=policy_of(20)), constitution(), prompts(10)).stages["sample"].outcomes["truncated"]
    assert 0 < cut < 40
    arguments = (settings(policies=policy_of(40)), constitution(), prompts(10))
    plan = road.plan(*arguments)
    road.run(*arguments)
    assert plan.calls("sample") == road.count("policy", verdicts=False) == cut
    assert reasons(plan, "sample") == {f"max_tokens raised: {cut} answers were cut": cut}


def test_going_back_to_an_earlier_limit_asks_nothing(tmp_path):
    """Cut answers lie under keys of their own limit, so those of both limits are there."""
    road = Road(tmp_path)
    for limit in (20, 40):
        road.run(settings(policies=policy_of(limit)), constitution(), prompts(10))
    plan = plan_and_run(road, settings(policies=policy_of(20)), own_prompts=prompts(10))
    assert plan.total_calls == 0


def test_lowering_the_limit_names_the_answers_that_do_not_fit(tmp_path):
    road = Road(tmp_path)
    road.run(settings(policies=policy_of(20)), constitution(), prompts(10))
    arguments = (settings(policies=policy_of(10)), constitution(), prompts(10))
    plan = road.plan(*arguments)
    road.run(*arguments)
    calls = plan.calls("sample")
    assert 0 < calls == road.count("policy", verdicts=False)
    assert reasons(plan, "sample").keys() == {f"max_tokens lowered: {calls} answers are longer or were cut elsewhere"}


def policy_of(limit):
    return policies(max_tokens=limit)


def test_two_more_samples_and_the_pairs_they_enter(road):
    plan = plan_and_run(road, settings(policies=policies(samples=6)))
    assert (plan.calls("sample"), plan.calls("judge")) == (N * 2, N * (15 - 6) * 3 * 2)
    assert reasons(plan, "sample") == {"samples raised from 4 to 6": N * 2}


def test_a_prompt_that_gave_no_pair_last_time_is_not_called_new(tmp_path):
    road = Road(tmp_path, policy_rules=(lambda request: "always the same",))
    road.run(settings(), constitution(), prompts(2))
    plan = road.plan(settings(policies=policies(samples=6)), constitution(), prompts(2))
    assert reasons(plan, "sample") == {"samples raised from 4 to 6": 4}


def test_another_temperature_draws_everything_anew_and_says_so(road):
    plan = plan_and_run(road, settings(policies=policies(temperature=0.5)))
    assert reasons(plan, "sample") == {"sampling of policy changed: temperature": N * 4}
    assert plan.calls("judge") == JUDGED


def test_wider_tags_are_named(tmp_path):
    road = Road(tmp_path)
    narrow = constitution(principle("kind", "kind"), principle("code", "example", tags=frozenset({"code"})))
    road.run(settings(), narrow, prompts(2))
    wide = constitution(principle("kind", "kind"), principle("code", "example"))
    assert reasons(plan_and_run(road, principles=wide, own_prompts=prompts(2))) == {
        "principle 'code' applies to more prompts: tags": 2 * 6 * 2
    }


def test_an_enabled_principle_is_named(tmp_path):
    road = Road(tmp_path)
    own = list(constitution().principles)
    off = constitution(own[0], own[1].model_copy(update={"enabled": False}))
    road.run(settings(), off, prompts(2))
    plan = plan_and_run(road, principles=constitution(*own[:2]), own_prompts=prompts(2))
    assert reasons(plan) == {"principle 'example' is enabled again": 2 * 6 * 2}


def test_what_failed_is_planned_again(tmp_path):
    road = Road(tmp_path, judge_faults=Faults(failed=0.3))
    failed = road.run(settings(), constitution(), prompts(N)).stages["judge"].outcomes["failed"]
    road.judge_faults = None
    plan = plan_and_run(road)
    assert failed > 10
    assert reasons(plan) == {"failed, refused or unfinished last time": failed}


def test_two_edits_at_once_are_told_apart(road):
    edited = constitution(principle("kind", "kind"), principle("example", "others"), principle("short", "short"))
    plan = plan_and_run(road, principles=edited, own_prompts=prompts(N + 1))
    assert reasons(plan) == {
        "principle 'example' changed: text": JUDGED // 3,
        "new prompts: 1": 6 * 3 * 2,
    }


def test_tokens_of_exact_stages_are_what_the_run_uses(road):
    edited = constitution(principle("kind", "kind"), principle("example", "others"), principle("short", "short"))
    no_critiques = settings(pairs=PairSettings(min_margin=0.0, critiques="none"))
    plan = road.plan(no_critiques, edited, prompts(N))
    result = road.run(no_critiques, edited, prompts(N))
    used = sum(one.prompt_tokens for one in result.judgments if one.principle_id == "example")
    figures = plan.as_json()
    assert figures["prompt_tokens"] == used
    assert figures["output_tokens"] == JUDGED // 3
    assert 0 < figures["shared_tokens"] < used


def test_answers_that_will_be_cut_are_expected_from_those_that_were(tmp_path):
    """A limit that cuts half of the answers leaves a quarter of the pairs, not all and not half."""
    road = Road(tmp_path)
    cutting = settings(policies=policy_of(20))
    result = road.run(cutting, constitution(), prompts(100))
    assert 0.4 < result.stages["sample"].outcomes["truncated"] / 400 < 0.6
    planned = road.plan(cutting, constitution(), prompts(200)).calls("judge")
    road.run(cutting, constitution(), prompts(200))
    assert planned == pytest.approx(road.count("judge", verdicts=True), rel=0.15)


def test_tokens_of_added_prompts_are_within_five_percent(tmp_path):
    road = Road(tmp_path)
    no_critiques = settings(pairs=PairSettings(min_margin=0.0, critiques="none"))
    road.run(no_critiques, constitution(), prompts(60))
    figures = road.plan(no_critiques, constitution(), prompts(120)).as_json()
    result = road.run(no_critiques, constitution(), prompts(120))
    new = {prompt.id for prompt in prompts(120)[60:]}
    answers = {one.id: one for label in result.labelled for one in (label.pair.x, label.pair.y)}
    drawn = [one for one in answers.values() if one.prompt_id in new]
    pairs = {label.pair.id for label in result.labelled if label.pair.prompt.id in new}
    judged = [one for one in result.judgments if one.pair_id in pairs]
    used = sum(one.prompt_tokens for one in (*drawn, *judged))
    assert figures["prompt_tokens"] == pytest.approx(used, rel=0.05)
    assert figures["output_tokens"] == pytest.approx(sum(one.output_tokens for one in (*drawn, *judged)), rel=0.05)
