"""Schedules on the road: which answers are compared, what that costs, and that an interruption changes nothing."""

import random
from dataclasses import replace
from functools import partial
from itertools import combinations

import choix
import numpy as np
import pytest
from pydantic import ValidationError

from rlaif.engines.scripted import Faults
from rlaif.errors import EngineCrashed
from rlaif.feedback import road as road_module
from rlaif.feedback.explain import explain
from rlaif.feedback.schedule import half_of_all_pairs, most_rounds, play, swiss
from rlaif.numbers.pooling import pooled
from rlaif.pair_dataset import read_rows
from rlaif.settings import (
    JudgeSettings,
    JudgesSettings,
    LabelSettings,
    PairSettings,
    PolicySettings,
    SamplingSettings,
    ScheduleSettings,
)
from rlaif.store import Store
from rlaif.templates import load_template
from tests.roads import Road, constitution, principle, prompts, settings, shipped_templates

N, ANSWERS, PRINCIPLES = 3, 6, 3
POLICY = PolicySettings(model="policy", samples=ANSWERS, sampling=SamplingSettings(max_tokens=40))
PAIRS = PairSettings(min_margin=0.0, critiques="none", rank_by="bradley_terry")

wants = partial(settings, policies=(POLICY,), pairs=PAIRS)


def scheduled(kind, **more):
    own = {name: more.pop(name) for name in ("opponents", "comparisons") if name in more}
    return wants(schedule=ScheduleSettings(kind=kind, **own), **more)


def by_prompt(result):
    found = {}
    for one in result.labelled:
        found.setdefault(one.pair.prompt.id, set()).add((one.pair.x.id, one.pair.y.id))
    return found


def road_of(store, **more):
    """A judge with opinions of its own about every comparison."""
    return Road(store, judge_rules=(), **more)


# --- what is compared


@pytest.mark.parametrize(
    ("schedule", "comparisons"),
    [
        ({"kind": "all"}, 15),
        ({"kind": "ring"}, 6),
        ({"kind": "random", "opponents": 3}, 9),
        ({"kind": "random", "opponents": 9}, 15),
        ({"kind": "swiss"}, 8),
        ({"kind": "swiss", "comparisons": 3}, 3),
        ({"kind": "swiss", "comparisons": 11}, 11),
        ({"kind": "swiss", "comparisons": 99}, 15),
    ],
)
def test_a_schedule_costs_its_comparisons_and_the_plan_knows_it(tmp_path, schedule, comparisons):
    wanted = scheduled(**schedule)
    road = road_of(tmp_path)
    plan = road.plan(wanted, constitution(), prompts(N))
    result = road.run(wanted, constitution(), prompts(N))
    calls = N * comparisons * PRINCIPLES * 2
    assert road.count("judge", verdicts=True) == calls == plan.calls("judge") == result.stages["judge"].planned
    assert {len(own) for own in by_prompt(result).values()} == {comparisons}
    spared = {f"pair not compared, by schedule {schedule['kind']}": N * (15 - comparisons)}
    assert result.left_out.items() >= {name: count for name, count in spared.items() if count}.items()
    assert road.plan(wanted, constitution(), prompts(N)).total_calls == 0


def test_swiss_rounds_on_the_road_are_those_of_the_library(tmp_path):
    """The library is played over the outcomes of a run that compared all pairs."""
    every = road_of(tmp_path / "all").run(scheduled("all"), constitution(), prompts(N))
    outcomes = {}
    for one in every.labelled:
        probability = pooled([v.probability for v in one.verdicts], [1.0] * PRINCIPLES, 0.01)[0]
        outcomes.setdefault(one.pair.prompt.id, {})[one.pair.x.id, one.pair.y.id] = probability
    result = road_of(tmp_path / "swiss").run(scheduled("swiss"), constitution(), prompts(N))
    for prompt_id, pairs in by_prompt(result).items():
        ids = sorted({one for two in outcomes[prompt_id] for one in two})
        played = play(ids, outcomes[prompt_id], partial(swiss, max_comparisons=half_of_all_pairs(ANSWERS)))
        assert pairs == set(played.pairs)


def test_what_another_schedule_compared_is_not_asked_again(tmp_path):
    road = road_of(tmp_path)
    road.run(scheduled("all"), constitution(), prompts(N))
    for kind in ("ring", "random", "swiss"):
        assert road.plan(scheduled(kind), constitution(), prompts(N)).total_calls == 0
        road.run(scheduled(kind), constitution(), prompts(N))
        assert road.asked == {}


def test_draws_are_each_prompts_own(tmp_path):
    """Not one pattern over all prompts: with answers in the order of their ids, the rings differ."""
    result = road_of(tmp_path).run(scheduled("ring"), constitution(), prompts(8))
    patterns = set()
    for pairs in by_prompt(result).values():
        ids = sorted({one for two in pairs for one in two})
        patterns.add(frozenset((ids.index(x), ids.index(y)) for x, y in pairs))
    assert len(patterns) > 4


# --- what may change for nothing


def test_weights_labels_and_judges_decide_nothing_about_who_meets_whom(tmp_path):
    road = road_of(tmp_path)
    first = road.run(scheduled("swiss"), constitution(), prompts(N))
    heavier = constitution(
        principle("kind", "kind", weight=9.0), principle("example", "example"), principle("short", "short", weight=0.0)
    )
    for wanted, own in (
        (scheduled("swiss"), heavier),
        (scheduled("swiss", label=LabelSettings(kind="hard")), constitution()),
        (scheduled("swiss", pairs=PAIRS.model_copy(update={"probability_floor": 0.3})), constitution()),
    ):
        assert by_prompt(road.run(wanted, own, prompts(N))) == by_prompt(first)
        assert road.asked == {}


def test_the_first_judge_plays_and_the_others_judge_what_it_played(tmp_path):
    wanted = scheduled("swiss", judges=JudgesSettings(others=({"model": "small"},)))
    road = road_of(tmp_path)
    plan = road.plan(wanted, constitution(), prompts(N))
    result = road.run(wanted, constitution(), prompts(N))
    assert road.opened == ["policy", "small", "judge"]
    alone = road_of(tmp_path / "alone").run(
        scheduled("swiss", judge=JudgeSettings(model="small")), constitution(), prompts(N)
    )
    assert by_prompt(result) == by_prompt(alone)
    assert plan.calls("judge") == 2 * N * 8 * PRINCIPLES * 2
    cascade = wanted.model_copy(update={"judges": wanted.judges.model_copy(update={"ask": "cascade"})})
    for threshold in (0.0, 0.2, 0.5):
        judges = cascade.judges.model_copy(update={"threshold": threshold})
        again = road.run(cascade.model_copy(update={"judges": judges}), constitution(), prompts(N))
        assert road.asked == {}
        assert by_prompt(again) == by_prompt(result)


# --- plans


def test_how_many_swiss_comparisons_there_will_be_is_known_before_the_first(tmp_path):
    road = road_of(tmp_path)
    road.run(scheduled("all", judge=JudgeSettings(model="other")), constitution(), prompts(N))  # the answers are there
    plan = road.plan(scheduled("swiss"), constitution(), prompts(N))
    assert plan.calls("judge") == N * 8 * PRINCIPLES * 2
    assert not plan.is_estimated("judge")
    reasoned = scheduled("swiss", judge=JudgeSettings(model="judge", mode="reasoned"))
    plan = road.plan(reasoned, constitution(), prompts(N))
    assert (plan.calls("reason"), plan.is_estimated("reason")) == (N * 8 * PRINCIPLES * 2, False)
    assert plan.is_estimated("judge")


def test_a_swiss_plan_is_an_estimate_where_other_comparisons_are_stored(tmp_path):
    """Of every prompt a ring is there; which of its pairs the later rounds want is not known."""
    road = road_of(tmp_path)
    road.run(scheduled("ring"), constitution(), prompts(N))
    plan = road.plan(scheduled("swiss"), constitution(), prompts(N))
    assert plan.is_estimated("judge")
    assert {group.reason for group in plan.groups} == {"schedule changed: ring → swiss"}
    road.run(scheduled("swiss"), constitution(), prompts(N))
    assert 0 < road.count("judge", verdicts=True) < N * 8 * PRINCIPLES * 2


@pytest.mark.parametrize("n", range(2, 13))
def test_swiss_takes_no_more_rounds_than_foretold(n):
    draw = random.Random(n)
    ids = [f"{number:02}" for number in range(n)]
    outcomes = {pair: draw.random() for pair in combinations(ids, 2)}
    for comparisons in {1, n // 2, half_of_all_pairs(n), n * (n - 1) // 2, draw.randint(1, n * n)}:
        played = play(ids, outcomes, partial(swiss, max_comparisons=max(1, comparisons)))
        assert len(played.pairs) == min(max(1, comparisons), n * (n - 1) // 2)
        foretold = most_rounds(n, max(1, comparisons))
        assert len(played.rounds) <= foretold
        if comparisons <= half_of_all_pairs(n):
            assert len(played.rounds) == foretold


# --- interrupted


@pytest.mark.parametrize("mode", ["verdict", "reasoned"])
def test_a_tournament_that_crashed_goes_on_as_if_it_had_not(tmp_path, mode):
    wanted = scheduled("swiss", judge=JudgeSettings(model="judge", mode=mode))
    template = load_template("reason") if mode == "reasoned" else None
    own = {"templates": replace(shipped_templates(), mode=template)}
    whole = road_of(tmp_path / "whole", **own)
    whole.write(tmp_path / "undisturbed", wanted, constitution(), prompts(N))
    calls = len(whole.asked["judge"])
    store, asked = tmp_path / "store", 0
    for crash_after in (1, 20, 37, 20):
        with pytest.raises(EngineCrashed):
            road_of(store, judge_faults=Faults(crash_after=crash_after), **own).run(wanted, constitution(), prompts(N))
        asked += crash_after
    last = road_of(store, **own)
    last.write(tmp_path / "resumed", wanted, constitution(), prompts(N))
    assert len(last.asked["judge"]) == calls - asked
    files = sorted(
        path.relative_to(tmp_path / "resumed") for path in (tmp_path / "resumed").rglob("*") if path.is_file()
    )
    assert len(files) > 8
    for name in files:
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes(), name


def test_a_tournament_before_two_judges_in_many_blocks_is_what_it_is_in_one(tmp_path, monkeypatch):
    """Blocks of a large run are made anew for every sitting, and find the rounds before in the store."""
    judges = JudgesSettings(others=({"model": "small"},), ask="cascade", threshold=0.1)
    wanted, faults = scheduled("swiss", judges=judges), Faults(failed=0.1, abstain=0.1)
    asked, rows = [], []
    for name, judgments in (("one", road_module.BLOCK_JUDGMENTS), ("many", 40)):
        monkeypatch.setattr(road_module, "BLOCK_JUDGMENTS", judgments)
        road = road_of(tmp_path / name / "store", judge_faults=faults, other_faults=faults)
        road.write(tmp_path / name / "run", wanted, constitution(), prompts(5))
        asked.append({model: {one.id for one in requests} for model, requests in road.asked.items()})
        rows.append([*read_rows(tmp_path / name / "run" / "labels.parquet")])
        assert road.opened == ["policy", "small", "judge"]
    assert asked[0] == asked[1]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 5 * 8


def test_comparisons_without_a_verdict_leave_the_rounds_going(tmp_path):
    road = road_of(tmp_path, judge_faults=Faults(failed=0.2, abstain=0.2))
    result = road.run(scheduled("swiss"), constitution(principle("kind", "kind")), prompts(N))
    assert {len(own) for own in by_prompt(result).values()} == {8}
    stage = result.stages["judge"]
    assert sum(stage.outcomes.values()) == stage.planned == N * 8 * 2
    assert stage.outcomes["failed"] > 0 < stage.outcomes["abstained"]


# --- told, and refused


def test_explain_leads_to_the_label_under_a_schedule(tmp_path):
    road = road_of(tmp_path / "store")
    road.write(tmp_path / "run", scheduled("swiss"), constitution(), prompts(N))
    rows = [*read_rows(tmp_path / "run" / "labels.parquet")]
    assert len(rows) == N * 8
    with Store(road.store) as store:
        for row in rows:
            found = explain(tmp_path / "run", row, store)
            assert found.probability_x == found.recorded


def test_strengths_are_written_with_their_errors(tmp_path):
    """Against choix, which fits the same model to votes: each soft outcome as so many votes of 1000."""
    result = road_of(tmp_path / "store").write(tmp_path / "run", scheduled("swiss"), constitution(), prompts(N))
    rows = [*read_rows(tmp_path / "run" / "strengths.parquet")]
    assert len(rows) == N * ANSWERS
    assert {row["policy"] for row in rows} == {"policy"}
    for prompt_id in by_prompt(result):
        own = [row for row in rows if row["prompt_id"] == prompt_id]
        assert sum(row["comparisons"] for row in own) == 2 * 8
        assert sum(row["strength"] for row in own) == pytest.approx(0, abs=1e-6)
        place = {row["response_id"]: number for number, row in enumerate(own)}
        votes = []
        for one in (one for one in result.labelled if one.pair.prompt.id == prompt_id):
            x, y = place[one.pair.x.id], place[one.pair.y.id]
            count = round(1000 * one.probability)
            votes += [(x, y)] * count + [(y, x)] * (1000 - count)
        fitted = choix.ilsr_pairwise(ANSWERS, votes)
        assert [row["strength"] for row in own] == pytest.approx(fitted, abs=0.03)
        information = np.zeros((ANSWERS, ANSWERS))
        for winner, loser in votes:
            p = 1 / (1 + np.exp(fitted[loser] - fitted[winner]))
            edge = np.zeros(ANSWERS)
            edge[winner], edge[loser] = 1, -1
            information += p * (1 - p) / 1000 * np.outer(edge, edge)
        errors = np.sqrt(np.diagonal(np.linalg.pinv(information, rcond=1e-9, hermitian=True)))
        assert [row["standard_error"] for row in own] == pytest.approx(errors, rel=0.05)
    road_of(tmp_path / "store").write(
        tmp_path / "run", scheduled("all", pairs=PairSettings()), constitution(), prompts(N)
    )
    assert not (tmp_path / "run" / "strengths.parquet").exists()


def test_best_and_worst_by_strengths_enter_though_they_never_met(tmp_path):
    result = road_of(tmp_path).run(scheduled("swiss"), constitution(), prompts(N))
    assert len(result.pairs) == N


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(ValidationError, match=r"set pairs\.rank_by to bradley_terry"):
        scheduled("ring", pairs=PairSettings())
    scheduled("ring", pairs=PairSettings(rule="all"))
    with pytest.raises(ValidationError, match="mode 'score' makes none"):
        scheduled("swiss", judge=JudgeSettings(model="judge", mode="score"))
