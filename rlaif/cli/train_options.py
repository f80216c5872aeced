"""The flags that all of `rlaif train` has, and what becomes of them."""

import json
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:  # loaded inside the command, so that `rlaif --help` stays fast
    from rlaif.documents import Document

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="The settings file; flags override it.")]
ModelOption = Annotated[str | None, typer.Option("--model", "-m", help="A folder, a hub name or tiny-policy.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: loop.epochs=2. All: rlaif train settings."),
]
OutputOption = Annotated[str | None, typer.Option("--output", "-o", help="Folder for the trained model.")]
HubOption = Annotated[
    str | None,
    typer.Option("--push-to-hub", metavar="ORG/NAME", help="Send the result to this Hugging Face repository."),
]
AnewOption = Annotated[
    bool, typer.Option("--anew", help="Give up a training of other data or settings that the output folder holds.")
]


def as_sets(model: str | None, data: list[str] | None, output: str | None, push_to_hub: str | None) -> list[str]:
    """The flags as `--set` texts; JSON is YAML, so any path survives. A flag's path counts from here, a file's from
    where the file lies."""
    found = [f"model={json.dumps(model)}"] if model else []
    if push_to_hub:
        found.append(f"push_to_hub={json.dumps(push_to_hub)}")
    if output:
        found.append(f"output={json.dumps(str(Path(output).absolute()))}")
    if data:
        paths = [{"path": str(Path(one).absolute()) if Path(one).exists() else one, "name": one} for one in data]
        found.append(f"data={json.dumps(paths)}")
    return found


def read_document(config: Path | None, sets: Sequence[str], needed: Sequence[str]) -> "Document":
    """The settings file with the `--set` texts on top, not checked yet; raise SettingsError, in terms of flags, where
    neither a file nor a flag says what is needed."""
    from rlaif.documents import Document, apply_sets, read_yaml
    from rlaif.errors import SettingsError

    document = apply_sets(read_yaml(config, SettingsError) if config else Document("flags", {}, {}), sets)
    missing = [f"--{name}" for name in needed if not config and not document.value.get(name)]
    if missing:
        raise SettingsError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing.",
            do="Give them as flags, or in a settings file: --config FILE. An example: --help.",
        )
    return document


def base_of(config: Path | None) -> Path:
    """What relative paths of the settings count from."""
    return config.resolve().parent if config else Path.cwd()


def is_speaker() -> bool:
    """Of several processes one speaks."""
    return os.environ.get("RANK", "0") == "0"


def check_installed() -> None:
    """Raise EngineUnavailable, with the command that mends it, where the training libraries are missing."""
    from rlaif.errors import EngineUnavailable

    if missing := [name for name in ("torch", "accelerate", "peft", "safetensors") if not find_spec(name)]:
        raise EngineUnavailable(f"training needs {', '.join(missing)}.", do="Install it: pip install 'rlaif[train]'")
