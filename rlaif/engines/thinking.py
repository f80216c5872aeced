"""Reasoning models: where their thinking ends and their answer begins.

The thinking block is split off by the model's own markers and kept apart; no verdict is ever read in it, and no judge
is shown it as part of an answer. The markers are found in the tokenizer and the chat template. Where they are tokens,
the block ends at the token, so a model that only quotes `</think>` letter by letter does not end it; some templates
open the block in the prompt, so that what is written holds its end alone. A block without an end is a thought the
budget cut off: no answer, and an outcome of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rlaif.engines.base import Completion
from rlaif.engines.neutral import Render, added_tokens

OUT_OF_BUDGET = "thinking ran out of budget"

FAMILIES: tuple[tuple[str, str], ...] = (
    ("<think>", "</think>"),  # DeepSeek R1, Qwen3, GLM and most others
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),  # gpt-oss
    ("[THINK]", "[/THINK]"),  # Magistral
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("◁think▷", "◁/think▷"),  # Kimi
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
)


@dataclass(frozen=True, slots=True)
class Split:
    """A text in its two parts. `is_open`: the block has no end, and what follows it was never written."""

    text: str
    thinking: str = ""
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Thinking:
    """One model's markers. The ids are empty where a marker is ordinary text for the tokenizer.

    `is_opened_by_prompt`: the chat template ends with the block's beginning. `are_special`: plain decoding leaves the
    markers out. `tokenizer` decodes what lies on either side.
    """

    begin: str
    end: str
    begin_ids: tuple[int, ...] = ()
    end_ids: tuple[int, ...] = ()
    is_opened_by_prompt: bool = False
    are_special: bool = False
    tokenizer: Any = field(default=None, compare=False)

    def split(self, text: str, ids: Sequence[int], *, is_opened: bool, stop: Sequence[str] = ()) -> Split:
        """What a model wrote, as text and as token ids; `stop` are the texts that `text` was cut at."""
        if not self.end_ids:
            return split_text(text, self.begin, self.end, is_opened=is_opened)
        start = self._after_begin(ids)
        if start is None and is_opened:
            start = 0
        close = _find(ids, self.end_ids, start or 0)
        if start is None and (close is None or self._decode(ids[:close])):
            return Split(text)
        if close is None:
            return Split("", self._decode(ids[start:]), is_open=True)
        answer = self._decode(ids[close + len(self.end_ids) :])
        cuts = [answer.find(one) for one in stop if one in answer]
        return Split(answer[: min(cuts, default=len(answer))], self._decode(ids[start:close]))

    def _after_begin(self, ids: Sequence[int]) -> int | None:
        """Where the block's content begins; None when the text does not begin with one."""
        place = _find(ids, self.begin_ids, 0) if self.begin_ids else None
        return None if place is None or self._decode(ids[:place]) else place + len(self.begin_ids)

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()


def find_thinking(tokenizer: Any, template: str, render: Render) -> Thinking | None:
    """The markers of this model; None when neither its tokenizer nor its chat template knows any."""
    added = {token.content: token for token in added_tokens(tokenizer).values()}
    for begin, end in FAMILIES:
        if end in template or end in added:
            return Thinking(
                begin=begin,
                end=end,
                begin_ids=_ids(tokenizer, begin, added),
                end_ids=_ids(tokenizer, end, added),
                is_opened_by_prompt=_prompt(render).rstrip().endswith(begin),
                are_special=any(text in end and token.special for text, token in added.items()),
                tokenizer=tokenizer,
            )
    return None


def split_text(text: str, begin: str, end: str, *, is_opened: bool) -> Split:
    """The same by the markers' text, for a tokenizer that spells them out or is not known."""
    written = text.lstrip()
    if written.startswith(begin):
        is_opened, written = True, written[len(begin) :]
    if not is_opened:
        return Split(text)
    thought, found, answer = written.partition(end)
    return Split(answer.strip(), thought.strip()) if found else Split("", thought.strip(), is_open=True)


def split_unknown(text: str, *, may_be_opened: bool) -> Split:
    """Where the model's markers are not known: a text that begins with a block of any family, or (`may_be_opened`: by
    a template that a server keeps to itself) that holds the end of one which it never began."""
    for begin, end in FAMILIES:
        is_opened = may_be_opened and end in text and begin not in text.partition(end)[0]
        if is_opened or text.lstrip().startswith(begin):
            return split_text(text, begin, end, is_opened=is_opened)
    return Split(text)


def cut_reason(answer: Completion) -> str | None:
    """Why a text is no whole answer; None when it is one. Read this before anything in the text."""
    if answer.is_thinking_open:
        return OUT_OF_BUDGET if answer.finish_reason == "length" else "the model ended inside its thinking block"
    return f"cut after {answer.output_tokens} tokens" if answer.finish_reason == "length" else None


def _ids(tokenizer: Any, marker: str, added: dict[str, Any]) -> tuple[int, ...]:
    """The marker's tokens where at least one of them is a token of its own, found wherever it stands."""
    if not any(text in marker for text in added if text.strip()):
        return ()
    return tuple(tokenizer.encode(marker, add_special_tokens=False))


def _prompt(render: Render) -> str:
    """A prompt with its generation prompt; empty where the template refuses even this."""
    import jinja2

    try:
        return render([{"role": "user", "content": "Zq"}])
    except jinja2.TemplateError:
        return ""


def _find(ids: Sequence[int], wanted: Sequence[int], start: int) -> int | None:
    """The first place at or after `start` where `wanted` stands in `ids`."""
    size = len(wanted)
    places = range(start, len(ids) - size + 1) if size else ()
    return next((place for place in places if tuple(ids[place : place + size]) == tuple(wanted)), None)
