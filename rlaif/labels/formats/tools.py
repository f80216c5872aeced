"""What the exports of annotation tools have in common: people name their fields and questions themselves.

Which field is the prompt and which the two answers is known by the usual names and by nothing else.
"""

from collections.abc import Mapping
from typing import Any

from rlaif.labels.formats.extras import tags_of
from rlaif.labels.formats.values import Alphabet, messages_of, parsed, text_of
from rlaif.labels.votes import Unfit

CHOICES = Alphabet(
    first=["first", 1, "a", "left", "response_1", "response-1", "response_a", "response 1", "answer_1"],
    second=["second", 2, "b", "right", "response_2", "response-2", "response_b", "response 2", "answer_2"],
    tie=["tie", "equal", "same"],
    both_bad=["both_bad", "both bad", "neither"],
    skipped=["skipped", "skip"],
)
_PROMPTS = ("prompt", "instruction", "question", "input", "conversation")
_SIDES = (
    ("response_1", "response_2"),
    ("response-1", "response-2"),
    ("response_a", "response_b"),
    ("response1", "response2"),
    ("answer_1", "answer_2"),
    ("answer1", "answer2"),
    ("output_1", "output_2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("left", "right"),
)


def pair_of(fields: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any] | Unfit:
    """The texts of a task, and what our export wrote beside them (`more`: turns, models, item, tags, source)."""
    sides = next((pair for pair in _SIDES if set(pair) <= fields.keys()), None)
    named = next((name for name in _PROMPTS if fields.get(name)), None)
    if sides is None:
        return Unfit(f"no two answers among the fields {', '.join(sorted(fields))}")
    prompt = messages_of(parsed(more.get("prompt_messages")) or parsed(fields.get(named or "")) or "")
    if isinstance(prompt, Unfit):
        return prompt
    return {
        "prompt": prompt,
        "first": text_of(fields[sides[0]]),
        "second": text_of(fields[sides[1]]),
        "first_model": text_of(more.get("first_model")),
        "second_model": text_of(more.get("second_model")),
        "is_order_known": more.get("order_known") != "false",
        "item": text_of(more.get("item")),
        "tags": tags_of(more.get("tags")),
        "source": text_of(more.get("source")),
    }
