"""Room for what an open store needs beside its files: copies of journals as Parquet, and what DuckDB spills.

It is gone when the store is closed. A process that is killed cannot do that, and what it leaves can be large: the next
store that opens here removes the folders that no living process holds.
"""

import fcntl
import os
import shutil
import tempfile
import time
import weakref
from contextlib import suppress
from pathlib import Path

from rlaif.errors import StoreError
from rlaif.store.writing import in_child

PREFIX = "rlaif-scratch-"
_YOUNG_S = 60.0  # one so new may be about to be held


class Scratch:
    """A temporary folder, locked for as long as it is wanted. Raises StoreError where there is no room for one.

    `remove` may be called several times, and is called when nobody refers to it any more; a fork leaves the folder to
    the process that made it.
    """

    def __init__(self) -> None:
        try:
            self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        except OSError as error:
            raise StoreError(
                f"the disk is full, or may not be written to: {error.strerror or error}.",
                do="Make space, or set TMPDIR to a folder that has some, and run the same command again.",
            ) from error
        held = os.open(self.folder, os.O_RDONLY)
        self.remove = weakref.finalize(self, _remove, self.folder, held, os.getpid())
        with suppress(OSError):  # a file system without locks, on which nobody sweeps either
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        sweep(self.folder.parent)


def _remove(folder: Path, held: int, owner: int) -> None:
    if not in_child(owner):
        shutil.rmtree(folder, ignore_errors=True)
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
