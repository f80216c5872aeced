"""Documents: every problem is named with its place, and nothing is guessed."""

from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, model_validator

from rlaif.documents import apply_sets, read_yaml, validate, write_yaml
from rlaif.documents.marked import parse_yaml
from rlaif.errors import InputError, SettingsError, Where


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str = Field(description="Which model.")
    samples: int = Field(4, ge=1)
    share: float | None = None

    @model_validator(mode="after")
    def _agrees(self) -> "Part":
        if self.model == "greedy" and self.samples > 1:
            raise ValueError("a greedy model has one sample")
        return self


class Whole(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    parts: tuple[Part, ...] = Field((), min_length=0)
    judge: Part | None = None
    columns: dict[str, str] = {}
    flags: frozenset[str] = frozenset()


@pytest.fixture
def read(tmp_path):
    def read(text: str | bytes):
        path = tmp_path / "x.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_yaml(path, SettingsError)

    return read


def complaint(call, *arguments, **more) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments, **more)
    return str(caught.value)


def test_every_key_and_value_knows_its_place(read):
    document = read("name: a\nparts:\n  - model: m\n    samples: 3\n")
    assert document.where_key(("parts", 0, "samples")) == Where(document.path, 4, 5)
    assert document.where(("parts", 0, "samples")) == Where(document.path, 4, 14)
    assert document.where(("parts", 0)) == Where(document.path, 3, 5)
    assert document.where(("parts", 0, "not there")) == document.where(("parts", 0))


def test_a_good_document_becomes_the_model(read):
    whole = validate(read("name: a\nparts: [{model: m}]\nflags: [x, y]\n"), Whole, SettingsError)
    assert whole == Whole(name="a", parts=(Part(model="m"),), flags=frozenset({"x", "y"}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.yaml: the file is empty."),
        ("# only a comment\n", "x.yaml: the file is empty."),
        ("- a\n", "x.yaml:1:1: found a list where"),
        ("word\n", "x.yaml:1:1: found a single value where"),
        ("a: [1\nb: 2\n", "x.yaml:2:2: this is not valid YAML"),
        ("a: 1\n\tb: 2\n", "x.yaml:2:1: this is not valid YAML"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2:1: this is not valid YAML"),
        ("a: *nobody\n", "x.yaml:1:4: this is not valid YAML: found undefined alias"),
        ("a: 1\nb: 2\na: 3\n", "x.yaml:3:1: the key 'a' is written twice; the first is at"),
        ("p:\n  q: {r: 1, r: 2}\n", "x.yaml:2:13: the key 'r' is written twice"),
        ("1.5: a\n", "x.yaml:1:1: found '1.5' as a key, which is not text."),
        ("a: !!python/name:os.system x\n", "x.yaml:1:4: found the tag"),
        ("a: !!int abc\n", "x.yaml:1:4: found 'abc', which is not of the kind 'int'."),
        ("a: &a [*a]\n", "x.yaml:1:4: an alias refers to what it is part of."),
        ("a: &a {<<: *a}\n", "an alias refers to what it is part of."),
        ("a: &a {<<: [*a]}\n", "an alias refers to what it is part of."),
        ("a: {<<: 3}\n", "`<<` merges something that is not a mapping."),
        ("ok: 1\nb: \x00\n", "x.yaml:2: found the character U+0000"),
        (b"ok: 1\nb: \xff\n", "x.yaml:2: found the byte 0xFF, which is not UTF-8"),
        pytest.param("a: " + "[" * 2000, "x.yaml: lists or mappings are nested too deeply.", id="nested"),
    ],
)
def test_what_is_no_document_is_refused_with_its_place(read, text, message):
    assert message in complaint(read, text)


@pytest.mark.parametrize("wrap", ["[{}]", "{{<<: [{}]}}"])
def test_aliases_that_expand_enormously_are_refused(read, wrap):
    lines = ["l0: &l0 {x: 1}"]
    lines += [f"l{i}: &l{i} " + wrap.format(", ".join([f"*l{i - 1}"] * 10)) for i in range(1, 9)]
    assert "aliases expand to more than" in complaint(read, "\n".join(lines))


def test_anchors_and_merge_keys_work_and_own_keys_win(read):
    document = read("base: &b {x: 1, y: 2}\nother: &o {y: 8, z: 9}\nnew:\n  <<: [*b, *o]\n  x: 3\n")
    assert document.value["new"] == {"x": 3, "y": 2, "z": 9}
    assert document.where(("new", "y")).line == 1


def test_words_are_text_and_exponents_are_numbers_as_in_yaml_1_2(read):
    text = "a: no\nb: on\nc: 2026-11-21\nd: 1e-3\ne: 12:30\nf: true\ng: ~\nh: .inf\ni: 0x1F\nj: -3\nk: '1'\n"
    text += "l: 1_000\nm: 007\n"
    assert list(read(text).value.values()) == [
        *("no", "on", "2026-11-21", 0.001, "12:30", True, None, float("inf"), 31, -3, "1", "1_000", "007")
    ]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(read):
    document = read(b"\xef\xbb\xbfname: a\r\njudge: {model: m}\r\n")
    assert document.value == {"name": "a", "judge": {"model": "m"}}
    assert document.where_key(("judge",)).line == 2


def test_a_missing_file_offers_the_nearest_name(tmp_path):
    (tmp_path / "rlaif.yaml").write_text("a: 1")
    assert f"Did you mean {tmp_path / 'rlaif.yaml'}?" in complaint(read_yaml, tmp_path / "rlaif.yml")
    assert "there is no such file." in complaint(read_yaml, tmp_path / "nowhere" / "x.yaml")
    assert "the file cannot be read" in complaint(read_yaml, tmp_path)


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(read):
    document = read(
        "nam: x\nparts:\n  - samples: 0\n  - {model: m, share: .nan}\n  - {model: greedy}\n  - 3\n"
        "judge:\n  model: 7\n  sampels: 2\ncolumns: {a: [1]}\n"
    )
    at = document.path
    assert complaint(validate, document, Whole, SettingsError, see="docs/settings.md").splitlines() == [
        f"{at}:1:1: the document has no `name`. Add `name`.",
        f"{at}:1:1: the document has an unknown key 'nam' (did you mean 'name'?). "
        "Known keys: columns, flags, judge, name, parts.",
        f"{at}:3:5: `parts[0]` has no `model`. Add `model`: Which model.",
        f"{at}:3:14: `parts[0].samples` is the number 0. It should be greater than or equal to 1.",
        f"{at}:4:23: `parts[1].share` is the number nan. Write a finite number.",
        f"{at}:5:5: `parts[2]`: a greedy model has one sample.",
        f"{at}:6:5: `parts[3]` is the number 3. It should be `key: value` lines.",
        f"{at}:8:10: `judge.model` is the number 7. It should be text: put it in quotes.",
        f"{at}:9:3: `judge` has an unknown key 'sampels' (did you mean 'samples'?). Known keys: model, samples, share.",
        f"{at}:10:14: `columns.a` is a list of 1. It should be text.",
        "See docs/settings.md.",
    ]


def test_a_single_problem_keeps_its_place_as_a_value(read):
    with pytest.raises(SettingsError) as caught:
        validate(read("name: a\njudge: {}\n"), Whole, SettingsError)
    assert caught.value.where == Where(caught.value.where.path, 2, 8)
    assert caught.value.do == "Add `model`: Which model."


def test_a_list_with_bad_items_is_not_also_called_too_short(read):
    class Needs(BaseModel):
        parts: tuple[Part, ...] = Field(min_length=1)

    assert "Give at least" not in complaint(validate, read("parts: [{}]"), Needs, SettingsError)
    assert "Give at least 1" in complaint(validate, read("parts: []"), Needs, SettingsError)


def test_set_overrides_a_value_and_makes_missing_mappings(read):
    document = apply_sets(
        read("name: a\nparts: [{model: m}]\n"),
        ["name=b", "judge.model=x=y", "parts.0.samples=2", "flags=[p, q]", "name=c"],
    )
    whole = validate(document, Whole, SettingsError)
    assert (whole.name, whole.judge, whole.parts[0].samples) == ("c", Part(model="x=y"), 2)
    assert whole.flags == {"p", "q"}


def test_a_problem_with_a_flag_names_the_flag(read):
    document = apply_sets(read("name: a\njudge: {model: m}\n"), ["judge.samples=x", "jugde.model=y"])
    message = complaint(validate, document, Whole, SettingsError)
    assert "--set judge.samples=x: `judge.samples` is the text 'x'." in message
    assert "--set jugde.model=y: the document has an unknown key 'jugde' (did you mean 'judge'?)." in message


def test_set_leaves_the_document_it_was_given_alone(read):
    document = read("judge: {model: m}\n")
    apply_sets(document, ["judge.model=x"])
    assert document.value == {"judge": {"model": "m"}}


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("name", "--set name: found no `key=value`."),
        ("=3", "found no `key=value`."),
        ("a..b=3", "found no `key=value`."),
        ("parts.1.model=x", "`parts` is a list of 1, which has no item '1'."),
        ("parts.x=1", "`parts` is a list of 1, which has no item 'x'."),
        ("name.x=1", "`name` holds a single value, so it has no `x`."),
        ("name=[1", "this is not valid YAML"),
    ],
)
def test_a_flag_that_cannot_be_set_is_refused(read, flag, message):
    assert message in complaint(apply_sets, read("name: a\nparts: [{model: m}]\n"), [flag])


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"))),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abcdefgh -_", min_size=1).filter(lambda k: k.strip() == k), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None)  # the machine may be busy
@given(plain)
@example("08")
@example("1e5")
@example("no")
@example("12:30")
def test_what_is_written_is_read_back_the_same_by_us_and_by_others(value):
    text = write_yaml({"top": value})
    read_back, places = parse_yaml(text, "x", InputError)
    assert read_back == {"top": value} == yaml.safe_load(text)
    assert ("top",) in places


def test_paths_in_messages_are_the_ones_that_were_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text("- 1")
    assert complaint(read_yaml, "x.yaml").startswith("x.yaml:1:1: ")
