"""Which servers there are and what they say of the model: asked once, before anything is sent to them.

A server is any that speaks the OpenAI protocol. vLLM's own is recognised by its `/version` and gets the questions only
it understands. The key is read from the environment variable the settings name, goes into one header, and nowhere else.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from rlaif.bundled import resolve_model
from rlaif.engines.announcing import read_announced
from rlaif.engines.model_files import ModelFiles, find_model
from rlaif.errors import EngineUnavailable, InputError
from rlaif.settings import EngineSettings

_PROBE_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Served:
    """One model on one server. `root` is where the server loaded it from, `dtype` its precision and `mark` that of its
    weights, each if the server says so."""

    base_url: str
    model: str
    root: str | None
    max_model_len: int | None
    is_vllm: bool
    dtype: str | None
    mark: str | None

    def local_files(self, settings: EngineSettings) -> ModelFiles | None:
        """The model's own files, where the server read them from a folder that exists here too."""
        if self.root is None or not Path(self.root).is_dir():
            return None
        try:
            return find_model(self.root, settings.model_copy(update={"max_model_len": None}))
        except InputError:
            return None  # a folder of that name, but not the model's


def headers(settings: EngineSettings) -> dict[str, str]:
    """The authorisation header, when the settings name a variable for the key."""
    if settings.api_key_env is None:
        return {}
    key = os.environ.get(settings.api_key_env)
    if not key:
        raise EngineUnavailable(
            f"the environment variable {settings.api_key_env} (engine.api_key_env) is not set",
            do=f"export {settings.api_key_env}=… before running, or remove engine.api_key_env.",
        )
    return {"Authorization": f"Bearer {key}"}


def find_servers(settings: EngineSettings, model: str) -> tuple[list[Served], list[str]]:
    """The servers that answer and serve this model, and what was wrong with the others.

    Raises EngineUnavailable when none answers, or when one that answers does not have the model.
    """
    found: list[Served] = []
    trouble: list[str] = []
    with httpx.Client(headers=headers(settings), timeout=_PROBE_TIMEOUT_S) as client:
        for base_url in settings.base_urls:
            try:
                found.append(_probe(client, base_url.rstrip("/"), model))
            except (httpx.TransportError, httpx.InvalidURL) as error:
                trouble.append(f"{base_url}: {str(error) or type(error).__name__}")
    if not found:
        raise EngineUnavailable(
            "no server answers: " + "; ".join(trouble),
            do=f"Start one with `rlaif serve {model}`, or set engine.base_urls to where yours listens (ending in /v1).",
        )
    return found, trouble


def _probe(client: httpx.Client, base_url: str, model: str) -> Served:
    reply = client.get(f"{base_url}/models")
    if reply.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise EngineUnavailable(
            f"{base_url} refused the key (status {reply.status_code})",
            do="Set engine.api_key_env to the name of the environment variable that holds the right one.",
        )
    try:
        listed: list[dict[str, Any]] = [dict(one) for one in reply.raise_for_status().json()["data"]]
        names = [str(one["id"]) for one in listed]
    except (httpx.HTTPStatusError, ValueError, KeyError, TypeError) as error:
        raise EngineUnavailable(
            f"{base_url}/models gave no list of models (status {reply.status_code})",
            do="engine.base_urls must name an OpenAI-compatible server, usually ending in /v1.",
        ) from error
    wanted = resolve_model(model)
    for one, name in zip(listed, names, strict=True):
        root = one.get("root")
        if name == model or _is_same_folder(root, wanted):
            dtype, mark = read_announced(name, names)
            return Served(base_url, name, root, one.get("max_model_len"), _is_vllm(client, base_url), dtype, mark)
    raise EngineUnavailable(
        f"{base_url} does not serve {model!r}; it serves {', '.join(names) or 'nothing'}",
        do=f"Name one of these as the model, or start a server with `rlaif serve {model}`.",
    )


def _is_same_folder(root: Any, wanted: str) -> bool:
    return isinstance(root, str) and Path(root).is_dir() and Path(root).resolve() == Path(wanted).resolve()


def _is_vllm(client: httpx.Client, base_url: str) -> bool:
    """Only vLLM has both a version and a tokenizer to ask, beside the OpenAI routes."""
    try:
        reply = client.get(base_url.removesuffix("/v1") + "/version")
        return reply.status_code == httpx.codes.OK and "version" in reply.json()
    except (httpx.TransportError, ValueError):
        return False


def server_context(settings: EngineSettings, model: str) -> int:
    """The shortest context any of the servers gives the model; the setting where they do not say."""
    found, _ = find_servers(settings, model)
    return served_context(found, settings)


def served_context(found: list[Served], settings: EngineSettings) -> int:
    said = [one.max_model_len for one in found if one.max_model_len is not None]
    if settings.max_model_len is not None:
        said.append(settings.max_model_len)
    if not said:
        raise InputError(
            f"{found[0].base_url} does not say how long a text {found[0].model!r} can read",
            do="Set engine.max_model_len (in tokens).",
        )
    return min(said)
