"""Answers of models that do not exist: pure functions of the model and of what is asked. No imports to wait for."""

import hashlib
import math

TEXT = "a kind plain short honest answer that helps says what it knows and where it has doubts is better"
WORDS = TEXT.split()


def number(*of):
    """A number in [0, 1) that depends on the arguments alone."""
    return int.from_bytes(hashlib.sha256(repr(of).encode()).digest()[:7], "big") / 2**56


def name_of(messages, seed):
    """What a request is called in a ledger: by what it asks, so that every process calls it the same."""
    return hashlib.sha256(repr(([tuple(one) for one in messages], seed)).encode()).hexdigest()[:16]


def text_of(model, messages, seed):
    """`messages` are (role, content) in order."""
    count = 4 + int(20 * number(model, "length", seed, messages))
    return " ".join(WORDS[int(len(WORDS) * number(model, place, seed, messages))] for place in range(count))


def logprobs_of(model, messages):
    """Log-probabilities of two choices that hold 0.99 together."""
    first = 0.99 * (0.02 + 0.96 * number(model, "verdict", messages))
    return math.log(first), math.log(0.99 - first)


def tokens_of(messages):
    return sum(len(content.split()) for _, content in messages)
