"""Labels, for any content: round trips through our files and other tools' formats, ids, the order-free alignment."""

import contextlib
import json
import math
import random
from collections import Counter
from dataclasses import fields, replace

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlaif.errors import DataError
from rlaif.labels.align import align, report
from rlaif.labels.exporting import export_votes
from rlaif.labels.exports import EXPORTS
from rlaif.labels.file import read_votes, write_votes
from rlaif.labels.formats import FORMATS
from rlaif.labels.label import Label, Mark, Vote
from rlaif.labels.table import label_table, mark_table
from rlaif.labels.votes import Found, found_of, make_vote, swapped_found
from rlaif.records import Message
from tests.labels_kit import found, names, read_file, votes, write_rows
from tests.unit.test_labels_formats import CASES

slow = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
few = settings(slow, max_examples=12)  # each example opens several databases


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("labels")


@slow
@given(st.lists(votes, max_size=6), st.sampled_from(["x.jsonl", "x.parquet"]))
def test_a_label_file_gives_back_the_votes_it_was_given(folder, given_votes, name):
    assert write_votes(folder / name, given_votes) == len(given_votes)
    back = list(read_votes(folder / name))
    assert back == given_votes
    assert [found_of(vote) for vote in back] == [found_of(vote) for vote in given_votes]


@few
@given(st.lists(votes, min_size=1, max_size=6), st.sampled_from(["x.jsonl", "x.parquet"]))
def test_the_table_has_the_ids_and_sides_that_python_computes(folder, given_votes, name):
    """Two independent witnesses: `rlaif/identity.py` and DuckDB's JSON and SHA-256."""
    write_votes(folder / name, given_votes)
    rows = label_table([folder / name]).to_pylist()
    for vote, row in zip(given_votes, rows, strict=True):
        assert (row["pair_id"], row["prompt_id"]) == (vote.pair.id, vote.pair.prompt.id)
        assert (row["model_x"], row["model_y"]) == (vote.pair.x.policy, vote.pair.y.policy)
        assert (row["length_x"], row["length_y"]) == (len(vote.pair.x.text), len(vote.pair.y.text))
        assert row["is_x_first"] is not vote.is_turned
        assert row["choice_x"] == choice_for_x(vote)
    marks = mark_table([folder / name])
    assert marks["principle"].to_pylist() == [mark.principle for vote in given_votes for mark in vote.label.marks]


def choice_for_x(vote: Vote) -> str | None:
    better = {"first": vote.label.first_id, "second": vote.label.second_id}.get(vote.label.choice)
    return vote.label.choice if better is None else "x" if better == vote.pair.x.id else "y"


@few
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip), st.text(max_size=3))
def test_control_characters_and_quotes_do_not_change_an_id(folder, prompt, answer):
    asked = (Message("user", prompt + '\x00\x1f\\u001F\x7f"'),)
    sides = {"first": answer + "\x0b", "second": answer + '"\\'}
    one = Found(prompt=asked, **sides, rater="a", kind="human", choice="first")
    vote = make_vote(one, source="s")
    write_votes(folder / "c.jsonl", [vote])
    assert label_table([folder / "c.jsonl"])["pair_id"].to_pylist() == [vote.pair.id]


@slow
@given(votes)
def test_swapping_the_sides_of_a_source_changes_nothing_but_the_order_shown(vote):
    one = found_of(vote)
    other = make_vote(swapped_found(one), source="")
    assert (other.pair.id, other.pair) == (vote.pair.id, vote.pair)
    if not vote.label.is_order_known:
        assert same_label(other.label, vote.label)


def same_label(one: Label, other: Label) -> bool:
    return all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(Label))


def same(one, other) -> bool:
    """Equal; floats but for rounding."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, abs_tol=1e-15)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Mark) and isinstance(other, Mark):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(Mark))
    return one == other


# --- other tools' formats


def key(vote: Vote) -> tuple:
    label = vote.label
    return label.pair_id, label.rater, label.first_id, label.item


@slow
@given(st.lists(votes, max_size=5), st.sampled_from(sorted(EXPORTS)))
def test_an_export_is_read_back_as_it_was_but_for_what_it_says_it_lost(folder, given_votes, name):
    path = folder / f"{name}.{'jsonl' if EXPORTS[name].document is None else 'json'}"
    exported = export_votes(given_votes, path, EXPORTS[name])
    left_out = sum(exported.left_out.values())
    assert exported.num_labels == exported.num_written + left_out == len(given_votes)
    if not exported.num_written:
        return
    back, imported, _ = read_file(path, format=name)
    assert imported.left_out == []
    assert len(back) == exported.num_written
    changed = Counter()
    for one in back:
        twins = [vote for vote in given_votes if (vote.pair.id, vote.label.rater) == (one.pair.id, one.label.rater)]
        changed.update(min((differing(vote, one) for vote in twins), key=len))
    assert set(changed) <= {"marks" if name.startswith("mark") else name for name in exported.lost}


def differing(vote: Vote, back: Vote) -> set[str]:
    """The label's fields that are not the same, found without the exporter's own comparison."""
    return {f.name for f in fields(Label) if not same(getattr(vote.label, f.name), getattr(back.label, f.name))}


plain = found().map(
    lambda one: replace(
        one, kind="human", strength=None, marks=(), comment="", seconds=None, time=None, item="", tags=frozenset(),
        prompt=one.prompt[-1:], is_order_known=True, choice=one.choice or "first", probability=None,
    )
)  # fmt: skip


@slow
@given(st.lists(plain.filter(lambda one: one.choice not in ("both_bad", "skipped", "tie")), min_size=1, max_size=5))
def test_a_plain_choice_of_a_person_survives_every_format_whole(folder, given_found):
    given_votes = list({key(vote): vote for vote in (make_vote(one, source="") for one in given_found)}.values())
    for name, export in EXPORTS.items():
        path = folder / f"plain-{name}.{'jsonl' if export.document is None else 'json'}"
        exported = export_votes(given_votes, path, export)
        assert (exported.lost, exported.left_out) == (Counter(), Counter()), name
        back = read_file(path, format=name)[0] if exported.num_written else []
        # An importer names the file where a row names no source.
        labels = sorted((vote.label for vote in back), key=repr)
        assert labels == sorted((vote.label for vote in given_votes), key=repr), name


@slow
@given(st.lists(votes.filter(lambda vote: vote.label.choice in (None, "first", "second")), min_size=1, max_size=5))
def test_trl_rows_lose_nothing_of_a_decided_label(folder, given_votes):
    decided = [vote for vote in given_votes if vote.label.probability != 0.5]
    exported = export_votes(decided, folder / "decided.jsonl", EXPORTS["trl"])
    assert exported.left_out == Counter()
    assert set(exported.lost) <= {"source"}  # an empty one reads as the file's name


# --- rows of any shape

cells = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "text"]), inner),
    max_leaves=4,
)
known = st.sampled_from([one for one in FORMATS if not one.look_up])


@slow
@given(known, st.data())
def test_a_row_of_any_shape_is_a_label_or_listed_or_of_another_alphabet(folder, one, data):
    rows = [CASES[one.name][0]] if one.name in CASES else []
    for row in [*rows, dict.fromkeys(one.keys)]:
        changed = {key: data.draw(cells) if data.draw(st.booleans()) else value for key, value in row.items()}
        path = write_rows(folder / "any.jsonl", [changed])
        with contextlib.suppress(DataError):  # of another alphabet
            votes_, imported, _ = read_file(path, format=one.name)
            assert (imported.num_rows, imported.num_votes) == (1, len(votes_) + len(imported.left_out))


# --- alignment


@st.composite
def sources(draw):
    """Two sources on a few pairs: raters that repeat and contradict themselves, pairs only one source has."""
    texts = ["a", "b", "c"]

    def vote(raters: str) -> Found:
        first, second = draw(st.permutations(texts))[:2]
        return Found(
            prompt=(Message("user", draw(st.sampled_from("PQ"))),),
            first=first,
            second=second,
            rater=draw(st.sampled_from(raters)),
            kind="human",
            choice=draw(st.sampled_from(["first", "second", "tie"])),
            is_order_known=draw(st.booleans()),
            item=draw(st.sampled_from(["", "1", "2"])),
            first_model="m",
            second_model="n",
        )

    return [[vote(raters) for _ in range(draw(st.integers(1, 8)))] for raters in ("rs", "jk")]


def table_of(folder, given_found) -> pa.Table:
    write_votes(folder / "side.jsonl", [make_vote(one, source="s") for one in given_found])
    return label_table([folder / "side.jsonl"])


@few
@given(sources(), st.randoms(use_true_random=False))
def test_shuffled_rows_swapped_sides_and_renamed_models_give_the_same_bytes(folder, both, chance: random.Random):
    def told(sides) -> tuple[str, list]:
        alignment = align(*(table_of(folder, side) for side in sides))
        kept = alignment.votes.drop_columns(["is_order_known", "is_x_first"]).to_pylist()
        return json.dumps(report(alignment)), kept

    other = []
    for side in both:
        turned = [swapped_found(one) if chance.random() < 0.5 else one for one in side]
        renamed = [replace(one, first_model=chance.choice("xyz"), second_model="other") for one in turned]
        chance.shuffle(renamed)
        other.append(renamed)
    assert told(both) == told(other)


@few
@given(sources())
def test_the_alignment_is_that_of_a_slow_loop(folder, both):
    """An independent witness: dictionaries, in the words of the module's docstring."""
    alignment = align(*(table_of(folder, side) for side in both))
    expected, contradictions, duplicates = slow_alignment(both)
    got = {(v["side"], v["pair_id"], v["item"], v["rater"]): v["choice_x"] for v in alignment.votes.to_pylist()}
    assert got == expected
    assert alignment.contradictions.num_rows == contradictions
    assert alignment.duplicates.num_rows == duplicates


def slow_alignment(both):
    verdicts: dict[tuple, list] = {}
    for side, given_found in zip(("left", "right"), both, strict=True):
        votes_ = [make_vote(one, source="") for one in given_found]
        for vote in votes_:
            pair, rater = vote.pair.id, vote.label.rater
            items = {other.label.item for other in votes_ if (other.pair.id, other.label.rater) == (pair, rater)}
            unit = vote.label.item if len(items) > 1 else None
            better = {"first": vote.label.first_id, "second": vote.label.second_id}.get(vote.label.choice)
            said = "tie" if better is None else "x" if better == vote.pair.x.id else "y"
            verdicts.setdefault((side, pair, unit, rater), []).append(said)
    contradictions = sum(len(set(said)) > 1 for said in verdicts.values())
    duplicates = sum(len(said) > 1 and len(set(said)) == 1 for said in verdicts.values())
    things = {(pair, unit) for _, pair, unit, _ in verdicts if unit is not None}
    things |= {(pair, "") for _, pair, _, _ in verdicts if not any(pair == other for other, _ in things)}
    answers = {
        (side, pair, item, rater): said[0]
        for (side, pair, unit, rater), said in verdicts.items()
        if len(set(said)) == 1
        for thing, item in things
        if thing == pair and unit in (None, item)
    }
    sides = {(pair, item): {s for s, p, i, _ in answers if (p, i) == (pair, item)} for _, pair, item, _ in answers}
    return {k: v for k, v in answers.items() if len(sides[k[1], k[2]]) == 2}, contradictions, duplicates


@few
@given(names, st.lists(votes, max_size=4))
def test_a_source_matches_itself(folder, rater, given_votes):
    write_votes(folder / "self.jsonl", given_votes)
    table = label_table([folder / "self.jsonl"])
    alignment = align(table, table)
    assert alignment.unmatched.num_rows == 0
    assert alignment.counts["labels"] == {"left": len(given_votes), "right": len(given_votes)}
