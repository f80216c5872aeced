"""Several judges on the scripted engine: what each is asked, how verdicts become one, and what switching costs."""

import json
import math
from dataclasses import asdict
from functools import partial

import pytest
from pydantic import ValidationError

from rlaif.cli.explain import order_line, pool_line
from rlaif.engines.scripted import Faults
from rlaif.errors import EngineCrashed, IncompleteRun, SettingsError
from rlaif.feedback.ablate import side as weighed
from rlaif.feedback.ablate import votes
from rlaif.feedback.budget import Budget
from rlaif.feedback.difference import compare_labels
from rlaif.feedback.explain import explain
from rlaif.feedback.judge import refuse_several_judges
from rlaif.feedback.judges import Judges, pool_verdicts
from rlaif.feedback.previous import read_previous
from rlaif.feedback.rounds import Schedule
from rlaif.feedback.run import check_verdicts
from rlaif.numbers.pooling import side
from rlaif.pair_dataset import read_rows
from rlaif.records import PrincipleVerdict
from rlaif.settings import JudgeSettings, JudgesSettings, LabelSettings, PairSettings, ScheduleSettings
from rlaif.store import Store
from tests.roads import Road, constitution, follows_the_word, principle, prompts, settings

N = 3
UNITS = N * 6 * 3  # prompts x pairs of 4 answers x principles
ALL = 2 * UNITS

wants = partial(settings, pairs=PairSettings(min_margin=0.0, critiques="none"))


def several(*others, judge=None, **more):
    named = [{"model": one} if isinstance(one, str) else one for one in others]
    own = judge or JudgeSettings(model="judge")
    return wants(judge=own, judges=JudgesSettings(others=tuple(named), **more))


def says(probability):
    """A judge that always finds the answer that comes first by its words better, this sure of it."""

    def rule(request):
        if not request.choices:
            return None
        text = request.messages[0].content
        first, second = (text.split(f"<response_{name}>\n")[1].split(f"\n</response_{name}>")[0] for name in "ab")
        return (probability, 1 - probability) if first < second else (1 - probability, probability)

    return (rule,)


SURE_OF_A_WORD = (follows_the_word,)  # 0.9 or 0.1 where one answer has the word, else 0.5


def labels_of(result):
    return {one.pair.id: one.probability for one in result.labelled}


def verdicts_of(result):
    return {(one.pair.id, v.principle_id): v.probability for one in result.labelled for v in one.verdicts}


def logit(p):
    return math.log(p / (1 - p))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


# --- one verdict of several


def verdict(probability, first=None, second=None, outcome="ok"):
    return PrincipleVerdict(
        principle_id="kind",
        outcome=outcome,
        probability=probability,
        shown_first=probability if first is None else first,
        shown_second=probability if second is None else second,
        weight=2.0,
    )


@pytest.mark.parametrize(
    ("pool", "weights", "expected"),
    [
        ("mean", (1, 1), 0.786061),  # odds √(9 · 1.5) = 3.674235
        ("mean", (1, 3), 0.701281),  # odds ⁴√(9 · 1.5³) = 2.347627
        ("majority", (1, 1), 1.0),
        ("last", (1, 1), 0.6),
    ],
)
def test_two_judges_by_hand(pool, weights, expected):
    given = list(zip((verdict(0.9), verdict(0.6)), weights, strict=True))
    found = pool_verdicts(given, JudgesSettings(pool=pool), 0.01)
    assert found.probability == pytest.approx(expected, abs=1e-6)
    assert (found.outcome, found.weight, found.principle_id) == ("ok", 2.0, "kind")


def test_a_majority_goes_by_weight_and_may_be_a_tie():
    judges = [verdict(0.99), verdict(0.4), verdict(0.45)]
    for weights, expected in (((1, 1, 1), 0.0), ((3, 1, 1), 1.0), ((2, 1, 1), 0.5)):
        found = pool_verdicts(list(zip(judges, weights, strict=True)), JudgesSettings(pool="majority"), 0.01)
        assert found.probability == expected
        assert found.outcome == ("tie" if expected == 0.5 else "ok")


def test_no_judge_outweighs_the_others_by_being_certain():
    found = pool_verdicts([(verdict(1.0), 1.0), (verdict(0.2), 1.0)], JudgesSettings(), 0.01)
    assert found.probability == pytest.approx(sigmoid((logit(0.99) + logit(0.2)) / 2))


def test_a_judge_that_only_looks_at_positions_pulls_to_the_middle_and_no_further():
    positional = verdict(0.5, first=0.99, second=0.01)
    found = pool_verdicts([(positional, 1.0), (verdict(0.8), 1.0)], JudgesSettings(), 0.01)
    assert found.probability == pytest.approx(sigmoid(logit(0.8) / 2))


def test_a_silent_judge_has_no_say_and_silence_of_all_is_silence():
    silent = verdict(None, outcome="abstained")
    for pool in ("mean", "majority", "last"):
        found = pool_verdicts([(verdict(0.7), 1.0), (silent, 5.0)], JudgesSettings(pool=pool), 0.01)
        assert found.probability == 0.7
        assert pool_verdicts([(silent, 1.0), (silent, 1.0)], JudgesSettings(pool=pool), 0.01) == silent


# --- panels


def test_every_judge_of_a_panel_is_asked_everything_once(tmp_path):
    road = Road(tmp_path, other_rules=(says(0.8), says(0.7)))
    wanted = several("small", "middle")
    plan = road.plan(wanted, constitution(), prompts(N))
    result = road.run(wanted, constitution(), prompts(N))
    asked = {name: road.count(name, verdicts=True) for name in ("small", "middle", "judge")}
    assert asked == dict.fromkeys(asked, ALL)
    bills = {bill["model"]: bill["calls"] for bill in plan.as_json()["bills"] if bill["stage"] == "judge"}
    assert bills == asked
    assert plan.calls("judge") == 3 * ALL
    planned = {name: stage.planned for name, stage in result.stages.items()}
    assert planned == {
        "sample": 4 * N,
        "judge: small": ALL,
        "judge: middle": ALL,
        "judge": ALL,
        "critique": 0,
    }


def test_judges_are_loaded_one_after_the_other_and_none_twice(tmp_path):
    wanted = several("small", "middle").model_copy(update={"pairs": PairSettings(min_margin=0.0)})
    road = Road(tmp_path)
    road.run(wanted, constitution(), prompts(N))
    assert road.opened == ["policy", "small", "middle", "judge"]
    assert (road.most_loaded, road.loaded) == (1, [])
    assert road.count("judge", verdicts=False) > 0  # it also writes the critiques
    assert road.count("small", verdicts=False) == 0


def test_the_labels_of_a_panel_are_the_pool_of_each_judges_own(tmp_path):
    """Against runs of each judge alone, put together by hand."""
    own = constitution()
    alone = [
        verdicts_of(
            Road(tmp_path / "a", judge_rules=says(0.8)).run(
                several(judge=JudgeSettings(model="small")), own, prompts(N)
            )
        ),
        verdicts_of(Road(tmp_path / "b").run(several(), own, prompts(N))),
    ]
    together = Road(tmp_path / "c", other_rules=(says(0.8),)).run(several("small", weights=(1, 3)), own, prompts(N))
    for at, probability in verdicts_of(together).items():
        small, judge = (logit(one[at]) for one in alone)
        assert probability == pytest.approx(sigmoid((small + 3 * judge) / 4), abs=1e-12)
    assert len({round(p, 6) for p in verdicts_of(together).values()}) > 3


def test_switching_pool_weights_and_kind_of_label_asks_nobody(tmp_path):
    road = Road(tmp_path, other_rules=(says(0.8), says(0.7)))
    road.run(several("small", "middle"), constitution(), prompts(N))
    found = []
    for more in ({"pool": "majority"}, {"weights": (1, 5, 2)}, {"ask": "cascade", "pool": "last"}, {"ask": "cascade"}):
        wanted = several("small", "middle", **more)
        assert road.plan(wanted, constitution(), prompts(N)).total_calls == 0
        found.append(labels_of(road.run(wanted, constitution(), prompts(N))))
        assert road.asked == {}
    assert all(one != found[0] for one in found[1:])


def test_a_judge_more_costs_what_it_is_asked_and_the_plan_says_so(tmp_path):
    road = Road(tmp_path)
    road.run(several(), constitution(), prompts(N))
    plan = road.plan(several("small"), constitution(), prompts(N))
    assert [(group.model, group.reason, group.calls) for group in plan.groups] == [
        ("small", "judge is new: small", ALL)
    ]
    road.run(several("small"), constitution(), prompts(N))
    assert [*road.asked] == ["small"]
    edited = constitution(principle("kind", "kind"), principle("example", "others"), principle("short", "short"))
    reasons = {(g.model, g.reason, g.calls) for g in road.plan(several("small"), edited, prompts(N)).groups}
    assert reasons == {(name, "principle 'example' changed: text", ALL // 3) for name in ("small", "judge")}


def test_one_model_in_two_modes_is_two_judges(tmp_path):
    road = Road(tmp_path)
    wanted = several({"model": "judge", "mode": "reasoned"})
    result = road.run(wanted, constitution(), prompts(N))
    assert {name: one.planned for name, one in result.stages.items() if "j" in name or "r" in name} == {
        "reason: judge": ALL,
        "judge: judge": ALL,
        "judge": ALL,
        "critique": 0,
    }
    assert road.count("judge", verdicts=False) == ALL


# --- cascades


def test_the_next_judge_is_asked_what_the_one_before_left_unsure(tmp_path):
    """The small judge gives 0.9, 0.5 or 0.1: the ties go on, and nothing else."""
    alone = Road(tmp_path / "alone").run(several(), constitution(), prompts(N))
    ties = sum(p == 0.5 for p in verdicts_of(alone).values())
    assert 0 < ties < UNITS
    road = Road(tmp_path / "two", judge_rules=says(0.8), other_rules=(SURE_OF_A_WORD,))
    for threshold, units in ((0.0, ties), (0.39, ties), (0.4, UNITS), (0.5, UNITS)):
        result = road.run(several("small", ask="cascade", threshold=threshold), constitution(), prompts(N))
        assert result.stages["judge: small"].planned == ALL
        assert result.stages["judge"].planned == 2 * units == sum(result.stages["judge"].outcomes.values())
    # Raised step by step: nobody was asked twice.
    with Store(road.store) as store:
        assert len(store.read("judgments")) == 2 * ALL


def test_raising_the_threshold_asks_the_rest_alone(tmp_path):
    road = Road(tmp_path, judge_rules=says(0.8), other_rules=(SURE_OF_A_WORD,))
    first = road.run(several("small", ask="cascade", threshold=0.1), constitution(), prompts(N))
    begun = first.stages["judge"].planned
    higher = several("small", ask="cascade", threshold=0.45)
    plan = road.plan(higher, constitution(), prompts(N))
    assert {(g.model, g.reason, g.calls) for g in plan.groups} == {
        ("judge", "threshold raised from 0.1 to 0.45", ALL - begun)
    }
    assert not plan.is_estimated("judge")
    road.run(higher, constitution(), prompts(N))
    assert {name: len(asked) for name, asked in road.asked.items()} == {"judge": ALL - begun}
    again = road.run(several("small", ask="cascade", threshold=0.1), constitution(), prompts(N))
    assert road.asked == {}
    assert labels_of(again) == labels_of(first)


@pytest.mark.parametrize("pool", ["mean", "majority"])
def test_a_cascade_that_passes_everything_on_is_the_full_ensemble(tmp_path, pool):
    judges = {"other_rules": (SURE_OF_A_WORD, says(0.7)), "judge_rules": says(0.8)}
    panel = Road(tmp_path / "a", **judges).run(several("small", "middle", pool=pool), constitution(), prompts(N))
    wanted = several("small", "middle", pool=pool, ask="cascade", threshold=0.5)
    cascade = Road(tmp_path / "b", **judges).run(wanted, constitution(), prompts(N))
    assert labels_of(cascade) == labels_of(panel)
    assert verdicts_of(cascade) == verdicts_of(panel)
    assert {name: one.planned for name, one in cascade.stages.items()} == {
        name: one.planned for name, one in panel.stages.items()
    }


def test_what_is_not_passed_on_is_the_first_judges_word_alone(tmp_path):
    small = verdicts_of(Road(tmp_path / "a").run(several(), constitution(), prompts(N)))
    road = Road(tmp_path / "b", judge_rules=says(0.8), other_rules=(SURE_OF_A_WORD,))
    for pool in ("mean", "last"):
        wanted = several("small", ask="cascade", threshold=0.2, pool=pool)
        for at, probability in verdicts_of(road.run(wanted, constitution(), prompts(N))).items():
            if small[at] != 0.5:
                assert probability == small[at]
            else:
                alone = sigmoid(logit(0.8) / 2) if pool == "mean" else 0.8
                assert probability == pytest.approx(alone) or probability == pytest.approx(1 - alone)


def test_a_pair_has_no_first_side_at_the_threshold():
    """0.8 - 0.5 is more than 0.3 by rounding, and 0.5 - 0.2 is not."""
    judges = Judges((), JudgesSettings(threshold=0.3), Schedule(ScheduleSettings(), 2), constitution())
    assert [judges.is_passed_on(verdict(p)) for p in (0.8, 0.2, 0.81, 0.19)] == [True, True, False, False]


def test_what_the_order_decides_is_passed_on_however_sure(tmp_path):
    """Both orders name the answer shown first, with 0.99 and 0.7: a mean of 0.645, which is no tie."""

    def first_slot(request):
        found = says(0.99)[0](request)
        return found if found is None or found[0] > 0.5 else (0.7, 0.3)

    road = Road(tmp_path, judge_rules=says(0.8), other_rules=((first_slot,),))
    result = road.run(several("small", ask="cascade", threshold=0.1, pool="last"), constitution(), prompts(N))
    assert result.stages["judge"].planned == ALL
    assert {round(min(p, 1 - p), 9) for p in verdicts_of(result).values()} == {0.2}


def test_silence_is_passed_on_and_the_books_of_all_judges_balance(tmp_path):
    faults = Faults(abstain=0.2, failed=0.1)
    road = Road(tmp_path, other_rules=(says(0.95),), other_faults=faults, judge_faults=Faults(refused=0.1))
    result = road.run(several("small", ask="cascade", threshold=0.1), constitution(), prompts(6))
    small, judge = result.stages["judge: small"], result.stages["judge"]
    for stage in (small, judge):
        assert sum(stage.outcomes.values()) == stage.planned
    assert small.outcomes["abstained"] > 0 < small.outcomes["failed"]
    assert 0 < judge.planned < small.planned
    silent = [v for one in result.labelled for v in one.verdicts if v.probability is None]
    assert {v.outcome for v in silent} == {"refused"}  # both were silent; the last one's reason is told


def test_three_judges_in_a_row(tmp_path):
    """The first leaves its ties, the second says 0.6 to all of them, which is unsure, so the third has the same."""
    road = Road(tmp_path, judge_rules=says(0.8), other_rules=(SURE_OF_A_WORD, says(0.6)))
    result = road.run(several("small", "middle", ask="cascade", threshold=0.1), constitution(), prompts(N))
    ties = result.stages["judge: middle"].planned
    assert 0 < ties == result.stages["judge"].planned < ALL
    surer = Road(tmp_path / "b", judge_rules=says(0.8), other_rules=(SURE_OF_A_WORD, says(0.7)))
    result = surer.run(several("small", "middle", ask="cascade", threshold=0.1), constitution(), prompts(N))
    assert (result.stages["judge: middle"].planned, result.stages["judge"].planned) == (ties, 0)


def test_reasons_of_a_cascade_are_asked_for_what_is_passed_on(tmp_path):
    """A plain verdict first; the same model with reasons where that is a tie."""
    road = Road(tmp_path)
    judge = JudgeSettings(model="judge", mode="reasoned")
    wanted = several({"model": "judge", "mode": "verdict"}, judge=judge, ask="cascade", threshold=0.0)
    result = road.run(wanted, constitution(), prompts(N))
    passed = result.stages["reason"].planned
    assert 0 < passed < ALL
    assert road.count("judge", verdicts=False) == passed == result.stages["judge"].planned
    assert road.count("judge", verdicts=True) == ALL + passed
    switched = wanted.model_copy(update={"label": LabelSettings(reasoned_range=None)})
    road.run(switched, constitution(), prompts(N))
    assert road.asked == {}


# --- plans


def test_a_cascades_later_judges_are_estimated_until_the_first_has_spoken(tmp_path):
    road = Road(tmp_path, judge_rules=says(0.8), other_rules=(SURE_OF_A_WORD,))
    road.run(several(judge=JudgeSettings(model="other")), constitution(), prompts(N))  # the answers are there
    wanted = several("small", ask="cascade", threshold=0.2)
    before = road.plan(wanted, constitution(), prompts(N))
    estimated = {step.bill.model: step.is_estimated for step in before.steps if step.stage == "judge"}
    assert estimated == {"small": False, "judge": True}
    assert {g.model: g.estimated_calls for g in before.groups} == {"small": 0, "judge": ALL}  # the most it can be
    small = several(judge=JudgeSettings(model="small"))
    Road(tmp_path).run(small, constitution(), prompts(N))
    after = road.plan(wanted, constitution(), prompts(N))
    assert not after.is_estimated("judge")
    road.run(wanted, constitution(), prompts(N))
    assert {step.bill.model: step.bill.calls for step in after.steps if step.stage == "judge"} == {
        "small": 0,
        "judge": road.count("judge", verdicts=True),
    }


def test_what_a_cascade_wants_is_an_estimate_also_where_all_of_it_is_stored(tmp_path):
    road = Road(tmp_path, other_rules=(SURE_OF_A_WORD,))
    road.run(several(), constitution(), prompts(N))
    plan = road.plan(several("small", ask="cascade"), constitution(), prompts(N))
    steps = {step.bill.model: (step.bill.calls, step.is_estimated) for step in plan.steps if step.stage == "judge"}
    assert steps == {"small": (ALL, False), "judge": (0, True)}


def test_the_estimate_goes_by_what_the_first_judge_passed_on_so_far(tmp_path):
    road = Road(tmp_path, judge_rules=says(0.8), other_rules=(SURE_OF_A_WORD,))
    wanted = several("small", ask="cascade", threshold=0.2)
    share = road.run(wanted, constitution(), prompts(20)).stages["judge"].planned / (2 * 20 * 18)
    Road(tmp_path).run(several(judge=JudgeSettings(model="other")), constitution(), prompts(40))
    plan = road.plan(wanted, constitution(), prompts(40))
    calls = {step.bill.model: step.bill.calls for step in plan.steps if step.stage == "judge"}
    assert calls == {"small": 2 * 20 * 18, "judge": 2 * round(share * 20 * 18)}
    assert plan.is_estimated("judge")


def test_a_budget_and_a_crash_keep_what_every_judge_said(tmp_path):
    wanted = several("small", ask="cascade", threshold=0.2)
    rules = {"judge_rules": says(0.8), "other_rules": (SURE_OF_A_WORD,)}
    whole = Road(tmp_path / "whole", **rules).run(wanted, constitution(), prompts(N))
    for limit in (ALL // 2, 4 * N + ALL + 1):
        with pytest.raises(Exception, match="stopped at the limit"):
            Road(tmp_path / str(limit), budget=Budget(calls=limit), **rules).run(wanted, constitution(), prompts(N))
        road = Road(tmp_path / str(limit), **rules)
        left = road.plan(wanted, constitution(), prompts(N))
        again = road.run(wanted, constitution(), prompts(N))
        asked = sum(map(len, road.asked.values()))
        assert asked == 4 * N + ALL + whole.stages["judge"].planned - limit
        assert left.is_estimated("judge") or left.total_calls == asked
        assert labels_of(again) == labels_of(whole)
    crashing = Road(tmp_path / "crash", judge_faults=Faults(crash_after=5), **rules)
    with pytest.raises(EngineCrashed):
        crashing.run(wanted, constitution(), prompts(N))
    after = Road(tmp_path / "crash", **rules)
    after.run(wanted, constitution(), prompts(N))
    assert {name: len(asked) for name, asked in after.asked.items()} == {"judge": whole.stages["judge"].planned - 5}


# --- what is told


@pytest.mark.parametrize("ask", ["panel", "cascade"])
def test_explain_names_every_judge_that_was_asked_and_leads_to_the_label(tmp_path, ask):
    faults = Faults(abstain=0.1, failed=0.1)
    road = Road(tmp_path / "store", judge_rules=says(0.8), other_rules=(SURE_OF_A_WORD,), other_faults=faults)
    road.write(tmp_path / "run", several("small", ask=ask), constitution(), prompts(N))
    asked = {one.id: (name, one) for name in ("small", "judge") for one in road.asked[name]}
    shown = set()
    with Store(road.store) as store:
        for row in read_rows(tmp_path / "run" / "labels.parquet"):
            found = explain(tmp_path / "run", row, store)
            assert found.probability_x == found.recorded
            for step in found.steps:
                assert {one.judge for one in step.judges} == {one.judge for one in step.orders}
                assert pool_line(asdict(step), found.pool)
                for seen in step.orders:
                    shown.add(seen.key)
                    assert seen.judge == asked[seen.key][0]
                    assert seen.prompt == asked[seen.key][1].messages[0].content
                    assert order_line(asdict(seen))
    assert shown == asked.keys()


def test_a_runs_folder_tells_who_judged_and_can_be_compared_with(tmp_path):
    road = Road(tmp_path / "store", other_rules=(says(0.8),))
    road.write(tmp_path / "run", several("small"), constitution(), prompts(N))
    summary = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [one["name"] for one in summary["other_judges"]] == ["small"]
    card = (tmp_path / "run" / "dataset" / "README.md").read_text()
    assert "compared by a panel of the judge models small, judge (pool: mean of log-odds)" in card
    assert {row["judge"] for row in map(json.loads, (tmp_path / "run" / "pairs.jsonl").open())} == {"small + judge"}
    previous = read_previous(tmp_path / "run")
    assert previous is not None
    assert [one.name for one in previous.others] == ["small"]
    assert len(previous.templates.others) == 1
    before = [*read_rows(tmp_path / "run" / "labels.parquet")]
    for row in before:  # the label is still the pool of its principles, for whoever takes it apart
        assert weighed(votes(row, 0.01).values()) == side(row["probability_x"])
    road.write(tmp_path / "run", several(), constitution(), prompts(N))
    assert read_previous(tmp_path / "run").templates.others == ()
    changes = compare_labels(before, read_rows(tmp_path / "run" / "labels.parquet"), {})
    assert sum(changes.counts.values()) == N * 6
    assert changes.counts["kept"] < N * 6


def test_only_what_no_judge_answers_counts_as_unanswered(tmp_path):
    silent = Faults(abstain=1.0)
    road = Road(tmp_path / "store", other_faults=silent)
    wanted = several("small", ask="cascade")
    road.write(tmp_path / "run", wanted, constitution(), prompts(N))
    summary = json.loads((tmp_path / "run" / "run.json").read_text())
    assert summary["stages"]["judge: small"]["outcomes"]["abstained"] == ALL
    check_verdicts(summary, wanted, complete=tmp_path / "run" / "run.json")
    both = Road(tmp_path / "both", other_faults=silent, judge_faults=silent)
    both.write(tmp_path / "run", wanted, constitution(), prompts(N))
    summary = json.loads((tmp_path / "run" / "run.json").read_text())
    with pytest.raises(IncompleteRun, match=f"no judge gave a verdict on {UNITS} of {UNITS}"):
        check_verdicts(summary, wanted, complete=tmp_path / "run" / "run.json")


# --- what is refused


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValidationError, match="3 weights for 2 judges"):
        several("small", weights=(1, 2, 3))
    with pytest.raises(ValidationError, match="`judge` alone"):
        several("small", pool="last")
    with pytest.raises(ValidationError, match="it can only come first"):
        several(
            {"model": "small", "mode": "score"},
            "middle",
            judge=JudgeSettings(model="judge", mode="score"),
            ask="cascade",
        )
    with pytest.raises(ValidationError, match=r"judge 'small': .*one and the same"):
        several({"model": "small", "mode": "reasoned"}, judge=JudgeSettings(model="judge", reasonings=3))


def test_the_same_judge_twice_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"'judge' and 'judge \(verdict\)' are the same model"):
        Road(tmp_path).run(several("judge"), constitution(), prompts(1))


def test_commands_that_ask_one_judge_say_so():
    for wanted, match in ((several("small"), "asks `judge` alone"), (several(), None)):
        if match:
            with pytest.raises(SettingsError, match=match):
                refuse_several_judges(wanted, "rlaif watch")
        else:
            refuse_several_judges(wanted, "rlaif watch")
