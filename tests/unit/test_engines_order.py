"""Prefix order, and the size of the tree of prefixes."""

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rlaif.engines.base import Request, Sampling
from rlaif.engines.order import prefix_order, shared_share
from rlaif.numbers.prefix import common_prefix, prefix_tree_tokens
from rlaif.records import Message

TOKENS = st.lists(st.lists(st.integers(0, 2), max_size=7), max_size=12)


def naive_trie_size(sequences):
    return len({tuple(tokens[: n + 1]) for tokens in sequences for n in range(len(tokens))})


@given(TOKENS)
def test_tree_tokens_are_the_nodes_of_a_naive_trie(sequences):
    assert prefix_tree_tokens(sequences) == naive_trie_size(sequences)


@given(st.lists(st.integers(0, 1), max_size=9), st.lists(st.integers(0, 1), max_size=9))
def test_common_prefix_is_what_a_loop_counts(left, right):
    shared = 0
    while shared < min(len(left), len(right)) and left[shared] == right[shared]:
        shared += 1
    assert common_prefix(left, right) == shared


def chat(*texts, name=""):
    roles = ("system", "user", "assistant")
    messages = tuple(Message(roles[n % 3], text) for n, text in enumerate(texts))
    return Request(id=name or "|".join(texts), messages=messages, sampling=Sampling(max_tokens=1))


def test_prefix_order_does_not_depend_on_the_order_requests_came_in():
    requests = [chat("judge", f"conversation {c} answer {a} principle {p}") for c in "xy" for a in "12" for p in "ab"]
    shuffled = random.Random(1).sample(requests, len(requests))
    assert prefix_order(shuffled) == prefix_order(requests)


@given(st.lists(st.text("ab", max_size=5), min_size=1, max_size=10, unique=True))
def test_in_prefix_order_a_walk_with_one_path_in_memory_reads_no_more_than_the_tree(texts):
    ordered = [[ord(c) for c in request.messages[0].content] for request in prefix_order(chat(text) for text in texts)]
    read, held = 0, []
    for tokens in ordered:
        read += len(tokens) - common_prefix(held, tokens)
        held = tokens
    assert read == prefix_tree_tokens(ordered)


def test_shared_share_counts_text_from_the_beginning():
    assert shared_share(chat("same", "abcd1234"), chat("same", "abcdWXYZ")) == 8 / 12
    assert shared_share(chat("one", "abc"), chat("two", "abc")) == 0
    assert shared_share(chat("a"), chat("a")) == 1


def test_a_turn_that_has_begun_follows_the_question_it_belongs_to():
    """A critique's request, then the verdicts behind that critique, then the next question."""
    first, second = chat("judge", "one"), chat("judge", "two")
    begun = [replace(first, id=f"b{n}", prefill=f"because {n}") for n in range(2)]
    assert prefix_order([second, begun[1], first, begun[0]]) == [first, *begun, second]
    assert shared_share(first, begun[0]) == 8 / 17
    assert shared_share(*begun) == 16 / 17
