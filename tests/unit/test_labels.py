"""Labels: the record, label files, the table, counts, a run's labels, and the commands."""

import itertools
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sklearn.metrics import cohen_kappa_score
from typer.testing import CliRunner

from rlaif.cli import labels as cli
from rlaif.errors import DataError
from rlaif.labels.align import align, report
from rlaif.labels.file import read_votes, row_of, write_votes
from rlaif.labels.label import Label, Mark
from rlaif.labels.sources import judge_vote, pairs_of, votes_of
from rlaif.labels.summary import summarise
from rlaif.labels.table import as_shown, label_table, mark_table
from rlaif.labels.votes import Found, Unfit, make_vote
from rlaif.pair_dataset import LabelWriter
from rlaif.records import LabelledPair, Message, PrincipleVerdict, Prompt, Response, ResponsePair
from tests.labels_kit import write_rows

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no published data at {DATA}")


def found(first="good", second="bad", *, prompt="Q", rater="ann", **more) -> Found:
    verdict = {} if "probability" in more else {"choice": "first"}
    return Found(prompt=(Message("user", prompt),), first=first, second=second, rater=rater,
                 **{"kind": "human", **verdict, **more})  # fmt: skip


def vote(*texts, **more):
    made = make_vote(found(*texts, **more), source="s")
    assert not isinstance(made, Unfit), made
    return made


def labels(tmp_path, *given, name="labels.jsonl"):
    write_votes(tmp_path / name, given)
    return tmp_path / name


def response(prompt_id, text):
    return Response(prompt_id=prompt_id, text=text, policy="p", sample_index=0, finish_reason="stop", prompt_tokens=1,
                    output_tokens=1)  # fmt: skip


# --- the record


def test_a_label_of_a_person_and_one_of_a_run_have_the_same_pair_id():
    prompt = Prompt(messages=(Message("user", "Q"),))
    x, y = sorted((response(prompt.id, text) for text in ("good", "bad")), key=lambda r: r.id)
    assert vote().label.pair_id == vote("bad", "good").label.pair_id == ResponsePair(prompt, x, y).id


@pytest.mark.parametrize(
    "wrong",
    [
        {"choice": None},
        {"probability": 0.4},
        {"choice": "left"},
        {"choice": None, "probability": 1.5},
        {"strength": -1.0},
        {"strength": float("nan")},
        {"rater": ""},
        {"kind": "robot"},
        {"second_id": "a"},
        {"first_id": "z"},
        {"seconds": -1.0},
        {"time": datetime(2026, 1, 1)},
        {"marks": (Mark(principle="p", choice="tie"), Mark(principle="p", choice="first"))},
    ],
)
def test_a_label_that_says_nothing_or_two_things_cannot_be_made(wrong):
    right = {"pair_id": "p", "first_id": "a", "second_id": "b", "rater": "r", "kind": "human", "choice": "first"}
    assert Label(**right)
    with pytest.raises(ValueError, match=r"\w"):
        Label(**(right | wrong))


def test_a_mark_is_turned_with_the_places_its_answers_were_shown_in():
    """P(first) was 0.9 shown first and 0.7 shown second; so P(second) was 0.1 shown second and 0.3 shown first."""
    mark = Mark(principle="p", probability=0.8, shown_first=0.9, shown_second=0.7, weight=2.0, strength=1.0)
    turned = mark.swapped()
    assert (turned.shown_first, turned.shown_second) == (pytest.approx(0.3), pytest.approx(0.1))
    assert (turned.probability, turned.weight, turned.strength) == (pytest.approx(0.2), 2.0, 1.0)


def test_the_table_turns_probabilities_and_marks_to_x(tmp_path):
    mark = Mark(principle="p", probability=0.8, shown_first=0.9, shown_second=0.7)
    shown = {"kind": "judge", "is_order_known": True, "probability": 0.8, "marks": (mark,)}
    path = labels(tmp_path, vote(**shown), vote("bad", "good", **shown))
    table, marked = label_table([path]).to_pylist(), mark_table([path]).to_pylist()
    for row, of_mark in zip(table, marked, strict=True):
        expected = (0.8, 0.9, 0.7) if row["is_x_first"] else (0.2, 0.3, 0.1)
        found_numbers = (row["probability_x"], of_mark["shown_first_x"], of_mark["shown_second_x"])
        assert found_numbers == pytest.approx(expected)
        assert of_mark["probability_x"] == pytest.approx(row["probability_x"])
    assert {row["is_x_first"] for row in table} == {True, False}


@pytest.mark.parametrize(
    ("texts", "more", "reason"),
    [
        (("a", "a"), {}, "both answers are the same text"),
        (("a", "b"), {"prompt": " "}, "no prompt"),
        (("a", "half \ud83d"), {}, "not valid Unicode"),
        (("a", "b"), {"strength": -2.0}, "a strength is a number of at least 0, not -2.0"),
    ],
)
def test_texts_that_make_no_pair_say_why(texts, more, reason):
    assert make_vote(found(*texts, **more), source="s") == Unfit(reason)


def test_an_empty_answer_is_an_answer():
    assert vote("", "bad").label.choice in ("first", "second")


def test_without_a_known_order_the_sides_of_a_source_do_not_matter():
    assert vote().label == vote("bad", "good", choice="second").label
    shown = [vote(is_order_known=True), vote("bad", "good", choice="second", is_order_known=True)]
    assert shown[0].label != shown[1].label
    assert shown[0].pair == shown[1].pair


# --- files


def test_a_row_is_one_json_object_with_all_fields(tmp_path):
    mark = Mark(principle="honesty", probability=0.75, shown_first=0.5, shown_second=1.0, weight=2.0)
    one = vote(is_order_known=True, marks=(mark,), time=datetime(2026, 1, 2, tzinfo=UTC), tags=frozenset("ba"))
    path = labels(tmp_path, one)
    row = json.loads(path.read_text())
    assert row == row_of(one)
    assert (row["first"], row["choice"], row["time"], row["tags"]) == (
        "good",
        "first",
        "2026-01-02T00:00:00Z",
        ["a", "b"],
    )
    assert row["marks"][0] == {"principle": "honesty", "choice": None, "probability": 0.75, "strength": None,
                               "shown_first": 0.5, "shown_second": 1.0, "weight": 2.0}  # fmt: skip
    assert list(read_votes(path)) == [one]


def test_a_row_may_be_written_by_hand_without_ids(tmp_path):
    row = {"prompt": [{"role": "user", "content": "Q"}], "first": "good", "second": "bad", "rater": "ann",
           "kind": "human", "choice": "first"}  # fmt: skip
    path = write_rows(tmp_path / "hand.jsonl", [row])
    assert list(read_votes(path)) == [make_vote(found(), source="")]
    assert label_table([path])["pair_id"].to_pylist() == [vote().pair.id]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"second": "worse"}, "Another text stands under this id."),
        ({"pair_id": "0" * 64}, "`pair_id` is 000000000000…, but the texts of this row have"),
        ({"prompt_id": "0" * 64}, "`prompt_id` is 000000000000…"),
        ({"first_id": "0" * 64}, "`first_id` is 000000000000…"),
        ({"choice": "left"}, "`choice`: Input should be 'first', 'second'"),
        ({"choice": None}, "a verdict is a choice or a probability"),
        ({"probability": 0.7}, "a verdict is a choice or a probability"),
        ({"kind": "person"}, "`kind`: Input should be 'human'"),
        ({"rater": ""}, "a label names its rater"),
        ({"rater": None}, "`rater`: Input should be a valid string"),
        ({"coment": "x"}, "`coment`: Extra inputs are not permitted."),
        ({"first": "bad"}, "both answers are the same text"),
        ({"prompt": []}, "no prompt"),
    ],
)
def test_a_wrong_row_is_named_with_its_place(tmp_path, change, message):
    rows = [row_of(vote(prompt="other")), {**row_of(vote(is_order_known=True)), **change}]
    path = write_rows(tmp_path / "x.jsonl", rows)
    with pytest.raises(DataError) as exact:
        list(read_votes(path))
    assert f"{path}:2: " in str(exact.value)
    assert message in str(exact.value)
    if "coment" not in change:  # the table reads the columns it knows
        with pytest.raises(DataError) as fast:
            label_table([path])
        assert str(fast.value) == str(exact.value)


def test_a_file_that_is_no_label_file_is_an_error(tmp_path):
    broken = tmp_path / "x.jsonl"
    broken.write_text(json.dumps(row_of(vote())) + '\n{"half')
    with pytest.raises(DataError, match=r"x\.jsonl:2: not a JSON object"):
        label_table([broken])
    with pytest.raises(DataError, match="there is no such file"):
        label_table([tmp_path / "none.jsonl"])
    with pytest.raises(DataError, match="there is no such file"):
        list(read_votes(tmp_path / "none.jsonl"))


def test_a_failed_import_leaves_the_old_file_alone(tmp_path):
    path = labels(tmp_path, vote())
    before = path.read_bytes()

    def broken():
        yield vote(prompt="new")
        raise DataError("it broke")

    with pytest.raises(DataError):
        write_votes(path, broken())
    assert (path.read_bytes(), [one.name for one in tmp_path.iterdir()]) == (before, ["labels.jsonl"])


# --- counts


def test_show_counts_what_is_there(tmp_path):
    given = [
        vote(is_order_known=True, seconds=2.0, tags=frozenset({"t"})),
        vote(is_order_known=True, seconds=4.0),
        vote("bad", "good", is_order_known=True),
        vote(rater="judge", kind="judge", probability=0.5),
        vote(prompt="R", rater="judge", kind="judge", choice="both_bad"),
    ]
    found_counts = summarise(label_table([labels(tmp_path, *given)]))
    assert {name: found_counts[name] for name in ("labels", "pairs", "prompts", "raters", "duplicates")} == {
        "labels": 5, "pairs": 2, "prompts": 2, "raters": 2, "duplicates": 0,
    }  # fmt: skip
    assert found_counts["choices"] == {"first": 3, "both_bad": 1, "probability": 1}
    assert (found_counts["kinds"], found_counts["tags"]) == ({"human": 3, "judge": 2}, {"t": 1})
    assert found_counts["contradictions"] == 1  # ann: good over bad twice, and bad over good
    assert found_counts["by_rater"][0] == {
        "rater": "ann", "kind": "human", "labels": 3, "pairs": 1, "ties": 0, "both_bad": 0, "skipped": 0,
        "median_seconds": 3.0,
    }  # fmt: skip
    assert found_counts["notes"] == ["1 times a rater gave one thing two different labels; those count nowhere"]


def test_one_class_and_one_rater_are_noted(tmp_path):
    given = [vote(prompt=str(n), is_order_known=True) for n in range(20)]
    assert summarise(label_table([labels(tmp_path, *given)]))["notes"] == [
        "every choice between the answers is the first: agreement beyond chance is not defined",
        "one rater only: agreement needs a second one on the same pairs",
    ]


# --- alignment


def test_a_judge_with_one_label_answers_every_time_people_were_asked(tmp_path):
    people = labels(tmp_path, vote(item="1"), vote("bad", "good", item="2"), name="people.jsonl")
    judge = labels(tmp_path, vote(rater="j", kind="judge", probability=0.9), name="judge.jsonl")
    told = report(align(label_table([people]), label_table([judge])))
    assert told["matched"] == {"things": 2, "pairs": 1, "prompts": 1, "labels": {"left": 2, "right": 2}}


def test_what_fits_nowhere_is_listed(tmp_path):
    left = labels(tmp_path, vote(), vote(), vote(prompt="R"), vote("bad", "good", prompt="R"), vote(prompt="S"),
                  name="left.jsonl")  # fmt: skip
    right = labels(tmp_path, *(vote(prompt=prompt, rater="b") for prompt in "QRT"), name="right.jsonl")
    told = report(align(label_table([left]), label_table([right])))
    assert told["matched"]["pairs"] == 1
    assert [(row["side"], row["raters"]) for row in told["unmatched"]["first"]] == [
        ("left", ["ann"]), ("right", ["b"]), ("right", ["b"]),
    ]  # fmt: skip
    assert [(row["rater"], row["votes"]) for row in told["duplicates"]["first"]] == [("ann", 2)]
    assert [row["pair_id"] for row in told["contradictions"]["first"]] == [vote(prompt="R").pair.id]


def test_sources_without_a_common_pair_match_nothing(tmp_path):
    left, right = (labels(tmp_path, vote(prompt=prompt), name=f"{prompt}.jsonl") for prompt in "AB")
    told = report(align(label_table([left]), label_table([right])))
    assert (told["matched"]["pairs"], told["unmatched"]["left"], told["unmatched"]["right"]) == (0, 1, 1)


# --- a run's labels


@pytest.fixture
def run_folder(tmp_path):
    prompt = Prompt(messages=(Message("user", "Q"),), tags=frozenset({"t"}))
    x, y = sorted((response(prompt.id, text) for text in ("good", "bad")), key=lambda r: r.id)
    verdicts = (
        PrincipleVerdict(principle_id="honest", outcome="ok", probability=0.8, shown_first=0.9, shown_second=0.7,
                         weight=2.0),
        PrincipleVerdict(principle_id="kind", outcome="abstained", probability=None, shown_first=None, shown_second=0.5,
                         weight=1.0),
    )  # fmt: skip
    other = Prompt(messages=(Message("user", "R"),))
    u, v = sorted((response(other.id, text) for text in ("good", "bad")), key=lambda r: r.id)
    folder = tmp_path / "runs" / "mine"
    writer = LabelWriter(folder / "labels.parquet")
    writer.add([LabelledPair(ResponsePair(prompt, x, y), verdicts, 0.8, {})])
    writer.add([LabelledPair(ResponsePair(other, u, v), (), None, {})])
    writer.finish()
    (folder / "run.json").write_text(json.dumps({"judge": {"name": "tiny-judge"}}))
    return folder


def test_a_judged_pair_is_the_vote_that_its_run_gives(run_folder):
    judged, _ = votes_of([run_folder])
    labelled = LabelledPair(
        judged.pair,
        tuple(
            PrincipleVerdict(
                principle_id=mark.principle,
                outcome="ok",
                probability=mark.probability,
                shown_first=mark.shown_first,
                shown_second=mark.shown_second,
                weight=mark.weight,
            )
            for mark in judged.label.marks
        ),
        judged.label.probability,
        {},
    )
    assert judge_vote(labelled, "tiny-judge") == judged


def test_every_pair_is_judged_once_with_all_tags_of_its_prompt():
    given = [
        vote(tags=frozenset("a")),
        vote("bad", "good", rater="bob", tags=frozenset("b")),
        vote("good", "worse"),
        vote(prompt="R", tags=frozenset("c")),
    ]
    pairs = pairs_of(given)
    assert [pair.id for pair in pairs] == sorted({one.pair.id for one in given})
    tags = {pair.prompt.messages[0].content: pair.prompt.tags for pair in pairs}
    assert tags == {"Q": {"a", "b"}, "R": {"c"}}
    assert [pair.prompt.tags for pair in pairs].count(frozenset("ab")) == 2


def test_a_run_reads_as_its_judges_labels_with_a_mark_for_each_principle(run_folder):
    judged, silent = votes_of([run_folder])
    assert (judged.label.rater, judged.label.kind, judged.label.probability) == ("tiny-judge", "judge", 0.8)
    assert judged.label.marks == (
        Mark(principle="honest", probability=0.8, shown_first=0.9, shown_second=0.7, weight=2.0),
        Mark(principle="kind", choice="skipped", shown_second=0.5, weight=1.0),
    )
    assert (silent.label.choice, silent.label.probability) == ("skipped", None)
    assert judged.pair.prompt.tags == {"t"}


def test_the_table_of_a_run_is_that_of_its_votes(run_folder, tmp_path):
    path = labels(tmp_path, *votes_of([run_folder]))
    drop = ["source", "model_x", "model_y"]
    assert label_table([run_folder]).drop_columns(drop).equals(label_table([path]).drop_columns(drop))
    assert mark_table([run_folder]).equals(mark_table([path]))


# --- commands


def call(*words) -> str:
    result = CliRunner().invoke(cli.app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_import_show_export_and_back(tmp_path):
    rows = [{"input": "Q", "output_1": "a", "output_2": "b", "label": 2}, {"input": "R", "label": 1}]
    path = write_rows(tmp_path / "x.jsonl", rows)
    out = call("import", "llmbar", path, "--output", tmp_path / "labels.jsonl")
    assert out.splitlines()[:2] == [
        "llmbar: 2 rows, 2 votes = 1 labels of 1 rater + 1 left out",
        f"  {path}:2: no output_1, output_2",
    ]
    assert (tmp_path / "labels.jsonl.left-out.txt").read_text() == f"{path}:2: no output_1, output_2\n"
    assert "1 labels of 1 raters on 1 pairs of 1 prompts" in call("show", tmp_path / "labels.jsonl")
    out = call("export", "argilla", tmp_path / "labels.jsonl", "--output", tmp_path / "a.json")
    assert "argilla: 1 labels = 1 written in 1 rows + 0 left out" in out
    call("import", tmp_path / "a.json", "--output", tmp_path / "back.jsonl")
    assert (tmp_path / "back.jsonl").read_bytes() == (tmp_path / "labels.jsonl").read_bytes()


def test_what_a_format_cannot_hold_is_said_with_its_count(tmp_path):
    path = labels(tmp_path, vote(strength=2.0), vote(prompt="R", choice="tie"), vote(prompt="S", comment="why"))
    out = json.loads(call("export", "icai", path, "--output", tmp_path / "x.json", "--json"))
    assert (out["labels"], out["written"], out["lost"]) == (3, 3, {"strength": 1, "comment": 1})
    out = json.loads(call("export", "trl", path, "--output", tmp_path / "x.jsonl", "--json"))
    assert out["left_out"] == {"tie: TRL knows only a chosen and a rejected answer": 1}


def test_import_in_json_lists_every_row_left_out(tmp_path):
    rows = [{"input": "Q", "output_1": "a", "output_2": "b", "label": 1}, *({"input": "R"} for _ in range(15))]
    path = write_rows(tmp_path / "x.jsonl", rows)
    out = json.loads(call("import", path, "--format", "llmbar", "--output", tmp_path / "l.jsonl", "--json"))
    assert (out["rows"], out["votes"], out["labels"], out["left_out"]) == (16, 16, 1, 15)
    assert len(out["listed"]) == 15
    assert f"{path}:9: no label, output_1, output_2" in out["listed"]


def test_an_import_without_a_label_writes_nothing(tmp_path):
    path = write_rows(tmp_path / "x.jsonl", [{"input": "Q", "output_1": "a", "output_2": "a", "label": 1}])
    with pytest.raises(DataError, match=r"there is no label in 1 rows \(1 times both answers are the same text\)"):
        call("import", path, "--output", tmp_path / "l.jsonl")
    assert not (tmp_path / "l.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["import", "a", "b", "c", "--output", "o.jsonl"], "is not a format and a file"),
        (["import", "x.jsonl", "--columns", "prompt", "--output", "o.jsonl"], "--columns holds 'prompt'"),
        (["import", "nowhere.jsonl", "--output", "o.jsonl"], "there is no such file"),
        (
            ["export", "trll", "x.jsonl", "--output", "o.jsonl"],
            r"not a format that is written \(did you mean 'trl'\?\)",
        ),
    ],
)
def test_wrong_words_are_errors(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        call(*words)


def test_align_prints_counts_and_writes_the_lists(tmp_path):
    left = labels(tmp_path, vote(), vote(prompt="R"), name="l.jsonl")
    right = labels(tmp_path, vote(rater="b"), name="r.jsonl")
    out = call("align", left, right, "--list", tmp_path / "list.jsonl")
    assert "matched: 1 pairs of 1 prompts, judged 1 times by both: 1 labels left, 1 right" in out
    assert "unmatched: 1 left, 0 right" in out
    (row,) = [json.loads(line) for line in (tmp_path / "list.jsonl").read_text().splitlines()]
    assert row == {
        "what": "unmatched",
        "side": "left",
        "pair_id": vote(prompt="R").pair.id,
        "item": "",
        "raters": ["ann"],
    }


# --- published data


@needs_data
def test_published_files_are_read_whole(tmp_path):
    expected = {
        "hh-harmless-dev.jsonl.gz": ("hh-rlhf", 1181, 1181),
        "pandalm/testset-v1.json": ("pandalm", 999, 2997),
        "llmbar/Natural.json": ("llmbar", 100, 100),
        "icai_synthetic/synthetic_data_mixed_vqvtb_adcbg.csv": ("icai-csv", 60, 60),
    }
    for name, counts in expected.items():
        out = json.loads(call("import", DATA / name, "--output", tmp_path / "x.jsonl", "--json"))
        assert (out["format"], out["rows"], out["labels"]) == counts, name
        assert label_table([tmp_path / "x.jsonl"]).num_rows == counts[2]


@needs_data
def test_pandalms_majority_and_kappas_are_the_published_ones_on_999_things(tmp_path):
    """105 ties, 422 and 472, as its README counts them, and the three kappas of its people in the order shown: no vote
    is lost where two models gave the same answers."""
    call("import", DATA / "pandalm/testset-v1.json", "--output", tmp_path / "people.jsonl")
    texts = ["--texts", DATA / "pandalm/testset-v1.json"]
    call("import", DATA / "pandalm/gpt-3.5-turbo-testset-v1.json", *texts, "--output", tmp_path / "gpt.jsonl")
    alignment = align(*(label_table([tmp_path / f"{name}.jsonl"]) for name in ("people", "gpt")))
    assert (report(alignment)["matched"]["things"], report(alignment)["matched"]["pairs"]) == (999, 863)
    said: dict[tuple, dict] = {}
    for row, choice in zip(alignment.votes.to_pylist(), as_shown(alignment.votes).to_pylist(), strict=True):
        said.setdefault((row["pair_id"], row["item"]), {})[row["rater"]] = choice
    people = ["annotator1", "annotator2", "annotator3"]
    majority = [max(people, key=lambda who: [votes[w] for w in people].count(votes[who])) for votes in said.values()]
    choices = [votes[who] for votes, who in zip(said.values(), majority, strict=True)]
    assert [choices.count(choice) for choice in ("tie", "first", "second")] == [105, 422, 472]
    kappas = [
        cohen_kappa_score([votes[a] for votes in said.values()], [votes[b] for votes in said.values()])
        for a, b in itertools.combinations(people, 2)
    ]
    assert [round(kappa, 4) for kappa in kappas] == [0.8520, 0.8789, 0.8617]


@needs_data
def test_llmbars_published_counts_come_out_of_the_alignment(tmp_path):
    texts = [word for name in ("Natural", "Neighbor", "GPTInst") for word in ("--texts", DATA / f"llmbar/{name}.json")]
    call("import", DATA / "llmbar/judgments.csv.gz", *texts, "--output", tmp_path / "judges.parquet")
    call("import", DATA / "llmbar/Natural.json", "--output", tmp_path / "gold.jsonl")
    alignment = align(label_table([tmp_path / "gold.jsonl"]), label_table([tmp_path / "judges.parquet"]))
    rows = alignment.votes.to_pylist()
    gold = {(row["pair_id"], row["item"]): row["choice_x"] for row in rows if row["side"] == "left"}
    right: dict[tuple, int] = {}
    for row in rows:
        if row["side"] == "right":
            key = row["rater"], row["item"][-2:]
            right[key] = right.get(key, 0) + (gold[row["pair_id"], row["item"]] == row["choice_x"])
    published = (DATA / "llmbar/published_statistics.csv").read_text().splitlines()[1:]
    natural = [line.split(",") for line in published if line.startswith("LLMBar/Natural,")]
    assert len(natural) > 10
    for _, judge, strategy, _, ab, ba, *_ in natural:
        assert (right[f"{judge}/{strategy}", "ab"], right[f"{judge}/{strategy}", "ba"]) == (int(ab), int(ba)), judge


def test_labels_are_parquet_where_the_name_says_so(tmp_path):
    path = labels(tmp_path, vote(), name="x.parquet")
    assert pq.read_table(path).num_rows == 1
    assert re.match(r"[0-9a-f]{64}$", label_table([path])["pair_id"][0].as_py())
