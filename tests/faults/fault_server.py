"""A small OpenAI-compatible server on loopback that misbehaves as told: what the HTTP engine's tests talk to."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.ports import free_port

Behave = Callable[[int, dict[str, Any]], Any]
"""(number of this chat request, its body) -> a dict: the reply; an int: a status; a word: what `_act` does."""


def verdict(body: dict[str, Any], *, named: dict[str, float] | None = None) -> dict[str, Any]:
    """A chat reply whose first token names A and B, as OpenAI's servers give them."""
    top = [{"token": token, "logprob": value} for token, value in (named or {"A": -0.2, " A": -3.0, "B": -2.5}).items()]
    content = [{"token": "A", "logprob": -0.2, "top_logprobs": top}]
    choice = {
        "message": {"role": "assistant", "content": f"answer to {body['messages'][-1]['content']}"},
        "finish_reason": "stop",
        "logprobs": {"content": content} if body.get("logprobs") else None,
    }
    return {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 1}}


@dataclass
class FaultServer:
    behave: Behave
    models: tuple[str, ...] = ("judge",)
    root: str | None = None
    seen: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    max_in_flight: int = 0
    url: str = ""
    is_dead: bool = False

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._in_flight = 0
        self._port = free_port()
        self._is_over = threading.Event()
        self.begin()

    def begin(self) -> None:
        """Listen; after `stop` on the same port as before."""
        self._http = _Server(("127.0.0.1", self._port), _handler(self))
        self.url, self.is_dead = f"http://127.0.0.1:{self._port}/v1", False
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        """Die: nobody listens any more, and connections that were open are cut at their next request."""
        self.is_dead = True
        self._is_over.set()
        self._http.shutdown()
        self._http.server_close()

    def enter(self, body: dict[str, Any], headers: dict[str, str]) -> int:
        with self._lock:
            self.seen.append(body)
            self.headers.append(headers)
            self.times.append(time.monotonic())
            self._in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self._in_flight)
            return len(self.seen) - 1

    def leave(self) -> None:
        """To be called before the reply goes out: whoever has it may ask the next at once."""
        with self._lock:
            self._in_flight -= 1

    def stall(self) -> None:
        """Say nothing until the server's end."""
        self._is_over.wait(60)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # of five, a client's sixth connection at once waits for a second


@contextmanager
def fault_server(behave: Behave, **options: Any) -> Iterator[FaultServer]:
    server = FaultServer(behave, **options)
    try:
        yield server
    finally:
        server.stop()


def _handler(server: FaultServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            if self.path == "/v1/models":
                data = [{"id": name, "root": server.root, "max_model_len": 4096} for name in server.models]
                self._reply(200, {"data": data})
            else:
                self._reply(404, {"error": {"message": "no such page"}})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            number = server.enter(body, dict(self.headers))
            try:
                said = "cut" if server.is_dead else server.behave(number, body)
            finally:
                server.leave()
            self._act(said)

        def _act(self, said: Any) -> None:
            if isinstance(said, dict):
                self._reply(200, said)
            elif isinstance(said, int):
                self._reply(said, {"error": {"message": f"told to say {said}"}})
            elif isinstance(said, tuple):
                status, message, headers = said
                self._reply(status, {"error": {"message": message}}, headers)
            elif said == "nonsense":
                self._raw(200, b"<html>certainly not JSON</html>")
            elif said == "half":
                self.send_response(200)
                self.send_header("content-length", "1000")
                self.end_headers()
                self.wfile.write(b'{"choices": [')
                self._cut()
            elif said == "cut":
                self._cut()
            elif said == "stall":
                server.stall()
                self._cut()

        def _cut(self) -> None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def _reply(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
            self._raw(status, json.dumps(value).encode(), headers)

        def _raw(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler
