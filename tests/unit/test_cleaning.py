"""What `cleaning` in the settings does to prompts, from the settings to the plan, the run's figures and its card."""

import json
from dataclasses import replace

import pytest

from rlaif.errors import DataError
from rlaif.prompt_sets import clean, read_prompts
from rlaif.settings import CleaningSettings, PromptSource
from tests.unit.test_cli_generate import project, rlaif  # noqa: F401  # fixtures
from tests.unit.test_cli_plan import run  # noqa: F401

EGG = "How do I boil an egg so that the yolk stays soft?"
EGG_AGAIN = "How do I boil an egg, so that the yolk stays soft"
EXAM = "Natalia sold clips to forty eight of her friends in April and then half as many in May"
COPIED = f"Please solve this: {EXAM}. Thank you!"
PARAPHRASED = COPIED.replace("forty eight", "thirty two")
OTHER = "Why is the sky dark at night?"


@pytest.fixture
def read(tmp_path):
    """The prompts of these texts, cleaned as told."""
    (tmp_path / "exam.jsonl").write_text(json.dumps({"question": EXAM, "answer": "72"}) + "\n")

    def read(*texts, **wanted):
        (tmp_path / "x.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
        found = read_prompts([PromptSource(path="x.jsonl")], base=tmp_path)
        return clean(found, CleaningSettings(**wanted), base=tmp_path)

    read.place = tmp_path
    return read


def texts(prompt_set):
    return [prompt.messages[0].content for prompt in prompt_set.prompts]


def test_by_default_near_duplicates_are_reported_and_stay(read):
    found = read(EGG, OTHER, EGG_AGAIN)
    assert texts(found) == [EGG, OTHER, EGG_AGAIN]
    (one,) = found.findings
    assert str(one) == f"{read.place}/x.jsonl:3: near-duplicate (100%), {read.place}/x.jsonl:1"
    assert found.figures() == {"rows": 3, "used": 3, "left_out": {}, "found_and_kept": {"near-duplicate": 1}}


def test_removed_ones_are_drops_with_their_reason_and_place(read):
    found = read(EGG, OTHER, EGG_AGAIN, EGG, near_duplicate_prompts="remove")
    assert texts(found) == [EGG, OTHER]
    assert found.figures() == {
        "rows": 4,
        "used": 2,
        "left_out": {"duplicate": 1, "near-duplicate": 1},
        "found_and_kept": {},
    }
    assert [(drop.reason, drop.where.line, str(drop.same_as)) for drop in found.drops] == [
        ("duplicate", 4, f"{read.place}/x.jsonl:1"),
        ("near-duplicate", 3, f"{read.place}/x.jsonl:1"),
    ]
    assert [one.is_removed for one in found.findings] == [True]


def test_off_looks_for_nothing(read):
    assert read(EGG, EGG_AGAIN, near_duplicate_prompts="off").findings == ()


def test_the_threshold_is_the_share_of_common_runs(read):
    """a b c d e and a b c d x share 2 of their 4 runs of three words."""
    pair = ("a b c d e", "a b c d x")
    assert len(read(*pair, likeness=0.5).findings) == 1
    assert read(*pair, likeness=0.51).findings == ()


def test_a_copy_of_a_benchmark_is_found_with_the_passage(read):
    found = read(OTHER, COPIED, benchmarks=("exam.jsonl",))
    (one,) = found.findings
    assert (one.reason, one.same_as) == ("in a benchmark", f"{read.place}/exam.jsonl:1")
    assert one.passage == "natalia sold clips to forty eight of her friends in april and then"
    assert len(one.passage.split()) == 13
    assert texts(found) == [OTHER, COPIED]
    assert found.figures() == {
        "rows": 2,
        "used": 2,
        "left_out": {},
        "found_and_kept": {"in a benchmark": 1},
        "benchmark_texts": 2,
        "benchmark_texts_too_short": 1,  # "72"
    }
    removed = read(OTHER, COPIED, benchmarks=("exam.jsonl",), contaminated_prompts="remove")
    assert (texts(removed), removed.drop_counts) == ([OTHER], {"in a benchmark": 1})


def test_a_shorter_run_finds_what_a_longer_one_cannot(read):
    """After "thirty two of", 12 words of the benchmark are left in one piece."""
    assert read(OTHER, PARAPHRASED, benchmarks=("exam.jsonl",)).findings == ()
    assert len(read(OTHER, PARAPHRASED, benchmarks=("exam.jsonl",), run_words=12).findings) == 1


def test_of_two_alike_prompts_the_one_that_is_not_copied_stays(read):
    wanted = {"near_duplicate_prompts": "remove", "likeness": 0.5}
    alone = read(COPIED, PARAPHRASED, OTHER, **wanted)
    assert texts(alone) == [COPIED, OTHER]
    both = read(COPIED, PARAPHRASED, OTHER, **wanted, benchmarks=("exam.jsonl",), contaminated_prompts="remove")
    assert texts(both) == [PARAPHRASED, OTHER]


def test_a_benchmark_file_that_is_not_there_stops_the_reading(read):
    with pytest.raises(DataError, match=r"exams\.jsonl"):
        read(EGG, benchmarks=("exams.jsonl",))


def test_reading_the_cleaned_set_again_finds_nothing(read):
    cleaned = read(EGG, OTHER, EGG_AGAIN, near_duplicate_prompts="remove")
    again = clean(replace(cleaned, findings=()), CleaningSettings(), base=read.place)
    assert again.findings == ()


# --- on the road


@pytest.fixture
def with_repeats(run):  # noqa: F811
    """The project of the command-line tests, with a near-duplicate and a copied prompt more."""
    with (run.folder / "prompts.jsonl").open("a") as lines:
        lines.writelines(json.dumps({"prompt": text}) + "\n" for text in (EGG, EGG_AGAIN, COPIED))
    (run.folder / "exam.jsonl").write_text(json.dumps({"question": EXAM}) + "\n")
    return run


REMOVING = (
    *("--set", "cleaning.near_duplicate_prompts=remove", "--set", "cleaning.benchmarks=[exam.jsonl]"),
    *("--set", "cleaning.contaminated_prompts=remove"),
)


def test_a_plan_shows_what_was_found_and_what_is_left_out(with_repeats):
    plain = json.loads(with_repeats("plan", "--json")[0])
    assert plain["prompts"]["found_and_kept"] == {"near-duplicate": 1}
    assert plain["sample_calls"] == 9 * 4
    (finding,) = plain["prompts"]["findings"]
    assert (finding["where"].rpartition("/")[2], finding["is_removed"]) == ("prompts.jsonl:8", False)
    shown = with_repeats("plan")[0]
    assert "Prompts found and kept: 1 × near-duplicate" in shown
    assert "prompts.jsonl:8: near-duplicate (100%), " in shown
    removed = json.loads(with_repeats("plan", "--json", *REMOVING)[0])
    assert removed["sample_calls"] == 7 * 4
    assert removed["prompts"]["left_out"] == {"in a benchmark": 1, "near-duplicate": 1}
    assert removed["prompts"]["benchmark_texts"] == 1
    shown = with_repeats("plan", *REMOVING)[0]
    assert "Prompts left out: 1 × near-duplicate" in shown
    assert "prompts.jsonl:9: in a benchmark" in shown


def test_a_run_counts_every_row_and_its_card_says_what_was_looked_for(with_repeats):
    with_repeats("generate", *REMOVING)
    folder = with_repeats.folder / "outputs/runs/test"
    prompts = json.loads((folder / "run.json").read_text())["prompts"]
    assert prompts["rows"] == prompts["used"] + sum(prompts["left_out"].values()) == 9
    card = (folder / "dataset/README.md").read_text()
    assert "- 9 rows read, 7 prompts used" in card
    assert "- left out: 1 × in a benchmark" in card
    assert "- left out: 1 × near-duplicate" in card
    assert "compared with exam.jsonl: 1 texts, 0 of them too short to be looked for" in card


def test_a_run_that_only_reports_says_what_it_kept(with_repeats):
    _, err = with_repeats("generate")
    assert "1 prompts found and kept: near-duplicate (`rlaif plan` lists them)" in err
    card = (with_repeats.folder / "outputs/runs/test/dataset/README.md").read_text()
    assert "- found and kept: 1 × near-duplicate" in card
    assert "- compared with no benchmark" in card


def test_removing_what_was_reported_asks_nothing_and_taking_it_back_asks_nothing_either(with_repeats):
    with_repeats("generate")
    for sets in (REMOVING, ()):
        assert json.loads(with_repeats("plan", "--json", *sets)[0])["judge_calls"] == 0
