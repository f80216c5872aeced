"""What the vLLM engine makes of its child's life and death, with a child that dies as told instead of vLLM."""

import os
import signal
import time
from collections import Counter

import pytest

from rlaif.engines.base import Failure, Request, Sampling
from rlaif.engines.vllm_engine import VllmEngine
from rlaif.errors import EngineCrashed, EngineUnavailable
from rlaif.records import Message
from rlaif.settings import EngineSettings
from tests.faults.fake_child import WINDOW
from tests.faults.ledger import check_asked_twice, events, left_open
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


@pytest.fixture(autouse=True)
def _without_rest(monkeypatch):
    monkeypatch.setattr("rlaif.engines.vllm_engine._REST_S", 0.0)


def request(name, text=None):
    return Request(id=name, messages=(Message("user", text or name),), sampling=Sampling(max_tokens=1))


def ask(count, start=0):
    for n in range(start, start + count):
        yield request(f"r{n}")


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_request_is_answered_once_over_several_turns_and_closing_ends_the_child(opened):
    with opened("well") as engine:
        for count in (0, 1, 50):
            got = Counter(answer.request_id for answer in engine.complete(ask(count)))
            assert got == Counter(f"r{n}" for n in range(count))
        assert engine.max_model_len == 4096
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
        assert {answer.request_id for answer in engine.complete(ask(3))} == {"r0", "r1", "r2"}


def test_counters_may_be_asked_for_in_the_middle_of_a_turn(opened):
    with opened("well") as engine:
        stream = engine.complete(ask(30))
        got = [next(stream)]
        assert engine.counters().prompt_tokens == 9
        got += stream
    assert len({answer.request_id for answer in got}) == 30


@pytest.mark.parametrize(
    ("how", "words"), [("killed", "killed by signal 9"), ("raises", "device-side assert triggered")]
)
def test_a_child_that_died_is_started_again_and_asked_only_what_had_no_answer(
    opened, tmp_path, monkeypatch, caplog, how, words
):
    monkeypatch.setenv("LEDGER", str(tmp_path / "ledger"))
    with opened(how) as engine:
        first = engine.pid
        got = [answer.request_id for answer in engine.complete(ask(23))]
        assert engine.pid != first
    assert sorted(got) == sorted(f"r{n}" for n in range(23))
    assert engine.num_restarts == 4  # a child gives five answers
    lines = events(tmp_path / "ledger")
    dead = left_open(lines, "child", "got", "gave")
    assert len(dead) == 5
    assert check_asked_twice(lines, "child", dead) <= 4 * WINDOW
    assert sum(event == "gave" for _, _, event, _ in lines) == len(got)
    assert words in caplog.text
    assert "log.txt" in caplog.text


def test_a_request_that_kills_every_child_is_given_up_alone(opened):
    """Two children die of it beside others, two alone; all the others are answered."""
    requests = [*ask(20), request("bad", "poison"), *ask(20, start=20)]
    with opened("poison") as engine:
        got = list(engine.complete(requests))
    failed = [answer for answer in got if isinstance(answer, Failure)]
    assert [(answer.request_id, answer.kind) for answer in failed] == [("bad", "failed")]
    assert "killed by signal 9" in failed[0].reason
    assert sorted(answer.request_id for answer in got) == sorted(one.id for one in requests)
    assert engine.num_restarts == 4


def test_children_that_die_without_an_answer_end_the_engine_with_the_log_and_what_to_do(opened):
    with opened("broken") as engine:
        with pytest.raises(EngineCrashed) as caught:
            list(engine.complete(ask(10)))
        assert engine.num_restarts == 4
        with pytest.raises(EngineCrashed, match="closed"):
            next(engine.complete(ask(1)))
    words = str(caught.value)
    assert "5 times in a row" in words
    assert "signal 9" in words
    assert "log.txt" in words
    assert "loading for broken" in words
    assert "out-of-memory killer" in words
    assert not is_running(engine.pid)


def test_a_child_that_dies_between_two_turns_is_replaced(opened):
    with opened("well") as engine:
        assert len(list(engine.complete(ask(3)))) == 3
        os.kill(engine.pid, signal.SIGKILL)
        assert len(list(engine.complete(ask(3)))) == 3
        assert engine.counters().prompt_tokens == 9


def test_counters_go_on_over_a_death(opened):
    with opened("well") as engine:
        list(engine.complete(ask(3)))
        assert engine.counters().prompt_tokens == 9
        os.kill(engine.pid, signal.SIGKILL)
        list(engine.complete(ask(3)))
        assert engine.counters().prompt_tokens == 18


def test_no_memory_while_loading_says_what_to_lower(opened):
    with opened("memory") as engine, pytest.raises(EngineUnavailable) as caught:
        list(engine.complete(ask(1)))
    assert "could not load the model" in str(caught.value)
    assert "engine.gpu_memory_utilization" in str(caught.value)


def test_what_the_child_says_last_is_in_the_error(opened):
    with opened("fatal") as engine, pytest.raises(EngineUnavailable, match="no such architecture"):
        list(engine.complete(ask(1)))


def test_a_child_that_does_not_listen_is_ended_all_the_same(opened, monkeypatch):
    monkeypatch.setattr("rlaif.engines.child_process.FAREWELL_S", 0.3)
    engine = opened("deaf")
    list(engine.complete(ask(1)))
    begun = time.monotonic()
    engine.close()
    assert time.monotonic() - begun < 30  # it would not have gone by itself for 60 s
    assert not is_running(engine.pid)
