"""`kill -9` of the driver, of the engine's child and of HTTP servers at random moments: nothing is lost.

After the run has been resumed its files and its store are those of an undisturbed run, byte by byte, and only what was
in flight at a kill was asked twice: whoever asks and whoever answers notes it in a ledger (`ledger.py`).

Kills come in chains: the same project is killed and resumed several times before it may end, and the next begins anew.
"""

import itertools
import os
import random
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass

import pytest

from tests.faults.fake_child import WINDOW
from tests.faults.kill_projects import TOURNAMENT, Project, write_models
from tests.faults.ledger import check_asked_twice
from tests.faults.nursery import Nursery
from tests.ports import free_port
from tests.scale import times

KILLED = -signal.SIGKILL
GIVEN_UP = 3  # the exit code of an engine that cannot go on
CHAIN = 5  # kills before a project may end, about


@pytest.fixture(scope="module")
def nursery():
    found = Nursery("tests.faults.workers")
    yield found
    found.close()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models"))


@dataclass
class Undisturbed:
    """What a run comes to that nobody disturbs."""

    files: dict[str, bytes]
    results: dict[str, dict[str, dict]]
    events: list[tuple[str, ...]]


def undisturbed(nursery, project):
    assert nursery.wait(nursery.start("generate", folder=project.place, seed=0)) == 0, project.said()
    return Undisturbed(project.files(), project.results(), project.events())


def check_same(project, expected):
    """Byte by byte, with nothing left over; and the store holds the same results."""
    files = project.files()
    assert files.keys() == expected.files.keys()
    assert [name for name in files if files[name] != expected.files[name]] == []
    assert project.results() == expected.results


def asked_in(events):
    """How many requests a driver handed to an engine."""
    return sum((who, event) == ("driver", "asked") for who, _, event, _ in events)


# --- the driver


def kill_driver(nursery, project, chance, seconds):
    """Start it and kill it at a moment of chance; None when it had ended before."""
    driver = nursery.start("generate", folder=project.place, seed=chance.random())
    if chance.random() < 0.5:
        moment = chance.uniform(0, seconds)
        while nursery.processor_seconds(driver) < moment and nursery.is_alive(driver):
            time.sleep(0.0005)
    else:
        size = project.ledger.stat().st_size if project.ledger.exists() else 0
        moment = size + chance.uniform(0, 20_000)
        while nursery.is_alive(driver) and (not project.ledger.exists() or project.ledger.stat().st_size < moment):
            time.sleep(0.0005)
    return driver, nursery.kill(driver)


def check_kills_of_the_driver(nursery, folder, times, seed, more=""):
    print(f"seed {seed}")
    chance = random.Random(seed)
    engine = {"kind": "scripted"}
    expected = undisturbed(nursery, Project(folder / "undisturbed", engine, more=more))
    num_calls, num_kills, num_again = asked_in(expected.events), 0, 0
    for number in itertools.count():
        project, dead, ended = Project(folder / f"project-{number}", engine, more=more), [], KILLED
        while ended == KILLED and num_kills + len(dead) < times and chance.random() > 1 / CHAIN:
            driver, ended = kill_driver(nursery, project, chance, seconds=0.3)
            assert ended in (0, KILLED), project.said()
            dead += [driver] if ended == KILLED else []
        if ended == KILLED:
            ended = nursery.wait(nursery.start("generate", folder=project.place, seed=0))
        assert ended == 0, project.said()
        check_same(project, expected)
        again = check_asked_twice(project.events(), "driver", dead)
        assert again <= len(dead)  # the scripted engine works on one request at a time
        assert asked_in(project.events()) == num_calls + again
        num_kills, num_again = num_kills + len(dead), num_again + again
        if num_kills == times:
            break
    if times >= 12:
        assert num_again > 0  # else no kill ever came while something was in flight
    print(f"{num_kills} kills, {num_again} requests asked twice")


def test_kills_of_the_driver(nursery, tmp_path):
    check_kills_of_the_driver(nursery, tmp_path, 12, seed=1)


def test_kills_of_a_driver_in_a_tournament_before_two_judges(nursery, tmp_path):
    check_kills_of_the_driver(nursery, tmp_path, 3, seed=31, more=TOURNAMENT)


@pytest.mark.slow
def test_many_kills_of_a_driver_in_a_tournament_before_two_judges(nursery, tmp_path):
    check_kills_of_the_driver(nursery, tmp_path, times(10, full=50), seed=32, more=TOURNAMENT)


@pytest.mark.slow
def test_many_kills_of_the_driver(nursery, tmp_path):
    check_kills_of_the_driver(nursery, tmp_path, times(50, full=200), seed=2)


def check_kills_before_changes(nursery, folder, seed, share):
    """The moments between two files that belong together are too short for chance to find: each is visited by number.

    Killed before one change, and before another one on resuming, in every place or in a share of them.
    """
    print(f"seed {seed}")
    chance = random.Random(seed)
    engine = {"kind": "scripted"}
    expected = undisturbed(nursery, Project(folder / "undisturbed", engine))
    (num_changes,) = [int(what) for _, _, event, what in expected.events if event == "changed"]
    assert num_changes > 40
    for number in sorted(chance.sample(range(1, num_changes + 1), int(share * num_changes))):
        project = Project(folder / f"before-{number}", engine)
        ended, dead = None, []
        for die_at in (number, chance.randint(1, num_changes), None):
            driver = nursery.start("generate", folder=project.place, seed=0, die_at=die_at)
            ended = nursery.wait(driver)
            assert ended in (0, KILLED), project.said()
            dead += [driver] if ended == KILLED else []
        assert ended == 0
        check_same(project, expected)
        assert check_asked_twice(project.events(), "driver", dead) <= len(dead)
    print(f"{num_changes} changes")


def test_kills_before_changes_of_files(nursery, tmp_path):
    check_kills_before_changes(nursery, tmp_path, seed=11, share=0.1)


@pytest.mark.slow
def test_kills_before_many_changes_of_files(nursery, tmp_path):
    check_kills_before_changes(nursery, tmp_path, seed=12, share=0.3)


# --- the engine's child


def alive(nursery, project, who, *, but=()):
    """The processes of this kind that the ledger knows and that live, the youngest last."""
    born = [int(process) for name, process, event, _ in project.events() if (name, event) == (who, "born")]
    return [process for process in born if process not in but and nursery.is_alive(process)]


def await_end(nursery, project, who, patience_s=60):
    """Whether all processes of this kind have ended, or do."""
    deadline = time.monotonic() + patience_s
    while alive(nursery, project, who) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not alive(nursery, project, who)


def await_child(nursery, project, driver, dead):
    """The engine's child of this driver, once it has one; None when the driver ends without another."""
    while nursery.is_alive(driver):
        if found := alive(nursery, project, "child", but=dead):
            return found[-1]
        time.sleep(0.002)
    return None


def await_events(nursery, project, process, number, driver, event=None):
    """Until this process has noted so many events (of one kind), or it or the driver has ended."""
    while nursery.is_alive(process) and nursery.is_alive(driver):
        if sum(one[1] == str(process) and event in (None, one[2]) for one in project.events()) >= number:
            return
        time.sleep(0.001)


def kill_children(nursery, project, chance, times, dead):
    """A driver's life in which up to so many of its children are killed, now and then with itself at last. What died is
    added to `dead`; returns how many children that were, and the driver's exit code.

    The first may die at any moment, the others after an answer at the least: a request that seems to kill its child
    whenever it is alone with it would be given up, and rightly so.
    """
    driver = nursery.start("generate", folder=project.place, seed=chance.random())
    num_kills, is_fatal = 0, chance.random() < 0.3
    while num_kills < times and (child := await_child(nursery, project, driver, dead)) is not None:
        if num_kills:
            await_events(nursery, project, child, 1, driver, "gave")
        await_events(nursery, project, child, chance.randint(1, 60), driver)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
            dead.append(child)
            num_kills += 1
    if is_fatal:
        time.sleep(chance.uniform(0, 0.2))
    ended = nursery.kill(driver) if is_fatal else nursery.wait(driver)
    dead += [driver] if ended != 0 else []
    return num_kills, ended


def check_kills_of_the_child(nursery, folder, models, times, seed):
    print(f"seed {seed}")
    chance = random.Random(seed)
    engine = {"kind": "vllm"}
    expected = undisturbed(nursery, Project(folder / "undisturbed", engine, models))
    num_kills = num_again = 0
    for number in itertools.count():
        project, dead, ended = Project(folder / f"project-{number}", engine, models), [], KILLED
        while ended != 0:
            killed, ended = kill_children(nursery, project, chance, min(2 * CHAIN, times - num_kills), dead)
            assert ended in (0, KILLED, GIVEN_UP), project.said()
            num_kills += killed
        check_same(project, expected)
        check_asked_twice(project.events(), "driver", dead)
        again = check_asked_twice(project.events(), "child", dead)
        assert again <= WINDOW * len(dead)
        assert await_end(nursery, project, "child")  # a child does not outlive its driver for long
        num_again += again
        if num_kills == times:
            break
    assert num_again > 0
    print(f"{num_kills} kills, {num_again} requests asked twice")


def test_kills_of_the_engines_child(nursery, tmp_path, models):
    check_kills_of_the_child(nursery, tmp_path, models, 12, seed=3)


@pytest.mark.slow
def test_many_kills_of_the_engines_child(nursery, tmp_path, models):
    check_kills_of_the_child(nursery, tmp_path, models, times(50, full=200), seed=4)


# --- HTTP servers


class Servers:
    """Servers on fixed ports that note in one project's ledger."""

    def __init__(self, nursery, ports, project, chance):
        self.nursery, self.project, self.chance = nursery, project, chance
        self.running = {port: self._start(port) for port in ports}
        self.dead = []

    def _start(self, port):
        return self.nursery.start("serve", folder=self.project.place, port=port, seed=self.chance.random())

    def kill(self, port):
        self.dead.append(self.running[port])
        self.nursery.kill(self.running.pop(port))

    def start(self, *ports):
        self.running |= {port: self._start(port) for port in ports if port not in self.running}

    def await_listening(self):
        for port, process in self.running.items():
            while True:
                assert self.nursery.is_alive(process)
                with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.001)

    def stop(self):
        for port in list(self.running):
            self.kill(port)


def kill_servers(nursery, servers, project, chance, times):
    """A driver's life in which servers are killed up to so many times. Most are started again a moment later, some are
    not, and where the last one stays away the driver gives up. Returns the number of kills and the exit code."""
    driver = nursery.start("generate", folder=project.place, seed=chance.random(), patience_s=0.5)
    num_kills = 0
    while num_kills < times and servers.running:
        port = chance.choice(sorted(servers.running))
        await_events(nursery, project, servers.running[port], chance.randint(1, 40), driver)
        if not nursery.is_alive(driver):
            break
        servers.kill(port)
        num_kills += 1
        if chance.random() < 0.85:
            time.sleep(chance.uniform(0, 0.05))
            servers.start(port)
    ended = nursery.wait(driver)
    servers.dead += [driver] if ended != 0 else []
    return num_kills, ended


def check_kills_of_servers(nursery, folder, times, seed):
    print(f"seed {seed}")
    chance = random.Random(seed)
    ports = [free_port(), free_port()]
    engines = [http_engine(ports[:1]), http_engine(ports)]
    expected = []
    for number, engine in enumerate(engines):
        project = Project(folder / f"undisturbed-{number}", engine)
        servers = Servers(nursery, ports, project, chance)
        servers.await_listening()
        expected.append(undisturbed(nursery, project))
        servers.stop()
    num_kills = num_again = 0
    for number in itertools.count():
        own, engine, wanted = ports[: 1 + number % 2], engines[number % 2], expected[number % 2]
        project, ended = Project(folder / f"project-{number}", engine), KILLED
        servers = Servers(nursery, own, project, chance)
        while ended != 0:
            servers.start(*own)
            servers.await_listening()
            killed, ended = kill_servers(nursery, servers, project, chance, min(2 * CHAIN, times - num_kills))
            assert ended in (0, GIVEN_UP), project.said()
            num_kills += killed
        check_same(project, wanted)
        check_asked_twice(project.events(), "driver", servers.dead)
        num_again += check_asked_twice(project.events(), "server", servers.dead)
        servers.stop()
        if num_kills == times:
            break
    assert num_again > 0
    print(f"{num_kills} kills, {num_again} requests asked twice")


def http_engine(ports):
    urls = [f"http://127.0.0.1:{port}/v1" for port in ports]
    return {"kind": "http", "base_urls": urls, "concurrency": 8, "retries": 50}


def test_kills_of_servers(nursery, tmp_path):
    check_kills_of_servers(nursery, tmp_path, 12, seed=5)


@pytest.mark.slow
def test_many_kills_of_servers(nursery, tmp_path):
    check_kills_of_servers(nursery, tmp_path, times(50, full=200), seed=6)
