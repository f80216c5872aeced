"""The size of the tree of prefixes: how many tokens a model must read at the least to answer a set of requests."""

from collections.abc import Iterable, Sequence
from typing import Any


def common_prefix(left: Sequence[Any], right: Sequence[Any]) -> int:
    """How many items two sequences share at their beginning. Compares slices, halving, so the loop is not in Python."""
    shared, limit = 0, min(len(left), len(right))
    while shared < limit:
        middle = (shared + limit + 1) // 2
        if left[shared:middle] == right[shared:middle]:
            shared = middle
        else:
            limit = middle - 1
    return shared


def prefix_tree_tokens(token_lists: Iterable[Sequence[Any]]) -> int:
    """Nodes of the trie of all sequences, its root not counted.

    Sorted, a sequence shares with everything before it exactly what it shares with its neighbour; the rest is new. So
    the trie itself is never built: memory stays that of the sequences.
    """
    total = 0
    previous: tuple[Any, ...] = ()
    for tokens in sorted(map(tuple, token_lists)):
        total += len(tokens) - common_prefix(previous, tokens)
        previous = tokens
    return total
