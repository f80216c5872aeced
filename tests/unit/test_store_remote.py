"""The store on an object store: fsspec's memory file system to write and read, a plain HTTP server to read."""

import functools
import http.server
import threading

import fsspec
import pytest

from rlaif.identity import digest
from rlaif.store import Store
from rlaif.store import store as module
from rlaif.store.gc import collect
from rlaif.store.keys import hex_of
from rlaif.store.upkeep import compact, stats, verify
from rlaif.store.wanted import write_wanted


def key(name):
    return digest(str(name))


def rows(first, last):
    return {key(n): {"logprob_a": -1.0 * n, "name": str(n)} for n in range(first, last)}


@pytest.fixture
def url():
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    return "memory://bucket/outputs/store"


def objects():
    return sorted(fsspec.filesystem("memory").store)


def fill(url, first, last):
    with Store(url) as store:
        for name, value in rows(first, last).items():
            store.append("judgments", name, value)


def test_results_are_shared_through_an_object_store(url):
    fill(url, 0, 50)
    fill(url, 40, 90)
    store = Store(url)
    assert store.read("judgments") == rows(0, 90)
    assert store.get("judgments", [key(3), key(300)]) == {key(3): rows(3, 4)[key(3)]}
    assert [hex_of(chunk) for chunk in store.missing("judgments", [key(3), key(300)])] == [[key(300)]]
    assert len(objects()) == 2
    assert all(name.startswith("/bucket/outputs/store/judgments/segments/") for name in objects())
    assert store.kinds() == ["judgments"]


def test_what_waits_in_memory_is_found_and_flushed_by_number_and_by_time(url, monkeypatch):
    store = Store(url)
    store.append("judgments", key(1), {})
    assert objects() == []
    assert store.get("judgments", [key(1)]) == {key(1): {}}
    assert len(objects()) == 1
    monkeypatch.setattr(module, "_BATCH_ROWS", 3)
    for n in range(2, 5):
        store.append("judgments", key(n), {})
    assert len(objects()) == 2
    monkeypatch.setattr(module, "_FLUSH_S", 0.0)
    store.append("judgments", key(5), {})
    assert len(objects()) == 3
    store.close(is_clean=False)  # an interrupted run flushes too
    assert len(Store(url).read("judgments")) == 5


def test_upkeep_of_an_object_store(url, tmp_path):
    for first in (0, 10, 20):
        fill(url, first, first + 10)
    with Store(url) as store:
        (merged,) = compact(store)
        assert (merged.before, merged.after) == (3, 1)
        assert store.read("judgments") == rows(0, 30)
        assert verify(store).rows == 30
        assert stats(store)[0].segments == 1
        write_wanted(tmp_path / "runs" / "one", {"judgments": list(rows(5, 10))})
        collect(store, [tmp_path])
    assert len(objects()) == 1
    assert Store(url).read("judgments") == rows(5, 10)


def test_a_damaged_object_is_announced_set_aside_and_redone(url):
    fill(url, 0, 10)
    files = fsspec.filesystem("memory")
    (name,) = objects()
    files.pipe_file(name, files.cat_file(name)[:-7])
    with Store(url) as store:
        assert store.read("judgments") == {}
        assert [str(one) for one in store.damage] == [f"memory:/{name}: the file does not fit its checksum"]
        store.append("judgments", key(1), {})
    assert [path.split("/")[-2] for path in objects()] == ["damaged", "damaged", "segments"]
    assert Store(url).read("judgments") == {key(1): {}}


def test_an_object_that_came_incomplete_is_fetched_again(url, monkeypatch):
    fill(url, 0, 10)
    files = fsspec.filesystem("memory")
    real = type(files).get_file

    def cut(self, name, path, **more):
        monkeypatch.undo()
        real(self, name, path, **more)
        with open(path, "r+b") as file:  # noqa: PTH123 - as fsspec has it
            file.truncate(100)

    monkeypatch.setattr(type(files), "get_file", cut)
    store = Store(url)
    assert store.read("judgments") == rows(0, 10)
    assert store.damage == []


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def test_a_store_behind_http_is_read(tmp_path):
    pytest.importorskip("aiohttp")
    with Store(tmp_path / "store") as store:
        store.append_many("judgments", rows(0, 5000).items())
    living = Store(tmp_path / "store")
    living.append("judgments", key("in a journal"), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with Store(f"http://127.0.0.1:{server.server_address[1]}/store") as store:
            assert store.get("judgments", rows(7, 9)) == rows(7, 9)
            assert len(store.read("judgments")) == 5001
            living.append("judgments", key("later"), {})
            assert store.get("judgments", [key("in a journal"), key("later")]).keys() == {
                key("in a journal"),
                key("later"),
            }
            assert [hex_of(chunk) for chunk in store.missing("judgments", [key(1), key(5000)])] == [[key(5000)]]
            assert store.read("responses") == {}
            assert store.damage == []
            (journal,) = (tmp_path / "store/judgments/journals").iterdir()
            with journal.open("ab") as file:
                file.write(b"01234567 {half a li")  # the writer is at it
            assert len(store.read("judgments")) == 5002
            assert verify(store).damage == store.damage == []
    finally:
        server.shutdown()
        server.server_close()
