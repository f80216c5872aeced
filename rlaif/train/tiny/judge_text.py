"""The judge's templates as token ids, cut where packing needs it: a prefix that many principles share, and a tail each.

All templates that compare begin alike, so one prefix serves a verdict, a critique and reasons before a verdict. The
one that scores shows a single response and has a prefix of its own.
"""

import re
from typing import Literal

from tokenizers import Tokenizer

from rlaif.train.tiny.tokenizer import template_body

Kind = Literal["verdict", "critique", "reasoned"]
_TEMPLATES: dict[Kind, str] = {"verdict": "judge", "critique": "critique", "reasoned": "reason"}
_CUT = "\n\n<principle>"
_ANSWER = "<|end|>\n<|assistant|>\n"


class JudgeText:
    """Prefixes and tails of the judge's requests, and the tokens that labels are found by."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._head = template_body("judge").split(_CUT)[0]
        self._tails = {kind: _CUT + template_body(name).split(_CUT)[1] for kind, name in _TEMPLATES.items()}
        self._score_head, after = template_body("score").split(_CUT)
        self._score_tail = _CUT + after
        self.open_a, self.close_a = self._id("<response_a>"), self._id("</response_a>")
        self.open_b, self.close_b = self._id("<response_b>"), self._id("</response_b>")
        self.open_one, self.close_one = self._id("<response>"), self._id("</response>")
        self.close_principle, self.end = self._id("</principle>"), self._id("<|end|>")
        self.choice_a, self.choice_b = self._id("A"), self._id("B")
        space = "\u0120"  # so byte-level BPE writes it
        self.named = (self._id(f"{space}A"), self._id(f"{space}B"))
        self.stops = {self._id("."), self._id("?")}

    def _id(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        assert found is not None, f"the tokenizer has no token {token!r}"
        return found

    def score(self, score: int) -> int:
        """The token of a score."""
        return self._id(str(score))

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def prefix(self, conversation: str, a: str, b: str) -> list[int]:
        filled = _render(self._head, conversation=conversation, response_a=a, response_b=b)
        return self.encode(f"<|bos|><|user|>\n{filled}")

    def tail(self, kind: Kind, principle: str, question: str) -> list[int]:
        return self.encode(_render(self._tails[kind], principle=principle, question=question) + _ANSWER)

    def score_prefix(self, conversation: str, response: str) -> list[int]:
        filled = _render(self._score_head, conversation=conversation, response=response)
        return self.encode(f"<|bos|><|user|>\n{filled}")

    def score_tail(self, principle: str, scale: str, highest: int) -> list[int]:
        filled = _render(self._score_tail, principle=principle, scale=scale, lowest="1", highest=str(highest))
        return self.encode(filled + _ANSWER)


def _render(template: str, **values: str) -> str:
    """One pass over the template, so that a value holding a slot's name is not filled again."""
    return re.sub(r"\{\{ (\w+) \}\}", lambda slot: values[slot[1]], template)
