"""What a cascade would keep and spend, told from stored verdicts: against cascades that were really run."""

import json
from functools import partial

import pytest
from typer.testing import CliRunner

from rlaif.cli.judges import app
from rlaif.engines.scripted import Faults
from rlaif.errors import DataError
from rlaif.feedback.thresholds import at_thresholds
from rlaif.numbers.pooling import side
from rlaif.settings import JudgeSettings, JudgesSettings, PairSettings
from rlaif.store import Store
from tests.roads import Road, constitution, prompts, settings

N = 9
UNITS = N * 6 * 3
AT = (0.0, 0.15, 0.3, 0.5)

wants = partial(settings, pairs=PairSettings(min_margin=0.0, critiques="none"))


def several(**more):
    others = ({"model": "small", "price_per_million_prompt_tokens": 1.0}, {"model": "middle"})
    judge = JudgeSettings(model="judge", price_per_million_prompt_tokens=5.0)
    return wants(judge=judge, judges=JudgesSettings(others=others, **more))


def road_of(store, **more):
    """Three judges, each with opinions of its own about everything."""
    return Road(store, judge_rules=(), **more)


@pytest.fixture(scope="module")
def panel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("panel")
    road = road_of(folder / "outputs" / "store")
    result = road.write(folder / "outputs" / "runs" / "panel", several(), constitution(), prompts(N))
    return folder, result


def reported(folder, at=AT):
    with Store(folder / "outputs" / "store") as store:
        return at_thresholds(folder / "outputs" / "runs" / "panel", store, at)


def test_every_row_is_what_a_cascade_at_that_threshold_does(panel, tmp_path):
    """Cascades are run from an empty store: their labels, requests and tokens are counted where they are made."""
    folder, full = panel
    report = reported(folder)
    assert (report.pairs, report.incomplete) == (N * 6, 0)
    sides = {one.pair.id: side(one.probability) for one in full.labelled}
    probabilities = {one.pair.id: one.probability for one in full.labelled}
    rows = {row.threshold: row for row in report.rows}
    for threshold in AT:
        road = road_of(tmp_path / str(threshold))
        result = road.run(several(ask="cascade", threshold=threshold), constitution(), prompts(N))
        row = rows[threshold]
        same = sum(side(one.probability) == sides[one.pair.id] for one in result.labelled)
        apart = sum(abs(one.probability - probabilities[one.pair.id]) for one in result.labelled)
        assert row.agreement.value == pytest.approx(same / (N * 6))
        assert row.agreement.n == N * 6
        assert row.difference == pytest.approx(apart / (N * 6))
        planned = [result.stages[name].planned for name in ("judge: small", "judge: middle", "judge")]
        assert row.asked == tuple(one / (2 * UNITS) for one in planned)
        assert row.calls_share == sum(planned) / (3 * 2 * UNITS)
        tokens = sum(one.prompt_tokens + one.output_tokens for one in result.judgments)
        assert row.tokens_share == tokens / sum(one.prompt_tokens + one.output_tokens for one in full.judgments)
    assert 0 < rows[0.15].tokens_share < rows[0.3].tokens_share < 1
    assert rows[0.5].agreement.value == rows[0.5].tokens_share == rows[0.5].money_share == 1.0


def test_the_first_judge_alone_is_the_other_end(panel, tmp_path):
    folder, full = panel
    row = reported(folder).rows[0]
    alone = road_of(tmp_path).run(wants(judge=JudgeSettings(model="small")), constitution(), prompts(N))
    sides = {one.pair.id: side(one.probability) for one in full.labelled}
    same = sum(side(one.probability) == sides[one.pair.id] for one in alone.labelled)
    assert row.threshold is None
    assert row.asked == (1.0, 0.0, 0.0)
    assert row.calls_share == pytest.approx(1 / 3)
    assert row.agreement.value == pytest.approx(same / (N * 6))
    assert row.money_share == pytest.approx(1 / 6)


def test_pairs_that_some_judge_never_saw_are_left_out_and_counted(tmp_path):
    folder = tmp_path / "outputs" / "runs" / "panel"
    road = road_of(tmp_path / "outputs" / "store")
    result = road.write(folder, several(ask="cascade", threshold=0.3), constitution(), prompts(N))
    assert result.stages["judge"].planned < 2 * UNITS
    with Store(tmp_path / "outputs" / "store") as store:
        report = at_thresholds(folder, store, AT)
    assert 0 < report.pairs < N * 6
    assert report.pairs + report.incomplete == N * 6


def test_failures_leave_their_pairs_out_and_silence_does_not(tmp_path):
    folder = tmp_path / "outputs" / "runs" / "panel"
    road = road_of(tmp_path / "outputs" / "store", other_faults=Faults(abstain=0.3), judge_faults=Faults(failed=0.05))
    result = road.write(folder, several(), constitution(), prompts(N))
    failed = {one.pair_id for one in result.judgments if one.outcome == "failed"}
    with Store(tmp_path / "outputs" / "store") as store:
        report = at_thresholds(folder, store, AT)
    assert report.incomplete == len(failed) > 0
    assert next(row for row in report.rows if row.threshold == 0.5).agreement.value == 1.0


def test_pairs_that_all_judges_are_silent_about_are_counted(tmp_path):
    folder = tmp_path / "outputs" / "runs" / "panel"
    silent = Faults(abstain=1.0)
    road_of(tmp_path / "outputs" / "store", other_faults=silent, judge_faults=silent).write(
        folder, several(), constitution(), prompts(1)
    )
    with Store(tmp_path / "outputs" / "store") as store:
        report = at_thresholds(folder, store, AT)
    assert (report.pairs, report.incomplete, report.unlabelled, report.rows) == (0, 0, 6, ())


def test_a_run_with_one_judge_has_nothing_to_tell(tmp_path):
    folder = tmp_path / "outputs" / "runs" / "panel"
    road = road_of(tmp_path / "outputs" / "store")
    road.write(folder, wants(), constitution(), prompts(1))
    with Store(road.store) as store, pytest.raises(DataError, match="one judge"):
        at_thresholds(folder, store, AT)


def test_the_command_prints_a_table_and_json(panel):
    folder, _ = panel
    words = ["panel", "--output", str(folder / "outputs"), "--at", "0.1", "--at", "0.5"]
    shown = CliRunner().invoke(app, words, catch_exceptions=False)
    assert shown.exit_code == 0
    assert "small → middle → judge, pool: mean" in shown.output
    assert f"On {N * 6} pairs with every judge's verdicts in the store" in shown.output
    found = json.loads(CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False).output)
    assert [row["threshold"] for row in found["thresholds"]] == [None, 0.1, 0.5]
    assert found["thresholds"][1]["agreement"]["n"] == N * 6
