"""Times of a plan: what this machine measured, of the same model under the same engine settings."""

import pytest

from rlaif.feedback.cost import Rate, effort
from rlaif.feedback.progress import Work
from rlaif.feedback.rates import Timed, read_rates, write_timings
from rlaif.settings import EngineSettings
from tests.roads import Road, constitution, prompts, settings

ENGINE = EngineSettings(kind="scripted")
SETTINGS = settings(engine=ENGINE)
JUDGE = "judge with judge"


def timed(seconds, calls, prompt=0, computed=None, output=0):
    return Timed(seconds, Work(calls=calls, prompt_tokens=prompt, computed_tokens=computed, output_tokens=output))


def write(folder, stages, loading=None, own=SETTINGS):
    write_timings(folder, own, stages=stages, loading=loading or {})


def test_rates_are_those_of_all_runs_together(tmp_path):
    write(tmp_path / "a", {"sample policy": timed(2.0, 4), JUDGE: timed(10.0, 100)})
    write(tmp_path / "b", {JUDGE: timed(50.0, 500)}, {"judge": 7.0})
    rates = read_rates(tmp_path, SETTINGS)
    assert {name: rate.seconds * effort(1, 0, 0) for name, rate in rates.by_stage.items()} == {
        "sample policy": pytest.approx(0.5),
        JUDGE: pytest.approx(0.1),
    }
    assert rates.loading_s == {"judge": 7.0}


@pytest.mark.parametrize(
    ("work", "rate"),
    [
        (timed(9.0, 0, prompt=1000, computed=300), Rate(9.0 / 300, reads_once=True)),
        (timed(9.0, 0, prompt=1000, computed=1000), Rate(9.0 / 1000, reads_once=False)),
        (timed(9.0, 0, prompt=1000, computed=None), Rate(9.0 / 1000, reads_once=False)),
    ],
    ids=["a cache of prefixes", "none", "not said"],
)
def test_a_rate_is_of_the_tokens_that_the_engine_computes(tmp_path, work, rate):
    write(tmp_path / "a", {JUDGE: work})
    assert read_rates(tmp_path, SETTINGS).by_stage == {JUDGE: rate}


def test_a_run_that_asked_nothing_forgets_no_rate(tmp_path):
    write(tmp_path / "a", {JUDGE: timed(10.0, 100)}, {"judge": 7.0})
    before = read_rates(tmp_path, SETTINGS)
    write(tmp_path / "a", {})
    assert read_rates(tmp_path, SETTINGS) == before


def test_other_engine_settings_have_rates_of_their_own(tmp_path):
    write(tmp_path / "a", {JUDGE: timed(10.0, 100)})
    other = settings(engine=EngineSettings(kind="scripted", max_num_seqs=4))
    assert read_rates(tmp_path, other).by_stage == {}


@pytest.mark.parametrize("text", ['{"seconds": ', '{"seconds": {"judge with judge": 10.0}, "asked": {}}'])
def test_nothing_measured_a_damaged_file_or_one_of_an_older_version_is_no_rate(tmp_path, text):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "timings.json").write_text(text)
    assert read_rates(tmp_path, SETTINGS).by_stage == {}


def test_a_plan_multiplies_rates_with_what_it_counts_and_adds_loading_once(tmp_path):
    road = Road(tmp_path / "store")
    stages = {"sample policy": timed(2.0, 4), JUDGE: timed(36.0, 0, prompt=9000, computed=360)}
    write(tmp_path / "runs" / "a", stages)
    road.rates = read_rates(tmp_path / "runs", SETTINGS)
    assert road.plan(SETTINGS, constitution(), prompts(2)).seconds is None  # critiques and loading were never timed
    more = {"critique with judge": timed(1.0, 2, prompt=30)}
    write(tmp_path / "runs" / "a", more, {"judge": 5.0, "policy": 3.0})
    road.rates = read_rates(tmp_path / "runs", SETTINGS)
    plan = road.plan(SETTINGS, constitution(), prompts(2))
    sample, judge, critique = (step.bill for step in plan.steps)
    expected = 2.0 / effort(4, 0, 0) * effort(8, sample.prompt_tokens, sample.output_tokens)
    expected += 36.0 / 360 * effort(72, judge.shared_tokens, 72)
    expected += 1.0 / effort(2, 30, 0) * effort(2, critique.prompt_tokens, critique.output_tokens)
    assert plan.seconds == pytest.approx(expected + 5.0 + 3.0)
    road.run(SETTINGS, constitution(), prompts(2))
    assert road.plan(SETTINGS, constitution(), prompts(2)).seconds == 0.0
