"""`rlaif init`: what it lays out, and a settings file that explains itself and loads back."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from rlaif import settings as settings_module
from rlaif.bundled import project_root
from rlaif.cli import init
from rlaif.documents import read_yaml, validate
from rlaif.errors import InputError, SettingsError
from rlaif.settings import (
    CleaningSettings,
    EngineSettings,
    JudgesSettings,
    LabelSettings,
    PairSettings,
    RevisionSettings,
    ScheduleSettings,
    Settings,
    Strict,
)

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = [block for block in vars(settings_module).values() if isinstance(block, type) and issubclass(block, Strict)]


def load(path: Path) -> Settings:
    return validate(read_yaml(path, SettingsError), Settings, SettingsError)


def init_command(*words, cwd):
    command = [sys.executable, "-m", "rlaif.cli.main", "init", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def small_project(tmp_path, monkeypatch):
    """Shipped files of a size for tests: what they say is another test's matter."""
    root = tmp_path / "shipped"
    for name in ("constitution/small.yaml", "prompts/sets/tiny-world.jsonl", "prompts/sets/everyday.jsonl"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    monkeypatch.setattr(init, "project_root", lambda: root)
    return root


def test_a_tiny_project_holds_what_generate_needs(tmp_path):
    project = tmp_path / "project"
    done = init_command(str(project), "--tiny", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    settings = load(project / "rlaif.yaml")
    assert settings == init.tiny_settings()
    assert (project / settings.constitution).is_file()
    assert all((project / source.path).is_file() for source in settings.prompts)
    assert (project / "outputs").is_dir()
    assert sorted(path.name for path in project.iterdir()) == ["constitution", "outputs", "prompts", "rlaif.yaml"]


def test_a_project_for_real_models_names_every_shipped_set_but_the_tiny_world(tmp_path):
    project = tmp_path / "project"
    assert init_command(str(project), cwd=tmp_path).returncode == 0
    settings = load(project / "rlaif.yaml")
    named = {source.path for source in settings.prompts}
    assert named == {f"prompts/sets/{path.name}" for path in (project / "prompts/sets").glob("*.jsonl")} - {
        init.TINY_PROMPTS
    }
    assert (project / settings.constitution).is_file()


def test_the_tiny_world_is_not_asked_of_real_models(small_project):
    assert init.shipped_prompt_sets(small_project) == ("prompts/sets/everyday.jsonl",)


def test_tiny_settings_are_the_defaults_but_for_what_they_name():
    written = yaml.safe_load(init.render_settings(init.tiny_settings()))
    blocks = {
        "engine": EngineSettings(dtype="float32"),
        "pairs": PairSettings(rule="all"),
        "label": LabelSettings(),
        "judges": JudgesSettings(),
        "schedule": ScheduleSettings(),
        "cleaning": CleaningSettings(),
        "revision": RevisionSettings(),
    }
    for name, block in blocks.items():
        assert written[name] == block.model_dump(mode="json")
    required = {"constitution", "prompts", "policies", "judge"}
    for name, field in Settings.model_fields.items():
        if name not in required | blocks.keys():
            assert written[name] == field.default


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.__name__)
def test_every_setting_says_what_it_means(block):
    for name, field in block.model_fields.items():
        is_block = isinstance(field.get_default(call_default_factory=True), BaseModel)
        assert field.description or is_block, f"{block.__name__}.{name} has no description"
    assert block.__doc__


def test_every_setting_is_in_the_file_with_its_meaning_above_it():
    lines = init.render_settings(init.tiny_settings()).splitlines()
    keys = [i for i, line in enumerate(lines) if re.match(r"\s*(- )?[a-z_]+:", line)]
    written = {re.match(r"\s*(?:- )?([a-z_]+):", lines[i]).group(1) for i in keys}
    assert written == {name for block in BLOCKS for name in block.model_fields}
    assert [lines[i] for i in keys if not lines[i - 1].lstrip().startswith("# ")] == []
    assert max(map(len, lines)) <= 120


def test_ranges_choices_and_defaults_are_told():
    text = init.render_settings(init.tiny_settings())
    assert "[≥ 0.0, ≤ 5.0; default 1.0]" in text  # temperature
    assert "[> 0.0, ≤ 1.0; default 1.0]" in text  # top_p
    unwrapped = " ".join(text.replace("#", " ").split())
    assert "[best_worst | best_random | adjacent | all; default best_worst]" in unwrapped
    assert "The constitution to judge by. [required]" in text


def test_settings_that_need_quoting_load_back(tmp_path):
    settings = init.tiny_settings().model_copy(update={"constitution": "a: b # c.yaml", "output": "no"})
    path = tmp_path / "rlaif.yaml"
    path.write_text(init.render_settings(settings))
    assert load(path) == settings


def test_the_quickstart_uses_what_init_would_write():
    text = (ROOT / "quickstart.yaml").read_text()
    assert text == init.render_settings(init.tiny_settings("quickstart"))


@pytest.mark.parametrize("existing", ["rlaif.yaml", "constitution", "prompts", "outputs"])
def test_nothing_is_overwritten(tmp_path, small_project, existing):
    project = tmp_path / "project"
    project.mkdir()
    (project / existing).write_text("mine")
    with pytest.raises(InputError, match=f"{existing} already there"):
        init.lay_out(project, init.tiny_settings())
    assert [path.name for path in project.iterdir()] == [existing]
    assert (project / existing).read_text() == "mine"


def test_a_folder_with_other_things_in_it_will_do(tmp_path, small_project):
    project = tmp_path / "project"
    project.mkdir()
    (project / "notes.txt").write_text("mine")
    init.lay_out(project, init.tiny_settings())
    assert (project / "notes.txt").read_text() == "mine"
    assert (project / "constitution" / "small.yaml").exists()


def test_a_failure_half_way_leaves_nothing_behind(tmp_path, small_project, monkeypatch):
    def disk_full(settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(init, "render_settings", disk_full)
    with pytest.raises(OSError, match="No space"):
        init.lay_out(tmp_path / "new", init.tiny_settings())
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    with pytest.raises(OSError, match="No space"):
        init.lay_out(tmp_path / "old", init.tiny_settings())
    assert list((tmp_path / "old").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path, small_project):
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="cannot be made: File exists"):
        init.lay_out(tmp_path / "taken", init.tiny_settings())
    with pytest.raises(InputError, match="cannot be made: Not a directory"):
        init.lay_out(tmp_path / "taken" / "below", init.tiny_settings())


def test_what_ships_is_found_from_a_checkout():
    assert project_root() == ROOT
