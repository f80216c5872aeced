"""A training's output folder before its first step: what another training left there, and the settings as used."""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from rlaif.documents import read_yaml, write_yaml
from rlaif.errors import InputError
from rlaif.settings import Strict
from rlaif.train import checkpoint
from rlaif.train.saving import is_saved, unmark_saved
from rlaif.train.tracking import flat

_MOST_SHOWN = 5  # settings that are named one by one


def check_output(output: Path, model: str, *, begin_anew: bool = False) -> None:
    """Raise InputError where a training would write over a model that it did not make."""
    if output.exists() and not output.is_dir():
        raise InputError("the output is a file.", where=str(output), do="Name a folder; it is made if need be.")
    there = next(one for one in (output, *output.absolute().parents) if one.exists())
    try:
        with tempfile.TemporaryDirectory(dir=there):
            pass
    except (FileNotFoundError, NotADirectoryError) as error:  # a full disk and a missing right have words of their own
        raise InputError(
            f"the output cannot be written: {error.strerror or error}.", where=str(output), do="Name another folder."
        ) from error
    if output.resolve() == Path(model).resolve():
        raise InputError(
            "the output is the folder of the model that is trained, which would be written over.",
            where=str(output),
            do="Choose another output folder.",
        )
    if is_saved(output) and not (output / "training").is_dir() and not begin_anew:
        raise InputError(
            "the output folder holds a model, and nothing of the training that made it.",
            where=str(output),
            do="Choose another output folder, or write over that model with --anew.",
        )


def check_same_run(folder: Path, identity: Mapping[str, str], settings: Strict, free: Any) -> None:
    """Raise InputError, before anything is computed or written, when the checkpoints that lie there are of another
    run. `free` are the settings that may differ."""
    kept = checkpoint.newest_identity(folder)
    if kept is None:
        return
    is_other = kept.get("settings") != identity.get("settings")
    more = _changed(folder / "settings.yaml", settings, free) if is_other else ""
    checkpoint.check_identity(kept, identity, folder, more)


def _changed(file: Path, settings: Strict, free: Any) -> str:
    """Which settings are others than those of the file, in words; nothing when they cannot be compared."""
    try:
        before = type(settings).model_validate(read_yaml(file).value)
    except (InputError, ValueError):
        return ""
    was, now = (flat(one.model_dump(mode="json", exclude=free)) for one in (before, settings))
    names = sorted(name for name in {*was, *now} if was.get(name) != now.get(name))
    shown = [f"{name} (was {was.get(name, 'not set')}, now {now.get(name, 'not set')})" for name in names]
    more = f" and {len(shown) - _MOST_SHOWN} more" if len(shown) > _MOST_SHOWN else ""
    return f" Settings that differ: {', '.join(shown[:_MOST_SHOWN])}{more}." if shown else ""


def give_up_others(
    output: Path,
    identity: Mapping[str, str],
    accelerator: Accelerator,
    *,
    even_its_own: Callable[[Mapping[str, Any]], bool] = lambda memory: False,
) -> None:
    """Remove the checkpoints of another training, and the mark that says its model is whole. `even_its_own`: also of
    this one, by what its newest checkpoint remembers (one that was stopped could not go on)."""
    state = checkpoint.newest(output / "training")
    is_given_up = state is not None and (state.identity != identity or even_its_own(state.memory))
    if accelerator.is_main_process and is_given_up:
        unmark_saved(output)
        shutil.rmtree(output / "training")
    accelerator.wait_for_everyone()


def write_settings(folder: Path, settings: Strict) -> None:
    """The settings exactly as used."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.yaml").write_text(write_yaml(settings.model_dump(mode="json")), encoding="utf-8")


def quiet_transformers() -> None:
    """No bars and reports of loading: the head of a new reward model is meant to be missing."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers has no annotation here
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
