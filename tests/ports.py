"""Ports for servers whose number must be known before they run, or that come back on the same one."""

import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FROM = 10_000


def free_port() -> int:
    """One that nobody listens on, from below those that the system gives to outgoing connections and to port 0: nobody
    else comes by it between this and the server's start."""
    below = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 32_768
    chance = random.SystemRandom()
    for _ in range(100 * (below > 2 * _FROM)):
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", chance.randrange(_FROM, below)))
            except OSError:
                continue
            return int(one.getsockname()[1])
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
