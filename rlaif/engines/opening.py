"""From settings to an engine, and from settings to the identity of the model that would answer.

Libraries are imported when an engine of their kind is opened, not before: planning, and the scripted engine, need none.
"""

import importlib.util
from pathlib import Path

from rlaif.engines.base import Engine, ModelIdentity
from rlaif.engines.model_files import find_model
from rlaif.engines.scripted import ScriptedEngine, scripted_identity
from rlaif.errors import EngineUnavailable
from rlaif.settings import EngineSettings


def open_engine(settings: EngineSettings, model: str, *, log_file: Path) -> Engine:
    """An engine for this model; use it as a context manager. What the model's libraries print goes to `log_file`.

    Raises EngineUnavailable when a library, a server or the model is not there, with what to do about it.
    """
    if settings.kind == "scripted":
        return ScriptedEngine(model, max_model_len=settings.max_model_len or 32_768)
    if settings.kind == "http":
        from rlaif.engines.http_engine import HttpEngine

        return HttpEngine(settings, model)
    if settings.kind == "transformers":
        _require("torch", "pip install 'rlaif[train]'")
        from rlaif.engines.transformers_engine import TransformersEngine

        return TransformersEngine(settings, model)
    from rlaif.engines.vllm_engine import VllmEngine

    return VllmEngine(settings, model, log_file=log_file)


def identify(settings: EngineSettings, model: str) -> ModelIdentity:
    """Which model would answer, without loading it: what a plan needs. A server is asked for its name only."""
    if settings.kind == "scripted":
        return scripted_identity(model)
    if settings.kind == "http":
        from rlaif.engines.http_identity import server_identity

        return server_identity(settings, model)
    return find_model(model, settings).identity


def context_length(settings: EngineSettings, model: str) -> int:
    """Longest prompt + answer in tokens the model reads, without loading it."""
    if settings.kind == "scripted":
        return settings.max_model_len or 32_768
    if settings.kind == "http":
        from rlaif.engines.http_server import server_context

        return server_context(settings, model)
    return find_model(model, settings).max_model_len


def _require(library: str, command: str) -> None:
    if importlib.util.find_spec(library) is None:
        raise EngineUnavailable(f"{library} is not installed in this environment", do=command)
