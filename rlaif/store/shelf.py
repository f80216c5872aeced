"""Where the store's files lie: a local folder, or an object store through fsspec. Files appear whole or not at all.

Names are relative, with `/`. What is written is finished beside its place and moved there; a file that has its name is
never changed. `local` is a path that DuckDB and Arrow can open: the file itself, or a copy fetched once.

Locks are for local folders alone; on an object store nothing is ever open for writing, so nothing needs one.
"""

import fcntl
import os
import shutil
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


def open_shelf(root: Path | str, scratch: Path) -> Shelf:
    """A shelf for a path, or for a URL that fsspec knows (`s3://…`, `memory://…`, `http://…` for reading)."""
    if isinstance(root, str) and "://" in root and not root.startswith("file://"):
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

    def sweep(self, folder: str) -> None:
        """Remove the unfinished files of writers that are dead."""
        for path in (self.path / folder).glob(f".*{PARTIAL}"):
            with locked(path) as file:
                if file is not None:
                    path.unlink(missing_ok=True)


class RemoteShelf:
    """Object stores put whole objects, so a name appears with all of its content. Fetched files stay in `scratch`."""

    is_local = False

    def __init__(self, root: str, scratch: Path) -> None:
        import fsspec

        self.root, self._scratch = root.rstrip("/"), scratch
        self._files, path = fsspec.core.url_to_fs(self.root)
        self._base = str(path).rstrip("/")

    def _list(self, folder: str) -> list[dict[str, Any]]:
        self._files.invalidate_cache()
        try:
            return list(self._files.ls(f"{self._base}/{folder}", detail=True))
        except FileNotFoundError:
            return []

    def sizes(self, folder: str) -> dict[str, int]:
        files = [entry for entry in self._list(f"{folder}/") if entry["type"] == "file"]
        return {str(entry["name"]).rsplit("/", 1)[-1]: int(entry["size"] or 0) for entry in files}

    def folders(self) -> list[str]:
        return sorted(
            str(entry["name"]).rstrip("/").rsplit("/", 1)[-1]
            for entry in self._list("")
            if entry["type"] == "directory"
        )

    def local(self, name: str) -> Path:
        copy = self._scratch / name
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            part = copy.with_name(f".{copy.name}{PARTIAL}")
            self._files.get_file(f"{self._base}/{name}", str(part))
            part.rename(copy)
        return copy

    def partial(self, folder: str) -> Path:
        handle, name = tempfile.mkstemp(dir=self._scratch, suffix=PARTIAL)
        os.close(handle)
        return Path(name)

    def place(self, partial: Path, name: str) -> None:
        self._files.makedirs(f"{self._base}/{name.rsplit('/', 1)[0]}", exist_ok=True)
        self._files.put_file(str(partial), f"{self._base}/{name}")
        copy = self._scratch / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(partial, copy)

    def move(self, name: str, to: str) -> None:
        with suppress(FileNotFoundError):
            self._files.makedirs(f"{self._base}/{to.rsplit('/', 1)[0]}", exist_ok=True)
            self._files.copy(f"{self._base}/{name}", f"{self._base}/{to}")
            self.remove(name)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._files.rm_file(f"{self._base}/{name}")
        (self._scratch / name).unlink(missing_ok=True)


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
