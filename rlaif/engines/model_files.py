"""Which model a name means, read from its small files: no weights are loaded, no heavy library is imported.

A plan has to know which model would answer before any model is loaded, so everything that is part of a stored result's
key is found here: a digest of the folder's weights, configuration and tokenizer (or a hub name with its commit), the
digest of the chat template, and the precision the model will run in.
"""

import hashlib
import json
import os
import re
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rlaif.bundled import TINY_MODELS, resolve_model
from rlaif.engines.base import ModelIdentity
from rlaif.errors import EngineUnavailable, InputError, nearest
from rlaif.hub_errors import hub_errors
from rlaif.identity import digest
from rlaif.settings import EngineSettings

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_SMALL_FILES = ("*.json", "*.jinja", "*.model", "*.txt")
_DIGESTED = ("*.safetensors", "config.json", "generation_config.json", "tokenizer*", "vocab.*", "merges.txt")
_LENGTH_NAMES = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "max_sequence_length")


@dataclass(frozen=True)
class ModelFiles:
    """A model by its files. `source` is what an engine loads: a folder, or a hub name (then `commit` is set)."""

    name: str
    source: str
    folder: Path
    commit: str | None
    settings: EngineSettings

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json, with the text part of a multimodal model's configuration laid on top."""
        read: dict[str, Any] = _read_json(self.folder / "config.json")
        return {**read, **read.get("text_config", {})}

    @property
    def dtype(self) -> str:
        """The precision the model runs in. "auto" is that of its weights, but bfloat16 for float32 ones, as vLLM."""
        if self.settings.dtype != "auto":
            return self.settings.dtype
        stored = str(self.config.get("dtype") or self.config.get("torch_dtype") or "bfloat16").removeprefix("torch.")
        return "bfloat16" if stored == "float32" else stored

    @property
    def max_model_len(self) -> int:
        """Longest prompt + answer in tokens: the setting, or what the model was made for."""
        if self.settings.max_model_len is not None:
            return self.settings.max_model_len
        for name in _LENGTH_NAMES:
            if isinstance(self.config.get(name), int):
                return int(self.config[name])
        raise InputError(
            f"{self.folder / 'config.json'} does not say how long a text model {self.name!r} can read",
            do="Set engine.max_model_len (in tokens).",
        )

    @cached_property
    def chat_template(self) -> str:
        """The template's text; raises InputError where the model has none."""
        jinja = self.folder / "chat_template.jinja"
        if jinja.is_file():
            return jinja.read_text(encoding="utf-8")
        for file in ("tokenizer_config.json", "chat_template.json"):
            if (self.folder / file).is_file():
                found = _read_json(self.folder / file).get("chat_template")
                if found:
                    return found if isinstance(found, str) else json.dumps(found, sort_keys=True)
        raise InputError(
            f"model {self.name!r} has no chat template (looked in {self.folder})",
            do="Use the model's instruction-tuned version, or put a chat_template.jinja beside its tokenizer.",
        )

    @cached_property
    def identity(self) -> ModelIdentity:
        template = template_digest({"chat_template": self.chat_template}, self.settings)
        return ModelIdentity(name=self.name, weights=self.weights, chat_template=template, dtype=self.dtype)

    @cached_property
    def weights(self) -> str:
        """A hub name with its commit, or the digest of the folder's files."""
        return f"{self.name}@{self.commit}" if self.commit else digest({"files": self._file_digests()})

    def _file_digests(self) -> dict[str, str]:
        paths = {path for pattern in _DIGESTED for path in self.folder.glob(pattern) if path.is_file()}
        return {path.name: file_digest(path) for path in sorted(paths)}


def template_digest(template: dict[str, str], settings: EngineSettings) -> str:
    """The digest of a chat template and of what it is given; without settings of its own, of the template alone."""
    kwargs = settings.chat_template_kwargs
    return digest({**template, "kwargs": kwargs} if kwargs else template)


def find_model(name: str, settings: EngineSettings) -> ModelFiles:
    """The files of a folder, a bundled model or a hub name; raises when there is no such thing."""
    source = resolve_model(name)
    folder = Path(source).expanduser()
    if folder.is_dir():
        _check_folder(name, folder)
        shown = name if name in TINY_MODELS else folder.resolve().name
        return ModelFiles(name=shown, source=str(folder), folder=folder, commit=None, settings=settings)
    if name in TINY_MODELS:
        raise EngineUnavailable(f"the bundled model {name!r} is not in {folder}", do="Make it with: make tiny-models")
    if is_hub_name(source) and not Path(source.split("/")[0]).is_dir():
        return _from_hub(source, settings)
    raise InputError(
        f"model {name!r} is neither a folder (looked for {folder.absolute()}) nor a hub name like org/name"
        f"{nearest(name, TINY_MODELS)}",
        do=f"Give a folder with config.json and *.safetensors, a hub name, or one of {', '.join(TINY_MODELS)}.",
    )


def is_hub_name(name: str) -> bool:
    """True for org/name; a relative path may look the same."""
    return _HUB_NAME.fullmatch(name) is not None


def _check_folder(name: str, folder: Path) -> None:
    for pattern, what in (("config.json", "config.json"), ("*.safetensors", "weights (*.safetensors)")):
        if not any(folder.glob(pattern)):
            raise InputError(f"the folder of model {name!r}, {folder}, has no {what}", do="Give a model's folder.")


def _from_hub(name: str, settings: EngineSettings) -> ModelFiles:
    """Fetch the small files (from the local cache where the hub cannot be reached); the folder's name is the commit."""
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(name, revision=settings.revision, allow_patterns=list(_SMALL_FILES))
    except hub_errors() as error:
        revision = f" at revision {settings.revision!r}" if settings.revision else ""
        raise EngineUnavailable(
            f"model {name!r}{revision} is not a folder here, and the hub did not give it: {_first_line(error)}",
            do="Check the name and the network, log in for a gated model (hf auth login), or give a local folder.",
        ) from error
    folder = Path(found)
    return ModelFiles(name=name, source=name, folder=folder, commit=folder.name, settings=settings)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, remembered by its path, size and time: weights are large and read at every plan."""
    stat = path.stat()
    key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    known = _remembered()
    if key not in known:
        with path.open("rb") as stream:
            known = {**known, key: hashlib.file_digest(stream, "sha256").hexdigest()}
        _remember(known)
    return known[key]


def _memory_file() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "rlaif" / "digests.json"


def _remembered() -> dict[str, str]:
    try:
        known: dict[str, str] = json.loads(_memory_file().read_text())
    except (OSError, ValueError):
        return {}  # no memory yet, or a damaged one: it only saves time
    return known


def _remember(known: dict[str, str]) -> None:
    file = _memory_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as stream:
            json.dump(known, stream)
        Path(stream.name).replace(file)
    except OSError:
        return  # a home that cannot be written to: the digest is computed again next time


def _read_json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"not valid JSON: {error}", where=str(path), do="Fetch the model again.") from error
    return dict(read)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
