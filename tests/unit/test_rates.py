"""Times of a plan: what this machine measured, of the same model under the same engine settings."""

import pytest

from rlaif.feedback.rates import read_rates, write_timings
from rlaif.settings import EngineSettings
from tests.roads import Road, constitution, prompts, settings

ENGINE = EngineSettings(kind="scripted")
SETTINGS = settings(engine=ENGINE)


def write(folder, seconds, asked, loading=None, own=SETTINGS):
    write_timings(folder, own, seconds=seconds, asked=asked, loading=loading or {})


def test_rates_are_those_of_all_runs_together(tmp_path):
    write(
        tmp_path / "a", {"sample policy": 2.0, "judge with judge": 10.0}, {"sample policy": 4, "judge with judge": 100}
    )
    write(tmp_path / "b", {"judge with judge": 50.0}, {"judge with judge": 500}, {"judge": 7.0})
    rates = read_rates(tmp_path, SETTINGS)
    assert rates.per_call_s == {"sample policy": 0.5, "judge with judge": pytest.approx(0.1)}
    assert rates.loading_s == {"judge": 7.0}


def test_a_run_that_asked_nothing_forgets_no_rate(tmp_path):
    write(tmp_path / "a", {"judge with judge": 10.0}, {"judge with judge": 100}, {"judge": 7.0})
    write(tmp_path / "a", {"judge with judge": 0.001}, {"judge with judge": 0})
    rates = read_rates(tmp_path, SETTINGS)
    assert (rates.per_call_s, rates.loading_s) == ({"judge with judge": 0.1}, {"judge": 7.0})


def test_other_engine_settings_have_rates_of_their_own(tmp_path):
    write(tmp_path / "a", {"judge with judge": 10.0}, {"judge with judge": 100})
    other = settings(engine=EngineSettings(kind="scripted", max_num_seqs=4))
    assert read_rates(tmp_path, other).per_call_s == {}


def test_nothing_measured_or_a_damaged_file_is_no_rate(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "timings.json").write_text('{"seconds": ')
    assert read_rates(tmp_path, SETTINGS).per_call_s == {}


def test_a_plan_multiplies_rates_and_adds_loading_once(tmp_path):
    road = Road(tmp_path / "store")
    write(
        tmp_path / "runs" / "a",
        {"sample policy": 2.0, "judge with judge": 36.0},
        {"sample policy": 4, "judge with judge": 360},
    )
    road.rates = read_rates(tmp_path / "runs", SETTINGS)
    assert road.plan(SETTINGS, constitution(), prompts(2)).seconds is None  # critiques and loading were never timed
    more = {"critique with judge": 1.0}
    write(tmp_path / "runs" / "a", more, {"critique with judge": 2}, {"judge": 5.0, "policy": 3.0})
    road.rates = read_rates(tmp_path / "runs", SETTINGS)
    plan = road.plan(SETTINGS, constitution(), prompts(2))
    assert plan.seconds == pytest.approx(8 * 0.5 + 72 * 0.1 + 2 * 0.5 + 5.0 + 3.0)
    road.run(SETTINGS, constitution(), prompts(2))
    assert road.plan(SETTINGS, constitution(), prompts(2)).seconds == 0.0
