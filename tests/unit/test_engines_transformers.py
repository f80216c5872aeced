"""The transformers engine on a random model: what it reads is what the plain model says, whatever stands beside it."""

import math
from collections import Counter
from dataclasses import replace

import pytest

from rlaif.engines import open_engine
from rlaif.engines.base import Request, Sampling
from rlaif.engines.choices import Spellings
from rlaif.records import Message
from rlaif.settings import EngineSettings
from tests.tiny_llama import write_tiny_llama

pytestmark = pytest.mark.slow  # imports torch and transformers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_llama(tmp_path_factory.mktemp("model") / "llama", context=256)


@pytest.fixture(scope="module")
def plain(folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def opened(folder, **options):
    return open_engine(EngineSettings(kind="transformers", dtype="float32", **options), str(folder), log_file=folder)


def chat(name, text, *, choices=(), **sampling):
    wanted = Sampling(**{"max_tokens": 15, **sampling})
    return Request(id=name, messages=(Message("user", text),), sampling=wanted, choices=choices)


VERDICTS = [chat(f"v{n}", "is the first answer better " * (n + 1), choices=("A", "B")) for n in range(7)]
TEXTS = [chat(f"t{n}", "say it " * (n + 1), temperature=1.0, seed=n, top_p=0.9) for n in range(6)]


def answered(engine, requests):
    return {answer.request_id: answer for answer in engine.complete(requests)}


def test_choices_are_what_the_plain_model_says_one_prompt_at_a_time(folder, plain):
    import torch

    model, tokenizer = plain
    tree = Spellings(tokenizer).tree(("A", "B"))
    with opened(folder, batch_size=3) as engine:
        got = answered(engine, VERDICTS)
    for request in VERDICTS:
        messages = [message.as_dict() for message in request.messages]
        tokens = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        with torch.inference_mode():
            logprobs = torch.log_softmax(model(torch.tensor([tokens])).logits[0, -1].double(), -1)
        expected = [logprobs[[token for (token,) in spelled]].exp().sum().item() for spelled in tree.spellings]
        answer = got[request.id]
        assert [math.exp(value) for value in answer.choice_logprobs] == pytest.approx(expected, rel=1e-4)
        assert answer.uncovered == pytest.approx(1 - sum(expected), abs=1e-6)
        assert answer.prompt_tokens == len(tokens)


def test_choices_and_text_come_right_behind_a_turn_that_has_begun(folder, plain):
    """The witness writes the prompt out by hand: the assistant's head and the beginning, with no end of turn."""
    import torch

    model, tokenizer = plain
    begun = "It helps.\n\nVerdict:"
    written = f"<s><|user|>\nis it better</s>\n<|assistant|>\n{begun}"
    tokens = tokenizer.encode(written, add_special_tokens=False)
    with torch.inference_mode():
        logprobs = torch.log_softmax(model(torch.tensor([tokens])).logits[0, -1].double(), -1)
    tree = Spellings(tokenizer).tree(("A", "B"))
    expected = [logprobs[[token for (token,) in spelled]].exp().sum().item() for spelled in tree.spellings]
    verdict = replace(chat("v", "is it better", choices=("A", "B")), prefill=begun)
    text = replace(chat("t", "is it better", max_tokens=6), prefill=begun)
    with opened(folder) as engine:
        got = answered(engine, [verdict, text])
    assert [math.exp(value) for value in got["v"].choice_logprobs] == pytest.approx(expected, rel=1e-4)
    assert got["v"].prompt_tokens == len(tokens)
    made = model.generate(torch.tensor([tokens]), max_new_tokens=6, do_sample=False)[0, len(tokens) :]
    assert got["t"].text == tokenizer.decode(made, skip_special_tokens=True)


def test_the_chat_templates_settings_reach_it(tmp_path):
    silent = "{% if not enable_thinking|default(true) %}<|system|>{% endif %}"
    folder = write_tiny_llama(
        tmp_path / "model", chat_template=f"{{% for m in messages %}}{{{{m.content}}}}{{% endfor %}}{silent}"
    )
    lengths = []
    for kwargs in ({}, {"enable_thinking": False}):
        with opened(folder, chat_template_kwargs=kwargs) as engine:
            lengths.append(answered(engine, [chat("c", "hello")])["c"].prompt_tokens)
    assert lengths[1] == lengths[0] + 1


def test_a_greedy_text_is_that_of_generate(folder, plain):
    model, tokenizer = plain
    with opened(folder) as engine:
        (answer,) = engine.complete([chat("g", "hello there")])
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hello there"}], add_generation_prompt=True, return_tensors="pt"
    )
    made = model.generate(**inputs, max_new_tokens=15, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert answer.text == tokenizer.decode(made, skip_special_tokens=True)


def test_what_is_drawn_depends_on_the_seed_and_not_on_the_batch(folder):
    with opened(folder, batch_size=1) as engine:
        alone = answered(engine, TEXTS)
    with opened(folder, batch_size=8) as engine:
        together = answered(engine, TEXTS[::-1])
        other = answered(engine, [chat("o", "say it", temperature=1.0, seed=99, top_p=0.9)])
    assert {name: answer.text for name, answer in alone.items()} == {n: a.text for n, a in together.items()}
    assert other["o"].text != alone["t0"].text


def test_a_text_ends_before_a_stop_and_at_the_end_of_the_context(folder):
    with opened(folder) as engine:
        whole = answered(engine, [chat("w", "hello")])["w"]
        stop = whole.text[len(whole.text) // 2 :][:3]
        cut = answered(engine, [chat("w", "hello", stop=(stop,))])["w"]
        room = answered(engine, [chat("r", "x" * 220, max_tokens=1000)])["r"]
    assert (cut.finish_reason, cut.text) == ("stop", whole.text[: whole.text.index(stop)])
    assert room.prompt_tokens + room.output_tokens == 256
    assert room.finish_reason == "length"


def test_draws_follow_the_probabilities_and_their_limits():
    import torch

    from rlaif.engines.transformers_decode import draw

    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    generator = torch.Generator().manual_seed(0)

    def shares(**sampling):
        wanted = Sampling(**{"max_tokens": 1, "temperature": 1.0, **sampling})
        counts = Counter(draw(logits.clone(), wanted, generator) for _ in range(4000))
        return [counts[n] / 4000 for n in range(4)]

    assert shares() == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)
    assert shares(top_k=2) == pytest.approx([0.625, 0.375, 0, 0], abs=0.03)
    assert shares(top_p=0.6) == pytest.approx([0.625, 0.375, 0, 0], abs=0.03)
    assert shares(top_p=0.4) == [1, 0, 0, 0]
    assert shares(temperature=0.0) == [1, 0, 0, 0]


def test_a_schema_is_refused_with_what_to_use_instead(folder):
    request = Request(
        id="j", messages=(Message("user", "hi"),), sampling=Sampling(max_tokens=5), json_schema={"type": "object"}
    )
    with opened(folder) as engine:
        (answer,) = engine.complete([request])
    assert answer.kind == "refused"
    assert "vllm" in answer.reason


def test_a_template_that_does_not_take_a_conversation_refuses_that_request_alone(tmp_path):
    refusing = "{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    strict = f"{{% for m in messages %}}{refusing}x{{% endfor %}}"
    folder = write_tiny_llama(tmp_path / "strict", chat_template=strict)
    bad = Request(id="bad", messages=(Message("system", "be good"),), sampling=Sampling(max_tokens=2))
    with opened(folder) as engine:
        got = answered(engine, [bad, chat("good", "hi")])
    assert got["bad"].kind == "refused"
    assert "no system role" in got["bad"].reason
    assert got["good"].output_tokens > 0


def test_letters_without_a_token_of_their_own_are_scored_as_continuations(tmp_path):
    folder = write_tiny_llama(tmp_path / "split", split_letters=True)
    with opened(folder, batch_size=2) as engine:
        got = answered(engine, VERDICTS)
    for answer in got.values():
        assert answer.choice_method == "continuation"
        assert sum(map(math.exp, answer.choice_logprobs)) + answer.uncovered == pytest.approx(1, abs=1e-6)
