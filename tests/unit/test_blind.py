"""Blind labelling without the page: draws, questions, votes kept and taken back, the label file, figures."""

import itertools
import json
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from rlaif.cli import labels as cli
from rlaif.errors import DataError, SettingsError
from rlaif.labels.blind.candidates import Candidate, Opinion, candidates_of, known_answers, read_candidates
from rlaif.labels.blind.design import Wish, draw, entropy, scores_of, strata_of
from rlaif.labels.blind.estimate import estimate_all
from rlaif.labels.blind.folder import VotesFolder
from rlaif.labels.blind.journal import read_entries
from rlaif.labels.blind.questions import FAR_APART, questions_for
from rlaif.labels.blind.sitting import Answer
from rlaif.labels.blind.summary import summary
from rlaif.labels.file import read_votes, write_votes
from rlaif.labels.label import Mark
from rlaif.numbers.figures import NotDefined
from rlaif.pair_dataset import DatasetWriter, LabelWriter
from rlaif.records import LabelledPair, Pair, PrincipleVerdict
from tests.label_page_kit import judged, write_data, write_gold


def candidates(count, probability=lambda n: 0.5 + n % 10 / 20):
    return candidates_of(judged(n, probability=probability(n)) for n in range(count))


def folder_of(tmp_path, count=30, **wish):
    found = candidates(count)
    folder = VotesFolder(tmp_path / "labels.jsonl")
    return folder, found, folder.design(Wish(**{"draw": "all", **wish}), found)


# --- what can be labelled


def test_a_judges_probability_is_that_of_the_answer_whose_id_sorts_first():
    sides = set()
    for vote in (judged(n, is_order_known=n % 2 == 0) for n in range(12)):
        (one,) = candidates_of([vote])
        is_left_x = one.pair.x.text.startswith("Left")  # the judge likes the left one
        sides.add((is_left_x, vote.label.is_order_known))
        assert one.probability == pytest.approx(0.8317 if is_left_x else 1 - 0.8317)
        assert one.opinions[0].probability == pytest.approx(0.2718 if is_left_x else 1 - 0.2718)
        assert one.opinions[0].weight == 0.3141
    assert len(sides) == 4


def test_people_say_nothing_about_which_pairs_are_drawn():
    (one,) = candidates_of([judged(0, kind="human", probability=None, choice="first")])
    assert one == replace(one, probability=None, opinions=())


def labelled(vote):
    return LabelledPair(
        pair=vote.pair, probability=0.9, shares={"p": 1.0},
        verdicts=(PrincipleVerdict(principle_id="p", outcome="ok", probability=0.9, shown_first=0.9, shown_second=0.9,
                                   weight=1.0, reason=""),),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["label file", "run", "dataset", "csv"])
def test_pairs_come_from_runs_datasets_label_files_and_foreign_tables(tmp_path, kind):
    votes = [judged(n) for n in range(5)]
    if kind == "label file":
        path = write_data(tmp_path / "votes.jsonl", 5)
    elif kind == "run":
        path = tmp_path / "run"
        path.mkdir()
        writer = LabelWriter(path / "labels.parquet")
        writer.add(labelled(vote) for vote in votes)
        writer.finish()
    elif kind == "dataset":
        path = tmp_path / "dataset"
        writer = DatasetWriter(path)
        writer.add(
            Pair(id=v.pair.id, prompt=v.pair.prompt, chosen=v.pair.x, rejected=v.pair.y, probability=0.9, margin=0.8,
                 is_tie=False, verdicts=labelled(v).verdicts, shares={"p": 1.0}, critique=None, judge="j")
            for v in votes
        )  # fmt: skip
        writer.finish("card")
    else:
        path = tmp_path / "table.csv"
        rows = "".join(f"Question {n}?,Left answer {n}.,Right answer {n}.,1\n" for n in range(5))
        path.write_text("input,output_1,output_2,label\n" + rows)
    found = read_candidates(path)
    assert [one.pair.id for one in found] == sorted(vote.pair.id for vote in votes)
    assert all((one.probability is None) == (kind == "csv") for one in found)


def test_an_empty_folder_is_no_data(tmp_path):
    with pytest.raises(DataError, match="no labels and no dataset"):
        read_candidates(tmp_path)


# --- draws


def test_a_draw_does_not_depend_on_the_order_of_the_data_and_is_another_with_another_seed():
    found = candidates(60)
    wish = Wish(draw="unsure", pairs=20)
    assert draw(wish, found) == draw(wish, sorted(found, key=lambda one: one.pair.id))
    assert draw(replace(wish, seed=1), found).drawn != draw(wish, found).drawn
    assert len(draw(wish, found).drawn) == 20


def test_unsure_pairs_are_likelier_and_every_pair_is_possible():
    found = candidates(400, lambda n: 0.5 if n % 2 else 0.99)
    design = draw(Wish(draw="unsure", pairs=100), found)
    by_probability = {one.pair.id: one.probability for one in found}
    unsure = [one for one in design.drawn if by_probability[one.pair_id] == 0.5]
    assert len(unsure) > 75
    chances = {round(one.chance, 6) for one in design.drawn}
    mean = (1 + float(entropy(0.99))) / 2
    expected = [0.25 * (0.2 + 0.8 * float(entropy(p)) / mean) for p in (0.5, 0.99)]
    assert chances == {round(chance, 6) for chance in expected}


def test_disputed_is_the_entropy_of_the_mean_less_the_mean_entropy():
    """Principles at 0.9 and 0.1 with equal weight: 1 bit less 0.468996; two that agree: nothing."""
    pair = judged(0).pair
    one = Candidate(pair, 0.5, (Opinion(0.9, 1.0), Opinion(0.1, 1.0)))
    same = Candidate(pair, 0.9, (Opinion(0.9, 1.0), Opinion(0.9, 3.0)))
    off = Candidate(pair, 0.9, (Opinion(0.9, 1.0), Opinion(0.1, 0.0)))
    assert scores_of([one, same, off], "disputed") == pytest.approx([1 - 0.4689956, 0.0, 0.0], abs=1e-6)


def test_without_a_judge_nothing_can_be_drawn_by_its_doubt():
    found = candidates_of([judged(n, kind="human", probability=None, choice="tie") for n in range(5)])
    with pytest.raises(DataError, match="no judge"):
        draw(Wish(draw="unsure", pairs=2), found)


def test_strata_are_tags_sources_and_the_judges_confidence():
    found = [
        *candidates_of([judged(0, tags=frozenset({"b", "a"}), source="s", probability=0.72)]),
        *candidates_of([judged(1, tags=frozenset(), source="", probability=0.02)]),
        *candidates_of([judged(2, kind="human", probability=None, choice="tie")]),
    ]
    assert strata_of(found, "tag") == ["a+b", "(no tag)", "secret-tag"]
    assert strata_of(found, "source") == ["s", "(no source)", "secret-source"]
    assert strata_of(found, "confidence") == ["0.7 to 0.8", "0.9 to 1.0", "(not judged)"]


def test_a_draw_is_kept_and_another_one_is_refused(tmp_path):
    folder, found, design = folder_of(tmp_path, draw="random", pairs=10)
    assert folder.design(Wish(draw="random", pairs=10), found) == design == folder.read_design()
    with pytest.raises(DataError, match="another draw"):
        folder.design(Wish(draw="random", pairs=11), found)
    with pytest.raises(DataError, match="not in the data"):
        folder.sitting("ann", found[:3], design)


def test_a_file_that_was_not_made_here_is_not_overwritten(tmp_path):
    write_data(tmp_path / "labels.jsonl", 2)
    with pytest.raises(DataError, match="not made by"):
        folder_of(tmp_path)


# --- questions


def pairs_of(count):
    return [one.pair for one in candidates(count)]


def test_each_rater_has_an_order_and_sides_of_their_own_that_stay():
    ann, bob = questions_for("ann", pairs_of(200)), questions_for("bob", pairs_of(200))
    assert ann == questions_for("ann", list(reversed(pairs_of(200))))
    assert [one.pair.id for one in ann] != [one.pair.id for one in bob]
    first_x = [one.is_x_first for one in ann if one.role == "pair"]
    assert 70 <= sum(first_x) <= 130
    sides = {one.pair.id: one.is_x_first for one in bob if one.role == "pair"}
    same = sum(sides[one.pair.id] == one.is_x_first for one in ann if one.role == "pair")
    assert 70 <= same <= 130
    assert len({one.id for one in (*ann, *bob)}) == len(ann) + len(bob)


@pytest.mark.parametrize("count", [2, 5, 30, 81, 400])
def test_five_in_a_hundred_come_twice_far_apart_and_swapped(count):
    asked = questions_for("ann", pairs_of(count))
    place = {one.pair.id: number for number, one in enumerate(asked) if one.role == "pair"}
    again = [(number, one) for number, one in enumerate(asked) if one.role == "repeat"]
    assert len(again) == -(-count // 20)
    for number, one in again:
        once = asked[place[one.pair.id]]
        assert number - place[one.pair.id] > min(FAR_APART, count // 2)
        assert (one.first, one.second) == (once.second, once.first)
    assert len({one.pair.id for _, one in again}) == len(again)
    if count == 400:  # spread over the whole sitting, so that one who stops early has some
        assert sum(number < 200 for number, _ in again) >= 5


def test_gold_is_mixed_in_evenly_and_a_pair_that_is_drawn_anyway_comes_once():
    data = pairs_of(100)
    known = {one.pair.id: (one.pair, "first") for one in candidates(110)}  # 100 of them are in the data
    asked = questions_for("ann", data, known)
    counts = Counter(one.pair.id for one in asked if one.role != "repeat")
    assert set(counts.values()) == {1}
    assert sum(one.role == "gold" for one in asked) == 5
    for one in asked:
        if one.role != "repeat":
            assert one.known == ("first" if one.is_x_first else "second")


def test_shares_beyond_a_half_are_refused():
    with pytest.raises(SettingsError, match="repeats"):
        questions_for("ann", pairs_of(4), repeats=0.6)


def test_gold_told_both_ways_is_refused(tmp_path):
    more = {"kind": "human", "probability": None}
    write_votes(tmp_path / "gold.jsonl", [judged(0, choice=choice, **more) for choice in ("first", "second")])
    with pytest.raises(DataError, match="two different answers"):
        known_answers(tmp_path / "gold.jsonl")


# --- votes


def test_a_vote_is_a_label_in_the_order_that_was_shown(tmp_path):
    folder, found, design = folder_of(tmp_path, 8)
    sitting = folder.sitting("ann", found, design)
    times = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=n) for n in itertools.count())
    sitting._now = lambda: next(times)
    seen = {}
    while question := sitting.current:
        if question.role == "pair":
            seen[question.pair.id] = question
        sitting.vote(question.id, Answer(choice="first", comment="why", marks={"kind": "tie"}, seconds=2.5))
    assert folder.write_labels() == 8
    for vote in read_votes(folder.labels):
        label, question = vote.label, seen[vote.pair.id]
        chosen = vote.pair.x if label.first_id == vote.pair.x.id else vote.pair.y
        assert chosen.text == question.first
        assert (label.is_order_known, label.rater, label.kind) == (True, "ann", "human")
        assert (label.comment, label.seconds, label.marks) == ("why", 2.5, (Mark(principle="kind", choice="tie"),))
        assert vote.pair.prompt.source == "secret-source"
        assert label.time.year == 2026


def test_undo_brings_the_question_back_and_no_vote_is_ever_removed(tmp_path):
    folder, found, design = folder_of(tmp_path, 6)
    sitting = folder.sitting("ann", found, design)
    assert sitting.undo() is None
    first = sitting.current
    sitting.vote(first.id, Answer(choice="first", comment="hasty"))
    assert sitting.undo() == first
    assert sitting.current == first
    assert sitting.said_before(first)["comment"] == "hasty"
    sitting.vote(first.id, Answer(choice="tie"))
    sitting.vote(first.id, Answer(choice="second"))  # from an old tab: the later one counts
    folder.write_labels()
    assert [vote.label.choice for vote in read_votes(folder.labels)] == ["second"]
    entries = read_entries(sitting.journal.path).entries
    assert [entry.row and entry.row["choice"] for entry in entries] == ["first", None, "tie", "second"]
    assert summary("ann", read_entries(sitting.journal.path)).taken_back == 2


def test_a_sitting_goes_on_where_it_was_left_and_two_processes_cannot_have_one_rater(tmp_path):
    folder, found, design = folder_of(tmp_path, 6)
    sitting = folder.sitting("ann", found, design)
    sitting.vote(sitting.current.id, Answer(choice="first"))
    with pytest.raises(DataError, match="another process"):
        folder.sitting("ann", found, design)
    expected = sitting.current
    sitting.journal.close()
    again = folder.sitting("ann", found, design)
    assert (again.num_done, again.current) == (1, expected)
    assert folder.sitting("bob", found, design).num_done == 0


def test_an_unfinished_line_is_set_aside_and_a_damaged_one_is_told(tmp_path):
    folder, found, design = folder_of(tmp_path, 6)
    sitting = folder.sitting("ann", found, design)
    for _ in range(3):
        sitting.vote(sitting.current.id, Answer(choice="first"))
    path = sitting.journal.path
    sitting.journal.close()
    content = path.read_bytes()
    path.write_bytes(content + b'0123 {"key')
    again = folder.sitting("ann", found, design)
    assert (again.num_done, again.journal.set_aside.read_bytes()) == (3, b'0123 {"key\n')
    again.vote(again.current.id, Answer(choice="tie"))
    again.journal.close()
    path.write_bytes(path.read_bytes().replace(b'"first"', b'"fXrst"', 1))
    damaged = folder.sitting("ann", found, design)
    assert (damaged.num_done, damaged.journal.damaged) == (3, (0,))
    assert summary("ann", read_entries(path)).damaged == 1


@pytest.mark.parametrize("rater", ["../ann", "Ann B.", "ann/bob", "名前", ".."])
def test_any_name_is_a_file_in_the_folder(tmp_path, rater):
    folder, found, design = folder_of(tmp_path, 3)
    sitting = folder.sitting(rater, found, design)
    sitting.vote(sitting.current.id, Answer(choice="first"))
    assert sitting.journal.path.parent == folder.path
    assert list(folder.journals()) == [rater]
    assert next(iter(folder.rows()))["rater"] == rater


# --- figures


def test_consistency_gold_and_seconds_by_hand(tmp_path):
    """60 pairs: 3 come twice, 2 more are known. The rater takes the left text, but errs on the last of either."""
    folder, found, design = folder_of(tmp_path, 60)
    known = known_answers(write_gold(tmp_path / "gold.jsonl", 2))
    sitting = folder.sitting("ann", found, design, known, gold_share=2 / 60)
    again = [one for one in sitting.questions if one.role == "repeat"]
    gold = [one for one in sitting.questions if one.role == "gold"]
    assert (len(again), len(gold)) == (3, 2)
    for number, one in enumerate(sitting.questions):
        choice = "first" if one.first.startswith("Left") else "second"
        wrong = one.id in (again[-1].id, gold[-1].id)
        choice = {"first": "second", "second": "first"}[choice] if wrong else choice
        sitting.vote(one.id, Answer(choice=choice, seconds=float(number)))
    done = summary("ann", read_entries(sitting.journal.path))
    assert (done.labels, done.repeats, done.gold, done.taken_back) == (60, 3, 2, 0)
    assert (done.consistent.value, done.consistent.n) == (pytest.approx(2 / 3), 3)
    assert (done.right.value, done.right.n) == (pytest.approx(1 / 2), 2)
    assert done.seconds[1] == 32.0
    shown = CliRunner().invoke(cli.app, ["show", str(folder.labels)])
    assert isinstance(shown.exception, DataError)  # there is no label file yet
    folder.write_labels()
    shown = CliRunner().invoke(cli.app, ["show", str(folder.labels)]).stdout
    assert re.search(r"same answer twice +0\.67 \[0\.21, 0\.94\] n=3", shown)  # Wilson's
    told = json.loads(CliRunner().invoke(cli.app, ["show", str(folder.labels), "--json"]).stdout)
    assert told["sittings"][0]["right"]["value"] == 0.5
    assert told["duplicates"] == told["contradictions"] == 0  # repeats stay in the journal
    folder.labels.write_text("")
    stale = json.loads(CliRunner().invoke(cli.app, ["show", str(folder.labels), "--json"]).stdout)
    assert any("lags behind" in note for note in stale["notes"])


def test_an_estimate_speaks_of_all_pairs_and_not_of_those_drawn(tmp_path):
    """People disagree with the judge where it is unsure: half of the pairs. The truth over all 400 is 1/2 + …"""
    found = candidates(400, lambda n: 0.55 if n % 2 else 0.95)
    folder = VotesFolder(tmp_path / "labels.jsonl")
    design = folder.design(Wish(draw="unsure", pairs=120), found)
    sitting = folder.sitting("ann", found, design, repeats=0.0)
    said = {one.pair.id: one.probability for one in found}
    for question in sitting.questions:
        probability = said[question.pair.id]
        favours_x = (probability > 0.5) == (max(probability, 1 - probability) > 0.9)
        sitting.vote(question.id, Answer(choice="first" if favours_x == question.is_x_first else "second"))
    judge = [judged(n, probability=0.55 if n % 2 else 0.95) for n in range(400)]
    means = estimate_all(design, folder.rows(), judge).means["agreement"]
    assert means.as_drawn.value < 0.35  # most of what was drawn is unsure
    for figure in (means.of_all, means.beyond, means.horvitz_thompson):
        assert figure.low < 0.5 < figure.high
    folder.write_labels()
    write_votes(tmp_path / "judge.jsonl", judge)
    result = CliRunner().invoke(
        cli.app, ["estimate", str(folder.labels), "--ai", str(tmp_path / "judge.jsonl"), "--json"]
    )
    told = json.loads(result.stdout)
    assert told["means"]["agreement"]["of_all"]["value"] == pytest.approx(means.of_all.value)
    assert told["worth_pairs_drawn_evenly"] < 120


def test_an_unfinished_sitting_is_a_random_part_of_the_draw(tmp_path):
    """4 of 10 labelled, one of them skipped: chances 0.4, so there is doubt about the other 6."""
    folder, found, design = folder_of(tmp_path, 10)
    sitting = folder.sitting("ann", found, design, repeats=0.0)
    for choice in ("first", "tie", "tie"):
        sitting.vote(sitting.current.id, Answer(choice=choice))
    one = estimate_all(design, folder.rows()).means["tie"]
    for figure in (one.of_all, one.horvitz_thompson, one.beyond, one.as_drawn):
        assert figure.value == pytest.approx(2 / 3)
    variance = (1 / 3) / 3 * (1 - 3 / 10)  # s² / n (1 − f)
    total = one.horvitz_thompson
    assert total.high - total.value == pytest.approx(4.302653 * variance**0.5, rel=1e-6)
    assert 0 < one.of_all.low < one.of_all.high < 1
    sitting.vote(sitting.current.id, Answer(choice="skipped"))
    skipped = estimate_all(design, folder.rows())
    assert skipped.labelled == 4
    assert skipped.means["tie"].of_all.value == pytest.approx(2 / 3)
    assert "skipped" in skipped.means["tie"].horvitz_thompson.because


def test_before_the_first_vote_nothing_is_estimated(tmp_path):
    folder, _, design = folder_of(tmp_path, 10)
    assert all(isinstance(one.of_all, NotDefined) for one in estimate_all(design, folder.rows()).means.values())
