"""What `plan`, `generate` and `constitution test` share: a settings file with its overrides, read and checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from rlaif.settings import Settings

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The settings file.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: judge.model=tiny-judge.")
]


@dataclass(frozen=True, slots=True)
class Project:
    """Settings and the folder their paths start from."""

    settings: Settings
    base: Path


def open_project(config: Path, sets: list[str] | None) -> Project:
    """Raises SettingsError, with every problem and its place."""
    from rlaif.documents import apply_sets, read_yaml, validate
    from rlaif.errors import SettingsError

    settings = validate(apply_sets(read_yaml(config, SettingsError), sets or []), Settings, SettingsError)
    return Project(settings, config.resolve().parent)
