"""What the vLLM engine makes of its child's life and death, with a child that dies as told instead of vLLM."""

import os
import time

import pytest

from rlaif.engines.base import Request, Sampling
from rlaif.engines.vllm_engine import VllmEngine
from rlaif.errors import EngineCrashed, EngineUnavailable
from rlaif.records import Message
from rlaif.settings import EngineSettings
from tests.tiny_llama import write_tiny_llama


class FakeEngine(VllmEngine):
    child_module = "tests.faults.fake_child"


@pytest.fixture
def opened(tmp_path, monkeypatch):
    monkeypatch.setattr("rlaif.engines.vllm_engine.require_vllm", lambda: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def open_(how):
        folder = write_tiny_llama(tmp_path / how, weights=False)
        (folder / "model.safetensors").write_bytes(b"weights")
        return FakeEngine(EngineSettings(), str(folder), log_file=tmp_path / "logs" / "log.txt")

    return open_


def ask(count):
    for n in range(count):
        yield Request(id=f"r{n}", messages=(Message("user", "hi"),), sampling=Sampling(max_tokens=1))


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_request_is_answered_once_over_several_turns_and_closing_ends_the_child(opened):
    with opened("well") as engine:
        for count in (0, 1, 50):
            assert [answer.request_id for answer in engine.complete(ask(count))] == [f"r{n}" for n in range(count)]
        assert engine.max_model_len == 100
        assert engine.counters().computed_tokens == 4
        pid = engine.pid
    assert not is_running(pid)
    engine.close()
    with pytest.raises(EngineCrashed, match="closed"):
        next(engine.complete(ask(1)))


def test_requests_are_taken_only_as_fast_as_they_are_answered(opened):
    taken = 0

    def source():
        nonlocal taken
        for request in ask(10**6):
            taken += 1
            yield request

    with opened("well") as engine:
        stream = engine.complete(source())
        for _ in range(20):
            next(stream)
        assert taken <= 20 + 8  # what was answered, and the child's window


def test_a_turn_that_is_given_up_does_not_leak_into_the_next(opened):
    with opened("well") as engine:
        stream = engine.complete(ask(100))
        next(stream)
        stream.close()
        assert [answer.request_id for answer in engine.complete(ask(3))] == ["r0", "r1", "r2"]


def test_counters_may_be_asked_for_in_the_middle_of_a_turn(opened):
    with opened("well") as engine:
        stream = engine.complete(ask(30))
        got = [next(stream)]
        assert engine.counters().prompt_tokens == 9
        got += stream
    assert len({answer.request_id for answer in got}) == 30


def test_a_killed_child_is_a_crash_with_the_log_and_what_it_had_answered_is_given(opened):
    with opened("killed") as engine:
        stream = engine.complete(ask(100))
        got = [next(stream).request_id for _ in range(5)]
        with pytest.raises(EngineCrashed) as caught:
            next(stream)
    assert got == [f"r{n}" for n in range(5)]
    words = str(caught.value)
    assert "signal 9" in words
    assert "log.txt" in words
    assert "loading for killed" in words
    assert "out-of-memory killer" in words


def test_no_memory_while_loading_says_what_to_lower(opened):
    with opened("memory") as engine, pytest.raises(EngineUnavailable) as caught:
        list(engine.complete(ask(1)))
    assert "could not load the model" in str(caught.value)
    assert "engine.gpu_memory_utilization" in str(caught.value)


def test_what_the_child_says_last_is_in_the_error(opened):
    with opened("fatal") as engine, pytest.raises(EngineUnavailable, match="no such architecture"):
        list(engine.complete(ask(1)))


def test_a_child_that_does_not_listen_is_ended_all_the_same(opened, monkeypatch):
    monkeypatch.setattr("rlaif.engines.vllm_engine._FAREWELL_S", 0.3)
    engine = opened("deaf")
    list(engine.complete(ask(1)))
    begun = time.monotonic()
    engine.close()
    assert time.monotonic() - begun < 5
    assert not is_running(engine.pid)
