"""A child process that an engine speaks to over two pipes: started, asked, listened to, and ended.

What it says goes to a log file. Its death is a value with its cause (`ChildDied`); what follows from it, another child
or the end of the run, is the engine's to decide.
"""

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rlaif.engines.wire import read_message, write_message

FAREWELL_S = 10.0


class ChildDied(Exception):
    """The child has ended. `said` is what it told of its own end, `status` its exit status, negative for a signal."""

    def __init__(self, said: str | None, status: int) -> None:
        super().__init__(said, status)
        self.said, self.status = said, status

    @property
    def is_killed(self) -> bool:
        return self.said is None and self.status == -signal.SIGKILL

    @property
    def how(self) -> str:
        if self.said is not None:
            return self.said
        return f"killed by signal {-self.status}" if self.status < 0 else f"exit status {self.status}"


class ChildProcess:
    """Started by the constructor. Its process group holds it and whatever it starts itself."""

    def __init__(self, module: str, *, environ: Mapping[str, str], log_file: Path) -> None:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        self._inbox: deque[dict[str, Any]] = deque()
        child_reads, we_write = os.pipe()
        we_read, child_writes = os.pipe()
        with log_file.open("ab") as log:
            self.log_start = log.seek(0, os.SEEK_END)  # what stands there already is another child's
            self._process = subprocess.Popen(  # noqa: S603  # our own module, no shell
                [sys.executable, "-m", module, str(child_reads), str(child_writes)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(child_reads, child_writes),
                start_new_session=True,  # Ctrl-C in the terminal is ours to handle; and one signal ends the group
                env=environ,
            )
        os.close(child_reads)
        os.close(child_writes)
        self._requests, self._replies = os.fdopen(we_write, "wb"), os.fdopen(we_read, "rb")

    @property
    def pid(self) -> int:
        """The child's process id, which is also that of its process group."""
        return self._process.pid

    @property
    def is_closed(self) -> bool:
        return self._requests.closed

    def send(self, message: dict[str, Any]) -> bool:
        """False when the child is gone: what it still said can be received, and then its death."""
        if self._requests.closed:
            return False
        try:
            write_message(self._requests, message)
        except BrokenPipeError:
            return False
        return True

    def receive(self, kind: str) -> dict[str, Any]:
        """The next message of this kind; others are kept for whoever waits for them. Raises ChildDied."""
        for kept in self._inbox:
            if kept["type"] == kind:
                self._inbox.remove(kept)
                return kept
        while not self._replies.closed and (message := read_message(self._replies)) is not None:
            if message["type"] == kind:
                return message
            if message["type"] == "fatal":
                raise self._death(message["error"])
            self._inbox.append(message)
        raise self._death(None)

    def close(self, *, is_asked: bool) -> None:
        """End the child and its group, by force if it does not go when asked; may be called again."""
        if self._requests.closed:
            return
        if is_asked and self._process.poll() is None:
            self.send({"type": "close"})
            with suppress(subprocess.TimeoutExpired):  # it may be in a long step, or hang: the signal ends either
                self._process.wait(FAREWELL_S)
        with suppress(ProcessLookupError):  # the whole group has ended already
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._requests, self._replies):
            with suppress(BrokenPipeError):  # what was still to be flushed has no reader any more
                stream.close()

    def _death(self, said: str | None) -> ChildDied:
        """Its cause, after the last of the group is gone."""
        with suppress(subprocess.TimeoutExpired):  # its pipe is closed and it lives on: the signal ends it
            self._process.wait(FAREWELL_S)
        status = self._process.poll()
        self.close(is_asked=False)
        return ChildDied(said, 0 if status is None else status)
