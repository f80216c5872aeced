"""Room for what an open store needs beside its files: copies of journals as Parquet, and what DuckDB spills.

It is gone when the store is closed. A process that is killed cannot do that, and what it leaves can be large: the next
store that opens here removes the folders that no living process holds.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rlaif.errors import StoreError

PREFIX = "rlaif-scratch-"
_YOUNG_S = 60.0  # one so new may be about to be held


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder, locked for as long as it is wanted. Raises StoreError where there is no room for one."""
    try:
        temporary = tempfile.TemporaryDirectory(prefix=PREFIX)
    except OSError as error:
        raise StoreError(
            f"the disk is full, or may not be written to: {error.strerror or error}.",
            do="Make space, or set TMPDIR to a folder that has some, and run the same command again.",
        ) from error
    with temporary as name:
        folder, held = Path(name), os.open(name, os.O_RDONLY)
        try:
            with suppress(OSError):  # a file system without locks, on which nobody sweeps either
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            sweep(folder.parent)
            yield folder
        finally:
            os.close(held)


def sweep(parent: Path) -> None:
    """Remove the folders of processes that are dead."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # gone meanwhile, another user's, or held by a living process
            if time.time() - folder.stat().st_mtime < _YOUNG_S:
                continue
            held = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)
