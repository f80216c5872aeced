"""`rlaif init DIR`: lay out a project: constitution/, prompts/, outputs/ and an rlaif.yaml that explains itself.

The settings file is generated from the models of `rlaif/settings`: every field with its description, range and
default, and its value written out, so that changing one is editing a line and never guessing a name or an indent.
Nothing that exists is overwritten, and a failure half-way leaves nothing behind.
"""

import shutil
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.text import Text

from rlaif.bundled import project_root
from rlaif.errors import InputError
from rlaif.settings import (
    EngineSettings,
    JudgeSettings,
    PairSettings,
    PolicySettings,
    PromptSource,
    SamplingSettings,
    Settings,
)

SETTINGS_FILE = "rlaif.yaml"
COPIED = ("constitution", "prompts")
TINY_PROMPTS = "prompts/sets/tiny-world.jsonl"
COMMENT_WIDTH = 110
HEADER = """\
# Settings of `rlaif generate`: from a constitution and prompts to a preference dataset.
# Every setting is here with its meaning and default; paths are relative to this file.
"""
BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minItems": "at least {}",
    "pattern": "matching {}",
}


def tiny_settings(name: str = "default") -> Settings:
    """A run with the two bundled models: everything on a laptop, nothing downloaded."""
    return Settings(
        name=name,
        constitution="constitution/small.yaml",
        prompts=(PromptSource(path=TINY_PROMPTS, limit=200),),
        policies=(PolicySettings(model="tiny-policy", samples=4, sampling=SamplingSettings(max_tokens=120)),),
        judge=JudgeSettings(model="tiny-judge"),
        pairs=PairSettings(rule="all"),  # every pair that differs: a model of two million parameters learns from many
        engine=EngineSettings(dtype="float32"),  # as quick as bfloat16 at this size, and engines agree to 1e-6
    )


def real_settings(prompt_sets: tuple[str, ...]) -> Settings:
    """A run with models that fit one after the other on one GPU of 40 GB or more.

    The judge is of another size than the policy and answers at once: a model that thinks first has no verdict in its
    first token.
    """
    return Settings(
        constitution="constitution/default.yaml",
        prompts=tuple(PromptSource(path=path) for path in prompt_sets),
        policies=(PolicySettings(model="Qwen/Qwen3-4B-Instruct-2507"),),
        judge=JudgeSettings(model="Qwen/Qwen2.5-14B-Instruct"),
    )


def shipped_prompt_sets(root: Path) -> tuple[str, ...]:
    """The prompt sets for real models: all but the one written in the tiny models' small world."""
    sets = sorted(path.relative_to(root).as_posix() for path in (root / "prompts" / "sets").glob("*.jsonl"))
    return tuple(path for path in sets if path != TINY_PROMPTS)


def render_settings(settings: Settings) -> str:
    """The text of an rlaif.yaml that loads back as `settings`."""
    return "\n".join([HEADER.rstrip(), *_block(settings, "")]) + "\n"


def _block(model: BaseModel, indent: str) -> Iterator[str]:
    """A settings block: for each field what it means, then its value."""
    schema = type(model).model_json_schema()["properties"]
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if not indent:
            yield ""
        about = describe(field, value, schema[name])
        yield from textwrap.wrap(about, COMMENT_WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        yield from _entry(name, value, indent)


def _entry(name: str, value: Any, indent: str) -> Iterator[str]:
    """A field's value: on its line, or below it when it is a block or a list of blocks."""
    if isinstance(value, BaseModel):
        yield f"{indent}{name}:"
        yield from _block(value, f"{indent}  ")
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        yield f"{indent}{name}:"
        for item in value:
            yield from _item(item, f"{indent}  ")
    else:
        yield f"{indent}{name}: {_scalar(value)}"


def _item(model: BaseModel, indent: str) -> Iterator[str]:
    """A block as an item of a list: the dash stands before its first key, after the comment on it."""
    is_begun = False
    for line in _block(model, f"{indent}  "):
        if is_begun or line.lstrip().startswith("#"):
            yield line
        else:
            yield f"{indent}- {line.lstrip()}"
            is_begun = True


def _scalar(value: Any) -> str:
    """A value on one line, as YAML writes it."""
    plain = list(value) if isinstance(value, tuple) else value
    return (
        yaml.safe_dump(plain, default_flow_style=True, width=10_000, allow_unicode=True).removesuffix("...\n").strip()
    )


def describe(field: FieldInfo, value: Any, schema: Mapping[str, Any]) -> str:
    """What a field means, what it may be, and what it is when left out.

    A block is described by its class where the field says nothing more.
    """
    meaning = field.description or (type(value).__doc__ if isinstance(value, BaseModel) else None) or ""
    parts = [text for text in (allowed_values(schema), default_of(field, value)) if text]
    return f"{meaning} [{'; '.join(parts)}]" if parts else meaning


def allowed_values(schema: Mapping[str, Any]) -> str:
    """The range of a field in words, from its JSON Schema: the same bounds that are enforced on loading."""
    branches = [branch for branch in schema.get("anyOf", [schema]) if branch.get("type") != "null"]
    bounds = [text.format(branch[key]) for branch in branches for key, text in BOUNDS.items() if key in branch]
    choices = [" | ".join(branch["enum"]) for branch in branches if "enum" in branch]
    return ", ".join(choices + bounds)


def default_of(field: FieldInfo, value: Any) -> str:
    """`required`, or the default. A block's is told by its own fields; a null's by the description."""
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel) or default is None:
        return ""
    return f"default {_scalar(default)}"


def lay_out(directory: Path, settings: Settings) -> None:
    """Write the project. All of it is made in a hidden folder first, and then moved to its place."""
    targets = [*COPIED, "outputs", SETTINGS_FILE]
    existing = [name for name in targets if (directory / name).exists()]
    if existing:
        raise InputError(
            f"{', '.join(existing)} already there; `rlaif init` overwrites nothing.",
            where=str(directory),
            do="Name another folder, or move these away first.",
        )
    is_new = not directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        found = f"the folder cannot be made: {error.strerror}."
        raise InputError(found, where=str(directory), do="Name another folder.") from error
    try:
        with tempfile.TemporaryDirectory(prefix=".rlaif-init-", dir=directory) as draft:
            write_project(Path(draft), settings)
            for name in targets:
                (Path(draft) / name).rename(directory / name)
    except BaseException:
        if is_new:
            shutil.rmtree(directory, ignore_errors=True)
        raise


def write_project(directory: Path, settings: Settings) -> None:
    """The parts of a project, into a folder that has none of them."""
    for name in COPIED:
        shutil.copytree(project_root() / name, directory / name)
    (directory / "outputs").mkdir()
    (directory / SETTINGS_FILE).write_text(render_settings(settings), encoding="utf-8")


app = typer.Typer(add_completion=False)


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The project's folder; made if it is not there.")],
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Settings for the bundled tiny models: no GPU, no download.")
    ] = False,
) -> None:
    """Lay out a new project: constitution, prompts and a commented rlaif.yaml."""
    settings = tiny_settings() if tiny else real_settings(shipped_prompt_sets(project_root()))
    lay_out(directory, settings)
    console = Console()
    console.print(Text(f"Laid out {directory}: {', '.join(COPIED)}, outputs, {SETTINGS_FILE}"), soft_wrap=True)
    console.print(Text(f"Next: cd {directory} && rlaif generate"), soft_wrap=True)
