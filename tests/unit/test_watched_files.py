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


def test_a_file_that_is_gone_for_a_moment_is_not_news_until_it_is_back(file):
    """Between an editor's two steps a file is gone or empty: nothing to report, and nothing to give a round up for."""
    files = watching(file)
    file.unlink()
    time.sleep(0.005)
    assert not files.is_newer()
    back = threading.Timer(0.1, in_place, [file])
    back.start()
    files.wait()
    assert not back.is_alive()
    assert file.read_text() == "second"


def test_a_file_that_stays_away_is_news_after_a_while(file, monkeypatch):
    monkeypatch.setattr(watched_files, "PATIENCE_S", 0.05)
    files = watching(file)
    file.unlink()
    begun = time.monotonic()
    files.wait()
    assert time.monotonic() - begun >= 0.05


def test_a_save_is_waited_for_until_the_file_is_at_rest(file):
    """An editor that writes bit by bit is read when it is done; the time counts from its first byte."""
    files = WatchedFiles(lambda: [file], poll_s=0.05)
    texts = [f"second {n}" for n in range(8)]

    def write_slowly():
        for text in texts:
            file.write_text(text)
            time.sleep(0.02)

    writer = threading.Thread(target=write_slowly)
    begun = time.monotonic()
    writer.start()
    seen = files.wait()
    assert file.read_text() == texts[-1]
    assert seen - begun < 0.15
    writer.join()


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
    waiting.join(5)
    assert not waiting.is_alive()
