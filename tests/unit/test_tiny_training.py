"""Packing, losses' labels and figures of the tiny models' training: against transformers and by hand."""

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402 - after the skip
from tokenizers import Tokenizer  # noqa: E402
from transformers import AutoTokenizer, LlamaForCausalLM  # noqa: E402

from rlaif.bundled import resolve_model  # noqa: E402
from rlaif.templates import load_template  # noqa: E402
from rlaif.tiny.properties import NAMES  # noqa: E402
from rlaif.tiny.wordings import PREFER, Wording  # noqa: E402
from rlaif.tiny.world import seeded  # noqa: E402
from rlaif.train.tiny.export import llama_config  # noqa: E402
from rlaif.train.tiny.judge import JudgeRun  # noqa: E402
from rlaif.train.tiny.judge_data import JudgeText, draw_comparison, make_batch  # noqa: E402
from rlaif.train.tiny.judge_figures import (  # noqa: E402
    Verdicts,
    accuracy,
    calibration_error,
    same_after_swap,
)
from rlaif.train.tiny.model import Shape, TinyLlama  # noqa: E402
from rlaif.train.tiny.packing import Context, pack  # noqa: E402

FOLDER = resolve_model("tiny-judge")


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def text():
    return JudgeText(Tokenizer.from_file(f"{FOLDER}/tokenizer.json"))


def test_packed_logits_equal_those_of_transformers(tokenizer):
    torch.manual_seed(0)
    shape = Shape(vocabulary=2560, hidden=64, layers=3, heads=2, inner=96, head_dim=32)
    model = TinyLlama(shape, torch.float32)
    peer = LlamaForCausalLM(llama_config(shape, tokenizer)).float().eval()
    weights = {f"model.{name}": weight for name, weight in model.state_dict().items()}
    assert peer.load_state_dict(weights, strict=False).missing_keys == ["lm_head.weight"]
    rng = seeded("packing")
    contexts = [
        Context([rng.randrange(2560) for _ in range(20 + i)], [[rng.randrange(2560)] * (4 + j) for j in range(3)])
        for i in range(4)
    ]
    with torch.no_grad():
        ours = model.logits(model(pack(contexts))[0])
        prefix_at, tail_at = 0, sum(len(one.prefix) for one in contexts)
        for one in contexts:
            for tail in one.tails:
                theirs = peer(torch.tensor([one.prefix + tail])).logits[0]
                cut = len(one.prefix)
                torch.testing.assert_close(ours[prefix_at : prefix_at + cut], theirs[:cut], atol=1e-5, rtol=1e-5)
                torch.testing.assert_close(ours[tail_at : tail_at + len(tail)], theirs[cut:], atol=1e-5, rtol=1e-5)
                tail_at += len(tail)
            prefix_at += len(one.prefix)


@pytest.mark.parametrize("kind", ["judge", "critique"])
def test_a_prefix_and_a_tail_are_what_the_chat_template_makes_of_the_rendered_prompt(kind, tokenizer, text):
    rng = seeded("gluing", kind)
    for _ in range(40):
        one = draw_comparison(rng, num_wordings=1)
        wording = one.wordings[0]
        content = load_template(kind).render(
            conversation=one.prompt.conversation,
            response_a=one.a.text,
            response_b=one.b.text,
            principle=wording.text,
            question=wording.question,
        )
        whole = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, return_dict=False
        )
        prefix = text.prefix(one.prompt.conversation, one.a.text, one.b.text)
        tail = text.tail("verdict" if kind == "judge" else "critique", wording.text, wording.question)
        assert prefix + tail == whole


def test_both_choices_are_single_tokens(tokenizer):
    assert all(len(tokenizer.encode(letter, add_special_tokens=False)) == 1 for letter in "AB")


@pytest.mark.parametrize("said", ["Hello, world.", "naïve café — 東京 🙂", "a\n\n  b\tc", "{{ principle }}"])
def test_any_text_survives_the_tokenizer(said, tokenizer):
    assert tokenizer.decode(tokenizer.encode(said, add_special_tokens=False)) == said


def test_labels_of_a_swapped_pair_are_swapped(text):
    rng = seeded("labels")
    one = draw_comparison(rng, num_wordings=6)
    batch = make_batch([one, one.swapped()], text, "verdict", rng)
    torch.testing.assert_close(batch.prefers_a[:6], 1 - batch.prefers_a[6:])
    assert torch.equal(batch.has[:6], batch.has[6:].flip(1))
    for tail, wording in enumerate(one.wordings):
        assert batch.principle_property[tail] == NAMES.index(wording.property)
        assert bool(batch.principle_direction[tail]) == (wording.direction == PREFER)
    tags = batch.packed.tokens[batch.closing_at].tolist()
    assert tags == [text.close_a, text.close_b] * 2
    assert set(batch.packed.tokens[batch.sentence_at].tolist()) <= text.stops


def test_a_step_names_its_batch(text):
    run = JudgeRun(steps=100)
    first, again, other = run.batch(3, text), run.batch(3, text), run.batch(4, text)
    assert torch.equal(first.packed.tokens, again.packed.tokens)
    assert not torch.equal(first.packed.tokens[:50], other.packed.tokens[:50])


def test_a_tail_is_labelled_by_what_the_answers_have(text):
    rng = seeded("truth")
    one = draw_comparison(rng, num_wordings=1)
    name = next(iter(one.a.properties ^ one.b.properties))
    asked = type(one)(one.prompt, one.a, one.b, (Wording("p", "q", name, PREFER, "train"),))
    batch = make_batch([asked], text, "verdict", rng)
    assert bool(batch.prefers_a[0]) == (name in one.a.properties)


def test_figures_of_four_verdicts_by_hand():
    verdicts = Verdicts(
        first=np.array([0.9, 0.6, 0.2, 0.5]),
        second=np.array([0.1, 0.7, 0.9, 0.5]),
        truth=np.array([1.0, 1.0, 0.0, 0.5]),
    )
    assert accuracy(verdicts) == pytest.approx(2 / 3)  # the second averages to 0.45
    assert same_after_swap(verdicts) == pytest.approx(2 / 3)
    assert calibration_error(np.array([0.8, 0.8]), np.array([1.0, 0.0])) == pytest.approx(0.3)
