"""`rlaif serve` before any server runs: what vLLM would be started with, and clear errors."""

import subprocess
import sys

import pytest

from rlaif.cli.main import run
from rlaif.engines.announcing import announced_name
from rlaif.engines.model_files import find_model
from rlaif.engines.vllm_server import VllmServer
from rlaif.errors import EngineUnavailable
from rlaif.settings import EngineSettings
from tests.tiny_llama import write_tiny_llama


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("rlaif.engines.vllm_server.require_vllm", lambda: None)
    made = write_tiny_llama(tmp_path / "my-judge", weights=False)
    (made / "model.safetensors").write_bytes(b"weights")
    return made


def stand_in(code):
    """Start this Python program instead of vLLM's server."""

    def popen(self, environ, output):
        command = [sys.executable, "-c", code]
        return subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)

    return popen


def test_it_serves_the_model_by_the_name_that_was_typed_with_what_was_added_last(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(VllmServer, "_popen", stand_in("import time; time.sleep(60)"))
    extra = ["--max-num-seqs", "7"]
    server = VllmServer(
        EngineSettings(), str(folder), host="0.0.0.0", port=8001, log_file=tmp_path / "log.txt", extra=extra
    )
    server.stop()
    assert server.base_url == "http://127.0.0.1:8001/v1"
    assert server.name == "my-judge"
    assert server.command[-2:] == extra
    assert "--shutdown-timeout" in server.command
    assert "--enable-prefix-caching" in server.command


def test_it_tells_precision_and_weights_by_a_second_name_unless_flags_of_the_user_decide_them(
    folder, monkeypatch, tmp_path
):
    monkeypatch.setattr(VllmServer, "_popen", stand_in("import time; time.sleep(60)"))

    def names(*extra, **options):
        settings = EngineSettings(**options)
        server = VllmServer(settings, str(folder), host="127.0.0.1", port=9, log_file=tmp_path / "l", extra=extra)
        server.stop()
        start = server.command.index("--served-model-name") + 1
        return server.command[start : server.command.index("--shutdown-timeout")]

    weights = find_model(str(folder), EngineSettings()).weights
    told = announced_name("my-judge", dtype="float16", weights=weights)
    assert names("--max-num-seqs", "7", dtype="float16") == ["my-judge", told]
    assert names("--dtype", "float32") == names("--quantization=fp8") == ["my-judge"]


def test_a_server_that_ends_before_it_is_ready_says_its_last_words(folder, monkeypatch, tmp_path):
    code = "import sys; print('OSError: [Errno 98] Address already in use'); sys.exit(3)"
    monkeypatch.setattr(VllmServer, "_popen", stand_in(code))
    log = tmp_path / "log.txt"
    server = VllmServer(EngineSettings(), str(folder), host="127.0.0.1", port=9, log_file=log)
    with pytest.raises(EngineUnavailable) as caught:
        server.wait_ready()
    assert "status 3" in str(caught.value)
    assert str(log) in str(caught.value)
    assert "choose another" in str(caught.value)


def test_a_model_that_is_not_there_is_an_error_of_the_user(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        run(["serve", "./nowhere"])
    assert caught.value.code == 2
    assert "neither a folder" in capsys.readouterr().err
