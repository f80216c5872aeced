"""Two judges on the same labels: paired tests against other libraries, from labels and from kept reports."""

import numpy as np
import pytest
from scipy import stats

from rlaif.errors import DataError
from rlaif.evaluate.comparison.diff import diff, judge_of_report, paired
from rlaif.evaluate.comparison.gathering import gather
from rlaif.evaluate.comparison.report import per_pair
from tests.compare_kit import QUICK, Pairs, choices, erring, probabilities, report_of, write


@pytest.fixture(scope="module")
def judges(tmp_path_factory):
    """One person; a judge that errs in 35 % and one in 15 %; 300 pairs, each of its own prompt."""
    folder, chance = tmp_path_factory.mktemp("judges"), np.random.default_rng(8)
    pairs = Pairs(300, 300)
    write(folder / "people.jsonl", choices(pairs, "ann", pairs.better))
    said = {}
    for name, rate in (("weak", 0.35), ("strong", 0.15)):
        said[name] = erring(pairs.better, rate, chance)
        write(folder / f"{name}.jsonl", probabilities(pairs, name, 0.5 + 0.3 * said[name]))
    return folder, pairs, said


def side(folder, name):
    compared = gather([folder / "people.jsonl"], [folder / f"{name}.jsonl"], QUICK).compared
    return per_pair(compared, compared.judges[0])


def test_the_tests_are_those_of_other_libraries_where_each_pair_has_its_own_prompt(judges):
    folder, pairs, said = judges
    told = diff(("weak", "strong"), side(folder, "weak"), side(folder, "strong"))
    weak, strong = (said[name] == pairs.better for name in ("weak", "strong"))
    only_weak, only_strong = int((weak & ~strong).sum()), int((strong & ~weak).sum())
    assert (told["test"]["only_first_right"], told["test"]["only_second_right"]) == (only_weak, only_strong)
    exact = stats.binomtest(only_weak, only_weak + only_strong).pvalue
    assert told["test"]["p_exact"] == pytest.approx(exact)
    t_test = stats.ttest_rel(strong.astype(float), weak.astype(float)).pvalue
    assert told["test"]["p_clustered"] == pytest.approx(t_test, rel=1e-6)
    assert told["agreement"]["difference"]["value"] == pytest.approx(strong.mean() - weak.mean())
    assert told["agreement"]["difference"]["low"] > 0
    assert told["brier"]["difference"]["value"] == pytest.approx(0.6 * (weak.mean() - strong.mean()))
    assert told["changed"]["value"] == pytest.approx((weak != strong).mean())
    assert told["sentence"].startswith("strong against weak: +")


def test_two_kept_reports_give_what_the_labels_give(judges):
    folder, _, _ = judges
    reports = [report_of([folder / "people.jsonl"], [folder / f"{name}.jsonl"]) for name in ("weak", "strong")]
    kept = [judge_of_report(one, "r.json", None) for one in reports]
    assert [name for name, _ in kept] == ["weak", "strong"]
    of_labels = diff(("weak", "strong"), side(folder, "weak"), side(folder, "strong"))
    assert diff(("weak", "strong"), kept[0][1], kept[1][1]) == of_labels


def test_only_what_both_had_to_answer_is_compared(judges, tmp_path):
    folder, pairs, said = judges
    some = [one if place < 200 else None for place, one in enumerate(said["strong"])]
    write(tmp_path / "half.jsonl", choices(pairs, "half", some, "judge"))
    compared = gather([folder / "people.jsonl"], [tmp_path / "half.jsonl"], QUICK).compared
    told = diff(("weak", "half"), side(folder, "weak"), per_pair(compared, compared.judges[0]))
    assert told["compared"]["both_answered"] == 200
    assert (told["compared"]["only_first"], told["compared"]["only_second"]) == (100, 0)
    weak = np.array(said["weak"][:200] == pairs.better[:200])
    assert told["agreement"]["first"]["value"] == pytest.approx(weak.mean())


def test_a_judge_against_itself_differs_in_nothing(judges):
    folder, _, _ = judges
    told = diff(("a", "b"), side(folder, "weak"), side(folder, "weak"))
    assert told["agreement"]["difference"]["value"] == 0
    assert "agree with people equally" in told["sentence"]
    assert "because" in told["test"]


def test_labels_that_changed_between_two_reports_are_counted(judges, tmp_path):
    folder, pairs, _ = judges
    changed = np.where(np.arange(300) < 12, -pairs.better, pairs.better)
    write(tmp_path / "people.jsonl", choices(pairs, "ann", changed))
    compared = gather([tmp_path / "people.jsonl"], [folder / "strong.jsonl"], QUICK).compared
    assert paired(side(folder, "strong"), per_pair(compared, compared.judges[0])).num_relabelled == 12


def test_what_cannot_be_paired_is_an_error(judges, tmp_path):
    folder, _, _ = judges
    with pytest.raises(DataError, match="no report of `rlaif compare`"):
        judge_of_report({"format": "else"}, "r.json", None)
    other = Pairs(20, 20, seed=5, sides="cd")
    write(tmp_path / "p.jsonl", choices(other, "ann", other.better))
    write(tmp_path / "j.jsonl", choices(other, "j", other.better, "judge"))
    compared = gather([tmp_path / "p.jsonl"], [tmp_path / "j.jsonl"], QUICK).compared
    with pytest.raises(DataError, match="no pair in common"):
        diff(("a", "b"), side(folder, "weak"), per_pair(compared, compared.judges[0]))
    report = report_of([folder / "people.jsonl"], [folder / "weak.jsonl"])
    with pytest.raises(DataError, match="no judge 'weka'"):
        judge_of_report(report, "r.json", "weka")
