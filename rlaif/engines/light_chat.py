"""A model's chat format by its files: the template rendered with jinja2, the text split by `tokenizers`.

The two small libraries that transformers itself uses for it; neither transformers nor torch is imported, so that a
plan can count tokens in a moment, and what is sent to a server can be made neutral for the model it serves.
"""

import json
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NoReturn

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from rlaif.engines.base import Request
from rlaif.engines.chat_format import ChatFormat, read_format
from rlaif.engines.light_tokenizer import LightTokenizer
from rlaif.engines.model_files import ModelFiles
from rlaif.engines.neutral import Messages

_HERE = "CONTINUE_FINAL_MESSAGE_TAG "  # transformers' own word for it: what is cut off behind the assistant's start


class _Generation(Extension):
    """`{% generation %}` marks the assistant's words for training; here they are simply written."""

    tags = {"generation"}  # noqa: RUF012  # jinja2 wants a plain set

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class LightChat:
    """From a request to its text and its tokens, as the engines that hold the model make them."""

    def __init__(self, files: ModelFiles) -> None:
        self.tokenizer = LightTokenizer(files.folder / "tokenizer.json")
        self._source = _default_template(files.chat_template)
        self._special = _special_tokens(files)
        self._kwargs = files.settings.chat_template_kwargs
        self._template = _environment().from_string(self._source)

    @cached_property
    def format(self) -> ChatFormat:
        return read_format(self.tokenizer, self._source, self.render, self._special.values())

    def tokens(self, request: Request) -> list[int]:
        """The prompt's token ids. Raises jinja2.TemplateError where the template refuses the chat."""
        text = self.render(self.format.messages(request), is_continued=bool(request.prefill))
        return self.tokenizer.encode(text, add_special_tokens=False)

    def render(self, messages: Messages, *, is_continued: bool = False) -> str:
        """A chat's text, up to where the model goes on: behind its generation prompt, or (`is_continued`) behind the
        last message, which it has begun itself."""
        if not is_continued:
            return self._render(messages, is_open=True)
        last = {**messages[-1], "content": messages[-1]["content"] + _HERE}
        return self._render([*messages[:-1], last], is_open=False).rpartition(_HERE.strip())[0]

    def _render(self, messages: Messages, *, is_open: bool) -> str:
        values: dict[str, Any] = {**self._special, **self._kwargs}
        return self._template.render(messages=messages, add_generation_prompt=is_open, **values)


def open_chat(files: ModelFiles) -> LightChat | None:
    """The chat format of these files; None where they lack a `tokenizer.json` or hold a template of another kind."""
    if not (files.folder / "tokenizer.json").is_file():
        return None
    try:
        return LightChat(files)
    except TemplateSyntaxError:
        return None


def _environment() -> ImmutableSandboxedEnvironment:
    """jinja2 as transformers sets it up."""

    def refuse(message: str) -> NoReturn:
        raise TemplateError(message)

    extensions: list[str | type[Extension]] = ["jinja2.ext.loopcontrols", _Generation]
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
    environment.filters["tojson"] = lambda value, **more: json.dumps(value, ensure_ascii=False, **more)
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now(UTC).astimezone().strftime(form)
    return environment


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
