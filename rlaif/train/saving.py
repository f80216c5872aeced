"""A trained model as a standard Hugging Face folder: safetensors, config, tokenizer with its chat template, a card.

Everything is written beside its place and moved in file by file, `config.json` last: without it nothing loads, so a
killed save is no half-written model, and the same command writes it again. `save_pretrained` of transformers does the
work; the folder loads in transformers, vLLM and TRL like any other. Adapters are merged into it, and stand in
`adapter/` as peft writes them, with a reward model's head among them; or they are saved alone: the folder is peft's.
"""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rlaif.train.forward import inner_model
from rlaif.train.heads import FILE, Array, Heads, fold

ADAPTER = "adapter"
_LAST = ("config.json", "adapter_config.json")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def save_model(
    model: Any,
    tokenizer: Any,
    folder: Path,
    card: str,
    *,
    dtype: torch.dtype | None = None,
    heads: tuple[Heads, Array] | None = None,
    is_merged: bool = True,
) -> None:
    """Write the model, in `dtype` or as it is. `heads` of a reward model with several, and their combination."""
    fresh = folder / ".partial"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    has_adapters = hasattr(model, "merge_and_unload")
    if has_adapters:
        # False: peft would ask the hub for the base model's vocabulary, and no adapter of ours touches embeddings
        model.save_pretrained(fresh / ADAPTER if is_merged else fresh, save_embedding_layers=False)
    if is_merged or not has_adapters:
        whole = model.merge_and_unload() if has_adapters else inner_model(model)
        if dtype is not None and whole.dtype != dtype:
            whole = whole.to(dtype)
        if heads is not None:
            _save_heads(fold(whole, *heads), fresh)
        whole.save_pretrained(fresh)
    tokenizer.save_pretrained(fresh)
    (fresh / "README.md").write_text(card, encoding="utf-8")
    _move_in(fresh, folder)


def _save_heads(stacked: torch.Tensor, folder: Path) -> None:
    from safetensors.torch import save_file

    save_file({"heads": stacked.contiguous()}, folder / FILE)


def _move_in(fresh: Path, folder: Path) -> None:
    unmark_saved(folder)
    for path in sorted(fresh.iterdir(), key=lambda path: path.name in _LAST):
        if path.is_dir():
            shutil.rmtree(folder / path.name, ignore_errors=True)
        else:
            path.chmod(0o644)  # safetensors leaves weights readable by their owner alone
        path.replace(folder / path.name)
    fresh.rmdir()


def is_saved(folder: Path) -> bool:
    """True when a whole model, or whole adapters, lie there."""
    return any((folder / name).is_file() for name in _LAST)


def unmark_saved(folder: Path) -> None:
    """Make the model that lies there no whole one: it is about to be replaced."""
    for name in _LAST:
        (folder / name).unlink(missing_ok=True)


def model_card(
    method: str,
    base: str,
    settings: Mapping[str, Any],
    data: Mapping[str, Any],
    figures: Mapping[str, float],
    note: str | None = None,
    *,
    rewards: Mapping[str, tuple[str, str]] | None = None,
) -> str:
    """What was trained on what, how, and what it reached: the figures of the last step and evaluation. `note`: what a
    reader has to know first; `rewards`: what labelled sampled answers, by name: in words, and its digest."""
    reached = "\n".join(f"| {name} | {value:.6g} |" for name, value in figures.items())
    return (
        f"---\nlibrary_name: transformers\n{_base_line(base)}tags: [rlaif, {method}]\n---\n\n"
        f"# {method} on {base}\n\n"
        f"Trained with `rlaif train {method}`.{f' {note}' if note else ''}\n\n"
        + (_datasets(data) if rewards is None else _prompts(data) + _rewards(rewards))
        + f"## Figures\n\n| | |\n|---|---|\n{reached}\n\n"
        f"## Settings\n\n```json\n{json.dumps(settings, indent=2, ensure_ascii=False)}\n```\n"
    )


def _datasets(data: Mapping[str, Any]) -> str:
    rows = "\n".join(
        f"| {name} | {counts['read']} | {counts['kept']} | {counts['cut']} | {_listed(counts['refused'])} "
        f"| {_listed(counts['labellers'], 'not said')} | `{counts['digest'][:16]}` |"
        for name, counts in data["sources"].items()
    )
    return (
        f"## Data\n\nSHA-256 of the rows as trained: `{data['digest']}`, {data['rows']} rows, "
        f"{data['tokens']} tokens.\n\n"
        f"| dataset | read | kept | of these cut | refused | labelled by | SHA-256 of its rows |\n"
        f"|---|---|---|---|---|---|---|\n{rows}\n\n"
    )


def _prompts(data: Mapping[str, Any]) -> str:
    rows = "\n".join(
        f"| {name} | {counts['read']} | {counts['kept']} | {_listed(counts['refused'])} |"
        for name, counts in data["sources"].items()
    )
    return (
        f"## Prompts\n\nSHA-256 of the prompts as read: `{data['digest']}`, {data['rows']} prompts, "
        f"{data['tokens']} tokens.\n\n"
        f"| prompts | read | kept | refused |\n|---|---|---|---|\n{rows}\n\n"
    )


def _rewards(rewards: Mapping[str, tuple[str, str]]) -> str:
    rows = "\n".join(f"| {name} | {what} | `{known[:16] or '-'}` |" for name, (what, known) in rewards.items())
    return f"## What answers were rewarded by\n\n| part | what | SHA-256 |\n|---|---|---|\n{rows}\n\n"


def _base_line(base: str) -> str:
    """The hub takes hub names alone."""
    is_hub_name = _HUB_NAME.fullmatch(base) and not Path(base).exists()
    return f"base_model: {base}\n" if is_hub_name else ""


def _listed(counts: Mapping[str, int], nothing: str = "0") -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or nothing
