"""People and judges compared: each figure against another library or a hand value, and what bad input gives."""

import json
from dataclasses import replace

import krippendorff
import numpy as np
import pytest
from scipy import special
from sklearn.metrics import cohen_kappa_score, precision_recall_fscore_support

from rlaif.errors import DataError, InputError
from rlaif.evaluate.comparison.gathering import gather
from rlaif.evaluate.comparison.report import as_bytes, make_report
from rlaif.evaluate.comparison.rows import compared_rows
from rlaif.evaluate.comparison.sections import markdown, sections
from rlaif.evaluate.comparison.soft_labels import soft_labels
from rlaif.evaluate.comparison.terms import Terms
from rlaif.labels.file import read_votes
from rlaif.labels.votes import found_of, swapped_found
from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.choices import shares
from rlaif.numbers.intervals import estimates
from rlaif.numbers.panel import panel_measures
from tests.compare_kit import (
    CHOICE,
    QUICK,
    Pairs,
    both_orders,
    choices,
    erring,
    found,
    made,
    probabilities,
    report_of,
    write,
)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three people, two of them with ties, and a judge; 240 pairs of 60 prompts. (folder, pairs, what each said)."""
    folder, chance = tmp_path_factory.mktemp("three"), np.random.default_rng(3)
    pairs = Pairs(240, 60, tags=("plain", "hard"))
    said = {name: erring(pairs.better, rate, chance) for name, rate in (("ann", 0.1), ("ben", 0.2), ("cat", 0.25))}
    said["ben"] = np.where(chance.random(240) < 0.15, 0, said["ben"])
    said["cat"] = np.where(chance.random(240) < 0.1, 0, said["cat"])
    said["judge"] = erring(pairs.better, 0.2, chance)
    people = [choices(pairs, name, said[name]) for name in ("ann", "ben", "cat")]
    write(folder / "people.jsonl", *people)
    write(folder / "judge.jsonl", choices(pairs, "judge", said["judge"], "judge"))
    return folder, pairs, said


@pytest.fixture(scope="module")
def report(three):
    folder, _, _ = three
    return report_of([folder / "people.jsonl"], [folder / "judge.jsonl"])


def first_label(pairs, place):
    """The vote of somebody who prefers the pair's first answer."""
    return made(found(pairs, place, "r", choice="first"))


def as_counted(pairs, said):
    """What was said in the order the report counts in: by content, where nobody knows the order shown."""
    is_first = [first_label(pairs, place).label.choice == "first" for place in range(pairs.count)]
    return np.where(is_first, said, -said)


def test_two_raters_figures_are_those_of_other_libraries(three, report):
    _, pairs, said = three
    ben, cat = (as_counted(pairs, said[name]) for name in ("ben", "cat"))
    own = report["rater_pairs"]["ben / cat"]
    assert own["agreement"]["value"] == pytest.approx((ben == cat).mean())
    assert own["cohen_kappa"]["value"] == pytest.approx(cohen_kappa_score(ben, cat))
    assert own["linear_kappa"]["value"] == pytest.approx(cohen_kappa_score(ben, cat, weights="linear"))
    alphas = {
        level: krippendorff.alpha(np.array([ben, cat]), level_of_measurement=level) for level in ("nominal", "ordinal")
    }
    assert own["krippendorff_alpha"]["value"] == pytest.approx(alphas["nominal"])
    assert own["krippendorff_alpha_ordinal"]["value"] == pytest.approx(alphas["ordinal"])
    assert (own["agreement"]["n"], own["agreement"]["clusters"]) == (240, 60)
    scores = precision_recall_fscore_support(ben, cat, average="macro")[:3]
    assert [own[name]["value"] for name in ("precision", "recall", "f1")] == pytest.approx(scores)


def test_a_judge_is_held_against_each_person_and_the_majority(three, report):
    _, pairs, said = three
    people = np.stack([said[name] for name in ("ann", "ben", "cat")])
    counts = np.stack([(people == answer).sum(axis=0) for answer in (1, 0, -1)])
    winners = counts == counts.max(axis=0)
    column = {1: 0, 0: 1, -1: 2}
    right = [winners[column[int(one)], place] / winners[:, place].sum() for place, one in enumerate(said["judge"])]
    against = report["rater_pairs"]["majority of people / judge"]
    assert against["accuracy"]["value"] == against["agreement"]["value"] == pytest.approx(np.mean(right))
    assert report["rater_pairs"]["ann / judge"]["agreement"]["value"] == pytest.approx(
        (said["ann"] == said["judge"]).mean()
    )
    assert set(report["rater_pairs"]) == {
        *(f"{a} / {b}" for a, b in (("ann", "ben"), ("ann", "cat"), ("ben", "cat"))),
        *(f"{name} / judge" for name in ("ann", "ben", "cat", "majority of people")),
    }
    assert report["judges"]["judge"]["per_pair"]["right"] == pytest.approx(in_report_order(pairs, right))


def in_report_order(pairs, values):
    ids = [first_label(pairs, place).pair.id for place in range(pairs.count)]
    return [values[place] for place in np.argsort(ids)]


def test_every_figure_has_a_value_an_interval_and_its_n(report):
    def figures(told):
        if isinstance(told, dict):
            if "value" in told and "standard_error" not in told:
                yield told
            else:
                for one in told.values():
                    yield from figures(one)
        elif isinstance(told, list):
            for one in told:
                yield from figures(one)

    every = list(figures(report))
    assert len(every) > 200
    for one in every:
        assert set(one) >= {"value", "low", "high", "n"}
        assert (one["low"] is not None and one["high"] is not None) or one["because"]
        if one["low"] is not None and one["high"] is not None:
            assert one["low"] <= one["value"] + 1e-9
            assert one["value"] <= one["high"] + 1e-9


def test_same_votes_and_seed_same_bytes_however_they_are_written(three, report, tmp_path):
    folder, _, _ = three
    chance = np.random.default_rng(5)
    for name in ("people", "judge"):
        votes = list(read_votes(folder / f"{name}.jsonl"))
        votes = [made(swapped_found(replace(found_of(vote), first_model="p", second_model="q"))) for vote in votes]
        write(tmp_path / f"{name}.jsonl", [votes[place] for place in chance.permutation(len(votes))])
    again = report_of([tmp_path / "people.jsonl"], [tmp_path / "judge.jsonl"])
    again["notes"] = [note for note in again["notes"] if "models are named" not in note]
    assert as_bytes(again) == as_bytes(report)
    other = report_of([tmp_path / "people.jsonl"], [tmp_path / "judge.jsonl"], replace(QUICK, seed=1))
    assert as_bytes(other) != as_bytes(report)


def test_people_alone_are_compared_with_each_other(three, tmp_path):
    folder, _, said = three
    found_report = report_of([folder / "people.jsonl"])
    assert found_report["judges"] == {}
    assert len(found_report["rater_pairs"]) == 3
    assert "Two people give the same answer on" in found_report["sentences"]["as_people_agree"]
    pairs = [(said[a] == said[b]).mean() for a, b in (("ann", "ben"), ("ann", "cat"), ("ben", "cat"))]
    assert found_report["people"]["agreement"]["value"] == pytest.approx(np.mean(pairs))


def test_a_crowd_has_the_figures_of_a_full_table(tmp_path):
    """Forty people with votes on some pairs each: seats hold what a table of all raters holds."""
    pairs, chance = Pairs(120, 40), np.random.default_rng(7)
    said = np.full((40, 120), None, dtype=object)
    for place in range(120):
        for person in chance.choice(40, chance.integers(2, 5), replace=False):
            said[person, place] = int(chance.choice([1, 0, -1], p=[0.6, 0.1, 0.3]) * pairs.better[place])
    write(tmp_path / "crowd.jsonl", *(choices(pairs, f"p{person:02d}", said[person]) for person in range(40)))
    compared = gather([tmp_path / "crowd.jsonl"], [], QUICK).compared
    codes = np.stack([compared.codes(place) for place in range(40)], axis=1)
    full = estimates(cluster_bootstrap(compared.prompts, num_resamples=300), panel_measures(shares(codes, "class")))
    own = report_of([tmp_path / "crowd.jsonl"])
    for name in ("agreement", "krippendorff_alpha", "fleiss_kappa", "gwet_ac1"):
        assert own["people"][name]["value"] == pytest.approx(full[name].value, abs=1e-11)
        assert own["people"][name]["low"] == pytest.approx(full[name].low, abs=1e-11)
    assert "12 people of 40 are compared one by one" in own["notes"][0]
    assert len(own["rater_pairs"]) == 12 * 11 / 2


# --- where it does not, what sways it, what mends it, what it adds


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """People right in 9 of 10; a judge that is too sure, guesses on `hard`, and likes what is longer and first."""
    folder, chance = tmp_path_factory.mktemp("planted"), np.random.default_rng(11)
    pairs = Pairs(900, 300, tags=("plain", "hard", "dull"))
    ann, *others = [erring(pairs.better, 0.1, chance) for _ in range(3)]
    people = [choices(pairs, name, said) for name, said in zip(("ann", "ben", "cat"), (ann, *others), strict=True)]
    hard = np.arange(900) % 3 == 1
    worth = np.where(hard, 0.0, 1.2) * pairs.better + chance.normal(0, 1.0, 900) + 0.08 * pairs.longer
    first, second = special.expit(3 * (worth + 0.3)), special.expit(3 * (worth - 0.3))
    said = (first + second) / 2
    voted = probabilities(pairs, "judge", said, lambda place: (both_orders("good", first[place], second[place]),))
    seen = np.arange(900) < 300  # by people
    write(folder / "people.jsonl", *([one for place, one in enumerate(own) if seen[place]] for own in people))
    write(folder / "judge.jsonl", voted)
    files = [folder / "people.jsonl"], [folder / "judge.jsonl"]
    unequal = seen & (pairs.longer != 0)
    clipped = [special.logit(np.clip(one[seen], 0.01, 0.99)) for one in (first, second)]
    told = {
        "ann prefers longer": (ann == np.sign(pairs.longer))[unequal].mean(),
        "first place": ((clipped[0] - clipped[1]) / 2).mean(),
    }
    return folder, files, gather(*files, QUICK), report_of(*files), told


def test_the_report_names_where_the_judge_agrees_least(planted):
    *_, report, _ = planted
    tags = {one["name"]: one for one in report["judges"]["judge"]["slices"]["tag"]}
    assert [name for name, one in tags.items() if one["is_lower"]] == ["hard"]
    assert tags["hard"]["difference"]["high"] < 0
    assert tags["hard"]["human"]["value"] > tags["hard"]["agreement"]["high"]  # people see it
    assert "where tag 'hard'" in report["sentences"]["where_not"]
    assert "the judge agrees worse than people do" in report["sentences"]["as_people_agree"]


def test_what_sways_the_judge_beyond_people_is_found(planted):
    *_, report, told = planted
    (judge,) = (one for one in report["raters"] if one["kind"] == "judge")
    assert judge["effects"]["length"]["low"] > 0
    assert judge["effects"]["position"]["low"] > 0
    assert judge["excess"]["length"]["low"] > 0
    (ann, *_) = report["raters"]
    assert ann["effects"]["length"]["low"] < 0 < ann["effects"]["length"]["high"]
    assert "not known" in ann["effects"]["position"]["because"]
    assert ann["prefers_longer"]["value"] == pytest.approx(told["ann prefers longer"])
    first_place = report["judges"]["judge"]["position"]["first_slot_log_odds"]
    assert first_place["value"] == pytest.approx(told["first place"])
    assert first_place["low"] > 0
    assert "leans to longer answers more than people do" in report["sentences"]["what_to_change"]


def test_overconfidence_is_measured_and_mended(planted, tmp_path):
    folder, files, gathered, report, _ = planted
    own = report["judges"]["judge"]
    assert own["calibration"]["ece_debiased"]["low"] > 0.05
    assert len(own["calibration"]["bins"]) == 10
    assert own["recalibration"]["platt"]["gain"]["low"] > 0
    assert own["recalibration"]["platt"]["ece_debiased"]["value"] < own["calibration"]["ece_debiased"]["low"]
    votes = list(soft_labels(gathered.compared, gathered.compared.judges[0], files[1], "platt"))
    write(tmp_path / "soft.jsonl", votes)
    again = report_of(files[0], [tmp_path / "soft.jsonl"])["judges"]["judge"]
    mended = own["recalibration"]["platt"]
    assert again["calibration"]["log_loss"]["value"] == pytest.approx(mended["log_loss"]["value"], abs=1e-9)
    assert len(votes) == 900  # also those that no person labelled
    given = {vote.pair.id: vote.label.probability for vote in read_votes(folder / "judge.jsonl")}
    assert all((vote.label.probability > 0.5) == (given[vote.pair.id] > 0.5) for vote in votes)


def test_the_judges_labels_on_other_pairs_add_to_peoples(planted):
    *_, report, _ = planted
    added = report["judges"]["judge"]["prediction_powered"]["prefers_longer"]
    assert (added["num_human"] > 250, added["num_judge_only"] > 550) == (True, True)
    assert added["worth_labels"] > added["num_human"]
    widths = [added[name]["high"] - added[name]["low"] for name in ("together", "people")]
    assert widths[0] < widths[1]


def test_rows_say_what_everybody_said_in_one_order(planted):
    _, files, gathered, report, _ = planted
    rows = list(compared_rows(gathered.compared, "judge", *files))
    assert len(rows) == 300
    per_pair = report["judges"]["judge"]["per_pair"]
    assert [row["right"] for row in rows] == pytest.approx(per_pair["right"])
    for row in rows:
        assert row["first"].split()[0] in "ab"
        said = {"first": 1.0, "tie": 0.5, "second": 0.0}
        assert row["share"] == pytest.approx(np.mean([said[one["choice"]] for one in row["people"]]))
        most = max(("first", "second"), key=lambda side: sum(one["choice"] == side for one in row["people"]))
        assert row["right"] == (row["judge"]["choice"] == most)
        (mark,) = row["judge"]["marks"]
        assert mark["probability"] == pytest.approx(row["judge"]["probability"])
        assert mark["shown_first"] >= mark["shown_second"]
    json.dumps(rows, allow_nan=False)


def test_as_listed_is_the_order_people_saw(tmp_path):
    """κ depends a little on which answer is called first; where people saw one order, that is it."""
    pairs, chance = Pairs(80, 20), np.random.default_rng(2)
    said = [chance.choice([1, 0, -1], 80, p=[0.7, 0.1, 0.2]) for _ in range(2)]
    write(
        tmp_path / "p.jsonl",
        *(choices(pairs, name, own, is_order_known=True) for name, own in zip("ab", said, strict=True)),
    )
    found_report = report_of([tmp_path / "p.jsonl"])
    assert found_report["compared"]["as_listed"] == 80
    assert found_report["rater_pairs"]["a / b"]["cohen_kappa"]["value"] == pytest.approx(cohen_kappa_score(*said))
    position = found_report["raters"][0]["effects"]["position"]
    assert position["low"] > 0  # seven in ten for the first
    write(tmp_path / "j.jsonl", choices(pairs, "judge", said[0], "judge"))
    compared = gather([tmp_path / "p.jsonl"], [tmp_path / "j.jsonl"], QUICK).compared
    for row in compared_rows(compared, "judge", [tmp_path / "p.jsonl"], [tmp_path / "j.jsonl"]):
        place = int(row["first"].split()[1])
        assert row["first"].startswith("a")
        assert row["judge"]["choice"] == row["people"][0]["choice"] == CHOICE[int(said[0][place])]


def test_both_orders_of_a_judge_are_turned_to_the_order_people_saw(tmp_path):
    pairs = Pairs(40, 20)
    write(tmp_path / "p.jsonl", choices(pairs, "ann", pairs.better, is_order_known=True))
    said = probabilities(pairs, "judge", np.full(40, 0.75), lambda place: (both_orders("good", 0.9, 0.6),))
    write(tmp_path / "j.jsonl", said)
    marks = gather([tmp_path / "p.jsonl"], [tmp_path / "j.jsonl"], QUICK).compared.marks["judge"]
    for name, value in (("probability", 0.75), ("shown_first", 0.9), ("shown_second", 0.6)):
        assert getattr(marks, name)[:, 0] == pytest.approx(np.full(40, value))


def test_models_are_ranked_where_asked_for(tmp_path):
    pairs, chance = Pairs(200, 50), np.random.default_rng(4)
    names = [("good", "bad") if one == 1 else ("bad", "good") for one in pairs.better]
    votes = [
        made(replace(found(pairs, place, rater, kind, choice="first" if one == 1 else "second"),
                     first_model=names[place][0], second_model=names[place][1]))
        for rater, kind, rate in (("ann", "human", 0.1), ("ben", "human", 0.2), ("judge", "judge", 0.3))
        for place, one in enumerate(erring(pairs.better, rate, chance))
    ]  # fmt: skip
    write(tmp_path / "p.jsonl", [vote for vote in votes if vote.label.kind == "human"])
    write(tmp_path / "j.jsonl", [vote for vote in votes if vote.label.kind == "judge"])
    plain = report_of([tmp_path / "p.jsonl"], [tmp_path / "j.jsonl"])
    assert "models" not in plain
    assert any("--models" in note for note in plain["notes"])
    told = report_of([tmp_path / "p.jsonl"], [tmp_path / "j.jsonl"], by_model=True)["models"]["sources"]
    people = [vote for vote in votes if vote.label.kind == "human"]
    won = np.mean([(vote.label.choice == "first") == (first_model(vote) == "good") for vote in people])
    assert told["people"]["win_rate"]["good"]["value"] == pytest.approx(won)
    assert told["people"]["win_rate"]["bad"]["value"] == pytest.approx(1 - won)
    assert told["judge"]["rank"]["kendall"]["value"] == 1
    odds = special.logit(told["people"]["win_rate"]["good"]["value"])
    strengths = told["people"]["strength"]
    assert strengths["good"]["value"] - strengths["bad"]["value"] == pytest.approx(odds, abs=0.01)


def first_model(vote):
    return (vote.pair.y if vote.is_turned else vote.pair.x).policy


# --- bad input


def test_one_rater_only_is_an_error(three, tmp_path):
    _, pairs, said = three
    write(tmp_path / "one.jsonl", choices(pairs, "ann", said["ann"]))
    with pytest.raises(DataError, match="one rater, 'ann', and comparing needs two"):
        gather([tmp_path / "one.jsonl"], [], QUICK)


def test_no_pair_in_common_is_an_error_that_counts(three, tmp_path):
    folder, _, _ = three
    other = Pairs(30, 7, seed=9, sides="cd")
    write(tmp_path / "j.jsonl", choices(other, "judge", other.better, "judge"))
    with pytest.raises(
        DataError, match=r"no pair is labelled by both: 240 pairs of people, 30 of judges, 7 prompts in"
    ):
        gather([folder / "people.jsonl"], [tmp_path / "j.jsonl"], QUICK)


def test_files_of_the_wrong_kind_of_rater_are_errors(three):
    folder, _, _ = three
    with pytest.raises(DataError, match=r"no label of people among 240 \(240 are of judges\)"):
        gather([folder / "judge.jsonl"], [folder / "judge.jsonl"], QUICK)
    with pytest.raises(DataError, match="no label of judges among 720"):
        gather([folder / "people.jsonl"], [folder / "people.jsonl"], QUICK)


def test_one_judge_in_two_sources_is_an_error(three, tmp_path):
    folder, pairs, said = three
    write(tmp_path / "again.jsonl", choices(pairs, "judge", -said["judge"], "judge"))
    with pytest.raises(DataError, match="compare diff"):
        gather([folder / "people.jsonl"], [folder / "judge.jsonl", tmp_path / "again.jsonl"], QUICK)


def test_raters_who_only_ever_gave_one_answer_have_no_kappa_but_a_reason(tmp_path):
    pairs = Pairs(40, 20)
    always = [1] * 40
    write(tmp_path / "p.jsonl", *(choices(pairs, name, always, is_order_known=True) for name in "ab"))
    own = report_of([tmp_path / "p.jsonl"])["rater_pairs"]["a / b"]
    assert own["agreement"]["value"] == 1
    assert own["cohen_kappa"]["value"] is None
    assert "one and the same answer" in own["cohen_kappa"]["because"]
    assert own["precision/second"]["value"] is None


def test_one_person_and_a_judge_have_no_ceiling_and_it_is_said(three, tmp_path):
    folder, pairs, said = three
    write(tmp_path / "one.jsonl", choices(pairs, "ann", said["ann"]))
    found_report = report_of([tmp_path / "one.jsonl"], [folder / "judge.jsonl"])
    assert found_report["judges"]["judge"]["ceiling"]["human"]["value"] is None
    sentence = found_report["sentences"]["as_people_agree"]
    assert "agrees with ann on" in sentence
    assert "is not known: no pair has labels of two people" in sentence
    assert "no person has 30 pairs" in found_report["judges"]["judge"]["alternative"]["because"]
    assert list(sections(found_report))


def test_contradictions_count_nowhere_and_are_listed(three, tmp_path):
    folder, pairs, said = three
    votes = (
        choices(pairs, "ann", said["ann"])
        + choices(pairs, "ben", said["ben"])
        + choices(pairs, "ann", -said["ann"])[:5]
    )
    write(tmp_path / "p.jsonl", votes)
    found_report = report_of([tmp_path / "p.jsonl"], [folder / "judge.jsonl"])
    assert found_report["left_out"]["contradictions"]["people"] == 5
    assert found_report["rater_pairs"]["ann / ben"]["agreement"]["n"] == 235


def test_a_person_and_a_judge_of_one_name_are_told_apart(three, tmp_path):
    folder, pairs, said = three
    write(tmp_path / "p.jsonl", choices(pairs, "judge", said["ann"]), choices(pairs, "ben", said["ben"]))
    found_report = report_of([tmp_path / "p.jsonl"], [folder / "judge.jsonl"])
    assert list(found_report["judges"]) == ["judge (judge)"]
    assert "judge / judge (judge)" in found_report["rater_pairs"]


def test_skipped_votes_are_left_out_or_count_as_ties(three, tmp_path):
    folder, pairs, said = three
    votes = choices(pairs, "judge", said["judge"], "judge")
    skipped = [made(found(pairs, place, "judge", "judge", choice="skipped")) for place in range(20)]
    write(tmp_path / "j.jsonl", votes[20:], skipped)
    counts = {
        how: report_of([folder / "people.jsonl"], [tmp_path / "j.jsonl"], replace(QUICK, skipped=how))["rater_pairs"]
        for how in ("drop", "tie")
    }
    assert [own["ann / judge"]["agreement"]["n"] for own in counts.values()] == [220, 240]


def test_terms_that_make_no_sense_are_refused():
    for wrong in ({"tie_width": 0.5}, {"epsilon": 1.0}, {"num_resamples": 10}):
        with pytest.raises(InputError):
            Terms(**wrong)


def test_nothing_a_rater_is_called_breaks_a_table(three, tmp_path):
    folder, pairs, said = three
    name = "<b>x|y</b>\n# [red]z"
    write(tmp_path / "p.jsonl", choices(pairs, name, said["ann"]), choices(pairs, "ben", said["ben"]))
    text = markdown(report_of([tmp_path / "p.jsonl"], [folder / "judge.jsonl"]))
    assert "<b>" not in text
    assert "\n# [red]" not in text
    widths = {line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("| &lt;b>")}
    assert len(widths) <= 3


def test_a_report_holds_no_number_that_is_none():
    with pytest.raises(ValueError, match="no place in a report"):
        as_bytes(make_settled())


def make_settled():
    from rlaif.evaluate.comparison.report import settled

    return settled({"value": float("nan")})


def test_the_report_is_made_of_what_was_gathered_alone(three):
    folder, _, _ = three
    gathered = gather([folder / "people.jsonl"], [folder / "judge.jsonl"], QUICK)
    assert as_bytes(make_report(gathered)) == as_bytes(make_report(gathered))
