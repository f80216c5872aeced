"""Prompt tokens counted without loading a model: the same as an engine's, and cheap for very many requests."""

import random
import shutil
import subprocess
import sys

import pytest

from rlaif.bundled import TINY_MODELS, resolve_model
from rlaif.engines.base import Request, Sampling
from rlaif.engines.counting import PromptCounter, open_counter, rough_tokens, scripted_tokens
from rlaif.engines.prepare import Preparer
from rlaif.engines.scripted import ScriptedEngine
from rlaif.feedback import cost
from rlaif.feedback.cost import TokenCount, neighbours
from rlaif.numbers.prefix import prefix_tree_tokens
from rlaif.records import Message
from rlaif.settings import EngineSettings


def request(*texts, name="r"):
    roles = ["user", "assistant"] * len(texts)
    messages = tuple(Message(role, text) for role, text in zip(roles, texts, strict=False))
    return Request(id=name, messages=messages, sampling=Sampling(max_tokens=5))


LINES = """\
{{ bos_token }}
{% for message in messages %}
    {% if message.role == "user" %}
<|user|>{{ message.content | trim }}
    {% else %}
<|assistant|>{{ message.content | tojson }}
    {% endif %}
{% endfor %}
{% if add_generation_prompt %}
<|assistant|>
{% endif %}
"""


@pytest.fixture(params=[*TINY_MODELS, "a template in lines"])
def model(request, tmp_path):
    """The bundled models, and one whose template needs what transformers does about white space and names."""
    if request.param in TINY_MODELS:
        return resolve_model(request.param)
    folder = tmp_path / "model"
    shutil.copytree(resolve_model("tiny-judge"), folder)
    (folder / "chat_template.jinja").write_text(LINES)
    return str(folder)


@pytest.mark.slow
def test_tokens_are_those_an_engine_reads(model):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    counter = open_counter(EngineSettings(kind="vllm"), model)
    assert counter.is_exact
    for one in (request("Hi."), request("Why?", "Because é.", "  And\n\nthen <|end|>?\n"), request("äöü 🙂\n")):
        assert tuple(counter.tokens(one)) == Preparer(tokenizer, 10_000).prepare(one).tokens


def test_counting_imports_no_heavy_library():
    program = (
        "import sys\nfrom rlaif.engines.counting import open_counter\nfrom rlaif.settings import EngineSettings\n"
        "from tests.unit.test_counting import request\n"
        "assert len(open_counter(EngineSettings(), 'tiny-judge').tokens(request('Hi.'))) > 3\n"
        "assert not {'torch', 'transformers', 'vllm'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_scripted_engine_counts_the_same():
    one = request("One two three.", "Four.", "Five six?")
    (answer,) = ScriptedEngine().complete([one])
    assert len(scripted_tokens(one)) == answer.prompt_tokens == 9


def test_a_model_without_files_here_is_counted_roughly_and_says_so():
    assert [len(piece) for piece in rough_tokens(request("x" * 10))] == [4, 4, 2]


def counted(requests, counter, blocks=1):
    """(tokens of the prompts, of their prefix trees) of requests in the order given, in as many blocks."""
    count = TokenCount(counter, blocks)
    size = -(-len(requests) // blocks)
    for start in range(0, len(requests), size):
        block = {one.id: one for one in requests[start : start + size]}
        count.add(block, list(block))
    return count.prompt, count.shared


@pytest.mark.parametrize(
    ("shortest", "rendered", "tokenised", "blocks"),
    [(5, 6000, 400, 1), (5, 6000, 800, 4), (200, 2000, 400, 1), (200, 3000, 400, 3)],
)
def test_of_many_requests_a_part_is_rendered_and_tokenised_and_the_sums_are_near(
    monkeypatch, shortest, rendered, tokenised, blocks
):
    """Prompts of different lengths (very different where all are rendered): both sums within 5 %."""
    draw = random.Random(1)
    requests = []
    for prompt in range(200):
        conversation = " ".join(draw.choices(["some", "words", "of", "many"], k=draw.randint(shortest, 400)))
        for n in range(30):
            text = f"Question {prompt}: {conversation} then {n} {'tail ' * draw.randint(1, 20)}"
            requests.append(request(text, name=f"{prompt}-{n}"))
    exact = [scripted_tokens(one) for one in requests]
    seen = []
    counter = PromptCounter(lambda one: seen.append(one) or scripted_tokens(one), is_exact=True)
    monkeypatch.setattr(cost, "_RENDERED", rendered)
    monkeypatch.setattr(cost, "_TOKENISED", tokenised)
    monkeypatch.setattr(cost, "_LONG_RUN", 500)
    prompt, shared = counted(requests, counter, blocks)
    assert len(seen) == pytest.approx(tokenised, abs=100)
    assert prompt == pytest.approx(sum(map(len, exact)), rel=0.05)
    assert shared == pytest.approx(prefix_tree_tokens(exact), rel=0.05)


def test_few_requests_are_all_counted():
    counter = PromptCounter(scripted_tokens, is_exact=True)
    assert counted([request("a b c", name="1"), request("a b d", name="2")], counter) == (8, 5)
    assert len(neighbours([request("a")] * 7, 10, 2)) == 7
