"""The tokens of a request's prompt by the model's own tokenizer and chat template, without loading the model.

A plan has to count tokens in a moment: the template is rendered with jinja2 and the text split by `tokenizers`, the
two small libraries that transformers itself uses for it; neither transformers nor torch is imported. A model whose
files are not on this machine (a server's) is counted roughly, four characters a token, and says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.engines.base import Request
from rlaif.engines.light_chat import LightChat, open_chat
from rlaif.engines.model_files import ModelFiles, find_model
from rlaif.engines.order import request_turns
from rlaif.settings import EngineSettings

_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class PromptCounter:
    """`tokens` gives a prompt's tokens: ids, or texts that are equal where tokens are. Not exact: a rough guess."""

    tokens: Callable[[Request], Sequence[Any]]
    is_exact: bool


def open_counter(settings: EngineSettings, model: str) -> PromptCounter:
    """The counter of the model that would answer. Asks a server for its model's folder at most."""
    if settings.kind == "scripted":
        return PromptCounter(scripted_tokens, is_exact=True)
    files = _served_files(settings, model) if settings.kind == "http" else find_model(model, settings)
    chat = open_chat(files) if files else None
    if chat is None:
        return PromptCounter(rough_tokens, is_exact=False)
    return PromptCounter(_by_model(chat), is_exact=True)


def scripted_tokens(request: Request) -> list[str]:
    """What the scripted engine counts: a message's words, and one for the message."""
    return [word for role, text in request_turns(request) for word in (role, *text.split())]


def rough_tokens(request: Request) -> list[str]:
    text = "\n".join(text for _, text in request_turns(request))
    return [text[start : start + _CHARACTERS_PER_TOKEN] for start in range(0, len(text), _CHARACTERS_PER_TOKEN)]


def _served_files(settings: EngineSettings, model: str) -> ModelFiles | None:
    from rlaif.engines.http_server import find_servers

    found, _ = find_servers(settings, model)
    return next((files for one in found if (files := one.local_files(settings))), None)


def _by_model(chat: LightChat) -> Callable[[Request], Sequence[Any]]:
    """The chat template with its generation prompt, then the tokenizer: as the engines that hold the model do it."""
    from jinja2 import TemplateError

    def tokens(request: Request) -> list[int]:
        try:
            return chat.tokens(request)
        except TemplateError:
            return []  # the engine refuses it in the same way, and reads nothing

    return tokens
