"""`--push-to-hub` against a hub of our own on loopback, which speaks the hub library's own requests."""

import base64
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from rlaif.errors import EngineUnavailable, StoreError
from rlaif.train.hub import make_repository, push

pytest.importorskip("huggingface_hub")


class FakeHub(BaseHTTPRequestHandler):
    """Takes a repository and one commit with whole files in it; `refuses` names the call it answers with 403."""

    made: ClassVar[dict] = {}
    files: ClassVar[dict] = {}
    refuses = ""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.refuses and self.refuses in self.path:
            return self.answer({"error": "no right to write here"}, 403)
        if self.path == "/api/repos/create":
            self.made.update(json.loads(body))
            return self.answer({"url": f"{self.here}/org/model"})
        if self.path.endswith("/preupload/main"):
            asked = json.loads(body)["files"]
            return self.answer(
                {"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in asked]}
            )
        if "/commit/main" in self.path:
            for line in body.splitlines():
                said = json.loads(line)
                if said["key"] == "file":
                    self.files[said["value"]["path"]] = base64.b64decode(said["value"]["content"])
            return self.answer({"commitUrl": f"{self.here}/org/model/commit/abc", "commitOid": "a" * 40})
        return self.answer({})

    def do_GET(self):
        if self.refuses == "create":  # the library looks whether the repository is there already
            return self.answer({"error": "there is none"}, 404)
        return self.answer({"id": "org/model", "sha": "a" * 40, "siblings": []})

    @property
    def here(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, said, status=200):
        text = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    FakeHub.made, FakeHub.files, FakeHub.refuses = {}, {}, ""
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # the tests' own setting; this is loopback
    monkeypatch.setenv("HF_TOKEN", "hf_made_up")
    yield FakeHub
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path):
    for name in ("config.json", "README.md", "training/checkpoint-1.pt", "training/settings.yaml", "adapter/a.bin"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"what {name} holds")
    return tmp_path


def test_the_folder_goes_up_without_checkpoints_and_local_paths(hub, folder):
    make_repository("org/model", is_private=True)
    assert (hub.made["name"], hub.made["organization"]) == ("model", "org")
    assert hub.made.get("private") or hub.made.get("visibility") == "private"  # by the library's version
    assert push(folder, "org/model").endswith("/org/model/commit/abc")
    assert hub.files == {name: f"what {name} holds".encode() for name in ("config.json", "README.md", "adapter/a.bin")}


def test_a_hub_that_refuses_is_one_clear_error_before_and_after_the_training(hub, folder):
    hub.refuses = "create"
    with pytest.raises(EngineUnavailable, match=r"'org/model' cannot be made: .*403"):
        make_repository("org/model", is_private=True)
    hub.refuses = "commit"
    with pytest.raises(StoreError, match=r"the model is saved, but the hub did not take it: .*403"):
        push(folder, "org/model")
    with pytest.raises(EngineUnavailable, match="cannot be made"):
        make_repository("no/such/name", is_private=True)


def test_a_hub_that_cannot_be_reached_is_one_clear_error_too(folder, monkeypatch):
    with socket.socket() as closed:  # bound, and nobody listens
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        with pytest.raises(EngineUnavailable, match=r"'org/model' cannot be made: .*refused.*\nCheck the network"):
            make_repository("org/model", is_private=True)
