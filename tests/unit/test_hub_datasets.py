"""Datasets by their name on the hub: a hub that knows nothing, one that is not there, what an earlier load kept."""

import http.server
import json
import shutil
import threading
from pathlib import Path

import datasets
import pytest

from rlaif.errors import DataError
from rlaif.hub_datasets import load_dataset

ASKED = {"split": "train", "config": None, "formats": (".jsonl",)}


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers every question about a dataset with no, and counts them."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        body = json.dumps({"error": "Repository not found"}).encode()
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def reachable(monkeypatch):
    """The tests' own setting is HF_HUB_OFFLINE."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)


@pytest.fixture
def hub(monkeypatch, reachable):
    kind = type("ThisHub", (Hub,), {"asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield kind
    server.shutdown()
    server.server_close()


@pytest.fixture
def nobody(monkeypatch, reachable):
    """A hub's address where no hub is."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")


def test_a_name_the_hub_does_not_know_is_asked_for_once(hub):
    with pytest.raises(DataError, match=r"some-org/some-set: .*on the hub no such dataset") as caught:
        load_dataset("some-org/some-set", **ASKED)
    assert "hf auth login" in str(caught.value)
    assert hub.asked == ["/api/datasets/some-org/some-set"]


def test_a_hub_that_is_not_there_is_one_error_without_further_attempts(nobody, capfd):
    with pytest.raises(DataError, match=r"some-org/some-set: .*the hub cannot be reached: .*[Rr]efused") as caught:
        load_dataset("some-org/some-set", **ASKED)
    assert "a file ends in .jsonl" in str(caught.value)
    assert "Retrying" not in "".join(capfd.readouterr())


def test_what_an_earlier_load_kept_is_read_where_the_hub_is_not_there(nobody, monkeypatch, tmp_path):
    kept = tmp_path / "kept"
    (tmp_path / "train.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    datasets.load_dataset("json", data_files=str(tmp_path / "train.jsonl"), split="train", cache_dir=str(kept))
    (loaded,) = [file.parent for file in Path(kept).glob("json/*/*/*/dataset_info.json")]
    shutil.copytree(loaded, kept / "some-org___some-set" / "default" / "0.0.0" / "1234")
    for file in kept.glob("some-org___some-set/*/*/*/json-train.arrow"):
        file.rename(file.with_name("some-set-train.arrow"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(kept))
    assert load_dataset("some-org/some-set", **ASKED)["prompt"][:] == ["a", "b"]
    assert not datasets.config.HF_HUB_OFFLINE


def test_where_nobody_may_ask_the_hub_the_message_says_so():
    with pytest.raises(DataError, match="the hub is not asked, because HF_HUB_OFFLINE is set"):
        load_dataset("some-org/some-set", **ASKED)


def test_a_name_that_no_dataset_can_have_is_not_blamed_on_the_network(hub):
    with pytest.raises(DataError, match=r"some--org\.\.: the dataset cannot be loaded") as caught:
        load_dataset("some--org..", **ASKED)
    assert "reached" not in str(caught.value)
