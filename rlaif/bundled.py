"""Where the files that ship with the package lie: constitutions, prompts, templates and the two tiny models.

In a checkout they are the folders at its top; in a wheel the same folders lie inside the package as `_project/`.
"""

from pathlib import Path

_PACKAGE = Path(__file__).parent
TINY_MODELS = ("tiny-policy", "tiny-judge")


def project_root() -> Path:
    """The folder that holds `constitution/` and `prompts/`."""
    shipped = _PACKAGE / "_project"
    return shipped if shipped.is_dir() else _PACKAGE.parent


def project_file(relative: str) -> Path:
    """A shipped file by its path from the project's top, e.g. `constitution/small.yaml`."""
    return project_root() / relative


def resolve_model(name: str) -> str:
    """The folder of a bundled model, or `name` unchanged (a folder or a hub name)."""
    if name in TINY_MODELS:
        return str(_PACKAGE / "tiny" / "models" / name)
    return name
