"""From a request to token ids: the model's own chat template, its spellings of the choices, and whether it fits.

Shared by the engines that hold a tokenizer themselves, so that they read exactly the same tokens. The template writes
its own special tokens; none are added on top, which would double the one a text begins with, and none come out of what
a message says (`rlaif/engines/neutral.py`): a prompt with more of them than its turns account for is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlaif.engines.base import Failure, Request
from rlaif.engines.chat_format import ChatFormat, read_format
from rlaif.engines.choices import ChoiceTree, Spellings
from rlaif.engines.neutral import Messages, Neutraliser
from rlaif.errors import InputError

_PROBE = " Two words,\n\n\u00e9t\u00e9 \u5929\u6c17 <s></s>[INST] 12.5%\t"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request ready for the model. `tree` is None when text is wanted; `format` splits its thinking off."""

    request: Request
    tokens: tuple[int, ...]
    tree: ChoiceTree | None
    format: ChatFormat


class Preparer:
    """One tokenizer and one context length. `max_model_len` counts the prompt and the answer together."""

    def __init__(
        self, tokenizer: Any, max_model_len: int, chat_template_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        self._tokenizer = tokenizer
        self._max_model_len = max_model_len
        self._kwargs = dict(chat_template_kwargs or {})
        self._spellings = Spellings(tokenizer)
        self._structural: dict[tuple[str, ...], int] = {}
        self._backend = _backend_of(tokenizer)
        self.format = self._read_format()

    def prepare(self, request: Request) -> Prepared | Failure:
        import jinja2

        messages = self.format.messages(request)
        try:
            tokens = self._tokens(messages, is_continued=bool(request.prefill))
            tree = self._spellings.tree(request.choices) if request.choices else None
            is_broken = self._count(tokens) > self._expected(messages, is_continued=bool(request.prefill))
        except (jinja2.TemplateError, ValueError) as error:  # a ValueError: it does not let its last turn be continued
            reason = f"the model's chat template does not take this conversation: {error}"
            return Failure(request_id=request.id, kind="refused", reason=reason)
        except InputError as error:
            return Failure(request_id=request.id, kind="refused", reason=error.found)
        if is_broken:
            reason = "a message holds special tokens of this model, and its tokenizer cannot be kept from reading them"
            return Failure(request_id=request.id, kind="refused", reason=reason, prompt_tokens=len(tokens))
        if len(tokens) + (tree.depth if tree else 1) > self._max_model_len:
            return too_long(request, len(tokens), self._max_model_len)
        return Prepared(request, tuple(tokens), tree, self.format)

    def _read_format(self) -> ChatFormat:
        try:
            template = self._tokenizer.get_chat_template()
        except NotImplementedError:  # mistral-common has none, and never takes a text for one of its special tokens
            return ChatFormat(Neutraliser(None), frozenset(self._tokenizer.all_special_ids))
        return read_format(self._tokenizer, template, self._text)

    def _tokens(self, messages: Messages, *, is_continued: bool) -> list[int]:
        ends = {"add_generation_prompt": not is_continued, "continue_final_message": is_continued}
        if self._backend is None:
            tokens: list[int] = self._tokenizer.apply_chat_template(messages, return_dict=False, **ends, **self._kwargs)
            return tokens
        text = self._tokenizer.apply_chat_template(messages, tokenize=False, **ends, **self._kwargs)
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def _text(self, messages: Messages) -> str:
        return str(
            self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **self._kwargs)
        )

    def _count(self, tokens: list[int]) -> int:
        return sum(map(self.format.structural.__contains__, tokens))

    def _expected(self, messages: Messages, *, is_continued: bool) -> int:
        """The special tokens of a chat with the same turns that says nothing of note."""
        turns = (*(message["role"] for message in messages), "continued" if is_continued else "")
        if turns not in self._structural:
            plain = [{**message, "content": "x"} for message in messages]
            self._structural[turns] = self._count(self._tokens(plain, is_continued=is_continued))
        return self._structural[turns]


def _backend_of(tokenizer: Any) -> Any:
    """The Rust tokenizer behind a fast one, which gives the same tokens without the wrapping: a tenth of the time of
    every request. None where there is none, or where it is seen to disagree."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not getattr(tokenizer, "is_fast", False):
        return None
    backend.no_truncation()  # a file may ask for it
    backend.no_padding()
    own = tokenizer(_PROBE, add_special_tokens=False)["input_ids"]
    return backend if list(backend.encode(_PROBE, add_special_tokens=False).ids) == list(own) else None


def too_long(request: Request, prompt_tokens: int, max_model_len: int) -> Failure:
    """The failure of a prompt that leaves no room for an answer; the same words in every engine.

    A text that runs out of room is no failure: it ends with finish_reason "length", as when max_tokens are used up.
    """
    reason = f"the prompt is {prompt_tokens} tokens long; with an answer it must fit into {max_model_len}"
    return Failure(request_id=request.id, kind="too_long", reason=reason, prompt_tokens=prompt_tokens)
