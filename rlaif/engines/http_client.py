"""One request to one server, over one connection pool: what came back, or why it is worth another try."""

import asyncio
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import httpx

from rlaif.engines.base import Answer, Completion, Failure, Request
from rlaif.engines.chat_format import UNKNOWN
from rlaif.engines.choices import ChoiceTree, Spellings, Tokens, make_tree
from rlaif.engines.http_dialect import (
    BadReply,
    chat_body,
    chat_part,
    continuation_body,
    error_words,
    read_chat,
    read_continuation,
    refusal,
)
from rlaif.engines.http_server import Served
from rlaif.engines.light_chat import open_chat
from rlaif.errors import EngineUnavailable, InputError
from rlaif.settings import EngineSettings

_CONNECT_TIMEOUT_S = 10.0
_WRITTEN = ("{}", " {}", "\n{}", "\n\n{}", "\t{}")  # how a choice may be spelled, where the vocabulary cannot be read


@dataclass(frozen=True, slots=True)
class Again:
    """Not answered, but another try may be. `after_s` is what the server asked for; `is_down`: nobody listens."""

    reason: str
    after_s: float | None = None
    is_down: bool = False
    is_busy: bool = False


class Client:
    """Speaks to one server. Must be used inside the event loop that it was made in."""

    def __init__(self, served: Served, settings: EngineSettings, headers: dict[str, str]) -> None:
        self.served = served
        self._timeout_s = settings.timeout_s
        files = served.local_files(settings)
        here = open_chat(files) if files else None
        self._spellings = Spellings(here.tokenizer) if here else None
        self._chat = here.format if here else UNKNOWN
        self._kwargs = settings.chat_template_kwargs
        self._trees: dict[tuple[str, ...], ChoiceTree] = {}
        self._http = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(settings.timeout_s, connect=min(_CONNECT_TIMEOUT_S, settings.timeout_s)),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=settings.concurrency),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(self, request: Request) -> Answer | Again:
        """Answer a request, within the time allowed in all; raises EngineUnavailable when no request ever could be."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._ask(request)
        except (TimeoutError, httpx.TimeoutException):
            return Again(f"{self.served.base_url} gave no answer in {self._timeout_s:g} s")
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return Again(f"{self.served.base_url}: {error or type(error).__name__}", is_down=True)
        except httpx.TransportError as error:
            return Again(f"{self.served.base_url} cut the connection: {str(error) or type(error).__name__}")
        except BadReply as error:
            return Again(f"{self.served.base_url} sent {error.reason}")
        except _NotTaken as error:
            return self._judge(request, error)
        except InputError as error:
            return Failure(request_id=request.id, kind="refused", reason=error.found)

    async def _ask(self, request: Request) -> Answer:
        if request.prefill and not self.served.is_vllm:
            reason = "only a vLLM server goes on with a turn that has begun; judge with engine kind vllm"
            return Failure(request_id=request.id, kind="refused", reason=reason)
        tree = await self._tree(request.choices) if request.choices and self.served.is_vllm else None
        if tree is not None and tree.method == "continuation":
            return await self._continuation(request, tree)
        body = chat_body(
            request,
            self.served.model,
            is_vllm=self.served.is_vllm,
            tree=tree,
            chat=self._chat,
            chat_template_kwargs=self._kwargs,
        )
        return read_chat(request, await self._post("/chat/completions", body), tree, self._chat)

    async def _continuation(self, request: Request, tree: ChoiceTree) -> Answer:
        """Score every spelling after the prompt. One call each: exact, and rare enough to be allowed to be slow."""
        chat = {"add_generation_prompt": True, **chat_part(request, self._chat, self._kwargs)}
        prompt: list[int] = (await self._tokenize(chat))["tokens"]
        tables: dict[Tokens, dict[int, float]] = {node: {} for node in tree.children}
        for spelled in (tokens for spellings in tree.spellings for tokens in spellings):
            reply = await self._post("/completions", continuation_body(self.served.model, prompt, spelled))
            for place, value in enumerate(read_continuation(reply, spelled)):
                tables[spelled[:place]][spelled[place]] = value
        logprobs, uncovered = tree.logprobs(tables)
        return Completion(
            request_id=request.id,
            text="",
            finish_reason="stop",
            prompt_tokens=len(prompt),
            output_tokens=sum(len(spellings) for spellings in tree.spellings),
            choice_logprobs=logprobs,
            uncovered=uncovered,
            choice_method=tree.method,
        )

    async def _tree(self, choices: tuple[str, ...]) -> ChoiceTree:
        if self._spellings is not None:
            return self._spellings.tree(choices)
        if choices not in self._trees:
            self._trees[choices] = make_tree(choices, [await self._written(choice) for choice in choices])
        return self._trees[choices]

    async def _written(self, choice: str) -> tuple[Tokens, ...]:
        """The single tokens the server's tokenizer writes a choice with, or its sequences where there are none."""
        asked = [{"prompt": written.format(choice), "add_special_tokens": False} for written in _WRITTEN]
        found = [tuple((await self._tokenize(body))["tokens"]) for body in asked]
        singles = tuple(dict.fromkeys(tokens for tokens in found if len(tokens) == 1))
        return singles or tuple(dict.fromkeys(found[:2]))

    async def _tokenize(self, body: dict[str, Any]) -> Any:
        return await self._post("/tokenize", {"model": self.served.model, **body}, root=True)

    async def _post(self, path: str, body: dict[str, Any], *, root: bool = False) -> Any:
        base = self.served.base_url.removesuffix("/v1") if root else self.served.base_url
        reply = await self._http.post(base + path, json=body)
        try:
            read = reply.json()
        except ValueError as error:
            if reply.is_success:
                raise BadReply("something that is not JSON") from error
            read = None
        if reply.is_success:
            return read
        raise _NotTaken(reply.status_code, error_words(reply.text, read), _retry_after(reply))

    def _judge(self, request: Request, error: "_NotTaken") -> Answer | Again:
        """What a status that is no success means."""
        url, status = self.served.base_url, error.status
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise EngineUnavailable(f"{url} refused the key (status {status})", do="Check engine.api_key_env.")
        if status == httpx.codes.NOT_FOUND:
            raise EngineUnavailable(
                f"{url} does not know {self.served.model!r}: {error.words}", do=f"See {url}/models for what it serves."
            )
        is_busy = status in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
        if is_busy or status >= httpx.codes.INTERNAL_SERVER_ERROR:
            words = f"{url}: status {status}: {' '.join(error.words.split())[:200]}"
            return Again(words, after_s=error.after_s, is_busy=is_busy)
        return refusal(request, status, error.words)


class _NotTaken(Exception):
    """A reply with a status that is no success; inside this module only."""

    def __init__(self, status: int, words: str, after_s: float | None) -> None:
        super().__init__(status, words)
        self.status, self.words, self.after_s = status, words, after_s


def _retry_after(reply: httpx.Response) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or a date."""
    value = reply.headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass  # then it is a date
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except ValueError:
        return None
