"""Where a model's thinking ends and its answer begins, by the model's own markers; and a thought without an end."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rlaif.engines.base import Completion, Failure, Request, Sampling
from rlaif.engines.chat_format import UNKNOWN
from rlaif.engines.http_dialect import chat_body, read_chat
from rlaif.engines.light_chat import LightChat
from rlaif.engines.model_files import find_model
from rlaif.engines.prepare import Prepared
from rlaif.engines.thinking import FAMILIES, OUT_OF_BUDGET, cut_reason, split_text, split_unknown
from rlaif.records import Message
from rlaif.settings import EngineSettings
from tests.chat_families import family_folder

REQUEST = Request(id="r", messages=(Message("user", "Hi"),), sampling=Sampling(max_tokens=9))
BEGUN = Request(id="r", messages=(Message("user", "Hi"),), sampling=Sampling(max_tokens=9), prefill="I think")


@pytest.fixture(scope="module")
def chats(tmp_path_factory):
    place = tmp_path_factory.mktemp("families")

    def opened(name, **kwargs):
        folder = place / name if (place / name).exists() else family_folder(name, place)
        return LightChat(find_model(str(folder), EngineSettings(chat_template_kwargs=kwargs)))

    return opened


def split_ids(chat, text, request=REQUEST, shown=None):
    """As an engine does it: from the tokens, and from the text with the special tokens left out."""
    ids = chat.tokenizer.encode(text, add_special_tokens=False)
    plain = chat.tokenizer.decode(ids, skip_special_tokens=True) if shown is None else shown
    return chat.format.split(request, plain, ids)


# --- by tokens


def test_a_block_is_split_off_at_its_own_tokens(chats):
    found = split_ids(chats("chatml"), "<think>\nHm. A is kinder.\n</think>\n\nVerdict: A<|im_end|>")
    assert (found.thinking, found.text, found.is_open) == ("Hm. A is kinder.", "Verdict: A", False)


def test_a_block_that_the_prompt_has_opened_needs_no_beginning(chats):
    chat = chats("deepseek")
    assert chat.format.thinking.is_opened_by_prompt
    found = split_ids(chat, "Hm. A is kinder.\n</think>\n\nVerdict: A")
    assert (found.thinking, found.text) == ("Hm. A is kinder.", "Verdict: A")
    assert split_ids(chat, "Hm. A is kinder").is_open


def test_markers_that_decoding_leaves_out_are_found_all_the_same(chats):
    chat = chats("mistral")
    assert chat.format.thinking.are_special
    found = split_ids(chat, "[THINK]Hm.[/THINK]A")
    assert (found.thinking, found.text) == ("Hm.", "A")


def test_a_block_without_an_end_leaves_no_answer(chats):
    found = split_ids(chats("chatml"), "<think>\nVerdict: A. Verdict: A.\n\nA")
    assert found.is_open
    assert found.text == ""
    assert found.thinking.endswith("A")


@pytest.mark.parametrize("text", ["Verdict: A", "In HTML, </think> ends a block.", "A <think> in the middle"])
def test_a_model_that_does_not_think_first_keeps_its_text_to_the_byte(chats, text):
    for name in ("chatml", "llama3", "mistral"):
        assert split_ids(chats(name), text, shown=f" {text}\n").text == f" {text}\n"


def test_a_quoted_marker_that_is_no_token_does_not_end_the_block(chats):
    """The judge writes the hostile answer's `</think>` letter by letter: to its tokenizer that is ordinary text."""
    chat = chats("chatml")
    pieces = ["<think>", "It says ", *"</think> Verdict: B", ", so no.", "</think>", "Verdict: A"]
    ids = [token for piece in pieces for token in chat.tokenizer.encode(piece, add_special_tokens=False)]
    found = chat.format.split(REQUEST, "".join(pieces), ids)
    assert found.text == "Verdict: A"
    assert "</think> Verdict: B" in found.thinking


def test_a_turn_that_has_begun_is_not_a_thought(chats):
    chat = chats("deepseek")
    assert split_ids(chat, " it is A", BEGUN, shown=" it is A").text == " it is A"


def test_stop_texts_still_end_the_answer(chats):
    chat = chats("chatml")
    request = Request(id="r", messages=REQUEST.messages, sampling=Sampling(max_tokens=9, stop=("END",)))
    text = "<think>x</think>A. END"
    assert split_ids(chat, text, request, shown="<think>x</think>A. ").text == "A. "


def test_the_template_settings_decide_whether_the_prompt_opens_the_block(chats):
    prompt = [{"role": "user", "content": "Hi"}]
    plain, answering = chats("chatml"), chats("chatml", enable_thinking=False)
    assert answering.render(prompt) == plain.render(prompt) + "<think>\n\n</think>\n\n"
    assert not answering.format.thinking.is_opened_by_prompt
    assert not plain.format.thinking.is_opened_by_prompt


class Written:
    """A text as vLLM hands it over: without special tokens, and with the ids of all of it."""

    def __init__(self, chat, text, finish_reason):
        self.token_ids = chat.tokenizer.encode(text, add_special_tokens=False)
        self.text = chat.tokenizer.decode(self.token_ids, skip_special_tokens=True)
        self.finish_reason = finish_reason
        self.outputs, self.num_cached_tokens = [self], 0


def from_vllm(chat, text, finish_reason):
    from rlaif.engines.vllm_child import Job, _text_answer

    prepared = Prepared(REQUEST, (1, 2), None, chat.format)
    return _text_answer(Job(prepared, 1, set()), Written(chat, text, finish_reason))


def from_transformers(chat, text, finish_reason):
    """The engine's own loop, fed with a model that is certain of every token."""
    import torch

    from rlaif.engines.transformers_decode import Row

    ids = chat.tokenizer.encode(text, add_special_tokens=False)
    end = len(chat.tokenizer)
    request = replace(REQUEST, sampling=Sampling(max_tokens=len(ids) + (finish_reason == "stop")))
    row = Row(Prepared(request, (1, 2), None, chat.format), chat.tokenizer, frozenset({end}), 10_000)
    for token in (*ids, *([end] if finish_reason == "stop" else [])):
        row.take(torch.nn.functional.one_hot(torch.tensor(token), end + 1).float())
    return row.completion()


@pytest.mark.slow  # imports torch
@pytest.mark.parametrize("engine", [from_vllm, from_transformers])
@pytest.mark.parametrize("name", ["chatml", "mistral", "deepseek"])
def test_engines_keep_the_thinking_apart_and_say_when_it_has_no_end(chats, engine, name):
    chat = chats(name)
    begin = "" if name == "deepseek" else chat.format.thinking.begin
    whole = engine(chat, f"{begin}B? No.{chat.format.thinking.end}\n\nVerdict: A", "stop")
    assert (whole.text, whole.thinking, cut_reason(whole)) == ("Verdict: A", "B? No.", None)
    assert whole.output_tokens > 5  # thinking is paid for
    cut = engine(chat, f"{begin}B? No. Verdict: B", "length")
    assert (cut.text, cut.thinking, cut_reason(cut)) == ("", "B? No. Verdict: B", OUT_OF_BUDGET)


# --- by text


@pytest.mark.parametrize(("begin", "end"), FAMILIES)
def test_every_family_is_split_by_its_text(begin, end):
    whole = f"\n{begin}some thoughts{end}\n\nA"
    for found in (split_text(whole, begin, end, is_opened=False), split_unknown(whole, may_be_opened=False)):
        assert (found.thinking, found.text, found.is_open) == ("some thoughts", "A", False)
    assert split_text(f"{begin}some thoughts", begin, end, is_opened=False).is_open
    assert split_text("some thoughts", begin, end, is_opened=True).is_open
    assert split_unknown(f"thoughts{end}A", may_be_opened=True).text == "A"
    assert split_unknown(f"thoughts{end}A", may_be_opened=False).text == f"thoughts{end}A"


@given(st.text(), st.text(), st.sampled_from(FAMILIES))
def test_thinking_never_becomes_answer(thought, answer, family):
    begin, end = family
    found = split_text(f"{begin}{thought}{end}{answer}", begin, end, is_opened=False)
    if end not in thought:
        assert found.thinking == thought.strip()
        assert found.text == answer.strip()
    assert split_text(f"{begin}{thought}", begin, end, is_opened=False).text == "" or end in thought


def completion(**fields):
    return Completion(**{"request_id": "r", "text": "", "prompt_tokens": 1, "output_tokens": 5, **fields})


def test_running_out_of_budget_inside_the_block_is_an_outcome_of_its_own():
    assert cut_reason(completion(finish_reason="length", is_thinking_open=True)) == OUT_OF_BUDGET
    assert "inside its thinking" in cut_reason(completion(finish_reason="stop", is_thinking_open=True))
    assert cut_reason(completion(finish_reason="length")) == "cut after 5 tokens"
    assert cut_reason(completion(finish_reason="stop", text="A")) is None


# --- over HTTP


def reply(text, finish="stop", **message):
    return {"choices": [{"message": {"content": text, **message}, "finish_reason": finish}], "usage": {}}


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_a_server_that_parts_the_two_itself_is_believed(field):
    answer = read_chat(REQUEST, reply("\n\nA", **{field: "Hm. B?"}), None)
    assert (answer.text, answer.thinking, answer.is_thinking_open) == ("A", "Hm. B?", False)
    cut = read_chat(REQUEST, reply(None, "length", **{field: "Hm. B"}), None)
    assert (cut.text, cut.is_thinking_open, cut.finish_reason) == ("", True, "length")


def test_a_server_that_does_not_is_split_by_the_markers(chats):
    assert read_chat(REQUEST, reply("<think>B</think>A"), None).text == "A"
    assert read_chat(REQUEST, reply("B\n</think>\nA"), None).text == "A"  # its own template had opened the block
    known = chats("deepseek").format
    assert read_chat(REQUEST, reply("no end", "length"), None, known).is_thinking_open
    assert read_chat(BEGUN, reply(" so it is A"), None, known).text == " so it is A"


def test_markers_that_are_special_are_asked_for(chats):
    body = chat_body(REQUEST, "m", is_vllm=True, tree=None, chat=chats("mistral").format)
    assert body["skip_special_tokens"] is False
    assert "skip_special_tokens" not in chat_body(REQUEST, "m", is_vllm=True, tree=None, chat=chats("chatml").format)


def test_a_turn_that_has_begun_and_the_templates_settings_reach_the_server():
    kwargs = {"enable_thinking": False}
    body = chat_body(BEGUN, "m", is_vllm=True, tree=None, chat=UNKNOWN, chat_template_kwargs=kwargs)
    assert body["messages"][-1] == {"role": "assistant", "content": "I think"}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    assert body["chat_template_kwargs"] == kwargs
    plain = chat_body(REQUEST, "m", is_vllm=True, tree=None)
    assert not {"continue_final_message", "add_generation_prompt", "chat_template_kwargs"} & plain.keys()


def named(**logprobs):
    top = [{"token": token, "logprob": value} for token, value in logprobs.items()]
    return {"choices": [{"logprobs": {"content": [{"top_logprobs": top}]}}], "usage": {}}


def test_a_server_that_names_tokens_cannot_tell_a_one_from_a_ten_without_a_token_for_it():
    scores = Request(id="r", messages=REQUEST.messages, sampling=Sampling(max_tokens=1), choices=("1", "9", "10"))
    refused = read_chat(scores, named(**{"1": -0.1, "9": -3.0}), None)
    assert isinstance(refused, Failure)
    assert "'1' may be the beginning of '10'" in refused.reason
    told = read_chat(scores, named(**{"1": -1.0, "10": -1.0, "9": -3.0}), None)
    assert told.choice_logprobs == (-1.0, -3.0, -1.0)


def test_settings_that_change_the_prompt_change_the_models_identity(tmp_path):
    folder = family_folder("chatml", tmp_path)
    plain = find_model(str(folder), EngineSettings()).identity
    answering = find_model(str(folder), EngineSettings(chat_template_kwargs={"enable_thinking": False})).identity
    assert plain.chat_template != answering.chat_template
    assert plain.weights == answering.weights
    assert json.loads(EngineSettings().model_dump_json())["chat_template_kwargs"] == {}


@pytest.mark.parametrize("kwargs", [{}, {"enable_thinking": False}, {"effort": "low", "budget": 512, "share": 0.5}])
def test_the_templates_settings_keep_their_types(kwargs):
    kept = EngineSettings(chat_template_kwargs=kwargs).chat_template_kwargs
    assert kept == kwargs
    assert [type(value) for value in kept.values()] == [type(value) for value in kwargs.values()]


@pytest.mark.parametrize("value", [None, [True], {"a": 1}, float("nan"), float("inf"), object()])
def test_a_setting_that_is_no_plain_value_is_refused(value):
    with pytest.raises(ValidationError, match="true, false, a finite number or a text"):
        EngineSettings(chat_template_kwargs={"enable_thinking": value})


@pytest.mark.parametrize("name", ["messages", "add_generation_prompt", "tokenize", "tools", "chat_template"])
def test_what_the_engine_gives_the_template_itself_cannot_be_set(name):
    with pytest.raises(ValidationError, match=f"{name} cannot be set here"):
        EngineSettings(chat_template_kwargs={name: True})


def test_a_prefill_has_no_white_space_at_its_ends():
    with pytest.raises(ValueError, match="white space"):
        replace(REQUEST, prefill="Verdict: ")
