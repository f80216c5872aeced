"""Servers that die, stall, are busy, cut the connection or talk nonsense cost a try, not a run."""

import math
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from rlaif.engines import identify, open_engine
from rlaif.engines.base import Completion, Engine, Failure, Request, Sampling
from rlaif.errors import EngineCrashed, EngineUnavailable
from rlaif.records import Message
from rlaif.settings import EngineSettings
from tests.faults.fault_server import fault_server, verdict


def ask(count: int, *, choices: tuple[str, ...] = ("A", "B")) -> list[Request]:
    sampling = Sampling(max_tokens=5)
    return [
        Request(id=f"r{n}", messages=(Message("user", f"question {n:04d}"),), sampling=sampling, choices=choices)
        for n in range(count)
    ]


def settings(*urls: str, **options: Any) -> EngineSettings:
    """Patient, for the machine may be busy."""
    return EngineSettings(kind="http", base_urls=urls, **{"timeout_s": 60.0, "concurrency": 8, **options})


def patience(fault: Any) -> float:
    """Seconds a server has for an answer: few where it is to be seen that they end."""
    return 2.0 if fault == "stall" else 60.0


def opened(*urls: str, **options: Any) -> Engine:
    return open_engine(settings(*urls, **options), "judge", log_file=Path(os.devnull))


def answers(wanted: EngineSettings, requests: list[Request], tmp_path: Any) -> dict[str, Completion | Failure]:
    with open_engine(wanted, "judge", log_file=tmp_path / "log.txt") as engine:
        got = list(engine.complete(requests))
    assert sorted(answer.request_id for answer in got) == sorted(
        request.id for request in requests
    )  # each exactly once
    return {answer.request_id: answer for answer in got}


def test_every_request_is_answered_once_and_the_iterator_is_consumed_lazily(tmp_path):
    taken = 0

    def source():
        nonlocal taken
        for request in ask(400):
            taken += 1
            yield request

    def unhurried(n, body):
        time.sleep(0.005)
        return verdict(body)

    with fault_server(unhurried) as server, opened(server.url) as engine:
        stream = engine.complete(source())
        next(stream)
        assert taken <= 16 + 1  # twice the concurrency, not four hundred
        assert len(list(stream)) == 399
        assert engine.counters().requests == 400
        assert server.max_in_flight <= 8


def test_choices_are_summed_over_spellings_and_the_rest_is_uncovered(tmp_path):
    with fault_server(lambda n, body: verdict(body)) as server:
        answer = answers(settings(server.url), ask(1), tmp_path)["r0"]
    a, b = math.exp(-0.2) + math.exp(-3.0), math.exp(-2.5)
    assert answer.choice_logprobs == pytest.approx((math.log(a), math.log(b)))
    assert answer.uncovered == pytest.approx(1 - a - b)
    assert answer.choice_method == "top_logprobs"


def test_a_choice_a_server_does_not_name_has_no_probability(tmp_path):
    with fault_server(lambda n, body: verdict(body, named={"A": -0.1, "The": -3.0})) as server:
        answer = answers(settings(server.url), ask(1), tmp_path)["r0"]
    assert answer.choice_logprobs[1] == -math.inf
    assert answer.uncovered == pytest.approx(1 - math.exp(-0.1))


@pytest.mark.parametrize("fault", [429, 500, 503, "nonsense", "half", "cut", "stall", {"no": "choices"}])
def test_a_fault_costs_a_retry_on_the_same_server(tmp_path, fault):
    with fault_server(lambda n, body: fault if n == 0 else verdict(body)) as server:
        got = answers(settings(server.url, timeout_s=patience(fault)), ask(3), tmp_path)
        assert all(isinstance(answer, Completion) for answer in got.values())
        assert len(server.seen) == 4


@pytest.mark.parametrize("fault", [429, 500, "nonsense", "cut", "stall"])
def test_a_server_that_always_fails_costs_a_retry_elsewhere(tmp_path, fault):
    with fault_server(lambda n, body: fault) as bad, fault_server(lambda n, body: verdict(body)) as good:
        got = answers(settings(bad.url, good.url, timeout_s=patience(fault)), ask(60), tmp_path)
        assert all(isinstance(answer, Completion) for answer in got.values())
        assert len({body["messages"][-1]["content"] for body in good.seen}) == 60  # a slow machine may ask one twice


def test_a_server_that_dies_half_way_costs_nothing_but_a_retry(tmp_path):
    with fault_server(lambda n, body: verdict(body)) as good, fault_server(lambda n, body: verdict(body)) as dying:
        with opened(dying.url, good.url) as engine:
            stream = engine.complete(ask(200))
            first = [next(stream) for _ in range(20)]
            dying.stop()
            rest = list(stream)
        assert len({answer.request_id for answer in first + rest}) == 200
        assert all(isinstance(answer, Completion) for answer in rest)


def test_when_tries_are_used_up_the_failure_says_why_and_the_run_goes_on(tmp_path):
    def behave(n, body):
        return 500 if "0001" in body["messages"][-1]["content"] else verdict(body)

    with fault_server(behave) as server:
        got = answers(settings(server.url, retries=1), ask(3), tmp_path)
    assert got["r1"].kind == "failed"
    assert "status 500" in got["r1"].reason
    assert "tried 2 times" in got["r1"].reason
    assert isinstance(got["r0"], Completion)


def test_retry_after_is_honoured_and_everything_sent_to_a_busy_server_waits(tmp_path):
    def behave(n, body):
        return (429, "slow down", {"retry-after": "0.7"}) if n == 0 else verdict(body)

    with fault_server(behave) as server:
        got = answers(settings(server.url, concurrency=1), ask(3), tmp_path)
        assert all(isinstance(answer, Completion) for answer in got.values())
        assert server.times[1] - server.times[0] >= 0.7


def test_a_400_is_not_tried_again_and_a_prompt_that_is_too_long_says_so(tmp_path):
    words = (
        "This model's maximum context length is 4096 tokens. However, your prompt contains at least 5000 input tokens"
    )

    def behave(n, body):
        return (400, words if "0000" in body["messages"][-1]["content"] else "bad parameter", {})

    with fault_server(behave) as server:
        got = answers(settings(server.url), ask(2), tmp_path)
        assert len(server.seen) == 2
    assert (got["r0"].kind, got["r0"].prompt_tokens) == ("too_long", 5000)
    assert got["r1"].kind == "refused"
    assert "bad parameter" in got["r1"].reason


def test_a_server_without_log_probabilities_gives_no_verdict(tmp_path):
    def behave(n, body):
        reply = verdict(body)
        reply["choices"][0]["logprobs"] = None
        return reply

    with fault_server(behave) as server:
        answer = answers(settings(server.url), ask(1), tmp_path)["r0"]
    assert answer.kind == "refused"
    assert "log-probabilities" in answer.reason


def test_when_the_only_server_is_gone_the_engine_ends_after_a_while_and_keeps_what_it_had(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("rlaif.engines.http_engine.PATIENCE_S", 0.6)
    with fault_server(lambda n, body: verdict(body)) as server, opened(server.url, concurrency=2) as engine:
        stream = engine.complete(ask(100))
        for _ in range(5):
            assert isinstance(next(stream), Completion)
        server.stop()
        begun = time.monotonic()
        with pytest.raises(EngineCrashed, match=r"no server has answered for 0\.6 s") as caught:
            list(stream)
        assert 0.6 <= time.monotonic() - begun < 30  # and not the minute that is usual
    assert "rlaif serve judge" in str(caught.value)
    assert "waiting up to 0.6 s for it to come back" in caplog.text


def test_a_server_that_is_started_again_is_used_again_and_no_request_has_failed(tmp_path, monkeypatch, caplog):
    """The only one, away for longer than all tries of a request would take."""
    monkeypatch.setattr("rlaif.engines.http_dispatch.BACKOFF_S", (0.05,))
    with fault_server(lambda n, body: verdict(body)) as server, opened(server.url) as engine:
        stream = engine.complete(ask(100))
        first = [next(stream) for _ in range(10)]
        server.stop()
        begin_again = threading.Timer(0.6, server.begin)
        begin_again.start()
        got = first + list(stream)
        begin_again.join()
    assert len({answer.request_id for answer in got}) == 100
    assert [answer for answer in got if isinstance(answer, Failure)] == []
    assert "answers again" in caplog.text


def test_a_server_that_does_not_answer_at_the_start_is_named_and_done_without(tmp_path, caplog):
    with fault_server(lambda n, body: verdict(body)) as server:
        got = answers(settings("http://127.0.0.1:9/v1", server.url), ask(3), tmp_path)
    assert all(isinstance(answer, Completion) for answer in got.values())
    assert "http://127.0.0.1:9/v1" in caplog.text
    assert "does without it" in caplog.text


def test_nothing_that_listens_is_an_error_with_the_url_and_what_to_type():
    with pytest.raises(EngineUnavailable) as caught:
        identify(settings("http://127.0.0.1:9/v1"), "judge")
    assert "127.0.0.1:9" in str(caught.value)
    assert "rlaif serve judge" in str(caught.value)


def test_a_model_the_server_does_not_have_is_an_error_that_lists_what_it_has():
    with (
        fault_server(lambda n, body: 404, models=("apple", "pear")) as server,
        pytest.raises(EngineUnavailable, match="apple, pear"),
    ):
        identify(settings(server.url), "judge")


def test_the_key_comes_from_the_environment_and_appears_in_no_message(tmp_path, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "secret-7")
    with fault_server(lambda n, body: 401) as server:
        wanted = settings(server.url, api_key_env="JUDGE_KEY")
        with (
            open_engine(wanted, "judge", log_file=tmp_path / "log") as engine,
            pytest.raises(EngineUnavailable) as caught,
        ):
            list(engine.complete(ask(1)))
        assert server.headers[0]["Authorization"] == "Bearer secret-7"
    assert "secret-7" not in str(caught.value)
    monkeypatch.delenv("JUDGE_KEY")
    with pytest.raises(EngineUnavailable, match="JUDGE_KEY"):
        identify(wanted, "judge")


def test_a_given_up_turn_does_not_leak_into_the_next(tmp_path):
    with fault_server(lambda n, body: verdict(body)) as server, opened(server.url) as engine:
        stream = engine.complete(ask(100))
        next(stream)
        time.sleep(0.3)  # more answers have come by now, and nobody has asked for them
        stream.close()
        again = list(engine.complete(ask(3, choices=())))
    assert [answer.text for answer in sorted(again, key=lambda a: a.request_id)] == [
        f"answer to question {n:04d}" for n in range(3)
    ]


def test_requests_that_share_a_prefix_go_to_the_same_server(tmp_path):
    def slow(n, body):
        time.sleep(0.01)
        return verdict(body)

    requests = [
        Request(
            id=f"{group}-{n}",
            messages=(Message("user", f"{group} " * 50 + f"principle {n}"),),
            sampling=Sampling(max_tokens=1),
            choices=("A", "B"),
        )
        for group in ("one", "two", "three", "four", "five", "six")
        for n in range(4)
    ]
    with fault_server(slow) as left, fault_server(slow) as right:
        answers(settings(left.url, right.url, concurrency=4), requests, tmp_path)
        seen = [{body["messages"][-1]["content"].split()[0] for body in server.seen} for server in (left, right)]
    assert seen[0]
    assert seen[1]
    assert not seen[0] & seen[1]
