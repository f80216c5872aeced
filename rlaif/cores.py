"""How many cores this process may use, and how its threads wait for each other.

A container with two cores' time on a machine of sixty-four sees sixty-four of them; sixty-four threads that share two
cores wait for each other most of the time. And where threads wait by spinning, one other busy process is enough.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_WAITING = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}


def usable_cores(cgroups: Path = _CGROUPS, own: Path = _OWN) -> int:
    """At least 1; quotas are rounded up. `cgroups` is where control groups are mounted, `own` names this process's.
    What cannot be read sets no limit."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(math.ceil(quota) for quota in _quotas(cgroups, own))]))


def wait_without_spinning() -> None:
    """Let torch's threads sleep soon when they wait for each other; to be called before torch is loaded, which is when
    GNU's OpenMP reads it. By default a waiting thread spins for milliseconds, on the very core that the other one needs
    if anything else runs on the machine. Two threads on two cores beside one busy process: training takes thirty times
    as long with spinning, and twice as long without (docs/log.md). What somebody set stays."""
    if not _WAITING & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "1000"


def _quotas(cgroups: Path, own: Path) -> Iterator[float]:
    """Cores' worth of time that this process's control group and those above it are given, versions 2 and 1."""
    for controllers, path in _groups(own):
        folder = cgroups if not controllers else cgroups / "cpu"
        for above in (path, *path.parents):  # in a container its own group is often mounted as the root
            group = folder / above.relative_to("/")
            if not controllers:
                quota, *period = _words(group / "cpu.max") or ("max",)
            else:
                quota, *period = *_words(group / "cpu.cfs_quota_us"), *_words(group / "cpu.cfs_period_us"), "-1"
            if quota.isdigit() and period and period[0].isdigit() and int(period[0]):
                yield int(quota) / int(period[0])


def _groups(own: Path) -> Iterator[tuple[str, Path]]:
    """The control groups that may limit time: (controllers, "" in version 2; path)."""
    try:
        lines = own.read_text().splitlines()
    except OSError:  # not Linux, or hidden
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            yield controllers, Path(path)


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
