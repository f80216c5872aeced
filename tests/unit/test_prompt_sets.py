"""Prompt sets: wrong rows stop the reading with their place, unusable ones are counted, none vanishes."""

import csv
import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.errors import DataError, Where
from rlaif.prompt_sets import Drop, read_prompts
from rlaif.records import Message, Prompt
from rlaif.settings import PromptSource


@pytest.fixture
def read(tmp_path):
    def read(*sources, **more):
        given_sources = [s if isinstance(s, PromptSource) else PromptSource(path=s, **more) for s in sources]
        return read_prompts(given_sources, base=tmp_path)

    return read


@pytest.fixture
def write(tmp_path):
    def write(*rows, name="x.jsonl"):
        lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
        (tmp_path / name).write_bytes(b"".join(line + b"\n" for line in lines))
        return name

    return write


def complaint(call, *arguments, **more) -> str:
    with pytest.raises(DataError) as caught:
        call(*arguments, **more)
    return str(caught.value)


def turns(*roles: str) -> list[dict[str, str]]:
    return [{"role": role, "content": f"{role} {i}"} for i, role in enumerate(roles)]


def test_a_prompt_is_one_user_message_and_a_conversation_is_itself(read, write):
    found = read(
        write(
            {"prompt": "Hi", "id": 7, "tags": ["b", "a"], "source": "mine"},
            {"messages": turns("system", "user", "assistant", "user")},
        )
    )
    one, other = found.prompts
    assert one == Prompt(messages=(Message("user", "Hi"),), tags=frozenset("ab"), source="mine", name="7")
    assert [m.role for m in other.messages] == ["system", "user", "assistant", "user"]
    assert (other.source, other.name, other.tags) == ("x", "", frozenset())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"prompt": "a"', ":2:15: this line is not a JSON object"),
        (b"hello", ":2:1: this line is not a JSON object (Expecting value): 'hello'."),
        (b'["prompt"]', ":2: this line is not a JSON object (the line holds no object): '[\"prompt\"]'."),
        (b"null", ":2: this line is not a JSON object"),
        (b'{"prompt": "\xff"}', ":2: this line is not a JSON object ('utf-8' codec can't decode"),
        (b'{"prompt": "a", "prompt": "b"}', ":2: this line is not a JSON object (a key is written twice)"),
        (b"[" * 100_000, ":2: this line is not a JSON object (it is nested too deeply)"),
        ({"promt": "a"}, ":2: found an unknown key 'promt' (did you mean 'prompt'?).\nKnown keys: prompt, messages"),
        ({"prompt": "a", "messages": []}, ":2: both `prompt` and `messages` are given."),
        ({"tags": ["a"]}, ":2: neither `prompt` nor `messages` is given."),
        ({"prompt": 3}, ":2: `prompt` is a number, not text."),
        ({"prompt": turns("user")}, ":2: `prompt` is a list.\nGive a conversation as `messages`."),
        ({"messages": "hello"}, ":2: `messages` is text, but not a JSON list."),
        ({"messages": {"role": "user"}}, ":2: `messages` is a mapping, not a list."),
        ({"messages": ["a"]}, ":2: `messages[0]` is text."),
        ({"messages": [{"from": "human", "value": "a"}]}, ":2: `messages[0]` has an unknown key 'from'."),
        ({"messages": [{"role": "human", "content": "a"}]}, ":2: `messages[0]` has the role 'human'."),
        ({"messages": [{"role": ["user"], "content": "a"}]}, ":2: `messages[0]` has the role ['user']."),
        ({"messages": [{"content": "a"}]}, ":2: `messages[0]` has no `role`."),
        ({"messages": [{"role": "user", "content": ["a"]}]}, ":2: `messages[0].content` is a list, not text."),
        ({"prompt": "a", "tags": 3}, ":2: `tags` is 3, not a list of texts."),
        ({"prompt": "a", "tags": [3]}, ":2: `tags` is [3], not a list of texts."),
        ({"prompt": "a", "source": 3}, ":2: `source` is a number, not text."),
    ],
)
def test_a_wrong_line_is_named_with_its_place(read, write, tmp_path, line, message):
    assert f"{tmp_path / 'x.jsonl'}{message}" in complaint(read, write({"prompt": "fine"}, line))


def test_blank_lines_are_not_rows_and_do_not_shift_the_numbers(read, write):
    assert ":4: found an unknown key" in complaint(read, write({"prompt": "a"}, b"", b"  ", {"x": 1}))
    assert read(write({"prompt": "a"}, b"", name="y.jsonl")).num_rows == 1


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": " \n"}, "empty text"),
        ({"prompt": None}, "empty text"),
        ({"messages": []}, "empty text"),
        ({"messages": [*turns("user"), {"role": "assistant", "content": ""}, *turns("user")]}, "empty text"),
        ({"messages": turns("user", "assistant")}, "does not end with a user turn"),
        ({"messages": turns("user", "system", "user")}, "system turn after the first"),
        ({"prompt": "half a pair: \ud83d"}, "not valid Unicode"),
    ],
)
def test_an_unusable_row_is_counted_with_its_place(read, write, tmp_path, row, reason):
    found = read(write({"prompt": "fine"}, row))
    assert found.drops == (Drop(reason, Where(str(tmp_path / "x.jsonl"), 2)),)
    assert found.drop_counts == {reason: 1}


def test_duplicates_are_counted_and_their_tags_united(read, write, tmp_path):
    first = write({"prompt": "a", "tags": ["x"], "id": "one"}, {"prompt": "b"}, {"prompt": "a", "tags": ["y"]})
    second = write({"messages": [{"role": "user", "content": "a"}], "tags": ["z"]}, name="y.jsonl")
    found = read(first, second)
    assert [(p.messages[0].content, p.tags, p.name) for p in found.prompts] == [
        ("a", {"x", "y", "z"}, "one"),
        ("b", frozenset(), ""),
    ]
    kept = Where(str(tmp_path / "x.jsonl"), 1)
    assert [(d.reason, d.same_as) for d in found.drops] == [("duplicate", kept), ("duplicate", kept)]


def test_a_reference_is_read_as_text_or_number_and_is_no_part_of_the_prompts_name(read, write):
    found = read(
        write({"prompt": "2 + 2?", "reference": 4}, {"prompt": "Capital?", "reference": " Paris "}, {"prompt": "b"})
    )
    assert [prompt.reference for prompt in found.prompts] == ["4", "Paris", None]
    assert found.prompts[0].id == Prompt(messages=(Message("user", "2 + 2?"),)).id
    assert ":1: `reference` is a list, not text." in complaint(read, write({"prompt": "a", "reference": ["x"]}))
    assert read(write({"prompt": "c", "reference": "\ud83d"}, {"prompt": "d"})).drop_counts == {"not valid Unicode": 1}


def test_a_duplicate_gives_its_reference_and_another_reference_is_counted_as_such(read, write):
    rows = [{"prompt": "a"}, {"prompt": "a", "reference": "1"}, {"prompt": "a", "reference": "2"}]
    found = read(write(*rows, {"prompt": "a", "reference": 1}))
    assert [prompt.reference for prompt in found.prompts] == ["1"]
    assert found.drop_counts == {"duplicate": 2, "duplicate with another reference": 1}


@settings(deadline=None, max_examples=40)  # the machine may be busy
@given(st.lists(st.sampled_from(["a", "b", "", "c", " "]), min_size=1).filter(lambda rows: any(map(str.strip, rows))))
def test_every_row_is_a_prompt_or_a_counted_drop(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("rows")
    (folder / "x.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    found = read_prompts([PromptSource(path="x.jsonl")], base=folder)
    assert found.num_rows == len(texts)
    assert {p.messages[0].content for p in found.prompts} == {text for text in texts if text.strip()}


def test_no_prompt_at_all_is_an_error_that_says_why(read, write):
    assert "there is no prompt in x.jsonl: no rows." in complaint(read, write())
    assert "no prompt in x.jsonl (2 rows: empty text)." in complaint(read, write({"prompt": ""}, {"prompt": " "}))


def test_limit_counts_prompts_and_not_rows_left_out(read, write):
    name = write({"prompt": ""}, {"prompt": "a"}, {"prompt": "b"}, b"broken, but never read")
    found = read(name, limit=2)
    assert [p.messages[0].content for p in found.prompts] == ["a", "b"]
    assert found.drop_counts == {"empty text": 1}


def test_columns_map_other_names_and_leave_the_rest_alone(read, write):
    name = write({"question": "a", "topic": ["x"], "answer": 3})
    (prompt,) = read(name, columns={"prompt": "question", "tags": "topic"}).prompts
    assert (prompt.messages[0].content, prompt.tags) == ("a", {"x"})
    assert "x.jsonl:1: there is no column 'qestion' (did you mean 'question'?)." in complaint(
        read, name, columns={"prompt": "qestion"}
    )
    assert "`columns` has an unknown key 'promt' (did you mean 'prompt'?)." in complaint(
        read, name, columns={"promt": "question"}
    )


def test_parquet_and_csv_give_the_same_prompts_as_jsonl(read, write, tmp_path):
    rows = [
        {"prompt": 'Say "hi",\nplease', "tags": ["a", "b"], "id": "one", "source": "s"},
        {"prompt": "Why?", "tags": [], "id": None, "source": "s"},
    ]
    pq.write_table(pa.Table.from_pylist([{**row, "other": 1} for row in rows]), tmp_path / "x.parquet")
    with (tmp_path / "x.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["other", *rows[0]])
        for row in rows:
            writer.writerow([1, row["prompt"], ", ".join(row["tags"]), row["id"], row["source"]])
    expected = read(write(*rows)).prompts
    assert read("x.parquet").prompts == expected
    assert read("x.csv").prompts == expected


def test_conversations_are_read_from_parquet_and_from_json_in_csv(read, tmp_path):
    messages = [*turns("user", "assistant"), {"role": "user", "content": "end"}]
    pq.write_table(pa.Table.from_pylist([{"messages": messages}]), tmp_path / "x.parquet")
    with (tmp_path / "x.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["messages"], [json.dumps(messages)]])
    assert read("x.parquet").prompts[0].messages == read("x.csv").prompts[0].messages
    assert len(read("x.csv").prompts[0].messages) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prompt,tags\na\n", "x.csv:2: the row has 1 cells, the header 2."),
        ('prompt\n"a\nb"\nc,d\n', "x.csv:4: the row has 2 cells, the header 1."),
        ('prompt\n"a" b\n', "x.csv:2: the row cannot be read"),
        ("question\na\n", "x.csv:1: neither `prompt` nor `messages` is given."),
        ("", "x.csv:1: neither `prompt` nor `messages` is given."),
        ("prompt\n", "there is no prompt in x.csv"),
    ],
)
def test_a_wrong_csv_file_is_named_with_its_place(read, tmp_path, text, message):
    (tmp_path / "x.csv").write_text(text)
    assert message in complaint(read, "x.csv")


def test_broken_parquet_is_an_error(read, tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
    assert "x.parquet: this is not readable Parquet" in complaint(read, "x.parquet")
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "y.parquet")
    assert "The columns are: text." in complaint(read, "y.parquet")


@pytest.fixture
def dataset():
    return datasets.Dataset.from_list([{"question": "a", "n": 1}, {"question": "", "n": 2}, {"question": "b", "n": 3}])


def test_a_folder_a_dataset_was_saved_to_is_read(read, tmp_path, dataset):
    dataset.save_to_disk(tmp_path / "alone")
    datasets.DatasetDict(test=dataset).save_to_disk(tmp_path / "splits")
    (tmp_path / "files").mkdir()
    dataset.to_parquet(tmp_path / "files" / "train.parquet")
    columns = {"prompt": "question"}
    found = read("alone", columns=columns)
    assert [p.messages[0].content for p in found.prompts] == ["a", "b"]
    assert [str(d.where) for d in found.drops] == [f"{tmp_path / 'alone'}[train] row 2"]
    assert read("splits", columns=columns, split="test").prompts == tuple(
        Prompt(messages=p.messages, source="splits") for p in found.prompts
    )
    assert len(read("files", columns=columns).prompts) == 2
    assert "the splits are test; there is no 'train'" in complaint(read, "splits", columns=columns)


def test_a_name_that_is_nothing_is_an_error(read, write, tmp_path):
    write({"prompt": "a"}, name="everyday.jsonl")
    assert f"Did you mean {tmp_path / 'everyday.jsonl'}?" in complaint(read, "everyday.jsnl.jsonl")
    assert "there is no such file." in complaint(read, "a/b/c/d")
    (tmp_path / "x.txt").write_text("a")
    assert "files of the kind '.txt' are not read." in complaint(read, "x.txt")
