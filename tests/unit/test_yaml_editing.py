"""Values changed in YAML somebody wrote: all else stays to the byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.documents import set_value
from rlaif.documents.marked import parse_yaml
from rlaif.errors import InputError

DOCUMENT = """\
# What we look for.   Two spaces and a tab:\t
name: small
version: "1"   # ours

principles:
  - id: polite   # first of all
    text: >
      A good answer
      is polite.
    # text: rude
    weight: 1.0    # as all

  - {id: brief, text: It is short.}
  - text: It declines.

    id: declines
    tags: [risk,
           law]   # where it matters
  - id: plain
    tags:
      - one
      - two
"""


def edit(key_path, value, text=DOCUMENT):
    return set_value(text, key_path, value, path="small.yaml")


@pytest.mark.parametrize(
    ("key_path", "value", "before", "after"),
    [
        (("principles", 0, "weight"), 0.5, "    weight: 1.0    # as all", "    weight: 0.5    # as all"),
        (("version",), "2", 'version: "1"   # ours', "version: '2'   # ours"),
        (("principles", 0, "enabled"), False, "polite   # first of all", "polite   # first of all\n    enabled: false"),
        (("principles", 1, "enabled"), False, "id: brief,", "id: brief, enabled: false,"),
        (("principles", 2, "weight"), 2.0, "It declines.\n", "It declines.\n    weight: 2.0\n"),
        (("principles", 2, "tags"), ["law"], "tags: [risk,\n           law]   #", "tags: [law]   #"),
        (("principles", 3, "tags"), ["two"], "tags:\n      - one\n      - two", "tags: [two]"),
        (("note",), {"a": 1, "b": "no"}, "name: small", "name: small\nnote:\n  a: 1\n  b: 'no'"),
    ],
    ids=["replaced", "top", "added", "flow", "after a blank line", "flow list", "block list", "mapping"],
)
def test_one_value_changes_and_every_other_byte_stays(key_path, value, before, after):
    assert before in DOCUMENT
    assert edit(key_path, value) == DOCUMENT.replace(before, after, 1)


def test_a_mapping_that_was_put_in_can_be_changed_again():
    once = edit(("note",), {"a": 1, "b": 2})
    assert edit(("note",), {"a": 3, "b": 2}, once) == once.replace("a: 1", "a: 3")


@pytest.mark.parametrize(
    "text",
    [
        "base: &w 1.0\nprinciples:\n  - id: a\n    weight: *w\n",
        "principles:\n  - id: a\n    weight: |\n      1\n",
        "principles:\n  - id: a\n    weight: [1,  # why\n      2]\n",
    ],
    ids=["alias", "block text", "a comment inside"],
)
def test_what_cannot_be_changed_alone_is_refused_with_its_name(text):
    with pytest.raises(InputError, match=r"(?s)principles\.0\.weight.*by hand"):
        edit(("principles", 0, "weight"), 2.0, text)


def test_a_document_without_a_last_line_break_can_be_added_to():
    assert edit(("b",), 1, "a: 0") == "a: 0\nb: 1\n"


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(0, 9), min_size=1), st.data())
def test_what_is_read_afterwards_is_the_wanted_value(document, data):
    text = "".join(f"{key}: {value}  # {key}\n" for key, value in document.items())
    key = data.draw(st.text("abcd", min_size=1, max_size=3))
    value = data.draw(
        st.one_of(st.booleans(), st.floats(0, 9), st.text("no1 :#'", min_size=1), st.lists(st.integers()))
    )
    changed = edit((key,), value, text)
    assert parse_yaml(changed, "", InputError)[0] == {**document, key: value}
    assert changed.count("#") >= len(document) - (key in document)
