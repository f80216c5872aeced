"""The disk becomes full in the middle of `rlaif generate`: one clear error, nothing corrupt, and after space is made
the run ends in the bytes of an undisturbed one.

The disk is a tmpfs of a given size in a mount namespace of the nursery's own, which needs no rights where the kernel
lets users have namespaces. Where it does not, a limit on the size of a file stands in for it.
"""

import copy
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.faults.kill_projects import Project
from tests.faults.ledger import check_asked_twice
from tests.faults.nursery import Nursery

NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
PAGE = os.sysconf("SC_PAGE_SIZE")
DISK_FULL = 4  # the exit code of a StoreError


def can_mount(folder):
    command = [*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", str(folder)]
    return bool(shutil.which("unshare")) and subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def disks(tmp_path_factory):
    """A nursery whose workers can mount, and how its files are seen from here."""
    if not can_mount(tmp_path_factory.mktemp("mount")):
        pytest.skip("this kernel gives users no mount namespace")
    found = Nursery("tests.faults.workers", prefix=NAMESPACE)
    found.wait(found.start("command", arguments=["true"]))  # it has begun, and has its namespace
    yield found
    found.close()


@pytest.fixture(scope="module")
def nursery():
    found = Nursery("tests.faults.workers")
    yield found
    found.close()


def mount(nursery, folder, size, *options):
    arguments = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *options]), "tmpfs", str(folder)]
    assert nursery.wait(nursery.start("command", arguments=arguments)) == 0


def generate(nursery, project, **options):
    """The exit code, and what it said."""
    before = len(project.said())
    code = nursery.wait(nursery.start("generate", folder=project.place, seed=0, **options))
    return code, project.said()[before:]


def check_full(project, expected, code, said):
    """A clear error, and what is stored is sound and right."""
    assert code == DISK_FULL, said
    assert "the disk is full" in said.replace("The disk", "the disk")
    assert "run the same command again" in said
    assert "Traceback" not in said
    results, wanted = project.results(), expected.results()
    assert all(wanted[kind][key] == value for kind in results for key, value in results[kind].items())


def check_resumed(nursery, project, expected, num_full):
    code, said = generate(nursery, project)
    assert code == 0, said
    assert project.files() == expected.files()
    assert project.results() == expected.results()
    drivers = {process for who, process, _, _ in project.events() if who == "driver"}
    assert check_asked_twice(project.events(), "driver", drivers) <= num_full  # those that could not be kept


def seen_in(nursery, project):
    """The project as it is in the nursery's namespace."""
    seen = copy.copy(project)
    seen.folder = Path(f"/proc/{nursery.process.pid}/root{project.folder}")
    return seen


def disk_bytes(folder):
    """On a tmpfs, whatever the file system here makes of it."""
    return sum(-(-path.stat().st_size // PAGE) * PAGE for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("has_temporary", [False, True])
def test_a_disk_that_is_full_at_any_moment(disks, tmp_path, has_temporary):
    """Alone, or with the folder of temporary files on it."""
    seed = 9 + has_temporary
    print(f"seed {seed}")
    chance = random.Random(seed)
    whole = Project(tmp_path / "whole", {"kind": "scripted"})
    assert generate(disks, whole)[0] == 0
    needed, num_full = disk_bytes(whole.folder / "outputs"), 0
    for number in range(8):
        size = int(chance.uniform(0, 1.0) * needed)
        project = Project(tmp_path / f"project-{number}", {"kind": "scripted"})
        outputs = project.folder / "outputs"
        outputs.mkdir()
        mount(disks, outputs, size)
        temporary = project.place + "/outputs" * has_temporary
        seen = seen_in(disks, project)
        code, said = generate(disks, seen, temporary=temporary)
        if code != 0:
            num_full += 1
            check_full(seen, whole, code, said)
            code, said = generate(disks, seen, temporary=temporary)  # nobody made space
            check_full(seen, whole, code, said)
        mount(disks, outputs, "64m", "remount")
        check_resumed(disks, seen, whole, 2)
    assert num_full >= 4


def test_a_limit_on_the_size_of_files(nursery, tmp_path):
    whole = Project(tmp_path / "whole", {"kind": "scripted"})
    assert generate(nursery, whole)[0] == 0
    for size in (100, 1000, 5000, 15_000):
        project = Project(tmp_path / f"limit-{size}", {"kind": "scripted"})
        code, said = generate(nursery, project, max_file_bytes=size)
        check_full(project, whole, code, said)
        check_resumed(nursery, project, whole, 1)
