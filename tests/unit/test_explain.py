"""`rlaif explain`: what it shows is what the judge saw, and its steps lead to the label."""

import math

import pytest

from rlaif.cli.explain import step_line
from rlaif.constitution import dump_constitution
from rlaif.documents import write_yaml
from rlaif.engines.scripted import Faults, scripted_identity
from rlaif.feedback.explain import explain
from rlaif.feedback.previous import latest_run, read_previous
from rlaif.records import Message, Prompt
from rlaif.store import Store
from rlaif.templates import dump_template, load_template
from tests.roads import Road, constitution, principle, prompts, settings

CONSTITUTION = constitution(
    principle("kind", "kind", weight=2.0),
    principle("code", "example", tags=frozenset({"code"})),
    principle("mute", "short", weight=0.0),
)
PROMPTS = (*prompts(3), Prompt(messages=(Message("user", "With code?"),), tags=frozenset({"code"})))


def finished(folder, **more):
    """A run's road, result and folder, as `rlaif generate` leaves them."""
    road = Road(folder / "store", judge_rules=(), **more)
    result = road.write(folder / "runs" / "test", settings(), CONSTITUTION, PROMPTS)
    return road, result, folder / "runs" / "test"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("outputs"))


def rows_of(folder):
    from rlaif.pair_dataset import read_rows

    return list(read_rows(folder / "labels.parquet"))


def test_the_prompts_shown_are_exactly_those_the_judge_was_asked(run):
    road, _, folder = run
    asked = {request.id: request.messages[0].content for request in road.asked["judge"] if request.choices}
    found = [explain(folder, row, Store(road.store)) for row in rows_of(folder)]
    shown = {seen.key: seen.prompt for one in found for step in one.steps for seen in step.orders}
    assert shown == asked
    assert len(shown) == 3 * 6 * 2 * 2 + 6 * 3 * 2


def test_the_steps_lead_to_the_label(run):
    road, _, folder = run
    for row in rows_of(folder):
        found = explain(folder, row, Store(road.store))
        shares = []
        for step in found.steps:
            by_side = {}
            for seen in step.orders:
                p = 1 / (1 + math.exp(seen.logprob_b - seen.logprob_a))
                assert seen.probability_a == pytest.approx(p, abs=1e-12)
                by_side[seen.shown_first] = p if seen.shown_first == "x" else 1 - p
                assert seen.uncovered == pytest.approx(1 - math.exp(seen.logprob_a) - math.exp(seen.logprob_b))
            mean = (by_side["x"] + by_side["y"]) / 2
            kept = min(max(mean, found.floor), 1 - found.floor)
            assert step.log_odds == pytest.approx(math.log(kept / (1 - kept)), abs=1e-12)
            if step.weight:
                shares.append(step.log_odds * step.weight / found.total_weight)
                assert step.share == pytest.approx(shares[-1], abs=1e-12)
        assert found.probability_x == pytest.approx(1 / (1 + math.exp(-sum(shares))), abs=1e-12)
        assert found.probability_x == found.recorded == row["probability_x"]


def test_a_principle_of_weight_nought_is_shown_and_has_no_share(run):
    road, _, folder = run
    found = explain(folder, rows_of(folder)[0], Store(road.store))
    silent = next(step for step in found.steps if step.principle_id == "mute")
    assert (silent.share, silent.weight) == (None, 0.0)
    assert silent.probability is not None


def test_what_the_store_lacks_is_said(tmp_path):
    road, result, folder = finished(tmp_path, judge_faults=Faults(failed=0.2))
    failed = result.stages["judge"].outcomes["failed"]
    found = [explain(folder, row, Store(road.store)) for row in rows_of(folder)]
    missing = [seen for one in found for step in one.steps for seen in step.orders if not seen.is_stored]
    assert len(missing) == failed > 5
    assert all("not in the store" in seen.reason for seen in missing)
    assert all(one.probability_x == one.recorded for one in found)


def test_templates_are_saved_with_the_run_and_read_back_the_same(run):
    _, _, folder = run
    saved = load_template("judge.txt", base=folder / "templates")
    assert saved.digest == load_template("judge").digest
    assert dump_template(saved) == (folder / "templates" / "judge.txt").read_text()


def test_a_finished_run_is_read_back_as_what_a_plan_compares_with(run):
    road, result, folder = run
    previous = read_previous(folder)
    assert previous is not None
    assert previous == latest_run(folder.parent)
    assert (previous.settings, previous.judge) == (settings(), scripted_identity("judge"))
    assert dump_constitution(previous.constitution) == dump_constitution(CONSTITUTION)
    assert previous.asked_prompts == {prompt.id for prompt in PROMPTS}
    assert previous.judged_pairs == {label.pair.id for label in result.labelled}
    assert previous.templates.critique.digest == road.templates.critique.digest


def test_a_folder_that_says_too_little_is_no_previous_run(tmp_path):
    assert read_previous(tmp_path) is None
    assert latest_run(tmp_path) is None
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "settings.yaml").write_text(write_yaml({"name": "x"}))
    assert read_previous(tmp_path) is None


def test_a_principle_that_was_scored_is_not_said_to_have_orders():
    step = {
        "orders": [{"score": 3.2}, {"score": 2.1}],
        "judges": (),
        "probability": 0.7,
        "log_odds": 0.8,
        "weight": 1.0,
    }
    assert step_line(step | {"share": 0.8}, 0.01, 1.0).startswith("difference of the two scores P(x) = 0.7000")
    verdict = step | {"orders": [{"score": None}] * 2, "share": 0.8}
    assert step_line(verdict, 0.01, 1.0).startswith("mean of both orders")
