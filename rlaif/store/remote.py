"""A shelf on an object store, through fsspec: `s3://…`, `gs://…`, `memory://…`, and `http://…` for reading.

Object stores put whole objects, so a name appears with all of its content. What was fetched stays in `scratch`.
Every file system has errors of its own; each becomes one StoreError that says what to look at.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rlaif.errors import StoreError, nearest
from rlaif.store.shelf import PARTIAL

_PROBE = ".writable"
# Where folders are but the beginnings of names: to "make" one makes its bucket, also one that is a slip of the pen.
_BUCKETS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "r2", "cos", "obs", "tos"}


class RemoteShelf:
    """Names are kept below the URL. Reading a name that is gone is FileNotFoundError, as on a local shelf."""

    is_local = False

    def __init__(self, root: str, scratch: Path) -> None:
        self.root, self._scratch = root.rstrip("/"), scratch
        self._files, path = open_files(self.root)
        self._base = str(path).rstrip("/")

    def _list(self, folder: str) -> list[dict[str, Any]]:
        with self._told("listed"):
            try:
                self._files.invalidate_cache()
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
            with self._told("read"):
                self._files.get_file(f"{self._base}/{name}", str(part))
            part.rename(copy)
        return copy

    def forget(self, name: str) -> None:
        """Fetch it anew next time."""
        (self._scratch / name).unlink(missing_ok=True)

    def partial(self, folder: str) -> Path:
        handle, name = tempfile.mkstemp(dir=self._scratch, suffix=PARTIAL)
        os.close(handle)
        return Path(name)

    def place(self, partial: Path, name: str) -> None:
        with self._told("written", is_gone_an_error=True):
            self._make_folder(name)
            self._files.put_file(str(partial), f"{self._base}/{name}")
        copy = self._scratch / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(partial, copy)

    def move(self, name: str, to: str) -> None:
        with suppress(FileNotFoundError), self._told("moved"):
            self._make_folder(to)
            self._files.copy(f"{self._base}/{name}", f"{self._base}/{to}")
            self.remove(name)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError), self._told("removed"):
            self._files.rm_file(f"{self._base}/{name}")
        self.forget(name)

    def check_writable(self) -> None:
        """Put a small object, which is all that an append needs to be allowed."""
        with self._told("written", is_gone_an_error=True):
            self._make_folder(_PROBE)
            self._files.pipe_file(f"{self._base}/{_PROBE}", b"rlaif asks whether it may write here\n")
        with suppress(StoreError):  # to remove may be forbidden; its name is always the same
            self.remove(_PROBE)

    def _make_folder(self, name: str) -> None:
        protocol = self._files.protocol
        if _BUCKETS.isdisjoint([protocol] if isinstance(protocol, str) else protocol):
            self._files.makedirs(f"{self._base}/{name}".rsplit("/", 1)[0], exist_ok=True)

    @contextmanager
    def _told(self, what: str, *, is_gone_an_error: bool = False) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if isinstance(error, StoreError) or (isinstance(error, FileNotFoundError) and not is_gone_an_error):
                raise
            said = " ".join(str(error).split()) or type(error).__name__
            raise StoreError(
                f"the store cannot be {what}: {said}",
                where=self.root,
                do="Check the URL, the network, and your credentials and rights there.",
            ) from error


def open_files(url: str) -> tuple[Any, str]:
    """The file system of a URL and the path in it. StoreError where fsspec has none, or its package is missing."""
    import fsspec

    scheme = url.split("://", 1)[0]
    try:
        files, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        package = (getattr(error.__cause__, "name", None) or scheme).split(".")[0]
        found = f"{scheme}:// needs the package {package}, which is not installed."
        raise StoreError(found, where=url, do=f"pip install {package}") from error
    except Exception as error:
        known = fsspec.available_protocols()
        if scheme.split("::")[-1] not in known:
            found = f"there is no kind of store named {scheme}://{nearest(scheme, known)}."
            do = "s3://, gs://, az:// and https:// are the usual ones; a folder is written without ://"
            raise StoreError(found, where=url, do=do) from error
        said = " ".join(str(error).split())
        raise StoreError(f"the store cannot be opened: {said}", where=url, do="Check the URL.") from error
    return files, str(path)
