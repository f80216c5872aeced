"""Pairs that are no fair question never reach the judge, and what does reach it is whole: in every mode.

That no engine's tokenizer cuts what it is given: `test_injection.py`, in nine chat formats."""

import re
from dataclasses import replace
from functools import partial
from itertools import cycle

import pytest

from rlaif.records import Message, Prompt
from rlaif.settings import CleaningSettings, JudgeSettings, PairSettings, PolicySettings, SamplingSettings
from rlaif.templates import load_template, render_conversation
from tests.roads import Road, constitution, principle, prompts, settings, shipped_templates

MODES = ("verdict", "reasoned", "score")
PRINCIPLES = 3

FINE = "A cat sleeps on the warm roof until the rain begins to fall"
NEARLY = "A cat sleeps on the warm roof until the rain begins to fall!"
OTHER = "Dogs run through wet streets and bark at every passing car"
CUT = " ".join(f"word{n}" for n in range(80))
ANSWERS = (FINE, "", f"{FINE}\n", CUT, "  \n ", NEARLY, OTHER)

wants = partial(settings, pairs=PairSettings(min_margin=0.0, critiques="none"))


def in_mode(mode, **more):
    drawn = PolicySettings(model="policy", samples=len(ANSWERS), sampling=SamplingSettings(max_tokens=40))
    return wants(judge=JudgeSettings(model="judge", mode=mode), policies=(drawn,), **more)


def road_in(mode, store, **more):
    template = {"verdict": None, "reasoned": "reason", "score": "score"}[mode]
    own = replace(shipped_templates(), mode=load_template(template)) if template else shipped_templates()
    return Road(store, templates=own, **more)


def says_in_turn(texts):
    """A policy whose answers to a prompt are these, in this order."""
    turn = cycle(texts)
    return lambda request: next(turn)


def shown(request):
    return request.messages[0].content


# --- degenerate pairs


@pytest.mark.parametrize("mode", MODES)
def test_equal_empty_and_cut_answers_never_reach_the_judge_and_are_counted_apart(mode, tmp_path):
    """Of seven answers one repeats another but for its end of line, two are empty and one is cut: three are left."""
    road = road_in(mode, tmp_path, policy_rules=(says_in_turn(ANSWERS),))
    result = road.run(in_mode(mode), constitution(), prompts(2))
    assert {name: count for name, count in result.stages["sample"].outcomes.items() if count} == {
        "ok": 2 * 4,
        "abstained": 2 * 2,
        "truncated": 2,
    }
    assert {reason: count for reason, count in result.left_out.items() if reason.startswith("answer")} == {
        "answer abstained": 4,
        "answer equal to another": 2,
        "answer truncated": 2,
    }
    assert {frozenset((one.pair.x.text.strip(), one.pair.y.text.strip())) for one in result.labelled} == {
        frozenset((FINE, NEARLY)),
        frozenset((FINE, OTHER)),
        frozenset((NEARLY, OTHER)),
    }
    per_prompt = {"verdict": 3 * 2, "reasoned": 3 * 2 * 2, "score": 3}[mode] * PRINCIPLES
    assert len(road.asked["judge"]) == 2 * per_prompt
    for request in road.asked["judge"]:
        assert "word0" not in shown(request)
        assert shown(request).count(f"\n{FINE}\n") < 2
        assert not re.search(r"<(response\w*)>\s*</\1>", shown(request))  # an empty one


@pytest.mark.parametrize("mode", MODES)
def test_near_duplicate_answers_never_reach_the_judge_where_they_are_to_be_removed(mode, tmp_path):
    """The first drawn stays. The plan says beforehand, to the call, what the run then asks."""
    cleaning = CleaningSettings(near_duplicate_answers="remove")
    road = road_in(mode, tmp_path, policy_rules=(says_in_turn(ANSWERS),))
    result = road.run(in_mode(mode, cleaning=cleaning), constitution(), prompts(2))
    assert result.left_out["answer near-duplicate of another"] == 2
    assert len(result.labelled) == 2
    for label in result.labelled:
        assert {one.text.rstrip("!\n") for one in (label.pair.x, label.pair.y)} == {FINE, OTHER}
    for request in road.asked["judge"]:
        assert shown(request).count(FINE) < 2
    plan = road.plan(in_mode(mode, cleaning=cleaning), constitution(), prompts(2))
    assert (plan.total_calls, dict(plan.left_out)) == (0, {"answer near-duplicate of another": 2})
    kept = road.plan(in_mode(mode), constitution(), prompts(2))
    assert (dict(kept.left_out), dict(kept.found_and_kept)) == ({}, {"answer near-duplicate of another": 2})
    assert kept.calls("judge") > 0


def test_answers_that_are_not_drawn_yet_are_no_near_duplicates_of_each_other(tmp_path):
    """A plan stands in for them with words of one kind; what it foretells must not shrink for that."""
    cleaning = CleaningSettings(near_duplicate_answers="remove")
    plans = [Road(tmp_path).plan(one, constitution(), prompts(3)) for one in (wants(), wants(cleaning=cleaning))]
    assert plans[0].calls("judge") == plans[1].calls("judge") == 3 * 6 * PRINCIPLES * 2


def test_drawing_more_answers_takes_none_away_that_was_judged(tmp_path):
    """Four answers of three kinds, then six: whatever the new ones are like, the pairs of the old ones stay."""
    kinds = ("alpha beta gamma delta", "one two three four", "red green blue white")

    def of_a_kind(request):
        return f"{kinds[request.sampling.seed % 3]} number {request.sampling.seed % 1000}"  # 3 of 5 runs are the kind's

    def wanted(samples):
        policy = PolicySettings(model="policy", samples=samples, sampling=SamplingSettings(max_tokens=40))
        return wants(policies=(policy,), cleaning=CleaningSettings(near_duplicate_answers="remove", likeness=0.6))

    road = Road(tmp_path, policy_rules=(of_a_kind,))
    before = road.run(wanted(4), constitution(), prompts(8))
    assert before.left_out["answer near-duplicate of another"] > 0
    after = road.run(wanted(6), constitution(), prompts(8))
    assert {one.pair.id for one in before.labelled} < {one.pair.id for one in after.labelled}


# --- what does not fit


def long_prompt(turns):
    said = [Message(("user", "assistant")[n % 2], f"Turn {n}: " + "so it went on " * 12) for n in range(turns)]
    return Prompt(messages=(*said, Message("user", "And now?")))


@pytest.mark.parametrize("mode", MODES)
def test_what_does_not_fit_is_an_outcome_that_says_so_and_nothing_is_cut_to_make_it_fit(mode, tmp_path):
    road = road_in(mode, tmp_path, judge_context=600)
    wanted = wants(judge=JudgeSettings(model="judge", mode=mode))
    short, long = Prompt(messages=(Message("user", "Short?"),)), long_prompt(12)
    own = constitution(principle("kind", "kind"))
    result = road.run(wanted, own, (short, long))
    judged = result.stages["judge"]
    assert judged.outcomes["refused"] == judged.planned / 2 > 0
    assert sum(judged.outcomes.values()) == judged.planned
    for reason in judged.reasons:
        assert "tokens long; with an answer it must fit into 600" in reason
    unlabelled = [one for one in result.labelled if one.probability is None]
    assert {one.pair.prompt.id for one in unlabelled} == {long.id}
    assert result.left_out["no verdict"] == len(unlabelled) == 6
    asked = [one for one in road.asked["judge"] if "Turn 0" in shown(one)]
    texts = {one.pair.x.text for one in unlabelled} | {one.pair.y.text for one in unlabelled}
    assert asked
    for request in asked:
        assert render_conversation(long.messages) in shown(request)
        assert own.principles[0].text in shown(request)
        assert sum(text in shown(request) for text in texts) == (1 if mode == "score" else 2)


def test_reasons_that_leave_no_room_for_the_verdict_behind_them_end_as_what_does_not_fit(tmp_path):
    """The first request fits, the second with the reasons in it does not."""
    room = 220
    reasons = "because " * 150 + "Verdict: A"
    rules = (lambda request: None if request.choices else reasons,)
    road = road_in("reasoned", tmp_path, judge_rules=rules, judge_context=room)
    result = road.run(
        wants(judge=JudgeSettings(model="judge", mode="reasoned")), constitution(principle("kind", "kind")), prompts(1)
    )
    assert result.stages["reason"].outcomes["ok"] == result.stages["reason"].planned == 12
    assert result.stages["judge"].outcomes["refused"] == 12
    (reason,) = {reason.partition(" is ")[2].partition(" ")[2] for reason in result.stages["judge"].reasons}
    assert reason == f"tokens long; with an answer it must fit into {room}"
