"""The hardware under this process: processor, memory, disk, and the GPUs that the NVIDIA driver lists.

Read from /proc and `nvidia-smi`, never from torch: it answers in a moment, and on a machine where nothing is installed.
"""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rlaif.cores import usable_cores

CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # from usable to fast, for vLLM on x86


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU as the driver names it. Memory in MiB."""

    name: str
    memory_mib: int
    free_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The hardware. Sizes in GiB; `cpu_features` are those of `CPU_FEATURES` that the processor has."""

    system: str
    cores: int
    cpu_features: tuple[str, ...]
    memory_gib: float
    disk_free_gib: float
    gpus: tuple[Gpu, ...]


def find_gpus() -> tuple[Gpu, ...]:
    """The GPUs the NVIDIA driver lists; none where there is no driver, or where it does not answer."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return ()
    query = [smi, "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603 - fixed words
    except (subprocess.SubprocessError, OSError):
        return ()
    return parse_gpus(listed.stdout)


def parse_gpus(listing: str) -> tuple[Gpu, ...]:
    """Lines such as `NVIDIA H100 80GB HBM3, 81559, 81004`; a figure the driver does not give (`[N/A]`) counts as 0."""
    gpus = []
    for line in filter(None, map(str.strip, listing.splitlines())):
        name, *sizes = (part.strip() for part in line.split(","))
        total, free = (int(size) if size.isdigit() else 0 for size in sizes)
        gpus.append(Gpu(name=name, memory_mib=total, free_mib=free))
    return tuple(gpus)


def parse_cpu_features(cpuinfo: str) -> tuple[str, ...]:
    """Which of `CPU_FEATURES` the text of /proc/cpuinfo names."""
    flags = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "").split()
    return tuple(feature for feature in CPU_FEATURES if feature in flags)


def find_machine() -> Machine:
    """The hardware under this process; cores are those it may use, not those the board has."""
    cpuinfo = Path("/proc/cpuinfo")
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        cores=usable_cores(),
        cpu_features=parse_cpu_features(cpuinfo.read_text()) if cpuinfo.exists() else (),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        disk_free_gib=round(shutil.disk_usage(Path.cwd()).free / 2**30, 1),
        gpus=find_gpus(),
    )
