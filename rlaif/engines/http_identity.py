"""Which model several servers are, all of them asked: what is stored under one identity must come from one model.

What a server does not say cannot differ. What two servers say differently, or a server and the settings or the files
here, ends the run before anything is asked.
"""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

from rlaif.engines.announcing import weights_mark
from rlaif.engines.base import ModelIdentity
from rlaif.engines.http_server import Served, find_servers
from rlaif.engines.model_files import is_hub_name, template_digest
from rlaif.errors import EngineUnavailable, InputError
from rlaif.settings import EngineSettings


def server_identity(settings: EngineSettings, model: str) -> ModelIdentity:
    found, _ = find_servers(settings, model)
    return served_identity(found, settings)


def served_identity(found: list[Served], settings: EngineSettings) -> ModelIdentity:
    """That of the model's own files where one of the servers has them here; else by the name the servers give it.

    Raises EngineUnavailable, naming both, where two servers serve different models or precisions.
    """
    here = [_here(one, settings) for one in found]
    told = [_told(one, own) for one, own in zip(found, here, strict=True)]
    for (one, ours), (other, theirs) in combinations(zip(found, told, strict=True), 2):
        differ = [what for what in ours if what in theirs and ours[what] != theirs[what]]
        if differ:
            raise _are_different(one, other, [(what, ours[what], theirs[what]) for what in differ])
    identity = next((own for own in here if own is not None), None) or _by_name(found[0], settings)
    dtype = next((one.dtype for one in found if one.dtype is not None), None)
    return identity if dtype is None else replace(identity, dtype=dtype)


def _here(one: Served, settings: EngineSettings) -> ModelIdentity | None:
    """The identity of the files this server read, where they are here. What it says must agree with them and us."""
    if one.dtype is not None and settings.dtype not in ("auto", one.dtype):
        raise InputError(
            f"{one.base_url} runs {one.model!r} in {one.dtype}, and engine.dtype is {settings.dtype}",
            do=f"Set engine.dtype: {one.dtype}, or start the server with --dtype {settings.dtype}.",
        )
    files = one.local_files(settings)
    if files is None:
        return None
    if one.mark not in (None, weights_mark(files.weights)):
        raise EngineUnavailable(
            f"{one.base_url} was started with other files than are in {one.root} now",
            do="Start the server again, so that it serves the model that is there.",
        )
    return files.identity


def _told(one: Served, here: ModelIdentity | None) -> dict[str, str]:
    """What is known of the model on this server, by what it is called in a message."""
    known = {
        "weights": one.mark or (weights_mark(here.weights) if here else None),
        "precision": one.dtype,
        "model": one.root if one.root and is_hub_name(one.root) and not Path(one.root).is_dir() else None,
    }
    return {what: value for what, value in known.items() if value is not None}


def _are_different(one: Served, other: Served, differ: list[tuple[str, str, str]]) -> EngineUnavailable:
    ours = ", ".join(f"{what} {value}" for what, value, _ in differ)
    theirs = ", ".join(f"{what} {value}" for what, _, value in differ)
    return EngineUnavailable(
        f"two servers mean different things by {one.model!r}: {one.base_url} has {ours}; {other.base_url} has {theirs}",
        do="Start them with the same model and --dtype, or name only one of them in engine.base_urls.",
    )


def _by_name(served: Served, settings: EngineSettings) -> ModelIdentity:
    return ModelIdentity(
        name=served.model,
        weights=f"{served.model}@{settings.revision or 'served'}",
        chat_template=template_digest({"served": served.model}, settings),
        dtype=settings.dtype,
    )
