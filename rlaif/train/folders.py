"""A training's output folder before its first step: what another training left there, and the settings as used."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from rlaif.documents import write_yaml
from rlaif.settings import Strict
from rlaif.train import checkpoint
from rlaif.train.saving import unmark_saved


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
