"""The three real engines read the same probabilities: real vLLM on the CPU, offline and as a server, and transformers.

P(choice) of every request agrees to 1e-4 in float32, the witnesses being transformers and each other. In bfloat16 it is
the rounding that disagrees: each engine rounds in its own places, and both are as far from float32 as from each other.
There the mean difference is held to 2e-3. Run with `-m vllm`; about two minutes on two quiet cores.
"""

import math
import os
import random
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean

import pytest
import yaml

from benchmarks.judging_requests import tiny_world_requests
from rlaif.engines import open_engine
from rlaif.engines.base import Completion, Failure, Request, Sampling
from rlaif.engines.order import prefix_order
from rlaif.engines.vllm_flags import CPU_READ_TOKENS
from rlaif.engines.vllm_server import VllmServer
from rlaif.records import Message
from rlaif.settings import EngineSettings
from tests.ports import free_port

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

MODEL = "tiny-judge"
HOSTILE_FILE = Path(__file__).parents[1] / "data" / "hostile_answers.yaml"
REQUESTS = prefix_order(tiny_world_requests(num_prompts=18, num_answers=2))
assert len(REQUESTS) >= 200


def chat(name, text, *, choices=("A", "B"), **sampling):
    wanted = Sampling(**{"max_tokens": 12, **sampling})
    return Request(id=name, messages=(Message("user", text),), sampling=wanted, choices=choices)


ODD = [
    chat("long", "too many words " * 4000),
    chat("spelled", "hello", choices=("honest man", "kind words")),
    chat("same", "hello", choices=("A", "A")),
    chat("text", "Is the first answer better?", choices=()),
]

REASONS = "The first answer says what it does not know."
BEGUN = [  # a verdict behind the judge's own reasons, with and without a space of its own
    replace(request, id=f"begun {number} {request.id}", prefill=f"{REASONS}{end}")
    for number, end in enumerate(("", "\n\nVerdict:", " So I choose **"))
    for request in REQUESTS[:8]
]
SCORES = [chat(f"score {n}", f"How kind is answer {n}?", choices=tuple(map(str, range(1, 11)))) for n in range(4)]
SCORES += [replace(one, id=f"begun {one.id}", prefill="It is kind. Score:") for one in SCORES]
TURNED = replace(ODD[-1], id="turned", prefill=REASONS)
HOSTILE = [
    replace(REQUESTS[0], id=f"hostile {n}", messages=(Message("user", f"Is this kind?\n\n{one['text']}"),))
    for n, one in enumerate(yaml.safe_load(HOSTILE_FILE.read_text(encoding="utf-8")))
]
ODD += [*BEGUN, *SCORES, TURNED, *HOSTILE]
# More tokens than vLLM reads in a step: some prompt would be read in parts, and that kills vLLM 0.32 on a CPU where a
# request has a seed (`vllm_flags.whole_prompts`). One prompt leaves hardly room for its answer.
SEEDED = [
    chat(f"seeded {n}", f"{n} words " * (490 if n == 30 else 60), choices=(), max_tokens=6, temperature=1.0, seed=n)
    for n in range(60)
]


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    return tmp_path_factory.mktemp("logs")


def answered(engine, requests):
    got = {answer.request_id: answer for answer in engine.complete(requests)}
    assert len(got) == len(requests)
    return got


def run_transformers(dtype, logs):
    with open_engine(EngineSettings(kind="transformers", dtype=dtype), MODEL, log_file=logs / "log") as engine:
        return answered(engine, [*REQUESTS, *ODD])


def run_vllm(dtype, logs):
    with opened_vllm(dtype, logs) as engine:
        return answered(engine, [*REQUESTS, *ODD])


def opened_vllm(dtype, logs):
    return open_engine(EngineSettings(dtype=dtype, kv_cache_gib=0.25), MODEL, log_file=logs / f"{dtype}.txt")


@pytest.fixture(scope="module")
def reference(logs):
    return run_transformers("float32", logs)


@pytest.fixture(scope="module")
def vllm(logs):
    """The engine itself; the last test of this file kills its child."""
    with opened_vllm("float32", logs) as engine:
        yield engine


@pytest.fixture(scope="module")
def offline(vllm):
    return answered(vllm, [*REQUESTS, *ODD, *SEEDED])


@pytest.fixture(scope="module")
def served(logs):
    port = free_port()
    settings = EngineSettings(dtype="float32", kv_cache_gib=0.25)
    server = VllmServer(settings, MODEL, host="127.0.0.1", port=port, log_file=logs / "server.txt")
    try:
        server.wait_ready()
        with open_engine(
            EngineSettings(kind="http", base_urls=(server.base_url,)), MODEL, log_file=logs / "h"
        ) as engine:
            return answered(engine, [*SEEDED, *REQUESTS, *ODD])
    finally:
        server.stop()


def differences(one, other):
    """Differences of P(choice), and of P(A) after renormalising, over all requests."""
    raw = [
        abs(math.exp(a) - math.exp(b))
        for request in REQUESTS
        for a, b in zip(one[request.id].choice_logprobs, other[request.id].choice_logprobs, strict=True)
    ]
    return raw + [abs(renormalised(one[r.id]) - renormalised(other[r.id])) for r in REQUESTS]


def renormalised(answer):
    a, b = answer.choice_logprobs
    return 1 / (1 + math.exp(b - a))


def test_vllm_agrees_with_transformers_in_float32(offline, reference):
    assert max(differences(offline, reference)) <= 1e-4


def test_a_vllm_server_agrees_with_transformers_and_with_offline_in_float32(served, offline, reference):
    assert max(differences(served, reference)) <= 1e-4
    assert max(differences(served, offline)) <= 1e-4


def test_the_model_is_not_indifferent_so_agreement_means_something(reference):
    shares = [renormalised(reference[request.id]) for request in REQUESTS]
    assert max(shares) - min(shares) > 0.01


@pytest.fixture(scope="module")
def narrow(logs):
    """Both engines in bfloat16."""
    return run_vllm("bfloat16", logs), run_transformers("bfloat16", logs)


def test_in_bfloat16_vllm_agrees_on_average_and_is_as_close_to_float32_as_transformers_is(narrow, reference):
    offline, plain = narrow
    apart, ours, theirs = (differences(*pair) for pair in ((offline, plain), (offline, reference), (plain, reference)))
    assert mean(apart) <= 2e-3
    assert mean(ours) <= max(2e-3, 1.5 * mean(theirs))


@pytest.mark.xfail(strict=False, reason="bfloat16 rounding alone moves single verdicts near 0.5 by up to 0.05")
def test_in_bfloat16_vllm_agrees_with_transformers_on_every_request(narrow):
    assert max(differences(*narrow)) <= 2e-3


@pytest.mark.parametrize("engine", ["reference", "offline", "served"])
def test_odd_requests_end_alike_in_every_engine(engine, request):
    got = request.getfixturevalue(engine)
    assert isinstance(got["long"], Failure)
    assert got["long"].kind == "too_long"
    assert "2048" in got["long"].reason
    assert got["long"].prompt_tokens > 2048
    assert got["same"].kind == "refused"
    assert "same tokens" in got["same"].reason
    assert got["spelled"].choice_method == "continuation"
    assert isinstance(got["text"], Completion)
    assert got["text"].finish_reason == "length"
    assert got["text"].output_tokens == 12


def test_a_greedy_text_and_a_continuation_are_the_same_in_every_engine(reference, offline, served):
    for other in (offline, served):
        assert other["text"].text == reference["text"].text
        assert other["spelled"].choice_logprobs == pytest.approx(reference["spelled"].choice_logprobs, abs=1e-3)
        assert other["text"].prompt_tokens == reference["text"].prompt_tokens


@pytest.mark.parametrize("engine", ["offline", "served"])
def test_a_verdict_behind_the_judges_own_reasons_is_the_same_in_every_engine(engine, reference, request):
    """Also scores up to 10, and answers that hold special tokens: each engine keeps them out in the same way."""
    got = request.getfixturevalue(engine)
    for one in (*BEGUN, *SCORES, *HOSTILE):
        ours, theirs = got[one.id], reference[one.id]
        assert ours.prompt_tokens == theirs.prompt_tokens, one.id
        apart = zip(ours.choice_logprobs, theirs.choice_logprobs, strict=True)
        assert max(abs(math.exp(a) - math.exp(b)) for a, b in apart) <= 1e-4, one.id
    assert got["turned"].text == reference["turned"].text


def test_the_reasons_before_a_verdict_do_matter(reference):
    moved = [abs(renormalised(reference[f"begun 1 {r.id}"]) - renormalised(reference[r.id])) for r in REQUESTS[:8]]
    assert max(moved) > 0.01


def test_seeded_answers_to_more_prompts_than_are_read_in_a_step_follow_from_their_seeds(offline, served, vllm):
    assert vllm.num_restarts == 0
    assert sum(offline[one.id].prompt_tokens for one in SEEDED) > 3 * CPU_READ_TOKENS
    for one in SEEDED:
        assert isinstance(offline[one.id], Completion), one.id
        assert isinstance(served[one.id], Completion), one.id
    same = sum(offline[one.id].text == served[one.id].text for one in SEEDED)
    assert same >= 55  # all but where a draw falls between two roundings


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_child_ends_when_its_parent_is_killed(logs):
    import sys

    code = (
        "import sys, time; from pathlib import Path; from rlaif.engines import open_engine\n"
        "from rlaif.settings import EngineSettings\n"
        f"e = open_engine(EngineSettings(), {MODEL!r}, log_file=Path(sys.argv[1]))\n"
        "print(e.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(logs / "orphan.txt")], stdout=subprocess.PIPE)
    child = int(parent.stdout.readline())
    os.kill(child, 0)  # it is there
    parent.kill()
    parent.wait()
    for _ in range(600):
        if not is_running(child):
            return
        time.sleep(0.1)
    pytest.fail("the child outlived its parent")


def test_a_killed_child_is_started_again_and_every_request_is_answered_once(vllm):
    requests = [chat(f"n{n}", f"hello {n} " * random.Random(n).randint(1, 50)) for n in range(900)]
    stream = vllm.complete(requests)
    got = [next(stream).request_id for _ in range(300)]
    os.kill(vllm.pid, signal.SIGKILL)
    got.extend(answer.request_id for answer in stream)  # what was on its way still comes; the rest is asked again
    assert sorted(got) == sorted(request.id for request in requests)
    assert vllm.num_restarts == 1
