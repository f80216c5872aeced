"""vLLM's own OpenAI-compatible server as a process of ours, with the flags this project relies on.

It runs in a session of its own, so that Ctrl-C in the terminal reaches us alone and we decide how it ends: first a
request to stop, which lets what is in flight finish, then the whole group by force. A server killed by SIGKILL would
leave its engine behind, holding the GPU.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx

from rlaif.engines.announcing import announced_name
from rlaif.engines.model_files import ModelFiles, find_model
from rlaif.engines.trouble import advice, last_lines, log_tail
from rlaif.engines.vllm_flags import environment, is_cpu_build, model_arguments, require_vllm, server_flags
from rlaif.errors import EngineUnavailable
from rlaif.settings import EngineSettings

DRAIN_S = 30  # how long requests in flight may take to finish after a request to stop
_POLL_S = 0.3
_PR_SET_PDEATHSIG = 1
# Flags of vLLM's that a user may add, after which the model is not what we started.
_OTHER_MODEL = ("--dtype", "--model", "--revision", "--quantization", "-q", "--hf-overrides", "--config")


class VllmServer:
    """Started by the constructor, not yet ready; `log_file` None lets it write to our own stdout and stderr."""

    def __init__(
        self,
        settings: EngineSettings,
        model: str,
        *,
        host: str,
        port: int,
        log_file: Path | None,
        extra: Sequence[str] = (),
    ) -> None:
        require_vllm()
        files = find_model(model, settings)
        cpu = is_cpu_build()
        flags = server_flags(model_arguments(settings, files, cpu=cpu))
        self.name = model if files.commit or model == files.name else files.name
        self.base_url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}/v1"  # noqa: S104  # compared, not bound
        self.command = [
            *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
            *("--host", host, "--port", str(port)),
            *("--served-model-name", self.name, *_told(self.name, files, extra)),
            *("--shutdown-timeout", str(DRAIN_S), "--enable-prompt-tokens-details"),
            *flags,
            *extra,
        ]
        self._log_file, self._log_start = log_file, 0
        self._process = self._start(environment(cpu=cpu, in_process=False))

    def _start(self, environ: dict[str, str]) -> subprocess.Popen[bytes]:
        if self._log_file is None:
            return self._popen(environ, None)
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("ab") as log:
            self._log_start = log.seek(0, os.SEEK_END)
            return self._popen(environ, log.fileno())

    def _popen(self, environ: dict[str, str], output: int | None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603  # vLLM's module with flags of ours, no shell
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=environ,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # runs before exec
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self) -> None:
        """Return when it answers; raises EngineUnavailable with its last words if it ends before."""
        health = self.base_url.removesuffix("/v1") + "/health"
        while True:
            if self._process.poll() is not None:
                raise self._ended_early()
            try:
                if httpx.get(health, timeout=5.0).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass  # not listening yet
            time.sleep(_POLL_S)

    def wait(self) -> int:
        """Wait for its end; its exit status."""
        return self._process.wait()

    def stop(self) -> None:
        """Let it finish what is in flight, then end the whole group; may be called again."""
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):  # it does not listen: the signal below ends it
                self._process.wait(DRAIN_S + 5)
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # nobody of the group is left
        self._process.wait()

    def _ended_early(self) -> EngineUnavailable:
        status = self._process.returncode
        self.stop()
        tail = log_tail(self._log_file, self._log_start) if self._log_file else ""
        shown = f"\nlast lines of {self._log_file}:\n{last_lines(tail)}" if tail else ""
        return EngineUnavailable(
            f"vLLM's server for {self.name!r} ended with status {status} before it was ready{shown}",
            do=advice(tail, killed=status == -signal.SIGKILL),
        )


def _die_with_parent() -> None:
    """In the server, before it starts: ask the kernel to stop it when we die, however that happens (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _told(name: str, files: ModelFiles, extra: Sequence[str]) -> list[str]:
    """The name that tells what is served; none where flags of the user's decide that."""
    if any(flag.split("=")[0].replace("_", "-") in _OTHER_MODEL for flag in extra):
        return []
    return [announced_name(name, dtype=files.dtype, weights=files.weights)]
