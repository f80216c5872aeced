"""What travels between this process and vLLM's child arrives as it was; what is cut off is noticed."""

import io
import math

from hypothesis import given
from hypothesis import strategies as st

from rlaif.engines.base import Completion, Failure, Request, Sampling
from rlaif.engines.trouble import advice, last_lines, log_tail
from rlaif.engines.wire import (
    answer_from_dict,
    answer_to_dict,
    read_message,
    request_from_dict,
    request_to_dict,
    write_message,
)
from rlaif.records import Message

TEXT = st.text(st.characters(codec=None))  # lone surrogates, too: a model may write one

REQUESTS = st.builds(
    Request,
    id=TEXT,
    messages=st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), TEXT), max_size=3).map(
        tuple
    ),
    sampling=st.builds(
        Sampling, max_tokens=st.integers(1, 9), seed=st.none() | st.integers(0, 2**63 - 1), stop=st.just(("x", "y"))
    ),
    choices=st.lists(TEXT, max_size=3).map(tuple),
    json_schema=st.none() | st.just({"type": "object"}),
    prefill=TEXT.map(str.strip),
)
LOGPROBS = st.lists(st.floats(max_value=0, allow_nan=False), max_size=3).map(tuple)
ANSWERS = st.builds(
    Completion,
    request_id=TEXT,
    text=TEXT,
    finish_reason=st.sampled_from(["stop", "length"]),
    prompt_tokens=st.integers(0, 9),
    output_tokens=st.integers(0, 9),
    choice_logprobs=st.none() | LOGPROBS,
    uncovered=st.none() | st.floats(0, 1),
    choice_method=st.sampled_from([None, "first_token"]),
    thinking=TEXT,
    is_thinking_open=st.booleans(),
) | st.builds(Failure, request_id=TEXT, kind=st.just("failed"), reason=TEXT)


def through_the_pipe(message):
    stream = io.BytesIO()
    write_message(stream, message)
    stream.seek(0)
    return read_message(stream)


@given(REQUESTS)
def test_a_request_arrives_as_it_was(request):
    assert request_from_dict(through_the_pipe(request_to_dict(request))) == request


@given(ANSWERS)
def test_an_answer_arrives_as_it_was(answer):
    assert answer_from_dict(through_the_pipe(answer_to_dict(answer))) == answer


def test_every_field_of_a_request_travels():
    request = Request(id="r", messages=(), sampling=Sampling(max_tokens=1))
    assert set(request_to_dict(request)) == set(Request.__slots__)


def test_minus_infinity_survives():
    assert through_the_pipe({"value": -math.inf}) == {"value": -math.inf}


def test_a_message_that_was_cut_off_anywhere_is_the_end():
    stream = io.BytesIO()
    write_message(stream, {"type": "answers", "answers": [1, 2, 3]})
    whole = stream.getvalue()
    for length in range(len(whole)):
        assert read_message(io.BytesIO(whole[:length])) is None


def test_what_to_do_is_read_from_the_log():
    assert "gpu_memory_utilization" in advice("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate")
    assert "max_model_len" in advice(
        "ValueError: To serve at least one request with the models's max seq len (131072), (16.00 GiB KV cache is "
        "needed, which is larger than the available KV cache memory (2.75 GiB)."
    )
    assert "no GPU" in advice("RuntimeError: No CUDA GPUs are available")
    assert "out-of-memory killer" in advice("nothing known", killed=True)


def test_a_setting_that_vllm_repeats_when_it_dies_is_not_what_it_died_of():
    repeated = "Dumping input data for V1 LLM engine (v0.32.0) with config: model='m', trust_remote_code=False, seed=0"
    assert "trust" not in advice(f"{repeated}\nRuntimeError: something else")
    died = f"{repeated}\n  gen.set_offset(gen.get_offset() - 4)\nRuntimeError: CPU Generator does not use offset"
    assert "--no-enable-chunked-prefill" in advice(died)
    # transformers 5.19, dynamic_module_utils.py; vLLM 0.32, transformers_utils/config.py
    for own in (
        "Please pass the argument `trust_remote_code=True` to allow custom code to be run.",
        "consider setting `trust_remote_code=True` in LLM or using the `--trust-remote-code` flag in the CLI.",
    ):
        assert "engine.trust_remote_code" in advice(own)


def test_an_earlier_childs_words_in_the_same_log_are_not_read(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("torch.OutOfMemoryError\n")
    start = log.stat().st_size
    with log.open("a") as stream:
        stream.write("something else\n")
    assert log_tail(log, start) == "something else\n"


def test_the_end_of_a_log_is_short_and_a_missing_one_is_empty(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("\n".join(f"line {n}" for n in range(100_000)))
    shown = last_lines(log_tail(log))
    assert shown.endswith("line 99999")
    assert len(shown.splitlines()) == 12
    assert log_tail(tmp_path / "none") == ""
