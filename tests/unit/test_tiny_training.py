"""Packing, losses' labels and figures of the tiny models' training: against transformers and by hand."""

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402 - after the skip
from tokenizers import Tokenizer  # noqa: E402
from transformers import AutoTokenizer, LlamaForCausalLM  # noqa: E402

from rlaif.bundled import resolve_model  # noqa: E402
from rlaif.constitution import Principle  # noqa: E402
from rlaif.feedback.mode_score import scale_text  # noqa: E402
from rlaif.templates import load_template  # noqa: E402
from rlaif.tiny.critiques import SAYS  # noqa: E402
from rlaif.tiny.properties import NAMES  # noqa: E402
from rlaif.tiny.wordings import PREFER, Wording  # noqa: E402
from rlaif.tiny.world import seeded  # noqa: E402
from rlaif.train.tiny.export import llama_config  # noqa: E402
from rlaif.train.tiny.judge import JudgeRun  # noqa: E402
from rlaif.train.tiny.judge_data import draw_comparison, make_batch  # noqa: E402
from rlaif.train.tiny.judge_figures import (  # noqa: E402
    Verdicts,
    accuracy,
    calibration_error,
    same_after_swap,
)
from rlaif.train.tiny.judge_text import JudgeText  # noqa: E402
from rlaif.train.tiny.model import Shape, TinyLlama  # noqa: E402
from rlaif.train.tiny.modes import mixed, with_new_tokens  # noqa: E402
from rlaif.train.tiny.packing import Context, pack  # noqa: E402
from rlaif.train.tiny.score_data import draw_scale, draw_scoring, make_score_batch, plain_scale  # noqa: E402
from rlaif.train.tiny.tokenizer import MODE_TAGS, TEN, VOCABULARY, fixed_sentences, mode_sentences  # noqa: E402

FOLDER = resolve_model("tiny-judge")
KINDS = {"judge": "verdict", "critique": "critique", "reason": "reasoned"}


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


@pytest.mark.parametrize("kind", ["judge", "critique", "reason"])
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
        tail = text.tail(KINDS[kind], wording.text, wording.question)
        assert prefix + tail == whole


def test_a_scoring_prefix_and_tail_are_too(tokenizer, text):
    rng = seeded("gluing", "score")
    for _ in range(40):
        one = draw_scoring(rng, num_wordings=1)
        (wording,), (scale,) = one.wordings, one.scales
        content = load_template("score").render(
            conversation=one.prompt.conversation,
            response=one.answer.text,
            principle=wording.text,
            scale=scale.text,
            lowest="1",
            highest=str(scale.highest),
        )
        whole = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, return_dict=False
        )
        prefix = text.score_prefix(one.prompt.conversation, one.answer.text)
        assert prefix + text.score_tail(wording.text, scale.text, scale.highest) == whole


def test_a_plain_scale_is_the_one_that_the_mode_writes():
    unanchored = Principle(id="kind", text="Be kind.", question="Which is kinder?")
    for highest in (2, 5, 10):
        assert plain_scale(highest).text == scale_text(unanchored, highest)


def test_an_anchored_scale_ends_in_what_follows_the_principle():
    rng = seeded("anchors")
    for direction in (PREFER, -PREFER):
        wording = Wording("p", "q", "long", direction, "train")
        scales = [draw_scale(wording, rng, 5) for _ in range(60)]
        best = {scale.text.splitlines()[-1] for scale in scales if scale != plain_scale(5)}
        assert best == {f"5: {said}" for said in SAYS["long"][direction != PREFER]}


def test_choices_and_scores_are_single_tokens_and_words_in_sentences_are_not_lost(tokenizer):
    choices = [*"AB", *map(str, range(1, 11))]
    assert all(len(tokenizer.encode(choice, add_special_tokens=False)) == 1 for choice in choices)
    assert len(tokenizer.encode("100", add_special_tokens=False)) == 3


def test_the_judges_tokenizer_is_the_shared_one_with_tokens_behind_it(tokenizer):
    """So the policy's weights, and the judge's of the first training, keep their meaning."""
    shared = AutoTokenizer.from_pretrained(resolve_model("tiny-policy")).get_vocab()
    own = tokenizer.get_vocab()
    assert own.items() >= shared.items()
    assert len(shared) == VOCABULARY
    assert {token for token, place in own.items() if place >= VOCABULARY} == {*MODE_TAGS, *mode_sentences(), TEN}
    assert set(fixed_sentences()) <= shared.keys()


def test_tokens_that_were_never_read_begin_anew_and_all_others_stay(tokenizer):
    """Training leaves rows it never reads in one direction; those of digits must come out of it to be told apart."""
    backend = tokenizer.backend_tokenizer
    torch.manual_seed(0)
    rows = torch.randn(VOCABULARY, 64)
    digits = [backend.token_to_id(str(digit)) for digit in range(1, 10)]
    unread = [*digits, backend.token_to_id("0"), backend.token_to_id("%")]
    rows[unread] = 2 * torch.randn(64) + 0.1 * torch.randn(len(unread), 64)
    made = with_new_tokens({"embed_tokens.weight": rows, "norm.weight": torch.ones(64)}, backend, VOCABULARY + 16)
    new = made["embed_tokens.weight"]
    assert {i for i in range(VOCABULARY) if not torch.equal(new[i], rows[i])} == set(digits)
    alike = torch.nn.functional.cosine_similarity(new[digits][:, None], new[digits][None], dim=-1)
    assert (alike - torch.eye(9)).abs().max() < 0.6
    old, own = (backend.token_to_id(tag) for tag in ("<response_a>", "<response>"))
    assert torch.equal(new[own], rows[old])
    assert new.shape == (VOCABULARY + 16, 64)
    assert torch.equal(made["norm.weight"], torch.ones(64))


def test_what_is_shipped_reads_by_a_mean_of_both_trainings_and_writes_by_the_second():
    names = ("embed_tokens.weight", "layers.0.mlp.w", "layers.3.mlp.w", "layers.4.mlp.w", "norm.weight")
    made = mixed(*({name: torch.full((2,), float(value)) for name in names} for value in (0, 1)))
    assert {name: round(value[0].item(), 6) for name, value in made.items()} == dict(
        zip(names, (1.0, 0.6, 0.6, 1.0, 1.0), strict=True)
    )


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
        assert batch.readings.principle_property[tail] == NAMES.index(wording.property)
        assert bool(batch.readings.principle_direction[tail]) == (wording.direction == PREFER)
    tags = batch.packed.tokens[batch.readings.closing_at].tolist()
    assert tags == [text.close_a, text.close_b] * 2
    assert set(batch.packed.tokens[batch.readings.sentence_at].tolist()) <= text.stops


def test_reasons_are_labelled_word_by_word_and_their_verdict_apart(text):
    rng = seeded("reasons")
    one = draw_comparison(rng, num_wordings=4)
    batch = make_batch([one, one.swapped()], text, "reasoned", rng)
    tokens = batch.packed.tokens
    assert set(tokens[batch.stated_at + 1].tolist()) <= set(text.named)
    assert torch.equal(batch.stated_prefers_a, batch.prefers_a)
    decided = batch.stated_prefers_a != 0.5
    stated = torch.tensor([text.named[0]]) == tokens[batch.stated_at + 1]
    assert torch.equal(stated[decided], batch.stated_prefers_a[decided] == 1)
    assert not set(batch.written_at.tolist()) & set(batch.stated_at.tolist())
    assert torch.equal(tokens[batch.written_at + 1], batch.written_next)
    assert (batch.written_next == text.end).sum() == 8


def test_scores_are_labelled_by_the_ends_of_their_scales(text):
    rng = seeded("scores")
    scorings = [draw_scoring(rng, num_wordings=5) for _ in range(6)]
    batch = make_score_batch(scorings, text)
    told = zip([(one, i) for one in scorings for i in range(5)], batch.score_next.tolist(), strict=True)
    for (one, i), token in told:
        wording = one.wordings[i]
        does = (wording.property in one.answer.properties) == (wording.direction == PREFER)
        assert token == text.score(one.scales[i].highest if does else 1)
    assert set(batch.packed.tokens[batch.readings.closing_at].tolist()) == {text.close_one}
    assert set(batch.packed.tokens[batch.score_at].tolist()) == {text.encode("<|assistant|>")[0]}
    assert 0.2 < batch.follows.mean() < 0.8


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
