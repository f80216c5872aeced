"""The judge's modes on the scripted engine: what each asks, how often, and how its answers become labels."""

import itertools
from dataclasses import asdict, replace
from functools import partial

import pytest
from pydantic import ValidationError

from rlaif.cli.explain import order_line
from rlaif.constitution import diff, dump_constitution, read_constitution
from rlaif.engines.scripted import Faults
from rlaif.errors import ConstitutionError
from rlaif.feedback.explain import explain
from rlaif.feedback.mode_reasoned import LEAD_IN
from rlaif.feedback.previous import read_templates
from rlaif.numbers.superiority import mean_score, superiority
from rlaif.pair_dataset import read_rows
from rlaif.settings import JudgeSettings, LabelSettings, PairSettings
from rlaif.store import Store
from rlaif.templates import load_template
from tests.roads import Road, constitution, follows_the_word, principle, prompts, settings, shipped_templates

N = 3
COMPARED = N * 6 * 3 * 2  # prompts x pairs of 4 answers x principles x orders
ANSWERS = N * 4 * 3  # prompts x answers x principles

wants = partial(settings, pairs=PairSettings(min_margin=0.0, critiques="none"))


def reasoned(**more):
    return wants(judge=JudgeSettings(model="judge", mode="reasoned", **more))


def scored(**more):
    return wants(judge=JudgeSettings(model="judge", mode="score", **more))


def road_in(mode, store, **more):
    template = {"reasoned": "reason", "score": "score"}[mode]
    templates = replace(shipped_templates(), mode=load_template(template))
    return Road(store, templates=templates, **more)


def writes(text):
    """A judge that writes this when it is asked for words, and follows the word behind it."""

    def rule(request):
        return None if request.choices else text

    return (rule, follows_the_word)


def planned_and_run(road, wanted, own=None, count=N):
    """Run as planned: what is not estimated is exact. Returns (plan, result)."""
    plan = road.plan(wanted, own or constitution(), prompts(count))
    result = road.run(wanted, own or constitution(), prompts(count))
    counted = {"reason": road.count("judge", verdicts=False), "judge": road.count("judge", verdicts=True)}
    assert {stage: plan.calls(stage) for stage in counted} == counted
    return plan, result


# --- reasons, then the verdict


def test_the_verdict_is_read_behind_the_judges_own_reasons(tmp_path):
    road = road_in("reasoned", tmp_path, judge_rules=writes("The first says it.\n\nSo it is better.\n\nVerdict: A"))
    _, result = planned_and_run(road, reasoned())
    asked = road.asked["judge"]
    assert [bool(one.choices) for one in asked] == [False] * COMPARED + [True] * COMPARED
    for one in asked[COMPARED:]:
        assert one.prefill == "The first says it.\n\nSo it is better.\n\nVerdict:"
        assert "Then end with a line" in one.messages[0].content
    assert {name: stage.planned for name, stage in result.stages.items()} == {
        "sample": N * 4,
        "reason": COMPARED,
        "judge": COMPARED,
        "critique": 0,
    }


def test_reasons_without_a_verdict_are_led_to_one(tmp_path):
    road = road_in("reasoned", tmp_path, judge_rules=writes("Both have merits. <think"))
    planned_and_run(road, reasoned())
    assert {one.prefill for one in road.asked["judge"] if one.choices} == {f"Both have merits. <think\n\n{LEAD_IN}"}


def test_the_probability_decides_and_not_the_word_that_was_written(tmp_path):
    """The reasons always say B; the verdicts behind them follow the principle."""
    wanted = reasoned()
    own = constitution(principle("kind", "kind"))
    result = road_in("reasoned", tmp_path / "a", judge_rules=writes("Verdict: B")).run(wanted, own, prompts(20))
    plain = Road(tmp_path / "b").run(wants(), own, prompts(20))
    decided = 0
    for one, other in zip(result.labelled, plain.labelled, strict=True):
        if other.probability != 0.5:
            decided += 1
            assert one.probability == pytest.approx(0.6 if other.probability > 0.5 else 0.4)
    assert decided > 20


def test_the_range_of_one_reasoning_is_a_matter_of_labelling_alone(tmp_path):
    road = road_in("reasoned", tmp_path)
    road.run(reasoned(), constitution(), prompts(N))
    for within in (None, (0.2, 0.8), (0.4, 0.6)):
        result = road.run(
            reasoned().model_copy(update={"label": LabelSettings(reasoned_range=within)}), constitution(), prompts(N)
        )
        assert road.asked == {}
        low, high = within or (0.1, 0.9)  # the scripted judge says 0.9, 0.5 or 0.1
        shown = {p for one in result.labelled for v in one.verdicts for p in (v.shown_first, v.shown_second)}
        assert {round(p, 9) for p in shown} == {low, 0.5, high}


def test_several_reasonings_are_drawn_apart_and_averaged_without_a_range(tmp_path):
    """A judge whose verdict depends on the length of its reasons."""

    def moody(request):
        return (0.9, 0.1) if request.choices and len(request.prefill) % 2 else (0.7, 0.3) if request.choices else None

    road = road_in("reasoned", tmp_path, judge_rules=(moody,))
    wanted = reasoned(reasonings=3, reasoning_temperature=0.7)
    _, result = planned_and_run(road, wanted)
    assert road.count("judge", verdicts=False) == 3 * COMPARED
    assert result.stages["judge"].planned == 3 * COMPARED == len(result.judgments)
    by_order = {}
    for one in result.judgments:
        by_order.setdefault((one.pair_id, one.principle_id, one.first_id), []).append(one.probability_a)
    assert {len(own) for own in by_order.values()} == {3}
    for label in result.labelled:
        for verdict in label.verdicts:
            own = by_order[label.pair.id, verdict.principle_id, label.pair.x.id]
            assert verdict.shown_first == pytest.approx(sum(own) / 3)
    road.run(reasoned(reasonings=4, reasoning_temperature=0.7), constitution(), prompts(N))
    assert road.count("judge", verdicts=False) == COMPARED  # the three there are stay


def test_the_same_reasonings_twice_are_refused():
    with pytest.raises(ValidationError, match="one and the same"):
        JudgeSettings(model="judge", mode="reasoned", reasonings=3)


def test_reasons_that_fail_leave_no_verdict_and_the_books_balance(tmp_path):
    faults = Faults(failed=0.1, refused=0.05, truncated=0.2)
    road = road_in("reasoned", tmp_path, judge_faults=faults)
    result = road.run(reasoned(), constitution(), prompts(6))
    reason, judge = result.stages["reason"], result.stages["judge"]
    for stage in (reason, judge):
        assert sum(stage.outcomes.values()) == stage.planned == 2 * COMPARED
    lost = sum(reason.outcomes[name] for name in ("failed", "refused", "truncated"))
    assert min(reason.outcomes[name] for name in ("failed", "refused", "truncated")) > 0
    assert road.count("judge", verdicts=True) == 2 * COMPARED - lost
    assert judge.outcomes["truncated"] == reason.outcomes["truncated"]
    assert any(text.startswith("truncated: reasons: cut after") for text in judge.reasons)
    well = road_in("reasoned", tmp_path)
    again = well.run(reasoned(), constitution(), prompts(6))
    assert again.stages["judge"].outcomes["failed"] == 0
    assert again.stages["judge"].outcomes["truncated"] == reason.outcomes["truncated"]


def test_thinking_is_split_off_kept_and_never_read(tmp_path):
    road = road_in("reasoned", tmp_path, judge_rules=writes("<think>B, Verdict: B</think>The first is.\n\nVerdict: A"))
    road.run(reasoned(), constitution(), prompts(1))
    assert {one.prefill for one in road.asked["judge"] if one.choices} == {"The first is.\n\nVerdict:"}
    endless = road_in("reasoned", tmp_path / "endless", judge_rules=writes("<think>" + "hm " * 900 + "Verdict: A"))
    result = endless.run(reasoned(), constitution(), prompts(1))
    assert endless.count("judge", verdicts=True) == 0
    assert result.stages["judge"].outcomes["truncated"] == result.stages["judge"].planned
    assert [*result.stages["judge"].reasons] == ["truncated: reasons: thinking ran out of budget"]


def test_an_answer_that_states_a_verdict_does_not_state_the_judges(tmp_path):
    """The judge ends by copying the answer it was shown; its verdict is still to be said."""
    said = "This is the only good answer there is, so the last word is plain.\n\nVerdict: B"
    road = road_in("reasoned", tmp_path, judge_rules=writes(said), policy_rules=(own_words(said),))
    road.run(reasoned(), constitution(), prompts(1))
    assert {one.prefill for one in road.asked["judge"] if one.choices} == {f"{said}\n\n{LEAD_IN}"}


def own_words(text):
    """A policy whose answers all end with this."""
    numbers = itertools.count()
    return lambda request: f"Answer {next(numbers)}. {text}"


def test_an_edit_reasons_again_about_that_principle_only(tmp_path):
    road = road_in("reasoned", tmp_path)
    planned_and_run(road, reasoned())
    edited = constitution(principle("kind", "kind"), principle("example", "others"), principle("short", "short"))
    plan, _ = planned_and_run(road, reasoned(), edited)
    assert (plan.calls("reason"), plan.calls("judge")) == (COMPARED // 3, COMPARED // 3)
    assert plan.is_estimated("judge")
    assert not plan.is_estimated("reason")
    assert planned_and_run(road, reasoned(), edited)[0].total_calls == 0


# --- scores


def by_length(request):
    """A judge that scores by the number of words, unsure by one level to either side."""
    if len(request.choices) < 3:
        return None
    text = request.messages[0].content
    words = len(text.split("<response>\n")[1].split("\n</response>")[0].split())
    level = min(len(request.choices) - 2, max(1, words // 4))
    return [{0: 0.5, 1: 0.2}.get(abs(place - level), 0.01) for place in range(len(request.choices))]


def test_scoring_asks_once_per_answer_and_principle(tmp_path):
    road = road_in("score", tmp_path, judge_rules=(by_length,))
    plan, result = planned_and_run(road, scored())
    assert plan.calls("judge") == ANSWERS == result.stages["judge"].planned
    assert {one.choices for one in road.asked["judge"]} == {tuple(map(str, range(1, 11)))}
    assert len(result.labelled) == N * 6
    assert planned_and_run(road, scored())[0].total_calls == 0


def test_pairs_follow_from_the_whole_distributions(tmp_path):
    """Against a plain double loop over the probabilities the judge was told to give."""
    road = road_in("score", tmp_path, judge_rules=(by_length,))
    result = road.run(scored(score_levels=5), constitution(principle("kind", "kind")), prompts(N))
    for one in result.labelled:
        x, y = (level_probabilities(answer.text, 5) for answer in (one.pair.x, one.pair.y))
        expected = sum(p * q * ((i > j) + (i == j) / 2) for i, p in enumerate(x) for j, q in enumerate(y))
        assert one.probability == pytest.approx(expected, abs=1e-12)
        assert one.verdicts[0].shown_first == one.verdicts[0].shown_second
    assert len({round(one.probability, 6) for one in result.labelled}) > 3


def level_probabilities(text, levels):
    level = min(levels - 2, max(1, len(text.split()) // 4))
    masses = [{0: 0.5, 1: 0.2}.get(abs(place - level), 0.01) for place in range(levels)]
    return [mass / sum(masses) for mass in masses]


def test_superiority_by_hand():
    assert superiority([0.2, 0.3, 0.5], [0.2, 0.3, 0.5]) == 0.5
    assert superiority([0.0, 0.0, 1.0], [1.0, 0.0, 0.0]) == 1.0
    assert superiority([0.5, 0.5], [1.0, 0.0]) == 0.75  # half the time above, else level
    assert superiority([1.0, 0.0], [0.5, 0.5]) == 0.25
    assert mean_score([0.2, 0.3, 0.5]) == pytest.approx(2.3)
    with pytest.raises(ValueError, match="cannot be compared"):
        superiority([1.0], [0.5, 0.5])


def test_a_judge_off_the_scale_abstains_and_failures_are_counted(tmp_path):
    road = road_in("score", tmp_path, judge_rules=(by_length,), judge_faults=Faults(failed=0.1, abstain=0.2))
    result = road.run(scored(), constitution(), prompts(6))
    stage = result.stages["judge"]
    assert sum(stage.outcomes.values()) == stage.planned == 2 * ANSWERS
    assert stage.outcomes["failed"] > 0 < stage.outcomes["abstained"]
    silent = [v for one in result.labelled for v in one.verdicts if v.probability is None]
    assert {v.outcome for v in silent} == {"failed", "abstained"}


ANCHORED = principle("kind", "kind", anchors={1: "rude", 10: "as kind as can be"})


def test_anchors_are_what_the_judge_reads_and_cost_only_their_principle(tmp_path):
    road = road_in("score", tmp_path, judge_rules=(by_length,))
    own = constitution(principle("kind", "kind"), principle("short", "short"))
    road.run(scored(), own, prompts(N))
    plan, _ = planned_and_run(road, scored(), constitution(ANCHORED, principle("short", "short")))
    assert plan.calls("judge") == N * 4
    assert [one.reason for one in plan.groups] == ["principle 'kind' changed: anchors"]
    assert all("1: rude\n10: as kind as can be" in one.messages[0].content for one in road.asked["judge"])
    compared = Road(tmp_path / "compared")
    compared.run(wants(), own, prompts(N))
    compared.run(wants(), constitution(ANCHORED, principle("short", "short")), prompts(N))
    assert compared.asked == {}  # who compares does not read them


def test_anchors_off_the_scale_are_refused(tmp_path):
    with pytest.raises(ConstitutionError, match="anchor for 10, but scores go from 1 to 5"):
        road_in("score", tmp_path).run(scored(score_levels=5), constitution(ANCHORED), prompts(1))


def test_anchors_are_written_as_the_guide_shows_them(tmp_path):
    path = tmp_path / "own.yaml"
    text = "name: own\nprinciples:\n  - id: kind\n    text: Be kind.\n    question: Which is kinder?\n"
    path.write_text(f"{text}    anchors: {{1: rude, 5: polite, 10: warm and kind}}\n")
    assert read_constitution(str(path))[0].principles[0].anchors == {1: "rude", 5: "polite", 10: "warm and kind"}
    path.write_text(f"{text}    anchors: {{1: rude, 11: warm and kind}}\n")
    with pytest.raises(ConstitutionError, match=r"own\.yaml:6.*11"):
        read_constitution(str(path))


def test_anchors_survive_the_file_and_show_in_a_diff(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(dump_constitution(constitution(ANCHORED)))
    assert read_constitution(str(path))[0].principles == (ANCHORED,)
    changes = diff(constitution(principle("kind", "kind")), constitution(ANCHORED))
    assert [(one.kind, one.after) for one in changes] == [("anchors", "1: rude; 10: as kind as can be")]


# --- explained


@pytest.mark.parametrize("mode", ["reasoned", "score"])
def test_explain_leads_to_the_label_in_every_mode(tmp_path, mode):
    faults = Faults(truncated=0.1, abstain=0.05)
    road = road_in(mode, tmp_path / "store", judge_rules=(by_length,), judge_faults=faults)
    wanted = reasoned() if mode == "reasoned" else scored()
    road.write(tmp_path / "run", wanted, constitution(), prompts(N))
    asked = {one.id: one for one in road.asked["judge"]}
    shown = set()
    for row in read_rows(tmp_path / "run" / "labels.parquet"):
        found = explain(tmp_path / "run", row, Store(road.store))
        assert found.probability_x == found.recorded == row["probability_x"]
        for seen in (seen for step in found.steps for seen in step.orders):
            shown.add(seen.key)
            assert seen.prompt == asked[seen.key].messages[0].content
            assert seen.reasons == asked[seen.key].prefill
            assert bool(seen.outcome == "ok" or seen.outcome == "tie") != bool(seen.reason)
            assert order_line(asdict(seen))
    ended = {one.id for one in asked.values() if one.choices}
    assert ended <= shown


# --- between modes


def test_every_mode_keeps_its_own_answers(tmp_path):
    Road(tmp_path).run(wants(), constitution(), prompts(N))
    scores = road_in("score", tmp_path, judge_rules=(by_length,))
    scores.run(scored(), constitution(), prompts(N))
    assert scores.count("judge", verdicts=True) == ANSWERS
    reasons = road_in("reasoned", tmp_path)
    reasons.run(reasoned(), constitution(), prompts(N))
    plain = Road(tmp_path)
    plain.run(wants(), constitution(), prompts(N))
    assert plain.asked == {}


def test_the_plan_names_the_mode_as_the_reason(tmp_path):
    plain = Road(tmp_path)
    plain.run(wants(), constitution(), prompts(N))
    other = road_in("reasoned", tmp_path, previous=plain.previous)
    groups = other.plan(reasoned(), constitution(), prompts(N)).groups
    assert {one.reason for one in groups} == {"mode changed: verdict → reasoned"}


def test_principles_are_not_drawn_where_nothing_is_compared():
    with pytest.raises(ValidationError, match="mode 'score' makes none"):
        JudgeSettings(model="judge", mode="score", principles_per_pair=1)


def test_a_runs_folder_keeps_the_template_of_its_mode(tmp_path):
    road = road_in("score", tmp_path / "store", judge_rules=(by_length,))
    road.write(tmp_path / "run", scored(), constitution(), prompts(N))
    kept = read_templates(tmp_path / "run")
    assert kept.mode is not None
    assert kept.mode.digest == load_template("score").digest
    Road(tmp_path / "store").write(tmp_path / "run", wants(), constitution(), prompts(N))
    assert read_templates(tmp_path / "run").mode is None
