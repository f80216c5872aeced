"""The files a constitution is made of, looked at until one of them says something new.

They are looked at, not listened to: their bytes are compared ten times a second. A few small files cost nothing to
read, and so every way of saving is seen (in place, renamed over, deleted and made again), through links and on network
and container mounts, where a system's notifications differ or do not come. A file that is touched is not new.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

POLL_S = 0.1
PATIENCE_S = 1.0  # how long a file that is empty or gone is taken for one that is just being saved

Contents = Mapping[Path, bytes]


class WatchedFiles:
    """The files that `find` names, which may be others after each save (`extends`)."""

    def __init__(self, find: Callable[[], Iterable[Path]], *, poll_s: float = POLL_S) -> None:
        self._find, self._poll_s = find, poll_s
        self._looked_at = 0.0
        self._is_newer = False
        self.take()

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(self._known)

    def take(self) -> None:
        """What the files say now is known from here on. To be called before they are read: then nothing is missed."""
        self._known: Contents = _read(self._find())
        self._newer_since: float | None = None
        self._is_newer = False

    def is_newer(self) -> bool:
        """Whether there is a save that was not taken. May be asked at any rate."""
        now = time.monotonic()
        if not self._is_newer and now - self._looked_at >= self._poll_s:
            contents = self._look()
            self._is_newer = contents != self._known and not self._is_half_way(contents)
        return self._is_newer

    def wait(self) -> float:
        """Wait for a save that was not taken, and until it is at rest; returns when it was first seen."""
        last: Contents | None = None
        while True:
            contents = self._look()
            if self._newer_since is not None and contents == last:
                patience = PATIENCE_S if self._is_half_way(contents) else 0.0
                if time.monotonic() - self._newer_since >= patience:
                    return self._newer_since
            last = contents
            time.sleep(self._poll_s)

    def _look(self) -> Contents:
        """What the files say, noting when that began to differ from what is known."""
        contents = _read(self._known)
        self._looked_at = time.monotonic()
        if contents == self._known:
            self._newer_since = None
        elif self._newer_since is None:
            self._newer_since = self._looked_at
        return contents

    def _is_half_way(self, contents: Contents) -> bool:
        """Whether a file that said something says nothing: as between an editor's two steps."""
        return any(self._known[path].strip() and not contents[path].strip() for path in contents)


def _read(paths: Iterable[Path]) -> Contents:
    """The bytes of each file; none of one that cannot be read."""
    contents = dict.fromkeys(paths, b"")
    for path in contents:
        with suppress(OSError):
            contents[path] = path.read_bytes()
    return contents
