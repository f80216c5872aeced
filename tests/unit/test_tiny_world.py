"""The tiny world: what an answer has is what was put in, and no plain word gives a property away."""

import pytest

from rlaif.tiny import topics
from rlaif.tiny.properties import BY_NAME, LONG_FROM_WORDS, NAMES, num_words, properties
from rlaif.tiny.world import (
    LONG_LEAST_WORDS,
    SHORT_MOST_WORDS,
    draw_prompt,
    is_held_out,
    seeded,
    write_answer,
    write_prompt,
)


def answers(count, *, seed="answers", **options):
    rng = seeded(seed)
    prompts = [write_prompt(rng) for _ in range(count)]
    return [(prompt, write_answer(prompt, rng, **options)) for prompt in prompts]


@pytest.mark.parametrize("held_out_sentences", [False, True])
def test_the_properties_found_are_the_properties_put_in(held_out_sentences):
    for _, answer in answers(1500, held_out_sentences=held_out_sentences):
        assert properties(answer.text) == answer.properties, answer.text


def test_every_property_sentence_shows_its_property_and_no_other():
    for one in BY_NAME.values():
        for sentence in one.sentences:
            assert properties(sentence) == {one.name}, sentence


def test_plain_sentences_show_nothing():
    crafts = [text for craft in topics.CRAFTS for text in (*craft.tips, *craft.details)]
    pools = (
        topics.UNKNOWN_TIPS,
        topics.HARMFUL_TIPS,
        topics.BORDERLINE_TIPS,
        topics.OPINION_TIPS,
        topics.ADVICE_TIPS,
        topics.PLAIN,
    )
    for text in [*crafts, *(text for pool in pools for text in pool)]:
        assert not properties(text), text


def test_no_topic_shows_a_property():
    rng = seeded("topics")
    assert not any(properties(write_prompt(rng).topic) for _ in range(3000))


def test_every_property_has_sixteen_trained_sentences_and_two_held_out_ones():
    for one in BY_NAME.values():
        assert len(set(one.trained)) == 16
        assert not set(one.trained) & set(one.held_out)


def test_each_property_is_in_a_fifth_to_half_of_the_answers():
    drawn = [answer.properties for _, answer in answers(3000)]
    for name in NAMES:
        assert 0.2 <= sum(name in has for has in drawn) / len(drawn) <= 0.5, name


def test_lengths_leave_a_gap_around_the_threshold():
    assert SHORT_MOST_WORDS < LONG_FROM_WORDS < LONG_LEAST_WORDS
    lengths = [num_words(answer.text) for _, answer in answers(1000)]
    assert not [count for count in lengths if SHORT_MOST_WORDS < count < LONG_LEAST_WORDS]


def test_an_answer_with_a_core_is_about_its_prompt():
    about = [
        prompt.topic.lower() in answer.text.lower()
        for prompt, answer in answers(800, wanted=frozenset())
        if prompt.kind == "craft" and prompt.craft is not None
    ]
    assert all(about)


def test_a_seed_names_a_text():
    assert answers(20) == answers(20)
    assert answers(20) != answers(20, seed="others")


def test_the_two_sides_of_the_prompts_share_nothing():
    rng = seeded("sides")
    training = {draw_prompt(rng, held_out=False).turns[0] for _ in range(3000)}
    held_out = {draw_prompt(rng, held_out=True).turns[0] for _ in range(600)}
    assert not training & held_out
    assert len(held_out) > 250


def test_a_conversation_of_several_turns_ends_with_the_user():
    rng = seeded("turns")
    several = [prompt for prompt in (write_prompt(rng) for _ in range(400)) if len(prompt.turns) > 1]
    assert several
    for prompt in several:
        assert [message["role"] for message in prompt.messages] == ["user", "assistant", "user"]
        assert prompt.conversation.count("User: ") == 2
        assert is_held_out(prompt) == is_held_out(type(prompt)(prompt.turns[:1], prompt.kind, prompt.topic))
