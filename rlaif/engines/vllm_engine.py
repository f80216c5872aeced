"""vLLM in a child process of ours.

The child exists so that this process stays light (it imports neither torch nor vllm), so that a crash is an error
with a reason and not the end of everything, and so that all memory is given back when the engine is closed, between
the policy and the judge. What vLLM prints goes to the log file.

Requests stream to the child and answers stream back; a bounded number is under way, so an iterator of ten million
requests is consumed only as fast as it is answered.
"""

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from rlaif.engines.base import Answer, Closing, EngineCounters, ModelIdentity, Request
from rlaif.engines.model_files import find_model
from rlaif.engines.trouble import advice, last_lines, log_tail
from rlaif.engines.vllm_flags import environment, is_cpu_build, model_arguments, offline_block_tokens, require_vllm
from rlaif.engines.wire import answer_from_dict, read_message, request_to_dict, write_message
from rlaif.errors import EngineCrashed, EngineError, EngineUnavailable
from rlaif.settings import EngineSettings

_FAREWELL_S = 10.0


class VllmEngine(Closing):
    """Starts loading at once and in the background; the first use waits until the model is there."""

    child_module = "rlaif.engines.vllm_child"

    def __init__(self, settings: EngineSettings, model: str, *, log_file: Path) -> None:
        require_vllm()
        files = find_model(model, settings)
        self.identity: ModelIdentity = files.identity
        self._log_file = log_file
        self._turn = 0
        self._ready: dict[str, Any] | None = None
        self._inbox: deque[dict[str, Any]] = deque()
        self._counters: dict[str, float] = {}
        cpu = is_cpu_build()
        arguments = model_arguments(settings, files, cpu=cpu)
        if cpu:
            arguments["block_size"] = offline_block_tokens(settings)
        self._start(environment(cpu=cpu, in_process=True))
        kwargs = settings.chat_template_kwargs
        self._send({"type": "start", "arguments": arguments, "cpu": cpu, "chat_template_kwargs": kwargs})

    def _start(self, environ: dict[str, str]) -> None:
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        child_reads, we_write = os.pipe()
        we_read, child_writes = os.pipe()
        with self._log_file.open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603  # our own module, no shell
                [sys.executable, "-m", self.child_module, str(child_reads), str(child_writes)],
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
    def max_model_len(self) -> int:
        return int(self._await_ready()["max_model_len"])

    @property
    def pid(self) -> int:
        """The child's process id, which is also that of its process group."""
        return self._child.pid

    def complete(self, requests: Iterable[Request]) -> Iterator[Answer]:
        window = int(self._await_ready()["window"])
        self._turn += 1
        turn, source = self._turn, iter(requests)
        num_open, is_exhausted = 0, False
        try:
            while True:
                while num_open < window and not is_exhausted:
                    request = next(source, None)
                    is_exhausted = request is None
                    if request is not None:
                        num_open += 1
                        message = {"type": "request", "turn": turn, "request": request_to_dict(request)}
                        is_exhausted = not self._send(message)  # a dead child is read to its end before we say so
                if not num_open:
                    return
                for answer in self._answers(turn):
                    num_open -= 1
                    yield answer
        finally:
            if num_open:
                self._send({"type": "abort", "turn": turn})

    def counters(self) -> EngineCounters:
        """vLLM's own totals; after close() or a crash the last ones known."""
        if self._ready is not None and self._send({"type": "counters"}):
            self._counters = self._await("counters")["counters"]
        known = self._counters
        computed = known.get("vllm:prompt_tokens_by_source:local_compute")
        return EngineCounters(
            requests=int(known.get("vllm:request_success", 0)),
            prompt_tokens=int(known.get("vllm:prompt_tokens", 0)),
            computed_tokens=None if computed is None else int(computed),
            output_tokens=int(known.get("vllm:generation_tokens", 0)),
            extra=known,
        )

    def close(self) -> None:
        """End the child and its workers, by force if they do not go; may be called again."""
        if self._requests.closed:
            return
        if self._child.poll() is None and self._ready is not None:
            self._send({"type": "close"})
            with suppress(subprocess.TimeoutExpired):  # it may be in a long step, or hang: the signal ends either
                self._child.wait(_FAREWELL_S)
        self._kill()
        self._ready = None

    def _kill(self) -> None:
        with suppress(ProcessLookupError):  # the whole group has ended already
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        for stream in (self._requests, self._replies):
            with suppress(BrokenPipeError):  # what was still to be flushed has no reader any more
                stream.close()

    def _send(self, message: dict[str, Any]) -> bool:
        """False when the child is gone."""
        if self._requests.closed:
            return False
        try:
            write_message(self._requests, message)
        except BrokenPipeError:
            return False
        return True

    def _answers(self, turn: int) -> Iterator[Answer]:
        message = self._await("answers")
        if message["turn"] == turn:  # answers to a turn that was given up are dropped
            yield from map(answer_from_dict, message["answers"])

    def _await(self, kind: str) -> dict[str, Any]:
        """The next message of this kind; others are kept for whoever waits for them."""
        for kept in self._inbox:
            if kept["type"] == kind:
                self._inbox.remove(kept)
                return kept
        while (message := read_message(self._replies)) is not None:
            if message["type"] == kind:
                return message
            if message["type"] == "fatal":
                raise self._death(message["error"])
            self._inbox.append(message)
        raise self._death(None)

    def _await_ready(self) -> dict[str, Any]:
        if self._requests.closed:
            raise EngineCrashed(f"the vLLM engine for {self.identity.name!r} is closed", do="Open a new one.")
        if self._ready is None:
            self._ready = self._await("ready")
        return self._ready

    def _death(self, said: str | None) -> EngineError:
        """What to raise when the child has ended or is about to."""
        was_ready = self._ready is not None
        self._ready = None
        try:
            status = self._child.wait(_FAREWELL_S)
        except subprocess.TimeoutExpired:
            status = 0
        self._kill()
        tail = log_tail(self._log_file)
        how = said or (f"killed by signal {-status}" if status < 0 else f"exit status {status}")
        what = "vLLM died" if was_ready else "vLLM could not load the model"
        words = f"{what} ({self.identity.name}): {how}\nlast lines of {self._log_file}:\n{last_lines(tail)}"
        todo = advice(f"{said or ''}\n{tail}", killed=status == -signal.SIGKILL and said is None)
        return (EngineCrashed if was_ready else EngineUnavailable)(words, do=todo)
