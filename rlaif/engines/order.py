"""Prefix order: the order in which requests are handed to a model, so that what they share is computed once.

An engine that caches prefixes keeps the keys and values of what it has read for a while, not for ever. Requests in
the lexicographic order of their messages are a depth-first walk over the tree of their prefixes: whatever two
requests share is read right before it is needed again, and a cache that holds one path from the root is large enough.
Which requests end up in the same place depends on their content alone, never on where they came from.
"""

from collections.abc import Iterable

from rlaif.engines.base import Request
from rlaif.numbers.prefix import common_prefix


def prefix_key(request: Request) -> tuple[tuple[str, str], ...]:
    """What requests are sorted by. Two requests that begin alike stand next to each other."""
    return tuple(request_turns(request))


def request_turns(request: Request) -> list[tuple[str, str]]:
    """The turns of a request, (role, text), with the one the assistant has begun, if it has."""
    turns: list[tuple[str, str]] = [(message.role, message.content) for message in request.messages]
    return [*turns, ("assistant", request.prefill)] if request.prefill else turns


def prefix_order(requests: Iterable[Request]) -> list[Request]:
    """The same requests, depth-first over the tree of their prefixes; equal chats by id, so the order is one."""
    return sorted(requests, key=lambda request: (prefix_key(request), request.id))


def shared_share(left: Request, right: Request) -> float:
    """How much of the second request's text it shares, from its beginning, with the first: 0 to 1."""
    ours, theirs = request_turns(left), request_turns(right)
    shared, total = 0, sum(len(text) for _, text in theirs)
    for (role, one), (other_role, other) in zip(ours, theirs, strict=False):
        if role != other_role:
            break
        same = common_prefix(one, other)
        shared += same
        if same < max(len(one), len(other)):
            break
    return shared / total if total else 1.0
