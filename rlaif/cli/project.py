"""What commands share: a settings file with its overrides, read and checked; and where a project's store is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from rlaif.settings import Settings

DEFAULT_CONFIG = Path("rlaif.yaml")
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

    if config == DEFAULT_CONFIG and not config.exists():
        do = "Lay a project out with `rlaif init DIR` and go there, or name a settings file with --config."
        raise SettingsError("there is no such file here.", where=str(config), do=do)
    settings = validate(apply_sets(read_yaml(config, SettingsError), sets or []), Settings, SettingsError)
    return Project(settings, config.resolve().parent)


StoreOption = Annotated[
    str | None, typer.Option(help="Folder or URL of the store, where it is not in the output folder.")
]


@dataclass(frozen=True, slots=True)
class Place:
    """A store and the output folder of the runs at hand. `is_elsewhere`: other projects' runs may rest on it too."""

    store: Path | str
    output: Path
    is_elsewhere: bool


def find_store(config: Path | None, output: Path | None, store: str | None) -> Place:
    """The store that was named, or that of an output folder, or that of the settings file.

    Without a word, rlaif.yaml is read where there is one.
    """
    if config is None and output is None and store is None and DEFAULT_CONFIG.is_file():
        config = DEFAULT_CONFIG
    if config is not None:
        project = open_project(config, None)
        settings, base = project.settings, project.base
        own = Place(settings.store_place(base), base / settings.output, settings.store is not None)
    else:
        own = Place(Path("outputs/store"), Path("outputs"), is_elsewhere=False)
    if output is not None:
        own = Place(output / "store", output, is_elsewhere=False)
    if store is not None:
        own = Place(store if "://" in store else Path(store), own.output, is_elsewhere=True)
    return own


def store_of_run(folder: Path) -> Path | str:
    """The store a run's results lie in, from the settings saved with it. StoreError where these do not tell."""
    from rlaif.errors import StoreError
    from rlaif.feedback.previous import read_settings

    settings, runs = read_settings(folder), folder.resolve().parent
    if settings.store is None:
        return runs.parent / "store"
    steps = Path(settings.output).parts
    if "://" in settings.store or Path(settings.store).is_absolute():
        return settings.store_place(Path())
    if Path(settings.output).is_absolute() or ".." in steps:
        raise StoreError(
            f"the store {settings.store!r} is relative to a settings file that this run does not name.",
            where=str(folder / "settings.yaml"),
            do="Say where it is with --store.",
        )
    return settings.store_place(runs.parents[len(steps)])
