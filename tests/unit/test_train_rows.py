"""From a dataset's rows to token sequences: what is scored, what is kept, cut or refused, and that all is counted."""

import ast
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from rlaif.bundled import resolve_model
from rlaif.errors import DataError, InputError, Where
from rlaif.pair_dataset import DatasetWriter
from rlaif.records import Message, Pair, Prompt, Response
from rlaif.train.examples import DataEntry, Limits, read_demonstrations, read_preferences, rows_digest
from rlaif.train.packing import common_prefix
from rlaif.train.rows import EMPTY, NO_WEIGHT, SAME, TIE, PreferenceRow, Refused, preference_row
from rlaif.train.tokenise import NO_ANSWER_LEFT, TOO_LONG, UNSTABLE, Tokeniser, fit

ROOT = Path(__file__).resolve().parents[2]
HERE = Where("data.jsonl", 3)


@pytest.fixture(scope="module")
def tiny():
    return transformers.AutoTokenizer.from_pretrained(resolve_model("tiny-policy"))


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def shown(tokenizer, one):
    """The scored tokens' text, and the whole."""
    return tokenizer.decode(one.ids[one.scored]), tokenizer.decode(one.ids)


# --- rows


def test_explicit_and_implicit_prompts_of_conversations_are_the_same_row():
    explicit = {"prompt": [user("hi")], "chosen": [assistant("a")], "rejected": [assistant("b")]}
    implicit = {"chosen": [user("hi"), assistant("a")], "rejected": [user("hi"), assistant("b")]}
    assert preference_row(explicit, HERE) == preference_row(implicit, HERE)


def test_the_implicit_prompt_of_texts_is_what_they_begin_with():
    row = preference_row({"chosen": "Q: sky? A: blue", "rejected": "Q: sky? A: black"}, HERE)
    assert (row.prompt, row.chosen, row.rejected) == ("Q: sky? A: bl", "ue", "ack")
    row = preference_row({"chosen": "The sky is blue.", "rejected": "The sky is green."}, HERE)
    assert (row.prompt, row.chosen, row.rejected) == ("The sky is", " blue.", " green.")


def test_labels_are_soft_unless_asked_to_be_hard():
    raw = {"prompt": "q", "chosen": "a", "rejected": "b", "probability": 0.3, "margin": 0.4, "weight": 2}
    soft = preference_row(raw, HERE)
    assert (soft.chosen, soft.probability, soft.margin, soft.weight) == ("a", 0.3, 0.4, 2.0)
    hard = preference_row(raw, HERE, labels="hard")
    assert (hard.chosen, hard.rejected, hard.probability, hard.margin) == ("b", "a", 1.0, -0.4)
    assert preference_row({**raw, "probability": 0.5}, HERE, labels="hard") == Refused(TIE)
    assert preference_row({**raw, "probability": None}, HERE).probability == 1.0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"chosen": " "}, EMPTY), ({"chosen": "b"}, SAME), ({"weight": 0}, NO_WEIGHT), ({"rejected": ""}, EMPTY)],
)
def test_a_row_nothing_can_be_learnt_from_is_refused_with_a_reason(changes, reason):
    assert preference_row({"prompt": "q", "chosen": "a", "rejected": "b", **changes}, HERE) == Refused(reason)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"probability": 1.2}, "probability.*1.2"),
        ({"probability": float("nan")}, "probability.*nan"),
        ({"probability": True}, "probability"),
        ({"weight": -1}, "weight"),
        ({"weight": float("inf")}, "weight"),
        ({"chosen": None}, "no `chosen`"),
        ({"chosen": [assistant("a")]}, "not all texts or all conversations"),
        ({"chosen": [{"role": "assistant"}]}, "neither a text nor a list"),
    ],
)
def test_a_row_that_contradicts_itself_stops_the_reading_with_its_place(changes, words):
    with pytest.raises(DataError, match=rf"data.jsonl:3: .*{words}"):
        preference_row({"prompt": "q", "chosen": "a", "rejected": "b", **changes}, HERE)


# --- locating the answer


def test_the_answer_is_scored_with_its_end_of_turn_and_nothing_else(tiny):
    found = Tokeniser(tiny).tokenise((user("Who are you?"),), [(assistant("I am a model."),)])
    turns = [user("Who are you?"), assistant("I am a model.")]
    assert shown(tiny, found.family[0])[0] == "I am a model.<|end|>"
    assert found.family[0].ids.tolist() == tiny.apply_chat_template(turns)["input_ids"]
    assert not found.is_merged


def test_of_several_turns_only_the_answers_after_the_prompt_are_scored(tiny):
    turns = (user("one"), assistant("two"), user("three"), assistant("four"))
    tokeniser = Tokeniser(tiny)
    assert shown(tiny, tokeniser.tokenise((), [turns]).family[0])[0] == "two<|end|>four<|end|>"
    assert shown(tiny, tokeniser.tokenise(turns[:3], [turns[3:]]).family[0])[0] == "four<|end|>"


def test_texts_end_with_one_end_of_sequence_token(tiny):
    tokeniser = Tokeniser(tiny)
    (one,) = tokeniser.tokenise("The sky is", [" blue."]).family
    assert one.ids[-1] == tiny.eos_token_id
    assert one.ids[-2] != tiny.eos_token_id
    assert shown(tiny, one)[0] == " blue.<|end|>"
    (written,) = tokeniser.tokenise("The sky is", [" blue.<|end|>"]).family
    assert np.array_equal(written.ids, one.ids)


def merging_tokenizer():
    """Knows a, b, ":" and the merged ":a"."""
    vocabulary = {token: number for number, token in enumerate(["a", "b", ":", ":a", "<bos>", "<eos>"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [(":", "a")]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Split(" ", "isolated"), decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken("<bos>", special=True), AddedToken("<eos>", special=True)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>")


def test_a_token_that_merges_prompt_and_answer_is_scored_and_the_row_counted():
    found = Tokeniser(merging_tokenizer()).tokenise("b:", ["ab", "bb"])
    merged, clean = found.family
    assert found.is_merged
    assert merged.ids.tolist() == [1, 3, 1, 5]  # b, :a, b, <eos>
    assert merged.scored.tolist() == [False, True, True, True]
    assert clean.scored.tolist() == [False, False, True, True, True]
    assert not Tokeniser(merging_tokenizer()).tokenise("b:", ["bb"]).is_merged


def with_template(tokenizer, template):
    changed = transformers.AutoTokenizer.from_pretrained(resolve_model("tiny-policy"))
    changed.chat_template = template
    return Tokeniser(changed)


def test_a_generation_prompt_that_opens_a_thinking_block_does_not_hide_the_answer(tiny):
    template = (
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n<think>\n{% endif %}"
    )
    found = with_template(tiny, template).tokenise((user("hi"),), [(assistant("yes"),)])
    assert shown(tiny, found.family[0])[0] == "yes<|end|>"


def test_a_template_that_rewrites_earlier_turns_is_refused_for_those_turns(tiny):
    template = (
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content if loop.last else m.content[:1] }}<|end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    )
    tokeniser = with_template(tiny, template)
    turns = (user("hi"), assistant("first"), user("and"), assistant("second"))
    assert tokeniser.tokenise((), [turns]) == Refused(UNSTABLE)


def test_missing_parts_of_a_tokenizer_are_named(tiny):
    with pytest.raises(InputError, match="no chat template"):
        with_template(tiny, None).tokenise((user("hi"),), [(assistant("a"),)])
    bare = merging_tokenizer()
    bare.eos_token = None
    with pytest.raises(InputError, match="no end-of-sequence token"):
        Tokeniser(bare).tokenise("a", ["b"])


# --- too long


def long_pair(tiny):
    return Tokeniser(tiny).tokenise("The sky is often", [" blue and wide and clear.", " red."])


def test_too_long_rows_are_refused_cut_at_the_answer_or_cut_at_the_prompt(tiny):
    row = long_pair(tiny)
    limit = max(len(one) for one in row.family) - 2
    assert fit(row, limit, "refuse") == Refused(TOO_LONG)
    cut = fit(row, limit, "cut_answer")
    assert cut.is_cut
    assert np.array_equal(cut.family[0].ids, row.family[0].ids[:limit])
    assert cut.family[0].ids[-1] != tiny.eos_token_id  # a cut answer does not look finished
    assert np.array_equal(cut.family[1].ids, row.family[1].ids)
    moved = fit(row, limit, "cut_prompt")
    for before, after in zip(row.family, moved.family, strict=True):
        assert after.ids.tolist() == [before.ids[0], *before.ids[3:]]  # the same two prompt tokens from both
        assert after.num_scored == before.num_scored
    assert fit(row, limit + 2, "refuse") == row


def test_cutting_never_leaves_an_empty_answer_or_two_equal_ones(tiny):
    row = long_pair(tiny)
    prompt = int(row.family[0].scored.argmax())
    assert fit(row, prompt, "cut_answer") == Refused(NO_ANSWER_LEFT)
    assert fit(row, 3, "cut_prompt") == Refused(TOO_LONG)
    alike = Tokeniser(tiny).tokenise("The sky", [" is often very blue.", " is often very old."])
    shared = common_prefix(alike.family)
    assert shared > alike.family[0].scored.argmax() + 1
    assert fit(alike, shared, "cut_answer") == Refused(SAME)


def test_a_header_token_that_swallows_white_space_is_not_scored(tiny):
    """The tiny models' header token takes the white space after it, also where the answer begins with some."""
    found = Tokeniser(tiny).tokenise((user("hi"),), [(assistant("\n yes"),)])
    assert not found.is_merged
    assert found.family[0].ids[found.family[0].scored.argmax() - 1] == tiny.convert_tokens_to_ids("<|assistant|>")


# --- files and the card


def write_jsonl(path, rows):
    with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)
    return str(path)


PAIRS = [{"prompt": "The sky is", "chosen": " blue.", "rejected": f" {word}."} for word in ("red", "tall", "old")]


def test_every_row_read_is_kept_or_refused_and_counted_by_source(tiny, tmp_path):
    people = write_jsonl(tmp_path / "people.jsonl", [*PAIRS, {**PAIRS[0], "chosen": ""}])
    machine = write_jsonl(tmp_path / "machine.jsonl.gz", [*PAIRS, {**PAIRS[0], "chosen": PAIRS[0]["rejected"]}])
    entries = [DataEntry(path=people, name="people"), DataEntry(path=machine, name="machine", weight=0.5)]
    rows, card = read_preferences(entries, Tokeniser(tiny), Limits(max_length=64))
    assert card.num_rows == len(rows) == 6
    for name, reason in (("people", EMPTY), ("machine", SAME)):
        counts = card.sources[name]
        assert (counts.read, counts.kept, dict(counts.refused)) == (4, 3, {reason: 1})
        assert counts.read == counts.kept + counts.refused.total()
    assert [row.weight for row in rows] == [1.0] * 3 + [0.5] * 3
    card.check()


def test_uneven_refusals_stop_the_training_unless_allowed(tiny, tmp_path):
    long = {**PAIRS[0], "chosen": " blue" * 50}
    entries = [
        DataEntry(path=write_jsonl(tmp_path / "a.jsonl", PAIRS), name="a"),
        DataEntry(path=write_jsonl(tmp_path / "b.jsonl", [*PAIRS, long]), name="b"),
    ]
    _, card = read_preferences(entries, Tokeniser(tiny), Limits(max_length=20))
    with pytest.raises(DataError, match=r"'b' lost 25\.0% of its rows, 'a' only 0\.0%"):
        card.check()
    card.check(allow_uneven=True)


def test_nothing_left_is_an_error_that_says_why(tiny, tmp_path):
    entry = DataEntry(path=write_jsonl(tmp_path / "a.jsonl", PAIRS), name="a")
    _, card = read_preferences([entry], Tokeniser(tiny), Limits(max_length=3))
    with pytest.raises(DataError, match="3 × too long"):
        card.check()


def test_our_own_dataset_is_read_as_it_was_written(tiny, tmp_path):
    prompt = Prompt(messages=(Message("user", "Tell me about oak."),))
    said = {"policy": "p", "sample_index": 0, "finish_reason": "stop", "prompt_tokens": 1, "output_tokens": 1}
    first, second = (Response(prompt_id=prompt.id, text=text, **said) for text in ("Oak is hard.", "No."))
    common = {"id": "x", "is_tie": False, "verdicts": (), "shares": {}, "judge": "j"}
    pair = Pair(prompt=prompt, chosen=first, rejected=second, probability=0.8, margin=0.6, **common)
    writer = DatasetWriter(tmp_path / "dataset")
    writer.add([pair])
    writer.finish("card")
    (row,), card = read_preferences(
        [DataEntry(path="dataset", name="ai")], Tokeniser(tiny), Limits(max_length=64), base=tmp_path
    )
    assert (row.probability, row.weight, row.margin) == (0.8, 1.0, 0.6)
    assert [shown(tiny, one)[0] for one in row.family] == ["Oak is hard.<|end|>", "No.<|end|>"]
    assert card.sources["ai"].kept == 1


def test_demonstrations_are_read_from_every_usual_format(tiny, tmp_path):
    rows = [
        {"messages": [user("hi"), assistant("yes"), user("so"), assistant("no")]},
        {"prompt": [user("hi")], "completion": [assistant("yes")]},
        {"prompt": [user("hi")], "chosen": [assistant("yes")], "rejected": [assistant("no")]},
        {"prompt": "The sky is", "completion": " blue."},
        {"text": "The sky is blue."},
    ]
    entry = DataEntry(path=write_jsonl(tmp_path / "a.jsonl", rows), name="a")
    found, card = read_demonstrations([entry], Tokeniser(tiny), Limits(max_length=64))
    scored = [shown(tiny, row.family[0])[0] for row in found]
    assert scored[:4] == ["yes<|end|>no<|end|>", "yes<|end|>", "yes<|end|>", " blue.<|end|>"]
    assert scored[4].endswith("sky is blue.<|end|>")  # all but the first token, which nothing predicts
    assert card.num_rows == 5


def test_the_digest_names_what_the_trainer_sees(tiny, tmp_path):
    def digest(**changes):
        path = write_jsonl(tmp_path / "a.jsonl", [{**row, **changes} for row in PAIRS])
        return rows_digest(
            read_preferences([DataEntry(path=path, name="a")], Tokeniser(tiny), Limits(max_length=64))[0]
        )

    same = digest()
    assert digest(judge="someone", source="people") == same
    assert len({same, digest(probability=0.9), digest(weight=2.0), digest(chosen=" grey.")}) == 4


@pytest.mark.parametrize(
    ("name", "words"),
    [("nothing.jsonl", "no such file"), ("notes.txt", "not read"), ("broken.jsonl", "broken.jsonl:2: .*not JSON")],
)
def test_unreadable_data_are_one_clear_error(tiny, tmp_path, name, words):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "broken.jsonl").write_text(json.dumps(PAIRS[0]) + "\n{oops\n")
    with pytest.raises(DataError, match=words):
        read_preferences([DataEntry(path=name, name="a")], Tokeniser(tiny), Limits(max_length=64), base=tmp_path)


# --- source-blindness

READING = {"reading", "rows", "examples"}  # what a dataset's columns pass through; everything else has none to read


def test_trainers_never_read_who_made_a_label():
    """No module that computes names a source or a judge, or imports what reads one."""
    forbidden = {"source", "judge", "read_raw", "preference_row", "demonstration_row"}
    forbidden |= {"rlaif.train.reading", "rlaif.labels", "rlaif.feedback"}
    computing = [path for path in sorted((ROOT / "rlaif" / "train").glob("*.py")) if path.stem not in READING]
    assert len(computing) > 15
    for path in computing:
        tree = list(ast.walk(ast.parse(path.read_text())))
        names = {node.id for node in tree if isinstance(node, ast.Name)}
        names |= {node.attr for node in tree if isinstance(node, ast.Attribute)} - {"source"}  # of a model's files
        names |= {node.value for node in tree if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        names |= {node.module or "" for node in tree if isinstance(node, ast.ImportFrom)}
        assert not names & forbidden, path.name


class Asked(dict):
    """A row that remembers which of its columns were asked for."""

    def __init__(self, row):
        super().__init__(row)
        self.columns = set()

    def __getitem__(self, name):
        self.columns.add(name)
        return super().__getitem__(name)

    def get(self, name, default=None):
        self.columns.add(name)
        return super().get(name, default)


def test_a_row_is_never_asked_who_labelled_it():
    row = Asked({"prompt": "q", "chosen": "a", "rejected": "b", "source": "human", "judge": "people", "tags": []})
    preference_row(row, HERE)
    assert row.columns == {"prompt", "chosen", "rejected", "probability", "weight", "margin"}


def test_a_row_that_trainers_see_has_no_place_for_a_source():
    from rlaif.train.examples import TrainingRow

    assert set(TrainingRow.__dataclass_fields__) == {"family", "probability", "weight", "margin"}
    assert "source" not in PreferenceRow.__dataclass_fields__
