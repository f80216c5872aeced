"""Random changes of judges, thresholds and schedules: the store gives what an empty one would, and the plan knew it."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rlaif.pair_dataset import label_row
from rlaif.settings import (
    JudgeSettings,
    JudgesSettings,
    PairSettings,
    PolicySettings,
    SamplingSettings,
    ScheduleSettings,
    Settings,
)
from tests.roads import Road, constitution, principle, prompts
from tests.roads import settings as road_settings
from tests.scale import times

OTHERS = ((), ({"model": "small"},), ({"model": "small"}, {"model": "middle"}), ({"model": "middle"},))
SCHEDULES = (
    {"kind": "all"},
    {"kind": "ring"},
    {"kind": "random", "opponents": 2},
    {"kind": "swiss"},
    {"kind": "swiss", "comparisons": 8},
)
PARTS = {
    "others": 4,
    "cascade": 2,
    "threshold": 4,
    "pool": 2,
    "weights": 2,
    "schedule": 5,
    "samples": 2,
    "text": 3,
    "weight": 2,
    "prompts": 2,
}
CHANGES = st.sampled_from(sorted(PARTS)).flatmap(lambda part: st.tuples(st.just(part), st.integers(0, PARTS[part] - 1)))


def wanted(parts: Counter) -> Settings:
    others = OTHERS[parts["others"]]
    return road_settings(
        policies=(
            PolicySettings(model="policy", samples=4 + parts["samples"], sampling=SamplingSettings(max_tokens=40)),
        ),
        judge=JudgeSettings(model="judge"),
        judges=JudgesSettings(
            others=others,
            ask="cascade" if parts["cascade"] else "panel",
            threshold=(0.2, 0.0, 0.35, 0.5)[parts["threshold"]],
            pool=("mean", "majority")[parts["pool"]],
            weights=tuple(range(1, len(others) + 2)) if parts["weights"] else (),
        ),
        schedule=ScheduleSettings(**SCHEDULES[parts["schedule"]]),
        pairs=PairSettings(min_margin=0.0, critiques="none", rank_by="bradley_terry"),
    )


def check_changes(folder, changes):
    kept, parts = Road(folder / "kept", judge_rules=()), Counter()
    for number, (part, value) in enumerate([("others", 0), *changes]):
        parts[part] = value
        own = constitution(
            principle("kind", f"kind{parts['text']}"), principle("short", "short", weight=1.0 + parts["weight"])
        )
        arguments = (wanted(parts), own, prompts(2 + parts["prompts"]))
        plan = kept.plan(*arguments)
        fresh = Road(folder / f"fresh{number}", judge_rules=())
        result, expected = kept.run(*arguments), fresh.run(*arguments)
        assert [label_row(one) for one in result.labelled] == [label_row(one) for one in expected.labelled]
        assert {name: one.planned for name, one in result.stages.items()} == {
            name: one.planned for name, one in expected.stages.items()
        }
        for step in plan.steps:
            if not step.is_estimated:
                assert step.bill.calls == len(kept.asked.get(step.bill.model, ())), (step, changes)
        assert kept.plan(*arguments).total_calls == 0


QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


@settings(max_examples=3, **QUIET)
@given(st.lists(CHANGES, min_size=2, max_size=5))
@example([("schedule", 3), ("others", 2), ("cascade", 1), ("text", 1)])
@example([("others", 1), ("cascade", 1), ("schedule", 1), ("schedule", 4), ("threshold", 2)])
def test_after_changes_the_store_gives_what_an_empty_one_would_and_the_plan_knew_the_calls(tmp_path_factory, changes):
    check_changes(tmp_path_factory.mktemp("judges"), changes)


@pytest.mark.slow
@settings(max_examples=times(20, full=150), **QUIET)
@given(st.lists(CHANGES, min_size=2, max_size=8))
def test_many_changes_of_judges(tmp_path_factory, changes):
    check_changes(tmp_path_factory.mktemp("judges"), changes)
