"""The tokens of a request's prompt by the model's own tokenizer and chat template, without loading the model.

A plan has to count tokens in a moment: the template is rendered with jinja2 and the text split by `tokenizers`, the
two small libraries that transformers itself uses for it; neither transformers nor torch is imported. A model whose
files are not on this machine (a server's) is counted roughly, four characters a token, and says so.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rlaif.engines.base import Request
from rlaif.engines.light_tokenizer import LightTokenizer
from rlaif.engines.model_files import ModelFiles, find_model
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
    if files is None or not (files.folder / "tokenizer.json").is_file():
        return PromptCounter(rough_tokens, is_exact=False)
    return PromptCounter(_by_model(files), is_exact=True)


def scripted_tokens(request: Request) -> list[str]:
    """What the scripted engine counts: a message's words, and one for the message."""
    return [word for message in request.messages for word in (message.role, *message.content.split())]


def rough_tokens(request: Request) -> list[str]:
    text = "\n".join(message.content for message in request.messages)
    return [text[start : start + _CHARACTERS_PER_TOKEN] for start in range(0, len(text), _CHARACTERS_PER_TOKEN)]


def _served_files(settings: EngineSettings, model: str) -> ModelFiles | None:
    from rlaif.engines.http_server import find_servers

    found, _ = find_servers(settings, model)
    return found[0].local_files(settings)


def _by_model(files: ModelFiles) -> Callable[[Request], Sequence[Any]]:
    """The chat template with its generation prompt, then the tokenizer; the template writes all special tokens."""
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> str:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, **more: json.dumps(value, ensure_ascii=False, **more)
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now(UTC).astimezone().strftime(form)
    template = environment.from_string(_default_template(files.chat_template))
    tokenizer, special = LightTokenizer(files.folder / "tokenizer.json"), _special_tokens(files)

    def tokens(request: Request) -> list[int]:
        messages = [message.as_dict() for message in request.messages]
        try:
            text = template.render(messages=messages, add_generation_prompt=True, **special)
        except TemplateError:
            return []  # the engine refuses it in the same way, and reads nothing
        return tokenizer.encode(text, add_special_tokens=False)

    return tokens


def _default_template(text: str) -> str:
    """The template itself, or of several (`ModelFiles` gives them as a JSON list) the one called default."""
    if not text.startswith('[{"'):
        return text
    named = {one["name"]: str(one["template"]) for one in json.loads(text)}
    return named.get("default", next(iter(named.values())))


def _special_tokens(files: ModelFiles) -> dict[str, str]:
    """bos_token and its like, which a chat template may write."""
    file = files.folder / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    named = {name: value for name, value in config.items() if name.endswith("_token")}
    texts = {name: value.get("content") if isinstance(value, dict) else value for name, value in named.items()}
    return {name: text for name, text in texts.items() if isinstance(text, str)}
