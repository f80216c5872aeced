"""A process that has imported what its workers need and started no thread: it forks one worker per job, at once.

The test's side is `Nursery`; the process's side is `tend`, called by a module that holds the jobs. Two hundred workers
that are to be killed would otherwise each spend seconds on imports first.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PR_SET_PDEATHSIG = 1


class Nursery:
    """Starts workers, watches and kills them. `module` holds the jobs and calls `tend`; `prefix` is a command that runs
    it, in a namespace for example."""

    def __init__(self, module, prefix=()):
        environ = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            cwd=ROOT,
            env=environ,
        )

    def start(self, job, **arguments):
        """A new worker's process id."""
        return self._say({"job": job, "arguments": arguments})

    def wait(self, worker):
        """Its exit code when it has ended, negative for a signal."""
        return self._say({"wait": worker})

    def kill(self, worker):
        """Kill it, and see it gone."""
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
        return self.wait(worker)

    def is_alive(self, worker):
        try:
            return Path(f"/proc/{worker}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return False

    def processor_seconds(self, worker):
        """What it has used so far: its own clock, which does not run faster where others are busy."""
        with suppress(OSError):
            return time.clock_gettime((~worker << 3) | 2)
        return float("inf")

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def _say(self, words):
        self.process.stdin.write(json.dumps(words) + "\n")
        return int(self.process.stdout.readline())


def tend(jobs):
    """Fork a worker for each line until there are no more."""
    for line in sys.stdin:
        words = json.loads(line)
        if "wait" in words:
            print(os.waitstatus_to_exitcode(os.waitpid(words["wait"], 0)[1]), flush=True)
            continue
        worker = os.fork()
        if not worker:
            _work(jobs[words["job"]], words["arguments"])
        print(worker, flush=True)


def _work(job, arguments):
    """Do it and end, without what a process does at its end: the nursery's buffers are not ours to flush. A worker does
    not outlive its nursery."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        os._exit(int(job(**arguments) or 0))
    except BaseException:
        os.write(2, traceback.format_exc().encode())
        os._exit(99)
