"""Listening on this machine alone, and the secret part of each rater's address."""

import hashlib
import hmac
import socket

import uvicorn
from starlette.types import ASGIApp

from rlaif.errors import InputError

HOST = "127.0.0.1"
WAITING = 128  # connections that nobody has answered yet


def token_for(rater: str, secret: bytes) -> str:
    """The secret part of a rater's address: it cannot be guessed, and stays the same from one start to the next."""
    return hmac.new(secret, rater.encode(), hashlib.sha256).hexdigest()[:32]


def listen(port: int) -> socket.socket:
    """A socket on this machine's own address, which takes connections at once: whoever is told the address may come
    before the server is up, and waits. Port 0 takes any that is free."""
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # or a restart would have to wait for a minute
    try:
        one.bind((HOST, port))
        one.listen(WAITING)
    except OSError as failure:
        one.close()
        do = "Name another with --port; --port 0 takes any that is free."
        raise InputError(f"port {port} cannot be used: {failure.strerror}.", do=do) from failure
    return one


def serve(app: ASGIApp, listening: socket.socket) -> None:
    """Answer until Ctrl-C."""
    server_of(app).run(sockets=[listening])


def server_of(app: ASGIApp) -> uvicorn.Server:
    """No access log: it would hold the addresses."""
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=3,
    )
    return uvicorn.Server(config)
