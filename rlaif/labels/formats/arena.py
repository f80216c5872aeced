"""Votes between two models' conversations: Chatbot Arena, MT-bench (people and GPT-4), and Arena as Kaggle has it.

The prompt is what both conversations share; where the models' first answers differ, the later turns are part of the
two answers. A vote on an MT-bench turn is one on the conversation until then, so the turns are different pairs.
"""

import json
from typing import Any

from rlaif.labels.formats.base import Format, Reading, Row
from rlaif.labels.formats.numbered import read_votes
from rlaif.labels.formats.transcripts import split_sides
from rlaif.labels.formats.values import Alphabet, messages_of, number_of, parsed, text_of, time_of
from rlaif.labels.votes import Unfit

_ARENA = Alphabet(first=["model_a"], second=["model_b"], tie=["tie"], both_bad=["tie (bothbad)", "bothbad"])
_MODEL_1_2 = Alphabet(first=["model_1", "model_a"], second=["model_2", "model_b"], tie=["tie"], skipped=["error"])


def _arena(row: Row) -> Reading:
    """A vote on turn n is one on what both models had said until then; at another turn it is another pair."""
    turn = number_of(row.get("turn"))
    sides = [messages_of(parsed(row[f"conversation_{side}"])) for side in "ab"]
    for side in sides:
        if isinstance(side, Unfit):
            yield side
            return
    whole = [tuple(side) if turn is None else _until(side, int(turn)) for side in sides if not isinstance(side, Unfit)]
    split = split_sides(whole[0], whole[1])
    if isinstance(split, Unfit):
        yield split
        return
    judge = parsed(row.get("judge"))
    rater = "/".join(judge) if isinstance(judge, list | tuple) else text_of(judge)
    is_person = not isinstance(judge, list | tuple) and not rater.startswith(("gpt", "claude"))
    yield from read_votes(
        {rater: row["winner"]},
        _ARENA if is_person else _MODEL_1_2,
        kind="human" if is_person else "judge",
        prompt=split[0],
        first=split[1],
        second=split[2],
        first_model=text_of(row.get("model_a")),
        second_model=text_of(row.get("model_b")),
        time=time_of(row.get("tstamp")),
        item=text_of(row.get("question_id")),
        tags=frozenset(_arena_tags(row)),
    )


def _until(messages: Any, turn: int) -> tuple[Any, ...]:
    """The conversation through the assistant's n-th answer."""
    ends = [i for i, message in enumerate(messages) if message.role == "assistant"]
    return tuple(messages[: ends[turn - 1] + 1]) if 0 < turn <= len(ends) else tuple(messages)


def _arena_tags(row: Row) -> list[str]:
    turn = [f"turn {text_of(row['turn'])}"] if row.get("turn") is not None else []
    return [*turn, *([text_of(row["language"])] if row.get("language") else [])]


def _kaggle(row: Row) -> Reading:
    """lmsys on Kaggle: prompts and answers are JSON lists of equal length, the winner is one of three flags."""
    prompts, first, second = (_texts(row[key]) for key in ("prompt", "response_a", "response_b"))
    if prompts is None or first is None or second is None or not len(prompts) == len(first) == len(second):
        yield Unfit("prompt and responses are not lists of the same length")
        return
    whole = [[text for turn in zip(prompts, side, strict=True) for text in turn] for side in (first, second)]
    flags = {text_of(row[f"winner_{who}"]).strip() for who in ("model_a", "model_b", "tie")}
    winners = [who for who in ("model_a", "model_b", "tie") if number_of(row[f"winner_{who}"]) == 1.0]
    if len(winners) != 1 or not flags <= {"0", "1", "0.0", "1.0"}:
        yield Unfit("not exactly one of the three winner columns is 1")
        return
    yield from _arena(
        {
            **{key: row.get(key) for key in ("model_a", "model_b")},
            "question_id": row.get("id"),
            "conversation_a": whole[0],
            "conversation_b": whole[1],
            "winner": winners[0],
            "judge": "arena user",
        }
    )


def _texts(value: Any) -> list[str] | None:
    """A list of texts, or the list a cell spells; a null answer is an empty one."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    return [text_of(part) for part in value] if isinstance(value, list) else None


ARENA = Format(
    name="arena",
    about="Chatbot Arena and MT-bench votes: `conversation_a`, `conversation_b`, `winner`, `judge`, `turn`",
    keys=frozenset({"conversation_a", "conversation_b", "winner"}),
    read=_arena,
)
ARENA_KAGGLE = Format(
    name="arena-kaggle",
    about="Chatbot Arena as published on Kaggle: `response_a`, `response_b`, `winner_model_a`, `winner_tie` …",
    keys=frozenset({"prompt", "response_a", "response_b", "winner_model_a", "winner_model_b", "winner_tie"}),
    read=_kaggle,
)
