"""What is killed in `test_run_kills.py`: drivers (`rlaif generate`) and HTTP servers, forked by a nursery.

python -m tests.faults.workers        (started by nursery.py)
"""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.faults.ledger import Ledger
from tests.faults.made_up import logprobs_of, name_of, text_of, tokens_of
from tests.faults.nursery import tend


def generate(folder, seed, patience_s=1.0, max_file_bytes=None, temporary=None, die_at=None):
    """`rlaif generate` in a project's folder. Notes in its ledger what it asked and kept, and how often it changed a
    file's name or opened one to write; it dies right before such a change when its number is `die_at`."""
    import logging

    from rlaif.engines import http_dispatch, http_engine, scripted, vllm_engine

    os.chdir(folder)
    os.environ |= {
        "LEDGER": f"{folder}/ledger",
        "TMPDIR": temporary or f"{folder}/tmp",
        "XDG_CACHE_HOME": f"{folder}/cache",
    }
    out = os.open(f"{folder}/said.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(out, 1)
    os.dup2(out, 2)
    if max_file_bytes is not None:
        return limited(max_file_bytes, out)
    ledger, chance = Ledger(f"{folder}/ledger", "driver"), random.Random(seed)
    for engine in (scripted.ScriptedEngine, vllm_engine.VllmEngine, http_engine.HttpEngine):
        engine.complete = watched(engine.complete, ledger, chance)
    vllm_engine.VllmEngine.child_module = "tests.faults.fake_child"
    vllm_engine.require_vllm = lambda: None
    vllm_engine._REST_S = 0.0
    http_dispatch.BACKOFF_S = (0.01, 0.02)
    http_engine.PATIENCE_S = patience_s
    logging.lastResort.setLevel(logging.WARNING)
    changes = count_changes(f"{folder}/outputs", die_at)
    code = command_line("generate", "--yes")
    ledger.note("changed", changes[0])
    return code


def count_changes(folder, die_at):
    """A counter of this process's changes to names in a folder, as Python sees them."""
    count = [0]

    def see(event, arguments):
        is_change = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
        if event == "open":  # (path, mode, flags)
            is_change = isinstance(arguments[2], int) and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if is_change and str(arguments[0]).startswith(folder):
            count[0] += 1
            if count[0] == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(see)
    return count


def command_line(*arguments):
    from rlaif.cli import main

    try:
        main.run(arguments)
    except SystemExit as ended:
        return ended.code
    return 0


def limited(size, out):
    """The same while no file may become larger than this; what it says reaches its file through a process that may."""
    read, write = os.pipe()
    pump = os.fork()
    if not pump:
        os.close(write)
        while found := os.read(read, 65_536):
            os.write(out, found)
        os._exit(0)
    for stream in (1, 2):
        os.dup2(write, stream)
    os.close(write)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    code = command_line("generate", "--yes")
    for stream in (1, 2):
        os.close(stream)
    os.waitpid(pump, 0)
    return code


def command(arguments):
    return subprocess.run(arguments, check=False).returncode


def watched(complete, ledger, chance):
    """An engine's `complete` that notes what is handed to it and what has been dealt with, and takes its time."""

    def complete_and_note(self, requests):
        names = {}
        # Two judges may be asked the same. Who answers for other engines does not know the model's name.
        model = [("model", self.model)] if type(self).__name__ == "ScriptedEngine" else []

        def noted():
            for request in requests:
                asked = [*model, *((one.role, one.content) for one in request.messages)]
                names[request.id] = name_of(asked, request.sampling.seed)
                ledger.note("asked", names[request.id])
                yield request

        for answer in complete(self, noted()):
            time.sleep(0.0005 * chance.random())
            yield answer
            ledger.note("kept", names[answer.request_id])  # whoever asks for the next has done with this one

    return complete_and_note


def serve(folder, port, seed):
    """An OpenAI-compatible server with two models that do not exist."""
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer.request_queue_size = 128
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.handle_error = lambda *_: None  # a driver that is gone
    server.ledger, server.chance = Ledger(f"{folder}/ledger", "server"), random.Random(seed)
    server.serve_forever()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path != "/v1/models":
            return self.reply(404, {"error": {"message": "no such page"}})
        return self.reply(200, {"data": [{"id": name, "max_model_len": 4096} for name in ("policy", "judge")]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked = name_of([(one["role"], one["content"]) for one in body["messages"]], body.get("seed"))
        self.server.ledger.note("got", asked)
        time.sleep(0.008 * self.server.chance.random())
        self.reply(200, answer(body))
        self.server.ledger.note("gave", asked)

    def reply(self, status, value):
        content = json.dumps(value).encode()
        head = f"HTTP/1.1 {status} so\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        self.wfile.write(head.encode() + content)


def answer(body):
    messages = [(one["role"], one["content"]) for one in body["messages"]]
    choice = {"message": {"role": "assistant", "content": ""}, "finish_reason": "stop", "logprobs": None}
    if body.get("logprobs"):
        named = zip("AB", logprobs_of(body["model"], messages), strict=True)
        top = [{"token": token, "logprob": value} for token, value in named]
        choice["logprobs"] = {"content": [{"token": "A", "top_logprobs": top}]}
    else:
        choice["message"]["content"] = text_of(body["model"], messages, body.get("seed"))
    usage = {"prompt_tokens": tokens_of(messages), "completion_tokens": len(choice["message"]["content"].split()) or 1}
    return {"choices": [choice], "usage": usage}


def warm_up():
    """Import whatever a run does, so that no worker has to; and nothing that starts a thread."""
    import duckdb  # noqa: F401
    import pyarrow
    import rich.progress  # noqa: F401

    import rlaif.cli.generate
    import rlaif.cli.progress
    import rlaif.cli.run_view
    import rlaif.cli.show
    import rlaif.engines.http_engine
    import rlaif.engines.vllm_engine
    import rlaif.feedback.rates
    import rlaif.feedback.run  # noqa: F401

    pyarrow.array([{"of": "anything"}])  # the first array ever looks for pandas, which takes a second to load


if __name__ == "__main__":
    warm_up()
    tend({"generate": generate, "serve": serve, "command": command})
