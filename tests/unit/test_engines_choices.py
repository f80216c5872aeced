"""How choices are spelled and how their probabilities are put together."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.engines.choices import ChoiceTree, Spellings, logsumexp, make_tree
from rlaif.engines.light_tokenizer import LightTokenizer
from rlaif.errors import InputError
from tests.tiny_llama import write_tiny_llama


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_llama(tmp_path_factory.mktemp("llama"), weights=False)


@pytest.fixture(scope="module")
def split_folder(tmp_path_factory):
    return write_tiny_llama(tmp_path_factory.mktemp("split"), split_letters=True, weights=False)


def test_every_vocabulary_id_that_reads_as_the_choice_is_a_spelling_and_no_other(folder):
    tokenizer = LightTokenizer(folder / "tokenizer.json")
    tree = Spellings(tokenizer).tree(("A", "B"))
    decode = tokenizer.backend_tokenizer.decode
    for choice, spelled in zip(("A", "B"), tree.spellings, strict=True):
        ids = {tokens[0] for tokens in spelled}
        assert ids == {n for n in range(len(tokenizer)) if decode([n]).strip() == choice}
        assert len(ids) == 2  # "A" and " A"
    assert tree.method == "first_token"


def test_case_matters(folder):
    spellings = Spellings(LightTokenizer(folder / "tokenizer.json"))
    upper, lower = spellings.tree(("A", "a")).spellings
    assert not set(upper) & set(lower)


@pytest.mark.slow  # importing transformers takes seconds
def test_the_light_tokenizer_spells_like_transformers_does(folder, split_folder):
    from transformers import AutoTokenizer

    for one in (folder, split_folder):
        light, full = LightTokenizer(one / "tokenizer.json"), AutoTokenizer.from_pretrained(one)
        for choices in (("A", "B"), ("answer", "question"), ("not there", "7")):
            assert Spellings(light).tree(choices).spellings == Spellings(full).tree(choices).spellings


def test_a_tokenizer_without_a_single_token_for_a_choice_gets_its_sequences(split_folder):
    tree = Spellings(LightTokenizer(split_folder / "tokenizer.json")).tree(("A", "B"))
    assert tree.method == "continuation"
    assert all(len(tokens) >= 2 for spelled in tree.spellings for tokens in spelled)


@pytest.mark.parametrize(("choices", "words"), [(("A", " A"), "same tokens"), (("A", "A"), "same tokens")])
def test_choices_that_share_a_spelling_are_refused(folder, choices, words):
    spellings = Spellings(LightTokenizer(folder / "tokenizer.json"))
    with pytest.raises(InputError, match=words):
        spellings.tree(tuple(choice.strip() for choice in choices))
    with pytest.raises(InputError, match="cannot be written"):
        spellings.tree(("A", "  "))


def test_single_token_probabilities_are_summed_and_the_rest_is_uncovered():
    tree = make_tree(("A", "B"), [((1,), (2,)), ((3,),)])
    logprobs, uncovered = tree.logprobs({(): {1: math.log(0.3), 2: math.log(0.2), 3: math.log(0.1)}})
    assert logprobs == pytest.approx((math.log(0.5), math.log(0.1)))
    assert uncovered == pytest.approx(0.4)


def test_a_very_unlikely_choice_keeps_its_log_probability():
    tree = make_tree(("A", "B"), [((1,),), ((3,),)])
    logprobs, _ = tree.logprobs({(): {1: -900.0, 3: -1000.0}})
    assert logprobs == (-900.0, -1000.0)


def test_ten_is_not_one_where_scores_are_written_digit_by_digit():
    one, zero = 11, 10
    tree = make_tree(("1", "10"), [((one,),), ((one, zero),)])
    tables = {(): {one: math.log(0.8)}, (one,): {zero: math.log(0.25)}}
    logprobs, uncovered = tree.logprobs(tables)
    assert [math.exp(value) for value in logprobs] == pytest.approx([0.6, 0.2])
    assert uncovered == pytest.approx(0.2)


def test_scores_in_digits_are_spelled_alike_so_that_ten_gains_nothing_by_its_own_space(tmp_path):
    """Llama's way: "10" and " 10" begin with the tokens of "1" and of " 1", and every score has both ways."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocab = {piece: n for n, piece in enumerate(["▁", *"0123456789"])}
    tokenizer = Tokenizer(models.BPE(vocab, []))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    scores = tuple(str(score) for score in range(1, 11))
    tree = Spellings(LightTokenizer(tmp_path / "tokenizer.json")).tree(scores)
    space, one, zero = vocab["▁"], vocab["1"], vocab["0"]
    assert tree.method == "continuation"
    assert set(tree.spellings[0]) == {(one,), (space, one)}
    assert set(tree.spellings[8]) == {(vocab["9"],), (space, vocab["9"])}
    assert set(tree.spellings[9]) == {(one, zero), (space, one, zero)}
    even = {token: math.log(1 / 11) for token in vocab.values()}
    logprobs, uncovered = tree.logprobs(dict.fromkeys(tree.children, even))
    nine, ten, first = math.exp(logprobs[8]), math.exp(logprobs[9]), math.exp(logprobs[0])
    assert nine == pytest.approx(1 / 11 + 1 / 121)
    assert ten == pytest.approx(nine / 11)
    assert first == pytest.approx(nine - ten)
    assert uncovered == pytest.approx(1 - 9 * nine)


@st.composite
def trees(draw):
    """A random tree of choices and a random model over a vocabulary of four tokens."""
    sequences = draw(
        st.sets(st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple), min_size=2, max_size=6).map(sorted)
    )
    return make_tree(tuple(f"c{n}" for n in range(len(sequences))), [(one,) for one in sequences]), draw(
        st.integers(0, 10_000)
    )


@settings(max_examples=25, deadline=None)
@given(trees())
def test_choices_get_what_brute_force_over_all_texts_gives_them(made: tuple[ChoiceTree, int]):
    tree, seed = made

    def table(node):
        weights = [random.Random(f"{seed}{node}{n}").random() + 0.01 for n in range(4)]
        return {n: math.log(weight / sum(weights)) for n, weight in enumerate(weights)}

    sequences = [spelled[0] for spelled in tree.spellings]
    expected = dict.fromkeys(sequences, 0.0)
    for text in ((a, b, c, d) for a in range(4) for b in range(4) for c in range(4) for d in range(4)):
        chance = math.exp(sum(table(text[:n])[text[n]] for n in range(4)))
        held = [one for one in sequences if text[: len(one)] == one]
        if held:
            expected[max(held, key=len)] += chance  # the longest choice that the text begins with
    logprobs, uncovered = tree.logprobs({node: table(node) for node in tree.children})
    longest_first = {one: expected[one] for one in sequences}
    got = {one: math.exp(value) for one, value in zip(sequences, logprobs, strict=True)}
    for one in sequences:
        deeper = [other for other in sequences if len(other) > len(one) + 1 and other[: len(one)] == one]
        skipped = any(other[: len(one) + 1] not in sequences for other in deeper)
        if not skipped:
            assert got[one] == pytest.approx(longest_first[one], abs=1e-9)
    assert 0 <= uncovered <= 1


@given(st.lists(st.floats(-800, 5), min_size=1, max_size=6))
def test_logsumexp_is_the_log_of_the_sum(values):
    assert logsumexp(values) == pytest.approx(
        max(values) + math.log(sum(math.exp(v - max(values)) for v in values)), abs=1e-9
    )


def test_logsumexp_of_nothing_is_minus_infinity():
    assert logsumexp([]) == -math.inf
    assert logsumexp([-math.inf, -math.inf]) == -math.inf
