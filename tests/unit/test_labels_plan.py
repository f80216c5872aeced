"""`rlaif labels plan`: what it says is enough gives the interval that was asked for; simulated, with fewer repetitions
than `make bench-label-draws`."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.label_draws import agreeing, pilot, sizes_of, vote
from rlaif.cli import labels as cli
from rlaif.labels.file import write_votes
from rlaif.labels.planning import basis_of_pilot, needs
from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.figures import NotDefined
from rlaif.numbers.intervals import estimate, mean_measure
from tests.scale import times


@pytest.mark.slow
@pytest.mark.parametrize("people", [1, 3])
def test_a_plan_from_a_pilot_gives_the_wanted_half_width_within_a_tenth(people):
    """Unequal numbers of pairs to a prompt; the width is that of the clustered bootstrap every report uses."""
    generator, wanted = np.random.default_rng(people), 0.04
    basis = basis_of_pilot(pilot(generator, 600, 3))
    (need,) = needs(wanted, basis, (people,))
    widths = []
    for run in range(times(20, full=200)):
        sizes = sizes_of(generator, 3000)
        sizes = sizes[: int(np.searchsorted(sizes.cumsum(), need.pairs)) + 1]
        votes = agreeing(generator, sizes, people)
        boot = cluster_bootstrap(np.arange(len(sizes)).repeat(sizes), num_resamples=999, seed=run)
        figure = estimate(boot, mean_measure(votes.mean(axis=1)))
        widths.append((figure.high - figure.low) / 2)
    assert np.mean(widths) == pytest.approx(wanted, rel=0.1)


def test_a_pilot_says_what_its_votes_are_like():
    """Two prompts with 1 and 3 pairs: Σ m² / Σ m = 10 / 4; three people agree with the judge 9 of 12 times."""
    agrees = [[1, 1, 1], [1, 1, 0], [1, 0, 1], [1, 1, 0]]
    votes = []
    for row, said in enumerate(agrees):
        prompt = 0 if row == 0 else 1
        votes.append(vote(prompt, row, "j", "second", "judge"))
        votes += [
            vote(prompt, row, f"r{i}", "second" if one else "first", seconds=10.0 + i) for i, one in enumerate(said)
        ]
    basis = basis_of_pilot(votes)
    assert basis.votes_alike.rate == pytest.approx(9 / 12)
    assert basis.pairs_per_prompt == pytest.approx(2.5)
    assert basis.seconds == 11.0
    assert basis.about == "a person agrees with the judge"
    assert any("2 prompts" in note for note in basis.notes)


def test_without_a_judge_people_are_measured_by_the_others():
    votes = [vote(n, n, rater, "first" if n % 3 or rater == "a" else "second") for n in range(9) for rater in "abc"]
    basis = basis_of_pilot(votes)
    assert basis.about == "a person agrees with the majority of the others"
    assert 0.5 < basis.votes_alike.rate < 1


def test_ties_are_half_right():
    votes = [vote(n, n, "j", "first", "judge") for n in range(4)]
    votes += [vote(n, n, "a", choice) for n, choice in enumerate(["first", "tie", "both_bad", "second"])]
    assert basis_of_pilot(votes).votes_alike.rate == pytest.approx(0.5)


def test_a_pilot_that_tells_nothing_is_refused(tmp_path):
    assert isinstance(basis_of_pilot([vote(0, 0, "a", "first")]), NotDefined)
    write_votes(tmp_path / "one.jsonl", [vote(0, 0, "a", "first")])
    result = CliRunner().invoke(cli.app, ["plan", "--half-width", "0.03", "--pilot", str(tmp_path / "one.jsonl")])
    assert "tells nothing" in str(result.exception)


def plan(*arguments):
    result = CliRunner().invoke(cli.app, ["plan", *arguments])
    assert result.exit_code == 0, result.exception
    return result.stdout


def test_the_command_answers_the_textbooks_number():
    """±0.03 at p = 1/2, votes that do not go together: 1,068 and a few for Student's t."""
    shown = json.loads(
        plan("--half-width", "0.03", "--same-pair", "0", "--same-prompt", "0", "--raters", "1", "--json")
    )
    assert shown["needs"][0]["pairs"] in range(1068, 1073)
    assert shown["needs"][0]["hours"] is None
    assert shown["notes"] == []


def test_the_command_says_what_is_assumed_and_what_is_cheapest():
    shown = plan("--half-width", "0.05", "--agreement", "0.7", "--seconds", "30")
    assert "note: there is no pilot" in shown
    assert "hours" in shown
    assert "fewest votes:" in shown
    fewer = json.loads(plan("--half-width", "0.05", "--agreement", "0.7", "--json"))["needs"]
    pairs, votes = [one["pairs"] for one in fewer], [one["votes"] for one in fewer]
    assert pairs == sorted(pairs, reverse=True)
    assert votes == sorted(votes)


def test_the_command_reads_a_pilot(tmp_path):
    write_votes(tmp_path / "pilot.jsonl", pilot(np.random.default_rng(0), 60, 2))
    shown = json.loads(plan("--half-width", "0.05", "--pilot", str(tmp_path / "pilot.jsonl"), "--json"))
    assert 0.6 < shown["rate"] < 0.8
    assert shown["pairs_per_prompt"] > 1
    assert shown["needs"][0]["hours"] == pytest.approx(shown["needs"][0]["votes"] * 20 / 3600)
