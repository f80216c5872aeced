"""From a dataset's rows to token sequences: what is scored, what is kept, cut or refused, and that all is counted."""

import ast
import gzip
import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from rlaif.bundled import resolve_model
from rlaif.errors import DataError, InputError, Where
from rlaif.pair_dataset import DatasetWriter
from rlaif.records import Message, Pair, Prompt, Response
from rlaif.train.answer_rows import AnswerRow, answer_rows, ranked_row
from rlaif.train.cells import EMPTY, NO_WEIGHT, SAME, SKIPPED, TIE, Refused
from rlaif.train.examples import (
    DataEntry,
    Limits,
    read_answers,
    read_demonstrations,
    read_preferences,
    read_rankings,
    rows_digest,
)
from rlaif.train.packing import common_prefix
from rlaif.train.rows import PreferenceRow, demonstration_row, preference_row
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


# --- votes of a label file

VOTE = {"prompt": [user("hi")], "first": "a", "second": "b", "rater": "ann", "kind": "human"}


@pytest.mark.parametrize(
    ("said", "chosen", "probability"),
    [
        ({"choice": "first"}, "a", 1.0),
        ({"choice": "second"}, "b", 1.0),
        ({"choice": "tie"}, "a", 0.5),
        ({"choice": "both_bad"}, "a", 0.5),
        ({"probability": 0.9}, "a", 0.9),
        ({"probability": 0.25}, "b", 0.75),
    ],
)
def test_a_vote_is_the_pair_it_is_about_with_the_better_answer_as_chosen(said, chosen, probability):
    row = preference_row({**VOTE, "choice": None, "probability": None, **said}, HERE)
    assert (row.chosen[0]["content"], row.probability) == (chosen, probability)
    assert {row.chosen[0]["content"], row.rejected[0]["content"]} == {"a", "b"}


def test_a_skipped_vote_is_refused_and_one_that_says_nothing_is_an_error():
    assert preference_row({**VOTE, "choice": "skipped"}, HERE) == Refused(SKIPPED)
    with pytest.raises(DataError, match=r"data.jsonl:3: .*neither `choice` nor `probability`"):
        preference_row(VOTE, HERE)
    with pytest.raises(DataError, match="`choice` is 'A'"):
        preference_row({**VOTE, "choice": "A"}, HERE)


def test_verdicts_under_principles_follow_the_answer_they_prefer():
    marks = [{"principle": "kind", "probability": 0.9}, {"principle": "brief", "choice": "second"}, {"principle": "x"}]
    for choice, kind, brief in (("first", 0.9, 0.0), ("second", pytest.approx(0.1), 1.0)):
        row = preference_row({**VOTE, "choice": choice, "marks": marks}, HERE, with_principles=True)
        assert row.principles == {"kind": kind, "brief": brief}
    pair = {"prompt": "q", "chosen": "a", "rejected": "b", "probability": 0.3, "principles": {"kind": 0.2}}
    assert preference_row(pair, HERE, with_principles=True).principles == {"kind": 0.2}
    assert preference_row(pair, HERE, labels="hard", with_principles=True).principles == {"kind": 1.0}
    assert preference_row(pair, HERE).principles == {}
    with pytest.raises(DataError, match=r"`probability` is 7"):
        preference_row({**pair, "principles": {"kind": 7}}, HERE, with_principles=True)


def test_sft_imitates_the_better_answer_whichever_column_holds_it():
    assert demonstration_row({**VOTE, "choice": "second"}, HERE).completion[0]["content"] == "b"
    pair = {"prompt": "q", "chosen": "a", "rejected": "b", "probability": 0.3}
    assert demonstration_row(pair, HERE).completion == "b"
    assert demonstration_row({**pair, "probability": 0.5}, HERE) == Refused(TIE)


# --- answers in an order, and single ones

RANKED = {"prompt": "q", "answers": ["a", "b", "c"]}


def compared(row):
    """{better + worse: probability}"""
    return {row.answers[one] + row.answers[other]: p for one, other, p in row.comparisons}


def test_every_two_of_the_ranked_answers_are_compared():
    assert compared(ranked_row(RANKED, HERE)) == {"ab": 1, "ac": 1, "bc": 1}  # without ranks the best comes first
    assert compared(ranked_row({**RANKED, "ranks": [3, 1, 2]}, HERE)) == {"bc": 1, "ba": 1, "ca": 1}
    assert compared(ranked_row({**RANKED, "scores": [0.5, 7, 7]}, HERE)) == {"ba": 1, "ca": 1, "bc": 0.5}
    assert compared(ranked_row({**RANKED, "scores": [0.5, 7, 7]}, HERE, labels="hard")) == {"ba": 1, "ca": 1}
    assert ranked_row({**RANKED, "ranks": [1, 1, 1]}, HERE, labels="hard") == Refused(TIE)
    assert ranked_row({**RANKED, "answers": ["a", "", "c"]}, HERE) == Refused(EMPTY)
    assert ranked_row({**RANKED, "answers": ["a", "b", "a"]}, HERE) == Refused(SAME)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ranks": [1, 2]}, "3 answers, but 2 ranks"),
        ({"ranks": [1, None, 2]}, "3 answers, but 2 ranks"),
        ({"ranks": [1, 2, 3], "scores": [1, 2, 3]}, "both `ranks` and `scores`"),
        ({"answers": ["a"]}, "no list of two or more"),
        ({"answers": ["a", [assistant("b")]]}, "an answer is a conversation"),
        ({"scores": [1, 2, float("nan")]}, "`scores` is nan"),
    ],
)
def test_a_ranking_that_contradicts_itself_is_named_with_its_place(changes, words):
    with pytest.raises(DataError, match=rf"data.jsonl:3: .*{words}"):
        ranked_row({**RANKED, **changes}, HERE)


def test_single_answers_are_trls_unpaired_rows_or_the_two_of_a_pair():
    (good,) = answer_rows({"prompt": "q", "completion": "a", "label": True}, HERE)
    assert good == AnswerRow(prompt="q", completion="a", probability=1.0, weight=1.0)
    (doubtful,) = answer_rows({"prompt": "q", "completion": "a", "probability": 0.3, "weight": 2}, HERE)
    assert (doubtful.probability, doubtful.weight) == (0.3, 2.0)
    pair = {"prompt": "q", "chosen": "a", "rejected": "b", "probability": 0.8}
    assert [(row.completion, row.probability) for row in answer_rows(pair, HERE)] == [
        ("a", 0.8),
        ("b", pytest.approx(0.2)),
    ]
    assert [row.probability for row in answer_rows(pair, HERE, labels="hard")] == [1.0, 0.0]
    assert answer_rows({"prompt": "q", "completion": "a", "probability": 0.5}, HERE, labels="hard") == Refused(TIE)
    with pytest.raises(DataError, match="`label` is 'good'"):
        answer_rows({"prompt": "q", "completion": "a", "label": "good"}, HERE)
    with pytest.raises(DataError, match="neither `label` nor `probability`"):
        answer_rows({"prompt": "q", "completion": "a"}, HERE)


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
    with pytest.raises(DataError, match=r"'b' lost 25\.0% of its rows \(1 [a-z ]+\), 'a' only 0\.0%"):
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


def test_a_ranking_is_one_row_for_a_reward_model_and_pairs_for_dpo(tiny, tmp_path):
    ranked = {"prompt": "The sky is", "answers": [" blue.", " grey.", " red."], "weight": 2}
    entry = DataEntry(path=write_jsonl(tmp_path / "a.jsonl", [ranked, PAIRS[0]]), name="a", weight=0.5)
    (together, pair), card = read_rankings([entry], Tokeniser(tiny), Limits(max_length=64))
    assert (len(together.family), len(together.comparisons), together.weight) == (3, 3, 1.0)
    assert sum(one.weight for one in together.pairs) == pytest.approx(1.0)  # a prompt counts once
    assert (card.num_rows, card.sources["a"].kept, pair.comparisons) == (2, 2, ())
    apart, card = read_preferences([entry], Tokeniser(tiny), Limits(max_length=64))
    assert [len(row.family) for row in apart] == [2, 2, 2, 2]
    assert sum(row.weight for row in apart) == pytest.approx(1.0 + 0.5)
    assert (card.num_rows, card.sources["a"].kept) == (4, 2)
    assert card.places == [f"{entry.path}:{line}" for line in (1, 1, 1, 2)]


def test_a_label_file_as_our_labels_wing_writes_it_is_read(tiny, tmp_path):
    from rlaif.labels.file import write_votes
    from rlaif.labels.votes import Found, make_vote

    said = {"prompt": (Message("user", "hi"),), "first": "yes", "second": "no"}
    votes = [
        Found(rater="ann", kind="human", choice="second", is_order_known=True, **said),
        Found(rater="j", kind="judge", probability=0.8, is_order_known=True, **said),
        Found(rater="bob", kind="human", choice="skipped", **said),
    ]
    for name in ("labels.jsonl", "labels.parquet"):
        write_votes(tmp_path / name, [make_vote(vote, source="") for vote in votes])
        entry = DataEntry(path=name, name="people")
        rows, card = read_preferences([entry], Tokeniser(tiny), Limits(max_length=64), base=tmp_path)
        assert [(shown(tiny, row.family[0])[0], row.probability) for row in rows] == [
            ("no<|end|>", 1.0),
            ("yes<|end|>", 0.8),
        ]
        assert card.sources["people"].labellers == {"human": 1, "judge": 1}
        assert card.sources["people"].refused == {SKIPPED: 1}


def test_a_dataset_is_read_through_the_library_that_loads_hub_datasets(tiny, tmp_path):
    """By its folder here, by its name on the hub: the same call of `datasets`, with a split."""
    folder = tmp_path / "set"
    folder.mkdir()
    for split, count in (("train", 3), ("test", 1)):
        write_jsonl(folder / f"{split}.jsonl", PAIRS[:count])
    for split, count in (("train", 3), ("test", 1)):
        entry = DataEntry(path="set", name="a", split=split)
        rows, card = read_preferences([entry], Tokeniser(tiny), Limits(max_length=64), base=tmp_path)
        assert len(rows) == count
        assert card.places[0] == f"{folder}[{split}] row 1"
    with pytest.raises(DataError, match="the dataset cannot be loaded"):
        read_preferences(
            [DataEntry(path="set", name="a", split="none")], Tokeniser(tiny), Limits(max_length=64), base=tmp_path
        )


def test_a_dataset_that_was_saved_to_disk_is_read_with_and_without_splits(tiny, tmp_path):
    whole = datasets.Dataset.from_list(PAIRS)
    whole.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": whole, "test": whole.select([0])}).save_to_disk(tmp_path / "splits")
    for name, split, count in (("one", "train", 3), ("splits", "train", 3), ("splits", "test", 1)):
        entry = DataEntry(path=name, name=name, split=split)
        rows, _ = read_preferences([entry], Tokeniser(tiny), Limits(max_length=64), base=tmp_path)
        assert len(rows) == count
    with pytest.raises(DataError, match="the splits are train, test; there is no 'dev'"):
        read_preferences(
            [DataEntry(path="splits", name="a", split="dev")], Tokeniser(tiny), Limits(max_length=64), base=tmp_path
        )


def test_answers_of_pairs_are_two_rows_and_the_card_says_who_labelled(tiny, tmp_path):
    rows = [{**row, "judge": "j"} for row in PAIRS]
    entry = DataEntry(path=write_jsonl(tmp_path / "a.jsonl", rows), name="a")
    found, card = read_answers([entry], Tokeniser(tiny), Limits(max_length=64))
    assert [row.probability for row in found] == [1.0, 0.0] * 3
    assert (card.num_rows, card.sources["a"].kept, card.sources["a"].labellers) == (6, 3, {"judge j": 3})


def test_a_dataset_without_rows_beside_others_is_an_error(tiny, tmp_path):
    entries = [
        DataEntry(path=write_jsonl(tmp_path / "a.jsonl", PAIRS), name="a"),
        DataEntry(path=write_jsonl(tmp_path / "b.jsonl", []), name="b"),
    ]
    _, card = read_preferences(entries, Tokeniser(tiny), Limits(max_length=64))
    with pytest.raises(DataError, match="'b' holds no rows"):
        card.check()


# --- source-blindness

READING = {"reading", "cells", "vote_rows", "rows", "answer_rows", "examples"}
# those a dataset's columns pass through; everything else has none to read


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
    from rlaif.train.examples import Comparison, TrainingRow

    label = {"probability", "weight", "margin", "principles"}
    assert set(TrainingRow.__dataclass_fields__) == {"family", "comparisons", *label}
    assert set(Comparison.__dataclass_fields__) == {"first", "second", *label}
    assert "source" not in PreferenceRow.__dataclass_fields__
