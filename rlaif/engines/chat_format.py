"""What one model's chat format asks of us: which texts must be kept out of it, and how its thinking is marked.

Read once from a tokenizer and a chat template, by the engines that hold them; a server whose files are not here gets
`UNKNOWN`, which knows what is common to many models.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.engines.base import Request
from rlaif.engines.neutral import WELL_KNOWN, Messages, Neutraliser, Render, find_markers, make_neutraliser
from rlaif.engines.thinking import Split, Thinking, find_thinking, split_text, split_unknown


@dataclass(frozen=True)
class ChatFormat:
    """`structural` are the token ids that only the format itself may write."""

    neutral: Neutraliser
    structural: frozenset[int] = frozenset()
    thinking: Thinking | None = None
    is_known: bool = True

    def messages(self, request: Request) -> Messages:
        """The chat as the model's template takes it, neutral, with the start of the assistant's turn if it has one."""
        return self.neutral.messages(request)

    def split(self, request: Request, text: str, ids: Sequence[int] | None = None) -> Split:
        """A text that was written for this request, without its thinking; `ids` where the engine has the tokens."""
        if self.thinking is None:
            return split_unknown(text, may_be_opened=not self.is_known and not request.prefill)
        is_opened = self.thinking.is_opened_by_prompt and not request.prefill
        if ids is None:
            return split_text(text, self.thinking.begin, self.thinking.end, is_opened=is_opened)
        return self.thinking.split(text, ids, is_opened=is_opened, stop=request.sampling.stop)


UNKNOWN = ChatFormat(WELL_KNOWN, is_known=False)


def read_format(tokenizer: Any, template: str, render: Render, named: Iterable[str] = ()) -> ChatFormat:
    """The format of a tokenizer and the source of its chat template; `render` gives a chat's text with its
    generation prompt, `named` are special tokens that the tokenizer's own file may leave out."""
    markers = find_markers(tokenizer, template, render, named)
    neutral, structural = make_neutraliser(tokenizer, markers)
    return ChatFormat(neutral, structural, find_thinking(tokenizer, template, render))
