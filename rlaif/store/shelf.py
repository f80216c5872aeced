"""Where the store's files lie: a local folder, or an object store (`remote`). Files appear whole or not at all.

Names are relative, with `/`. What is written is finished beside its place and moved there; a file that has its name is
never changed. `local` is a path that DuckDB and Arrow can open: the file itself, or a copy fetched once.

Locks are for local folders alone; on an object store nothing is ever open for writing, so nothing needs one.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from rlaif.store.writing import told_as_ours

PARTIAL = ".partial"


class Shelf(Protocol):
    root: str
    is_local: bool

    def sizes(self, folder: str) -> dict[str, int]:
        """The files of a folder by name, with their bytes. A folder that is not there is empty."""
        ...

    def folders(self) -> list[str]: ...

    def local(self, name: str) -> Path:
        """A local path with the file's content. FileNotFoundError when it is gone."""
        ...

    def partial(self, folder: str) -> Path:
        """A fresh local path to write a file of this folder to, before `place`."""
        ...

    def place(self, partial: Path, name: str) -> None:
        """Give a finished file its name, durably, in one step."""
        ...

    def move(self, name: str, to: str) -> None: ...

    def remove(self, name: str) -> None: ...

    def check_writable(self) -> None:
        """StoreError when nothing can be written here."""
        ...


def open_shelf(root: Path | str, scratch: Path) -> Shelf:
    """A shelf for a path, or for a URL that fsspec knows (`s3://…`, `memory://…`, `http://…` for reading)."""
    if isinstance(root, str) and "://" in root and not root.startswith("file://"):
        from rlaif.store.remote import RemoteShelf

        return RemoteShelf(root, scratch)
    return LocalShelf(Path(str(root).removeprefix("file://")))


class LocalShelf:
    is_local = True

    def __init__(self, root: Path) -> None:
        self.path, self.root = root, str(root)

    def sizes(self, folder: str) -> dict[str, int]:
        found = {}
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.path / folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # removed between the listing and the look
                    if not entry.name.startswith(".") and entry.is_file():
                        found[entry.name] = entry.stat().st_size
        return found

    def folders(self) -> list[str]:
        return sorted(path.name for path in self.path.iterdir() if path.is_dir()) if self.path.is_dir() else []

    def local(self, name: str) -> Path:
        path = self.path / name
        path.stat()
        return path

    def partial(self, folder: str) -> Path:
        """Its writer holds it (`create_locked`), so that what a dead writer left can be told and removed."""
        with told_as_ours(self.root):
            (self.path / folder).mkdir(parents=True, exist_ok=True)
        return self.path / folder / f".{os.getpid()}-{os.urandom(6).hex()}{PARTIAL}"

    def place(self, partial: Path, name: str) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        sync(partial)
        partial.rename(path)
        sync(path.parent)

    def move(self, name: str, to: str) -> None:
        path = self.path / to
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another one moved it
            (self.path / name).rename(path)

    def remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def check_writable(self) -> None:
        with told_as_ours(self.root):
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass

    def sweep(self, folder: str) -> None:
        """Remove the unfinished files of writers that are dead."""
        for path in (self.path / folder).glob(f".*{PARTIAL}"):
            with locked(path) as file:
                if file is not None:
                    path.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[BinaryIO | None]:
    """The file, held by this process alone; None when it is gone, not ours, held by another, or cannot be locked."""
    try:
        file = path.open("r+b")  # NFS gives an exclusive lock only to those who may write
    except (FileNotFoundError, PermissionError):
        yield None
        return
    with file:
        yield file if hold(file) and is_still(file, path) else None


def create_locked(path: Path) -> FileIO:
    """A new file that nobody takes for a dead writer's: held from its first moment, where the disk knows locks."""
    while True:
        file = FileIO(path, "w")
        if hold(file) is not False and is_still(file, path):
            return file
        file.close()  # swept away, or about to be, in the moment before the lock


def hold(file: Any) -> bool | None:
    """Lock an open file until it is closed or its process dies. False: another one has it. None: there are no locks."""
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_still(file: Any, path: Path) -> bool:
    """Whether the name still leads to this open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
