"""Saves are seen however an editor makes them, and only when a file says something else."""

import os
import threading
import time

import pytest

from rlaif.feedback import watched_files
from rlaif.feedback.watched_files import WatchedFiles


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "constitution.yaml"
    path.write_text("first")
    return path


class Clock:
    """Stands in for the module `time`: it goes on only while somebody sleeps, and what was planned happens then."""

    def __init__(self):
        self.now, self.plans = 100.0, []

    def monotonic(self):
        return self.now

    def plan(self, after_s, act):
        self.plans = sorted([*self.plans, (self.now + after_s, act)], key=lambda plan: plan[0])

    def sleep(self, seconds):
        until = self.now + seconds
        while self.plans and self.plans[0][0] <= until:
            self.now, act = self.plans.pop(0)
            act()
        self.now = until


@pytest.fixture
def clock(monkeypatch):
    stand_in = Clock()
    monkeypatch.setattr(watched_files, "time", stand_in)
    return stand_in


def watching(*paths):
    return WatchedFiles(lambda: paths, poll_s=0.002)


def in_place(path):
    path.write_text("second")


def renamed_over(path):
    beside = path.with_name("beside")
    beside.write_text("second")
    beside.replace(path)


def with_backup(path):
    path.rename(path.with_name("backup~"))
    path.write_text("second")


def deleted_and_made(path):
    path.unlink()
    path.write_text("second")


def same_size_and_time(path):
    before = path.stat()
    path.write_text("FIRST")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def link_turned(path):
    other = path.with_name("other")
    other.write_text("second")
    path.unlink()
    path.symlink_to(other)


WAYS = (in_place, renamed_over, with_backup, deleted_and_made, same_size_and_time, link_turned)


@pytest.mark.parametrize("save", WAYS, ids=lambda way: way.__name__)
def test_every_way_of_saving_is_seen(file, save):
    files, begun = watching(file), time.monotonic()
    save(file)
    time.sleep(0.005)
    assert files.is_newer()
    assert begun < files.wait() < time.monotonic()
    files.take()
    time.sleep(0.005)
    assert not files.is_newer()


def test_a_touched_file_and_one_written_with_the_same_text_are_not_new(file):
    files = watching(file)
    os.utime(file, (0, 0))
    file.write_text("first")
    time.sleep(0.005)
    assert not files.is_newer()


@pytest.mark.parametrize("away_s", [0.1, 0.9])
def test_a_file_that_is_gone_for_a_moment_is_not_news_until_it_is_back(file, clock, away_s):
    """Between an editor's two steps a file is gone or empty: nothing to report, and nothing to give a round up for."""
    files = watching(file)
    file.unlink()
    clock.sleep(0.005)
    assert not files.is_newer()
    clock.plan(away_s, lambda: in_place(file))
    files.wait()
    assert file.read_text() == "second"


def test_a_file_that_stays_away_is_news_after_a_while(file, clock):
    files, begun = watching(file), clock.now
    file.unlink()
    assert files.wait() == begun
    assert clock.now - begun == pytest.approx(watched_files.PATIENCE_S, abs=0.005)


def test_a_save_is_waited_for_until_the_file_is_at_rest(file, clock):
    """An editor that writes bit by bit is read when it is done; the time counts from its first byte."""
    files, begun = WatchedFiles(lambda: [file], poll_s=0.05), clock.now
    for n in range(8):
        clock.plan(0.07 + 0.02 * n, lambda n=n: file.write_text(f"second {n}"))
    seen = files.wait()
    assert file.read_text() == "second 7"
    assert seen - begun == pytest.approx(0.1)  # the first look after the first byte
    assert clock.now - begun == pytest.approx(0.3)  # the second look that finds the last


def test_a_file_that_was_missing_and_comes_is_seen(file, tmp_path):
    files = watching(file, tmp_path / "parent.yaml")
    assert files.paths == (file, tmp_path / "parent.yaml")
    (tmp_path / "parent.yaml").write_text("here")
    files.wait()


def test_a_save_that_is_put_back_before_it_is_at_rest_is_none(file):
    files = watching(file)
    file.write_text("second")
    time.sleep(0.005)
    assert files.is_newer()
    files.take()
    file.write_text("third")
    file.write_text("second")
    waiting = threading.Thread(target=files.wait, daemon=True)
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    file.write_text("last")
    waiting.join(60)
    assert not waiting.is_alive()
