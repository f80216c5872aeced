"""Near-duplicates and benchmark passages: against slower plain versions, values by hand, and planted copies."""

import csv
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.errors import DataError
from rlaif.overlap import Duplicate, Passages, find_duplicates, words_of
from rlaif.overlap.near_duplicates import RECALL, bands_for, jaccard
from rlaif.overlap.words import runs
from rlaif.prompt_sets import read_prompts
from rlaif.prompt_sets.cleaning import (
    find_contamination,
    find_near_duplicates,
    read_passages,
    without,
)
from rlaif.settings import PromptSource

VOCABULARY = [f"word{i}" for i in range(400)]


def sentence(rng: random.Random, length: int) -> str:
    return " ".join(rng.choices(VOCABULARY, k=length))


def edited(rng: random.Random, text: str, edits: int) -> str:
    words = text.split()
    for _ in range(edits):
        words[rng.randrange(len(words))] = rng.choice(VOCABULARY)
    return " ".join(words)


# --- words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's  A\nTest!", ["it", "s", "a", "test"]),
        ("café", ["café"]),  # one letter, or a letter and an accent
        ("STRASSE straße", ["strasse", "strasse"]),
        ("1,234 snake_case", ["1", "234", "snake", "case"]),
        ("天気は", ["天", "気", "は"]),
        ("?!", []),
    ],
)
def test_words_are_what_is_left_without_case_and_punctuation(text, words):
    assert words_of(text) == words


def test_runs_slide_by_one_word_and_a_short_text_is_one_run():
    assert runs(["a", "b", "c"], 2) == ["a b", "b c"]
    assert runs(["a", "b"], 3) == ["a b"]
    assert runs([], 3) == []


# --- near-duplicates


def test_likeness_worked_by_hand():
    """a b c d e has the runs abc, bcd, cde; a b c d x has abc, bcd, cdx: 2 of 4 are shared."""
    (found,) = find_duplicates(["a b c d e", "A, b c d x!"], threshold=0.5)
    assert found == Duplicate(index=1, of=0, similarity=0.5, is_exact=False)
    assert find_duplicates(["a b c d e", "a b c d x"], threshold=0.51) == []


def test_equal_texts_are_told_from_texts_that_only_say_the_same():
    found = find_duplicates(["Say hi.", "say: hi", "Say hi."], threshold=0.9)
    assert [(one.index, one.of, one.is_exact) for one in found] == [(1, 0, False), (2, 0, True)]


def test_texts_without_words_are_compared_as_they_stand():
    assert [one.index for one in find_duplicates(["?!", "...", " ?!", ""], threshold=0.9)] == [2]


def test_the_first_is_kept_and_likeness_is_not_handed_on():
    """b is like a, c is like b but not like a: b goes, c stays."""
    a, b, c = "a b c d e f g h i j", "a b c d e f g h x y", "v w c d e f g h x y"
    assert [one.index for one in find_duplicates([a, b, c], threshold=0.6)] == [1]
    assert [one.index for one in find_duplicates([b, c], threshold=0.6)] == [1]


def slow_duplicates(texts, threshold):
    kept, found = [], []
    sets = [frozenset(runs(words_of(text), 3)) for text in texts]
    for index, own in enumerate(sets):
        best = max(((jaccard(own, sets[other]), -other) for other in kept), default=(0, 0))
        if best[0] >= threshold:
            found.append((index, -best[1]))
        else:
            kept.append(index)
    return found


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_sketches_find_what_comparing_everything_finds(threshold):
    """300 texts, 120 of them edited copies at every degree of likeness; misses only at the threshold's edge."""
    rng = random.Random(3)
    texts = [sentence(rng, 40) for _ in range(180)]
    texts += [edited(rng, rng.choice(texts[:180]), rng.randrange(7)) for _ in range(120)]
    rng.shuffle(texts)
    found = {(one.index, one.of) for one in find_duplicates(texts, threshold=threshold)}
    slow = set(slow_duplicates(texts, threshold))
    assert len(slow) > 30
    assert len(found & slow) >= RECALL * len(slow)
    assert len(found - slow) <= 2  # after a miss, what was missed is kept and may be the one that is most like


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text("ab c.", max_size=12), max_size=8), st.sampled_from([0.3, 0.7, 1.0]))
def test_a_duplicate_is_at_least_as_alike_as_asked_and_points_at_a_kept_text(texts, threshold):
    found = find_duplicates(texts, threshold=threshold)
    gone = {one.index for one in found}
    for one in found:
        assert one.of < one.index
        assert one.of not in gone
        assert threshold <= one.similarity <= 1.0
        assert not one.is_exact or texts[one.index] == texts[one.of]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_the_bands_find_a_pair_at_the_threshold_and_no_wider_band_would(threshold):
    bands, rows = bands_for(threshold)
    assert bands * rows <= 128
    assert 1 - (1 - threshold**rows) ** bands >= RECALL
    if rows < 64:
        assert 1 - (1 - threshold ** (rows + 1)) ** (128 // (rows + 1)) < RECALL


@pytest.mark.parametrize(("threshold", "shingle_words"), [(0.0, 3), (1.1, 3), (0.5, 0)])
def test_a_threshold_that_means_nothing_is_refused(threshold, shingle_words):
    with pytest.raises(ValueError, match="threshold"):
        find_duplicates(["a"], threshold=threshold, shingle_words=shingle_words)


# --- passages


def numbered(start: int, count: int) -> str:
    return " ".join(f"w{i}" for i in range(start, start + count))


def test_thirteen_shared_words_are_a_match_and_twelve_are_not():
    passages = Passages([("bench:1", numbered(0, 30))])
    match = passages.find(f"Please: {numbered(5, 13).upper()}, and now?")
    assert match is not None
    assert (match.example, match.run) == ("bench:1", numbered(5, 13))
    assert match.share == pytest.approx(1 / 4)  # 16 words have 4 runs of 13, one of which is shared
    assert passages.find(f"Please: {numbered(5, 12)}, and now?") is None


def test_a_short_example_counts_whole_and_a_very_short_one_cannot_be_looked_for():
    passages = Passages([("nine", numbered(0, 9)), ("seven", numbered(50, 7))])
    assert (passages.num_examples, passages.num_too_short) == (2, 1)
    assert passages.find(f"x {numbered(0, 9)} y").example == "nine"
    assert passages.find(numbered(0, 8)) is None
    assert passages.find(f"x {numbered(50, 7)} y") is None


def test_what_many_examples_share_is_boilerplate_and_no_evidence():
    preamble = numbered(0, 13)
    examples = [(f"e{i}", f"{preamble} {numbered(100 * i + 100, 13)}") for i in range(11)]
    passages = Passages(examples)
    assert passages.find(f"{preamble} something of my own") is None
    assert passages.find(numbered(300, 13)).example == "e2"
    assert passages.num_common == 1
    assert Passages(examples[:10]).find(f"{preamble} something of my own").example == "e0"


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text("ab ", min_size=1, max_size=14), max_size=4), st.text("ab ,", max_size=24))
def test_a_match_is_what_a_plain_search_finds(examples, text):
    passages = Passages([(str(i), example) for i, example in enumerate(examples)], run_words=3)
    padded = f" {' '.join(words_of(text))} "
    expected = any(f" {run} " in padded for e in examples for run in runs(words_of(e), 3) if len(run.split()) == 3)
    assert (passages.find(text) is not None) == expected


# --- prompts


@pytest.fixture
def prompt_set(tmp_path):
    rows = [
        {"prompt": "How do I boil an egg so that the yolk stays soft?", "id": "egg"},
        {"prompt": "How do I boil an egg, so that the yolk stays soft", "id": "egg-again"},
        {"prompt": numbered(0, 20), "id": "copied"},
        {"prompt": "Why is the sky dark at night?", "id": "sky", "reference": numbered(40, 14)},
        {"prompt": ""},
    ]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_prompts([PromptSource(path="x.jsonl")], base=tmp_path)


def names(found, prompt_set):
    by_id = {prompt.id: prompt.name for prompt in prompt_set.prompts}
    return [by_id[one.prompt_id] for one in found]


def test_findings_have_their_places_and_removing_them_loses_no_row(prompt_set, tmp_path):
    (tmp_path / "bench.jsonl").write_text(json.dumps({"question": numbered(3, 15), "choices": ["a", "b"]}) + "\n")
    repeated = find_near_duplicates(prompt_set, threshold=0.9)
    copied = find_contamination(prompt_set, read_passages(["bench.jsonl"], base=tmp_path))
    assert names(repeated, prompt_set) == ["egg-again"]
    assert (repeated[0].same_as, repeated[0].likeness) == (f"{tmp_path / 'x.jsonl'}:1", 1.0)
    assert names(copied, prompt_set) == ["copied"]
    assert copied[0].same_as == f"{tmp_path / 'bench.jsonl'}:1"
    assert copied[0].passage == numbered(3, 13)
    cleaned = without(prompt_set, [*repeated, *copied])
    assert [prompt.name for prompt in cleaned.prompts] == ["egg", "sky"]
    assert cleaned.num_rows == prompt_set.num_rows == 5
    assert cleaned.drop_counts == {"empty text": 1, "near-duplicate": 1, "in a benchmark": 1}
    assert str(cleaned.drops[1].where) == f"{tmp_path / 'x.jsonl'}:2"
    assert str(cleaned.drops[1].same_as) == f"{tmp_path / 'x.jsonl'}:1"


def test_a_prompt_found_twice_is_counted_once(prompt_set):
    found = find_near_duplicates(prompt_set, threshold=0.9)
    assert without(prompt_set, found * 2).drop_counts == {"empty text": 1, "near-duplicate": 1}


def test_a_reference_copied_from_a_benchmark_is_found_too(prompt_set):
    assert names(find_contamination(prompt_set, Passages([("b", numbered(40, 14))])), prompt_set) == ["sky"]


def test_nothing_left_is_an_error(prompt_set):
    everything = find_contamination(prompt_set, Passages([("b", numbered(0, 20))]))
    alone = type(prompt_set)((prompt_set.prompts[2],), (), prompt_set.places)
    with pytest.raises(DataError, match="none would be left"):
        without(alone, everything)


def test_benchmarks_are_read_from_every_kind_of_file(tmp_path):
    text = numbered(0, 13)
    (tmp_path / "b.jsonl").write_text("\n" + json.dumps({"a": {"b": [1, text]}}) + "\n")
    (tmp_path / "b.txt").write_text(f"first\n{text}\n")
    with (tmp_path / "b.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["question"], [text]])
    pq.write_table(pa.Table.from_pylist([{"q": ["x"]}, {"q": [text]}]), tmp_path / "b.parquet")
    for name, place in [("b.jsonl", ":2"), ("b.txt", ":2"), ("b.csv", ":2"), ("b.parquet", " row 2")]:
        match = read_passages([name], base=tmp_path).find(text)
        assert match is not None
        assert match.example == f"{tmp_path / name}{place}"


def test_a_benchmark_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "b.jsonl").write_text('{"a": 1}\n{"a"\n')
    (tmp_path / "b.pdf").write_text("")
    with pytest.raises(DataError, match=r"b\.jsonl:2: this line is not JSON"):
        read_passages(["b.jsonl"], base=tmp_path)
    with pytest.raises(DataError, match=r"kind '\.pdf' are not read"):
        read_passages(["b.pdf"], base=tmp_path)
    with pytest.raises(DataError, match="no-such"):
        read_passages(["no-such.csv"], base=tmp_path)
