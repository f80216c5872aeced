"""OpenAssistant's conversation trees: the replies to one message, ranked by people, best first.

Every pair of ranked replies of the assistant is a vote of the crowd; the path from the root is the prompt.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from rlaif.labels.formats.base import Format, Reading, Row
from rlaif.labels.formats.values import by_score, number_of, text_of
from rlaif.labels.votes import Found, Unfit
from rlaif.records import Message

Node = Mapping[str, Any]
_ROLES = {"prompter": "user", "assistant": "assistant"}


def _read(row: Row) -> Reading:
    prompt = row["prompt"]
    if not isinstance(prompt, Mapping):
        yield Unfit("`prompt` is not a message with replies")
        return
    found = False
    for path, replies in _forks(prompt):
        for first, second in combinations(replies, 2):
            found = True
            yield _vote(path, first, second, row)
    if not found:
        yield Unfit("no two ranked replies of the assistant")


def _forks(root: Node) -> Iterator[tuple[tuple[Message, ...], list[Node]]]:
    """Every user's message with its path and the assistant's ranked replies, without recursion: trees can be deep."""
    pending: list[tuple[tuple[Message, ...], Node]] = [((), root)]
    while pending:
        path, node = pending.pop()
        role = _ROLES.get(text_of(node.get("role")))
        if role is None:
            continue
        path = (*path, Message("user" if role == "user" else "assistant", text_of(node.get("text"))))
        replies = [reply for reply in node.get("replies") or [] if isinstance(reply, Mapping)]
        pending += [(path, reply) for reply in replies]
        if role == "user":
            yield path, [reply for reply in replies if number_of(reply.get("rank")) is not None]


def _vote(path: tuple[Message, ...], first: Node, second: Node, row: Row) -> Found:
    ranks = [number_of(reply["rank"]) or 0.0 for reply in (first, second)]
    return Found(
        prompt=path,
        first=text_of(first.get("text")),
        second=text_of(second.get("text")),
        rater="",
        kind="human",
        choice=by_score(-ranks[0], -ranks[1]),
        strength=abs(ranks[0] - ranks[1]),
        item=f"{text_of(first.get('message_id'))}/{text_of(second.get('message_id'))}".strip("/"),
        tags=frozenset([text_of(first["lang"])] if first.get("lang") else []),
    )


def _is_tree(row: Row) -> bool:
    return isinstance(row["prompt"], Mapping) and "text" in row["prompt"]


OPENASSISTANT = Format(
    name="openassistant",
    about="OpenAssistant trees (`.trees.jsonl.gz`): replies with their `rank`, the best 0",
    keys=frozenset({"message_tree_id", "prompt"}),
    fits=_is_tree,
    read=_read,
    rater="openassistant",
)
