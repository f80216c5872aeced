"""What holds for every test: no network, and one engine at a time.

Tests marked `vllm` come first and, with the Makefile's flags, on one worker: two engines at once would starve each
other of cores. The other worker has all else; coming last, they would leave it idle for minutes.
"""

import os
import random
import signal
import sys
import zlib

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that needs a hub fails at once instead of after its retries
# A shell that starts tests in the background has them ignore Ctrl-C, and their children with them.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-golden", action="store_true", help="Write tests/golden's files anew.")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("vllm"):
            item.add_marker(pytest.mark.xdist_group("vllm"))
    items.sort(key=lambda item: item.get_closest_marker("vllm") is None)


@pytest.fixture(autouse=True)
def _same_draws_every_time(request: pytest.FixtureRequest) -> None:
    """What a test draws without a seed of its own comes from its name: a failure is the same on every machine, whatever
    ran before. numpy's and torch's generators only where they are loaded already."""
    seed = zlib.crc32(request.node.nodeid.encode())
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)
