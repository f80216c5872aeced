"""Principles in words: what they mean, what is kept out of training; and critiques that can be read back."""

import re
from itertools import product

import pytest
import yaml

from rlaif.bundled import project_file
from rlaif.tiny.critiques import Critique, read_critique, read_reasons, winner_of, write_critique, write_reasons
from rlaif.tiny.phrases import PHRASES
from rlaif.tiny.properties import NAMES
from rlaif.tiny.wordings import (
    AVOID,
    FRAMES,
    FRAMES_HELD_OUT,
    HELD_OUT_COMPOSITIONS,
    PREFER,
    bend,
    write_unrelated,
    write_wording,
)
from rlaif.tiny.world import seeded


def wordings(split, count=3000):
    rng = seeded("wordings", split)
    return [write_wording(rng, split=split) for _ in range(count)]


def words(text):
    return set(re.findall(r"[\w-]+", text.lower()))


@pytest.mark.parametrize(
    ("phrase", "form", "bent"),
    [
        ("be polite", "has", "is polite"),
        ("be polite", "not", "is not polite"),
        ("be polite", "plural", "are polite"),
        ("admit doubt", "has", "admits doubt"),
        ("admit doubt", "ing", "admitting doubt"),
        ("have many words", "has", "has many words"),
        ("preach to the user", "has", "preaches to the user"),
        ("preach to the user", "not", "does not preach to the user"),
        ("go on and on", "has", "goes on and on"),
        ("deny help", "has", "denies help"),
        ("say why", "has", "says why"),
        ("moralise", "ing", "moralising"),
    ],
)
def test_a_phrase_is_bent_as_english_bends_it(phrase, form, bent):
    assert bend(phrase)[form] == bent


def test_training_never_sees_a_held_out_composition_frame_or_phrase():
    held_frames = {frame for frames in FRAMES_HELD_OUT.values() for frame in frames}
    assert not held_frames & {frame for frames in FRAMES.values() for frame in frames}
    for wording in wordings("train"):
        assert (wording.property, wording.direction) not in HELD_OUT_COMPOSITIONS
        phrases = PHRASES[wording.property]
        said = wording.text.lower()
        forms = [bend(p) for p in (*phrases.has, *phrases.lacks)]
        assert any(form in said for bent in forms for form in bent.values()), wording.text


def test_held_out_compositions_are_the_only_ones_of_their_split_and_trained_the_other_way_round():
    assert {(w.property, w.direction) for w in wordings("composition")} == HELD_OUT_COMPOSITIONS
    trained = {(w.property, w.direction) for w in wordings("train")}
    assert {(name, -direction) for name, direction in HELD_OUT_COMPOSITIONS} <= trained
    assert trained == set(product(NAMES, (PREFER, AVOID))) - HELD_OUT_COMPOSITIONS


def test_held_out_wordings_use_only_words_that_training_uses():
    known = set()
    for phrases in PHRASES.values():
        for phrase in (*phrases.has, *phrases.lacks):
            known |= set().union(*(words(form) for form in bend(phrase).values()))
    known |= set().union(*(words(frame) for frames in FRAMES.values() for frame in frames))
    for phrases in PHRASES.values():
        for phrase in (*phrases.has_held_out, *phrases.lacks_held_out):
            assert words(phrase) <= known, phrase
            assert phrase not in (*phrases.has, *phrases.lacks)
    for frame in (*FRAMES_HELD_OUT[PREFER], *FRAMES_HELD_OUT[AVOID]):
        assert words(frame) <= known, frame


def test_a_double_negative_means_what_it_says():
    rng = seeded("negatives")
    found = [write_wording(rng, about=("reason", PREFER)) for _ in range(2000)]
    lacking = [w.text for w in found if "lacks a reason" in w.text]
    assert "Avoid the response that lacks a reason." in lacking
    assert "Prefer the response that lacks a reason." not in lacking


def test_an_even_number_of_negations_prefers():
    rng = seeded("parity")
    for wording in [*wordings("train"), *wordings("frame"), *(write_unrelated(rng) for _ in range(2000))]:
        assert (sum(wording.negations) % 2 == 0) == (wording.direction == PREFER), wording.text


def test_simple_wordings_negate_at_most_once():
    rng = seeded("simple")
    for write in (write_wording, write_unrelated):
        assert all(sum(write(rng, simple=True).negations) < 2 for _ in range(1000))


def test_principles_about_other_things_are_about_no_property():
    rng = seeded("unrelated")
    frames = [frame for direction in (PREFER, AVOID) for frame in FRAMES[direction]]
    phrases = [bend(phrase) for p in PHRASES.values() for phrase in (*p.has, *p.has_held_out)]
    ours = {frame.format(**phrase).lower() for frame in frames for phrase in phrases}
    for wording in (write_unrelated(rng) for _ in range(2000)):
        assert not wording.property
        assert wording.text.lower() not in ours


@pytest.mark.parametrize(("a", "b", "direction", "winner"), [
    (True, False, PREFER, "A"),
    (True, False, AVOID, "B"),
    (False, True, PREFER, "B"),
    (False, True, AVOID, "A"),
    (True, True, PREFER, "tie"),
    (False, False, AVOID, "tie"),
])  # fmt: skip
def test_who_wins_follows_from_what_they_have(a, b, direction, winner):
    assert winner_of(a, b, direction) == winner


def test_every_critique_reads_back_as_what_was_written():
    rng = seeded("critiques")
    for name, a, b, direction in product(NAMES, (True, False), (True, False), (PREFER, AVOID)):
        said = Critique(name, a, b, winner_of(a, b, direction))
        assert read_critique(write_critique(said, rng)) == said


def test_reasons_read_back_as_what_was_written_and_state_their_winner():
    rng = seeded("reasons")
    letters = set()
    for name, a, b, direction in product(NAMES, (True, False), (True, False), (PREFER, AVOID)):
        said = Critique(name, a, b, winner_of(a, b, direction))
        read, letter = read_reasons(write_reasons(said, rng))
        assert read == said
        assert said.winner in (letter, "tie")
        letters |= {letter} if said.winner == "tie" else set()
    assert letters == {"A", "B"}


@pytest.mark.parametrize("end", ["", "\n\nVerdict: C", "\nVerdict: A", "\n\nVerdict: A.", "\n\nVerdict: A\n\nOr B"])
def test_what_does_not_end_in_its_verdict_is_no_reasons(end):
    said = Critique("reason", True, False, "A")
    assert read_reasons(write_critique(said, seeded("end")) + end) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Response A is better.",
        "Response A gives a reason. Response B is not polite. So response A follows the principle better.",
        "Response A gives a reason. Response B gives no reason. So response A follows the principle better. And more.",
    ],
)
def test_what_is_no_critique_is_not_read_as_one(text):
    assert read_critique(text) is None


def test_small_yaml_shows_each_principle_turned_round():
    text = project_file("constitution/small.yaml").read_text(encoding="utf-8")
    principles = yaml.safe_load(text)["principles"]
    assert len(principles) == 6
    turned = re.findall(r"^ +# text: (.+)$", text, flags=re.MULTILINE)
    assert len(turned) == 6
    assert not {principle["text"] for principle in principles} & set(turned)
