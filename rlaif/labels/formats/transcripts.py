"""Two conversations that begin alike: what they share is the prompt, what follows are the two answers.

The shared part ends with a user turn. Where the conversations differ before their last turns, an answer is several
turns; it is then one text with the turns marked as in a transcript, so that nothing the rater saw is left out.
"""

import re

from rlaif.labels.votes import Unfit
from rlaif.records import Message

Sides = tuple[tuple[Message, ...], str, str]
_MARK = re.compile(r"(?:^|\n\n)(Human|Assistant):")
_NAMES = {"user": "Human", "assistant": "Assistant", "system": "System"}


def read_transcript(text: str) -> tuple[Message, ...] | Unfit:
    r"""The turns of an HH-RLHF transcript ("\n\nHuman: …\n\nAssistant: …"), without the blanks around each."""
    parts = _MARK.split(text)
    if parts[0].strip() or len(parts) < 3:
        return Unfit("not a transcript of Human: and Assistant: turns")
    roles = ["user" if name == "Human" else "assistant" for name in parts[1::2]]
    return tuple(
        Message("user" if role == "user" else "assistant", content.strip())
        for role, content in zip(roles, parts[2::2], strict=True)
    )


def write_transcript(messages: tuple[Message, ...]) -> str:
    """A conversation as one text, for formats that have no turns."""
    if len(messages) == 1 and messages[0].role == "user":
        return messages[0].content
    return "\n\n".join(f"{_NAMES[message.role]}: {message.content}" for message in messages)


def split_sides(first: tuple[Message, ...], second: tuple[Message, ...]) -> Sides | Unfit:
    """(prompt, first answer, second answer) of two whole conversations."""
    shared = 0
    while shared < min(len(first), len(second)) and first[shared] == second[shared]:
        shared += 1
    while shared and first[shared - 1].role != "user":
        shared -= 1
    if not shared:
        return Unfit("the two conversations share no user turn")
    answers = [answer_text(side[shared:]) for side in (first, second)]
    for answer in answers:
        if isinstance(answer, Unfit):
            return answer
    return first[:shared], str(answers[0]), str(answers[1])


def answer_text(turns: tuple[Message, ...]) -> str | Unfit:
    """What the assistant said last, with the turns between where there are several."""
    if not turns or turns[0].role != "assistant" or turns[-1].role != "assistant":
        return Unfit("an answer does not begin and end with an assistant turn")
    return turns[0].content + "".join(f"\n\n{_NAMES[turn.role]}: {turn.content}" for turn in turns[1:])
