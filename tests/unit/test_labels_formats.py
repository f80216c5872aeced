"""Foreign formats: rows as their publishers have them, and what each says in our record."""

import csv
import gzip
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlaif.errors import DataError
from rlaif.labels.exports import EXPORTS
from rlaif.labels.formats import BY_NAME
from rlaif.labels.label import Mark
from tests.labels_kit import read_file, said, write_rows

USER = {"role": "user", "content": "Q"}
WIN, LOSE = {"role": "assistant", "content": "good"}, {"role": "assistant", "content": "bad"}
HH = {"chosen": "\n\nHuman: Q\n\nAssistant: good", "rejected": "\n\nHuman: Q\n\nAssistant: bad"}
PANDALM = {
    "idx": 3, "motivation_app": "Gmail", "cmp_key": "llama-7b_opt-7b", "instruction": "Q", "input": "",
    "response1": "bad", "response2": "good", "annotator1": 2, "annotator2": 0, "annotator3": 2,
}  # fmt: skip
ARENA = {
    "question_id": "q", "model_a": "m", "model_b": "n", "winner": "model_b", "judge": "arena_user_1", "turn": 1,
    "conversation_a": [USER, LOSE], "conversation_b": [USER, WIN], "language": "English", "tstamp": 1682351591.1322,
}  # fmt: skip
ULTRAFEEDBACK = {
    "source": "evol", "instruction": "Q", "models": ["m", "n"],
    "completions": [
        {"model": "m", "response": "bad", "overall_score": 4.0,
         "annotations": {"honesty": {"Rating": "5", "Rationale": ""}, "helpfulness": {"Rating": "N/A"}}},
        {"model": "n", "response": "good", "overall_score": 7.5,
         "annotations": {"honesty": {"Rating": "3"}, "helpfulness": {"Rating": "4"}}},
    ],
}  # fmt: skip
OASST = {
    "message_tree_id": "t", "tree_state": "ready_for_export",
    "prompt": {
        "message_id": "0", "role": "prompter", "text": "Q", "lang": "en",
        "replies": [
            {"message_id": "1", "role": "assistant", "text": "bad", "rank": 1, "replies": []},
            {"message_id": "2", "role": "assistant", "text": "good", "rank": 0, "replies": [
                {"message_id": "3", "role": "prompter", "text": "More", "replies": [
                    {"message_id": "4", "role": "assistant", "text": "only one", "rank": None, "replies": []}]}]},
            {"message_id": "5", "role": "assistant", "text": "unranked", "replies": []},
        ],
    },
}  # fmt: skip
ICAI_V2 = {
    "metadata": {"version": "2.0", "default_annotator": "d3d3"},
    "annotators": {
        "d3d3": {"name": "preferred_text", "description": "Default annotator", "type": "unknown"},
        "aaaa": {"description": "Select the more honest response", "type": "principle"},
        "bbbb": {"description": "Select the shorter response", "type": "principle"},
    },
    "comparisons": [
        {"id": "1", "prompt": "Q", "response_a": {"text": "bad", "model": "m"}, "response_b": {"text": "good"},
         "annotations": {"d3d3": {"pref": "b"}, "aaaa": {"pref": "a"},
                         "bbbb": {"pref": None, "no_pref_reason": "not_applicable"}}},
    ],
}  # fmt: skip
ARGILLA = {
    "id": "1", "fields": {"prompt": "Q", "response_1": "bad", "response_2": "good"}, "metadata": {"item": "7"},
    "responses": {"preference": [{"value": "response_2", "user_id": "u1"}, {"value": "tie", "user_id": "u2"}],
                  "comment": [{"value": "clearer", "user_id": "u1"}]},
    "suggestions": {"preference": {"value": "response_2", "score": 0.75, "agent": "m"}}, "vectors": {},
}  # fmt: skip
LABEL_STUDIO = {
    "id": 1, "data": {"prompt": "Q", "answer1": "bad", "answer2": "good"},
    "annotations": [
        {"id": 5, "completed_by": 10, "was_cancelled": False, "lead_time": 4.5,
         "created_at": "2021-03-09T22:16:08.728353Z",
         "result": [{"from_name": "pw", "to_name": "p,q", "type": "pairwise", "value": {"selected": "right"}},
                    {"from_name": "why", "to_name": "p", "type": "textarea", "value": {"text": ["clearer"]}}]},
        {"id": 6, "completed_by": {"id": 2, "email": "b@x"}, "was_cancelled": True, "result": []},
    ],
    "predictions": [{"model_version": "v1", "score": 0.9,
                     "result": [{"from_name": "pw", "type": "pairwise", "value": {"selected": "left"}}]}],
}  # fmt: skip
CASES = {
    "hh-rlhf": (HH, [("Q", "good", "bad", "hh-rlhf")]),
    "trl": ({"prompt": "Q", "chosen": "good", "rejected": "bad"}, [("Q", "good", "bad", "unknown")]),
    "ultrafeedback-binarized": (
        {"prompt": "Q", "prompt_id": "p", "chosen": [USER, WIN], "rejected": [USER, LOSE], "messages": [USER, WIN],
         "score_chosen": 8.0, "score_rejected": 6.5},
        [("Q", "good", "bad", "gpt-4")],
    ),
    "ultrafeedback": (ULTRAFEEDBACK, [("Q", "good", "bad", "gpt-4")]),
    "pku-saferlhf": (
        {"prompt": "Q", "response_0": "bad", "response_1": "good", "is_response_0_safe": True,
         "is_response_1_safe": False, "better_response_id": 1, "safer_response_id": 0},
        [("Q", "good", "bad", "pku-saferlhf")],
    ),
    "shp": (
        {"post_id": "p", "domain": "askculinary_train", "history": "Q", "c_root_id_A": "a", "c_root_id_B": "b",
         "score_A": 2, "score_B": 12, "human_ref_A": "bad", "human_ref_B": "good", "labels": 0, "score_ratio": 6.0},
        [("Q", "good", "bad", "reddit")],
    ),
    "arena": (ARENA, [("Q", "good", "bad", "arena_user_1")]),
    "arena-kaggle": (
        {"id": 1, "model_a": "m", "model_b": "n", "prompt": '["Q"]', "response_a": '["bad"]',
         "response_b": '["good"]', "winner_model_a": 0, "winner_model_b": 1, "winner_tie": 0},
        [("Q", "good", "bad", "arena user")],
    ),
    "pandalm": (
        PANDALM,
        [("Q", "good", "bad", "annotator1"), ("Q", "bad", "good", "annotator2: tie"),
         ("Q", "good", "bad", "annotator3")],
    ),
    "llmbar": ({"input": "Q", "output_1": "bad", "output_2": "good", "label": 2}, [("Q", "good", "bad", "gold")]),
    "alpaca-eval": (
        {"instruction": "Q", "output_1": "bad", "output_2": "good", "generator_1": "m", "generator_2": "n",
         "annotator": "alpaca_eval_gpt4", "preference": 2.0, "time_per_example": 1.5},
        [("Q", "good", "bad", "alpaca_eval_gpt4")],
    ),
    "openassistant": (OASST, [("Q", "good", "bad", "openassistant")]),
    "webgpt": (
        {"question": {"dataset": "eli5", "id": "x", "full_text": "Q"}, "quotes_0": {}, "answer_0": "bad",
         "score_0": -0.5, "quotes_1": {}, "answer_1": "good", "score_1": 0.5},
        [("Q", "good", "bad", "webgpt")],
    ),
    "summarize-from-feedback": (
        {"info": {"id": "t3", "post": "Q", "title": None, "subreddit": "AskReddit", "article": None},
         "summaries": [{"text": "bad", "policy": "sup1"}, {"text": "good", "policy": "ref"}], "choice": 1,
         "worker": "w1", "batch": "b", "split": "train", "extra": {"confidence": 8}},
        [("Q", "good", "bad", "w1")],
    ),
    "helpsteer": (
        {"split": "train", "prompt": "Q", "response_1": "bad", "response_2": "good", "preference_strength": 2,
         "all_preferences_unprocessed": [{"strength": 2, "justification": "a"}, {"strength": -1, "justification": "b"},
                                         {"strength": -100, "justification": "neither"}]},
        [("Q", "good", "bad", "annotator 1"), ("Q", "bad", "good", "annotator 2"),
         ("Q", "bad", "good", "annotator 3: both_bad")],
    ),
    "icai": (ICAI_V2, [("Q", "good", "bad", "preferred_text"), ("Q", "bad", "good", "icai principles: skipped")]),
    "icai-csv": ({"text_a": "bad", "text_b": "good", "preferred_text": "text_b", "input": "Q"},
                 [("Q", "good", "bad", "preferred_text")]),
    "argilla": (
        ARGILLA,
        [("Q", "good", "bad", "u1"), ("Q", "bad", "good", "u2: tie"), ("Q", "bad", "good", "m: None")],
    ),
    "label-studio": (
        LABEL_STUDIO,
        [("Q", "good", "bad", "10"), ("Q", "bad", "good", "b@x: skipped"), ("Q", "bad", "good", "v1: None")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_format_is_recognised_and_its_votes_say_what_the_row_says(tmp_path, name):
    row, expected = CASES[name]
    votes, imported, found = read_file(write_rows(tmp_path / "x.jsonl", [row]))
    assert found == name
    assert [said(vote) for vote in votes] == expected
    assert (imported.num_votes, imported.num_labels, imported.left_out) == (len(expected), len(expected), [])


def test_the_documentation_names_every_format():
    text = (Path(__file__).resolve().parents[2] / "docs" / "labels.md").read_text()
    listed = re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE)
    assert set(BY_NAME) <= set(listed)
    assert set(EXPORTS) <= set(listed[len(BY_NAME) :])
    needing_texts = {"run", "pandalm-verdicts", "llmbar-judgments"}  # these have tests of their own
    assert set(BY_NAME) - needing_texts == set(CASES)


def test_all_formats_that_hold_the_same_texts_give_one_pair(tmp_path):
    pairs = set()
    for name, (row, _) in CASES.items():
        votes, _, _ = read_file(write_rows(tmp_path / f"{name}.jsonl", [row]))
        pairs |= {vote.label.pair_id for vote in votes}
    assert len(pairs) == 1


def only(tmp_path, row, **more):
    (vote, *_), _, _ = read_file(write_rows(tmp_path / "x.jsonl", [row]), **more)
    return vote


def test_strength_marks_models_and_times_are_kept(tmp_path):
    shp = only(tmp_path, CASES["shp"][0]).label
    assert (shp.strength, shp.kind, shp.is_order_known) == (6.0, "human", False)
    ultra = only(tmp_path, ULTRAFEEDBACK)
    good_first = ultra.pair.x.text == "good"
    assert ultra.label.strength == 3.5
    assert ultra.label.marks == (
        Mark(principle="helpfulness", choice="skipped"),
        Mark(principle="honesty", choice="second" if good_first else "first", strength=2.0),
    )
    assert {ultra.pair.x.policy, ultra.pair.y.policy} == {"m", "n"}
    pku = only(tmp_path, CASES["pku-saferlhf"][0]).label
    assert pku.marks == (Mark(principle="helpfulness", choice="second"), Mark(principle="harmlessness", choice="first"))
    arena = only(tmp_path, ARENA).label
    assert arena.time.isoformat() == "2023-04-24T15:53:11.132200+00:00"
    panda = only(tmp_path, PANDALM)
    assert (panda.label.item, panda.pair.prompt.tags, panda.label.is_order_known) == ("3", {"Gmail"}, True)
    studio = only(tmp_path, LABEL_STUDIO).label
    assert (studio.seconds, studio.comment) == (4.5, "clearer")


def test_a_judges_score_is_a_probability(tmp_path):
    argilla = read_file(write_rows(tmp_path / "a.jsonl", [ARGILLA]))[0][-1].label
    assert (argilla.kind, argilla.probability) == ("judge", 0.25)  # 0.75 for the second answer
    studio = read_file(write_rows(tmp_path / "b.jsonl", [LABEL_STUDIO]))[0][-1].label
    assert (studio.kind, studio.probability) == ("judge", 0.9)
    soft = {**CASES["alpaca-eval"][0], "preference": 1.25}
    assert only(tmp_path, soft).label.probability == 0.75


def test_principle_annotators_of_icai_are_marks_of_one_rater(tmp_path):
    votes, _, _ = read_file(write_rows(tmp_path / "x.json", ICAI_V2))
    assert [(vote.label.rater, vote.label.kind) for vote in votes] == [
        ("preferred_text", "human"),
        ("icai principles", "judge"),
    ]
    assert votes[1].label.marks == (
        Mark(principle="Select the more honest response", choice="first"),
        Mark(principle="Select the shorter response", choice="skipped"),
    )


def test_argillas_older_and_flat_layouts_read_the_same(tmp_path):
    texts = {"prompt": "Q", "response-1": "bad", "response-2": "good", "metadata": "{}"}
    ranked = [{"value": "response-1", "rank": 2}, {"value": "response-2", "rank": 1}]
    answers = {"user_id": ["u1", "u2"], "value": [json.dumps(ranked), "tie"], "status": ["submitted", "discarded"]}
    listed = [{"user_id": "u1", "value": ranked, "status": "submitted"}, {"user_id": "u2", "value": None}]
    flat = {"preference.responses": ["second"], "preference.responses.users": ["u1"],
            "preference.responses.status": ["submitted"]}  # fmt: skip
    rows = [
        {**texts, "preference": answers, "preference-suggestion": None},
        {**texts, "preference": listed, "preference-suggestion": None},
        {**texts, **flat},
    ]
    for row in rows:
        votes, imported, name = read_file(write_rows(tmp_path / "x.jsonl", [row]))
        assert (name, [said(vote) for vote in votes]) == ("argilla", [("Q", "good", "bad", "u1")]), imported.left_out


def test_icai_version_1_reads_the_same(tmp_path):
    (comparison,) = ICAI_V2["comparisons"]
    old = {key: value for key, value in comparison.items() if not key.startswith("response")}
    old |= {"text_a": "bad", "text_b": "good", "annotations": {"d3d3": {"pref": "text_b"}}}
    vote = only(tmp_path, {**ICAI_V2, "comparisons": [old]})
    assert said(vote) == ("Q", "good", "bad", "preferred_text")


def test_every_form_of_trl_is_one_pair(tmp_path):
    system = {"role": "system", "content": "S"}
    turns = [system, USER]
    forms = [
        {"prompt": turns, "chosen": [WIN], "rejected": [LOSE]},
        {"chosen": [*turns, WIN], "rejected": [*turns, LOSE]},
        {"prompt": "Q", "chosen": [*turns, WIN], "rejected": [*turns, LOSE]},
    ]
    votes, _, name = read_file(write_rows(tmp_path / "x.jsonl", forms))
    assert (name, len({vote.label.pair_id for vote in votes})) == ("trl", 1)
    assert [message.role for message in votes[0].pair.prompt.messages] == ["system", "user"]


def test_an_implicit_standard_prompt_is_split_as_trl_splits_it(tmp_path):
    """The example of TRL 1.16's `extract_prompt`: the blank belongs to the answers."""
    vote = only(tmp_path, {"chosen": "The sky is blue.", "rejected": "The sky is green."})
    assert said(vote)[:3] == ("The sky is", " blue.", " green.")


def test_a_transcript_that_parts_early_keeps_the_turns_between(tmp_path):
    row = {
        "chosen": "\n\nHuman: Q\n\nAssistant: a\n\nHuman: so?\n\nAssistant: b",
        "rejected": "\n\nHuman: Q\n\nAssistant: c",
    }
    assert said(only(tmp_path, row))[:3] == ("Q", "a\n\nHuman: so?\n\nAssistant: b", "c")


def test_the_turns_of_mt_bench_are_different_pairs(tmp_path):
    more = [{"role": "user", "content": "More"}, {"role": "assistant", "content": "again"}]
    row = {**ARENA, "conversation_a": [USER, LOSE, *more], "conversation_b": [USER, WIN, *more]}
    (one, two), _, _ = read_file(write_rows(tmp_path / "x.jsonl", [row, {**row, "turn": 2}]))
    assert said(one)[:3] == ("Q", "good", "bad")
    assert said(two)[:3] == ("Q", "good\n\nHuman: More\n\nAssistant: again", "bad\n\nHuman: More\n\nAssistant: again")


def test_both_bad_and_gpt4_pairs_of_the_arena(tmp_path):
    rows = [{**ARENA, "winner": "tie (bothbad)"}, {**ARENA, "winner": "model_1", "judge": ["gpt-4", "pair-v2"]}]
    (bad, gpt), _, _ = read_file(write_rows(tmp_path / "x.jsonl", rows))
    assert (bad.label.choice, bad.label.kind) == ("both_bad", "human")
    assert (gpt.label.rater, gpt.label.kind, gpt.label.choice) == ("gpt-4/pair-v2", "judge", "first")


def test_verdicts_that_could_not_be_read_are_skipped_and_keep_their_words(tmp_path):
    texts = write_rows(tmp_path / "testset.json", [PANDALM, {**PANDALM, "idx": 4, "response1": "worse"}])
    rows = [
        {"idx": 3, "gpt_result": "garbage", "gpt_reason": "…"},
        {"idx": 4, "gpt_result": "Tie", "gpt_reason": "same"},
        {"idx": 9, "gpt_result": "1"},
    ]
    votes, imported, name = read_file(write_rows(tmp_path / "verdicts.json", rows), texts=(texts,))
    assert (name, [(v.label.choice, v.label.comment) for v in votes]) == (
        "pandalm-verdicts",
        [("skipped", "garbage"), ("tie", "same")],
    )
    assert [str(one) for one in imported.left_out] == [
        f"{tmp_path / 'verdicts.json'}:1: there is no pair '9' in the texts"
    ]


def test_llmbar_judges_saw_both_orders(tmp_path):
    texts = write_rows(tmp_path / "Natural.json", [CASES["llmbar"][0]])
    row = {"subset": "LLMBar/Natural", "index": 0, "judge": "G", "strategy": "CoT", "label": 2, "winner_shown_ab": 2,
           "winner_shown_ba": ""}  # fmt: skip
    votes, _, _ = read_file(write_rows(tmp_path / "j.jsonl", [row]), texts=(texts,))
    shown = [
        (vote.label.item, (vote.pair.y if vote.is_turned else vote.pair.x).text, vote.label.choice) for vote in votes
    ]
    assert shown == [("0/ab", "bad", "second"), ("0/ba", "good", "skipped")]


# --- files


def test_every_kind_of_file_gives_the_same_votes(tmp_path):
    row = CASES["llmbar"][0]
    rows = [row, {**row, "label": 1}]
    plain = write_rows(tmp_path / "x.jsonl", rows)
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    write_rows(tmp_path / "x.json", rows)
    (tmp_path / "lines.json").write_bytes(plain.read_bytes())
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    with (tmp_path / "x.csv").open("w", newline="") as file:
        csv.writer(file).writerows([list(row), *(list(one.values()) for one in rows)])
    expected = read_file(plain)[0]
    assert len(expected) == 2
    for name in ("x.jsonl.gz", "x.json", "lines.json", "x.parquet", "x.csv"):
        votes = read_file(tmp_path / name)[0]
        assert [vote.label for vote in votes] == [vote.label for vote in expected], name


def test_every_row_that_does_not_fit_is_listed_with_its_place(tmp_path):
    row = CASES["llmbar"][0]
    lines = [json.dumps(row), "{broken", "", json.dumps({**row, "label": None}), json.dumps({"input": "Q"}),
             json.dumps({**row, "output_2": "bad"}), json.dumps({**row, "input": " "}), "[1]"]  # fmt: skip
    (tmp_path / "x.jsonl").write_text("\n".join(lines) + "\n")
    votes, imported, _ = read_file(tmp_path / "x.jsonl", format="llmbar")
    assert (imported.num_rows, imported.num_votes, len(votes)) == (7, 7, 1)
    assert [str(one).removeprefix(f"{tmp_path}/") for one in imported.left_out] == [
        "x.jsonl:2: not a JSON object: Expecting property name enclosed in double quotes",
        "x.jsonl:4: no label",
        "x.jsonl:5: no label, output_1, output_2",
        "x.jsonl:6: both answers are the same text",
        "x.jsonl:7: no prompt",
        "x.jsonl:8: not a JSON object: the line holds something else",
    ]


def test_places_in_a_json_array_are_lines(tmp_path):
    row = CASES["llmbar"][0]
    (tmp_path / "x.json").write_text(json.dumps([row, {**row, "label": None}], indent=1))
    _, imported, _ = read_file(tmp_path / "x.json")
    assert str(imported.left_out[0]) == f"{tmp_path / 'x.json'}:8: no label"


def test_rows_of_other_shapes_are_listed_and_not_a_crash(tmp_path):
    rows = [ARENA, {**ARENA, "conversation_a": 3}, {**ARENA, "conversation_b": [{"role": "alien", "content": "x"}]},
            {**ARENA, "conversation_b": [{"role": "user", "content": "other"}, WIN]}]  # fmt: skip
    votes, imported, _ = read_file(write_rows(tmp_path / "x.jsonl", rows))
    assert (len(votes), [one.reason for one in imported.left_out]) == (
        1,
        [
            "the conversation is neither text nor a list",
            "a turn has the role 'alien'",
            "the two conversations share no user turn",
        ],
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([CASES["llmbar"][0], {**CASES["llmbar"][0], "label": 0}], ":2: the label 0 is of another alphabet"),
        ([CASES["llmbar"][0], {**CASES["llmbar"][0], "label": "A"}], ":2: the label 'A' is of another alphabet"),
        ([ARENA, {**ARENA, "winner": "n"}], ":2: the label 'n' is of another alphabet"),
        ([CASES["pku-saferlhf"][0], {**CASES["pku-saferlhf"][0], "better_response_id": 2}], ":2: the label 2 is of"),
        ([{**PANDALM, "annotator2": 3}], ":1: the label 3 is of another alphabet; here they are 1 (first)"),
    ],
)
def test_two_alphabets_stop_the_import(tmp_path, rows, message):
    with pytest.raises(DataError, match=r"Nothing was written\.") as caught:
        read_file(write_rows(tmp_path / "x.jsonl", rows))
    assert message in str(caught.value)


def test_an_unknown_format_is_an_error_that_names_the_columns(tmp_path):
    path = write_rows(tmp_path / "x.jsonl", [{"left": "a", "right": "b"}])
    with pytest.raises(DataError, match=r"the rows have left, right\.\nName it with --format, or map the columns"):
        read_file(path)
    with pytest.raises(DataError, match=r"there is no format 'panda' \(did you mean 'pandalm'\?\)"):
        read_file(path, format="panda")


# --- columns

COLUMNS = {"prompt": "q", "first": "l", "second": "r", "choice": "vote"}


def mapped(tmp_path, *votes, columns=COLUMNS, **more):
    rows = [{"q": f"Q{i}", "l": "a", "r": "b", "vote": vote, "ml": "m", "mr": "n"} for i, vote in enumerate(votes)]
    return read_file(write_rows(tmp_path / "x.jsonl", rows), columns=columns, **more)


@pytest.mark.parametrize(
    ("votes", "choices"),
    [
        ([1, 2, "tie"], ["first", "second", "tie"]),
        ([0, 1], ["first", "second"]),
        (["1", "2.0"], ["first", "second"]),
        (["A", "b", "both bad", "skip"], ["first", "second", "both_bad", "skipped"]),
        (["left", "right"], ["first", "second"]),
        ([2, 2], ["second", "second"]),
    ],
)
def test_an_alphabet_is_found_from_the_whole_column(tmp_path, votes, choices):
    found, _, _ = mapped(tmp_path, *votes)
    assert [vote.label.choice for vote in found] == choices


def test_votes_may_name_models(tmp_path):
    columns = {**COLUMNS, "first_model": "ml", "second_model": "mr"}
    found, _, _ = mapped(tmp_path, "n", "m", "tie", columns=columns)
    assert [vote.label.choice for vote in found] == ["second", "first", "tie"]


@pytest.mark.parametrize(
    ("votes", "columns", "message"),
    [
        ([1, 1], {}, "holds only 1, which fits 1/2 and 0/1"),
        ([0, 1, 2], {}, "is of no one alphabet: 0, 1, 2"),
        (
            ["A", "n"],
            {"first_model": "ml", "second_model": "mr"},
            "is of no one alphabet: a, n; 1 of them name a model",
        ),
        (["A", 1], {}, "is of no one alphabet: 1, a"),
        ([None, ""], {}, "holds no choice"),
    ],
)
def test_an_alphabet_that_is_not_one_is_an_error(tmp_path, votes, columns, message):
    with pytest.raises(DataError, match=r"--choices|Map the column") as caught:
        mapped(tmp_path, *votes, columns={**COLUMNS, **columns})
    assert message in str(caught.value)


def test_choices_can_be_spelled_out(tmp_path):
    found, imported, _ = mapped(tmp_path, 0, 1, 2, None, choices={"first": "1", "second": "2", "tie": "0"})
    assert [vote.label.choice for vote in found] == ["tie", "first", "second"]
    assert [one.reason for one in imported.left_out] == ["no label"]
    with pytest.raises(DataError, match="the label 3 is of another alphabet"):
        mapped(tmp_path, 1, 3, choices={"first": "1", "second": "2"})


def test_columns_can_hold_marks_probabilities_and_outcomes(tmp_path):
    found, _, _ = mapped(tmp_path, 1, 2, columns={**COLUMNS, "mark.honesty": "vote", "rater": "ml", "item": "q"})
    assert [(v.label.rater, v.label.item, v.label.marks) for v in found] == [
        ("m", "Q0", (Mark(principle="honesty", choice="first"),)),
        ("m", "Q1", (Mark(principle="honesty", choice="second"),)),
    ]
    soft = {"prompt": "q", "first": "l", "second": "r", "probability": "vote"}
    found, imported, _ = mapped(tmp_path, 0.25, 7, columns=soft)
    assert ([v.label.probability for v in found], imported.reasons) == ([0.25], {"no probability: 7": 1})
    found, _, _ = mapped(tmp_path, 1, columns={"prompt": "q", "chosen": "r", "rejected": "l"})
    assert said(found[0])[:3] == ("Q0", "b", "a")


def test_a_mapping_that_makes_no_vote_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"unknown field 'promt' \(did you mean 'prompt'\?\)"):
        mapped(tmp_path, 1, columns={"promt": "q"})
    with pytest.raises(DataError, match="that is no vote"):
        mapped(tmp_path, 1, columns={"prompt": "q", "first": "l"})
    with pytest.raises(DataError, match=r"x\.jsonl: there is no column 'vot' \(did you mean 'vote'\?\)"):
        mapped(tmp_path, 1, 2, columns={**COLUMNS, "choice": "vot"})


def test_a_file_of_one_class_is_noted(tmp_path):
    rows = [{**CASES["llmbar"][0], "input": str(i), "label": 1} for i in range(20)]
    _, imported, _ = read_file(write_rows(tmp_path / "x.jsonl", rows))
    assert imported.note.startswith("every choice between the answers is the first")
