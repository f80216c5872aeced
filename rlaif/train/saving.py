"""A trained model as a standard Hugging Face folder: safetensors, config, tokenizer with its chat template, a card.

Everything is written beside its place and moved in file by file, `config.json` last: without it nothing loads, so a
killed save is no half-written model, and the same command writes it again. `save_pretrained` of transformers does the
work; the folder loads in transformers, vLLM and TRL like any other.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rlaif.train.forward import inner_model

_LAST = "config.json"


def save_model(model: Any, tokenizer: Any, folder: Path, card: str, *, dtype: torch.dtype | None = None) -> None:
    """Write the model (adapters merged into it), in `dtype` or as it is."""
    fresh = folder / ".partial"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    whole = model.merge_and_unload() if hasattr(model, "merge_and_unload") else inner_model(model)
    if dtype is not None and whole.dtype != dtype:
        whole = whole.to(dtype)
    whole.save_pretrained(fresh)
    tokenizer.save_pretrained(fresh)
    (fresh / "README.md").write_text(card, encoding="utf-8")
    unmark_saved(folder)
    for path in sorted(fresh.iterdir(), key=lambda path: path.name == _LAST):
        path.chmod(0o644)  # safetensors leaves weights readable by their owner alone
        path.replace(folder / path.name)
    fresh.rmdir()


def is_saved(folder: Path) -> bool:
    """True when a whole model lies there."""
    return (folder / _LAST).is_file()


def unmark_saved(folder: Path) -> None:
    """Make the model that lies there no whole one: it is about to be replaced."""
    (folder / _LAST).unlink(missing_ok=True)


def model_card(
    method: str, base: str, settings: Mapping[str, Any], data: Mapping[str, Any], figures: Mapping[str, float]
) -> str:
    """What was trained on what, how, and what it reached: the figures of the last step and evaluation."""
    rows = "\n".join(
        f"| {name} | {counts['read']} | {counts['kept']} | {counts['cut']} | {_listed(counts['refused'])} |"
        for name, counts in data["sources"].items()
    )
    reached = "\n".join(f"| {name} | {value:.6g} |" for name, value in figures.items())
    return (
        f"---\nlibrary_name: transformers\nbase_model: {base}\ntags: [rlaif, {method}]\n---\n\n"
        f"# {method} on {base}\n\n"
        f"Trained with `rlaif train {method}`.\n\n"
        f"## Data\n\nSHA-256 of the rows as trained: `{data['digest']}`, {data['tokens']} tokens.\n\n"
        f"| dataset | read | kept | of these cut | refused |\n|---|---|---|---|---|\n{rows}\n\n"
        f"## Figures\n\n| | |\n|---|---|\n{reached}\n\n"
        f"## Settings\n\n```json\n{json.dumps(settings, indent=2, ensure_ascii=False)}\n```\n"
    )


def _listed(refused: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in refused.items()) or "0"
