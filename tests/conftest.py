"""What holds for every test: no network, the same draws on every machine, and one engine at a time.

Tests marked `vllm` come first and, with the Makefile's flags, on one worker: two engines at once would starve each
other of cores. The other worker has all else; coming last, they would leave it idle for minutes.
"""

import os
import random
import signal
import sys
import zlib

import hypothesis
import pytest

from rlaif.cores import wait_without_spinning

wait_without_spinning()  # two workers share the cores
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that needs a hub fails at once instead of after its retries
# A shell that starts tests in the background has them ignore Ctrl-C, and their children with them.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same code has the same verdict on every machine: examples follow from the test itself, and no time is held against
# a machine that is busy. `make test-full` draws other examples each time, and so does --hypothesis-profile=others.
PATIENT = {"deadline": None, "database": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("same", derandomize=True, print_blob=True, **PATIENT)
hypothesis.settings.register_profile("others", derandomize=False, print_blob=True, **PATIENT)
hypothesis.settings.load_profile("others" if os.environ.get("RLAIF_FULL") else "same")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-golden", action="store_true", help="Write tests/golden's files anew.")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("vllm"):
            item.add_marker(pytest.mark.xdist_group("vllm"))
    items.sort(key=lambda item: item.get_closest_marker("vllm") is None)


def _seed(name: str) -> None:
    """Python's generator, and numpy's and torch's where they are loaded."""
    seed = zlib.crc32(name.encode())
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)


@pytest.fixture(autouse=True)
def _same_draws_every_time(request: pytest.FixtureRequest) -> None:
    """What a test draws without a seed of its own comes from its name: a failure is the same on every machine, whatever
    ran before."""
    _seed(request.node.nodeid)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef, request: pytest.FixtureRequest) -> None:
    """What several tests share comes from its own name, whichever of them runs first. It is made before a test's own
    fixtures, which are seeded after it."""
    if fixturedef.scope != "function":
        _seed(f"{fixturedef.baseid}::{fixturedef.argname}[{request.param_index}]")
