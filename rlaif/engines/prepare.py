"""From a request to token ids: the model's own chat template, its spellings of the choices, and whether it fits.

Shared by the engines that hold a tokenizer themselves, so that they read exactly the same tokens. The template writes
its own special tokens; none are added on top, which would double the one a text begins with.
"""

from dataclasses import dataclass
from typing import Any

from rlaif.engines.base import Failure, Request
from rlaif.engines.choices import ChoiceTree, Spellings
from rlaif.errors import InputError


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request ready for the model. `tree` is None when text is wanted."""

    request: Request
    tokens: tuple[int, ...]
    tree: ChoiceTree | None


class Preparer:
    """One tokenizer and one context length. `max_model_len` counts the prompt and the answer together."""

    def __init__(self, tokenizer: Any, max_model_len: int) -> None:
        self._tokenizer = tokenizer
        self._max_model_len = max_model_len
        self._spellings = Spellings(tokenizer)

    def prepare(self, request: Request) -> Prepared | Failure:
        import jinja2

        messages = [message.as_dict() for message in request.messages]
        try:
            tokens = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
            tree = self._spellings.tree(request.choices) if request.choices else None
        except jinja2.TemplateError as error:
            reason = f"the model's chat template does not take this conversation: {error}"
            return Failure(request_id=request.id, kind="refused", reason=reason)
        except InputError as error:
            return Failure(request_id=request.id, kind="refused", reason=error.found)
        if len(tokens) + (tree.depth if tree else 1) > self._max_model_len:
            return too_long(request, len(tokens), self._max_model_len)
        return Prepared(request, tuple(tokens), tree)


def too_long(request: Request, prompt_tokens: int, max_model_len: int) -> Failure:
    """The failure of a prompt that leaves no room for an answer; the same words in every engine.

    A text that runs out of room is no failure: it ends with finish_reason "length", as when max_tokens are used up.
    """
    reason = f"the prompt is {prompt_tokens} tokens long; with an answer it must fit into {max_model_len}"
    return Failure(request_id=request.id, kind="too_long", reason=reason, prompt_tokens=prompt_tokens)
