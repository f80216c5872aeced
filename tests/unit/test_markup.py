"""Markup: what is not ours is shown and never runs, and a document lets in nothing but its own style and script."""

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.markup.document import document
from rlaif.markup.element import tag, together
from rlaif.markup.text import data_block, escaped, visible


class Read(HTMLParser):
    """What a parser makes of markup: tags with attributes, and text."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, name, attributes):
        self.tags.append((name, dict(attributes)))

    def handle_data(self, text):
        self.text += text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202eb", "a⟦U+202E⟧b"),
        ("a\u2028b\u2029", "a⟦U+2028⟧b⟦U+2029⟧"),
        ("\x00\x1b[31m", "⟦U+0000⟧⟦U+001B⟧[31m"),
        ("\x1e\x1f", "⟦U+001E⟧⟦U+001F⟧"),
        ("zero\u200bwidth", "zero⟦U+200B⟧width"),
        ("\U000e0041", "⟦U+E0041⟧"),
        ("\ud800", "⟦U+D800⟧"),
        ("tab\tand\nline\r\nend", "tab\tand\nline\nend"),
        ("می\u200cخواهم 👩\u200d👧 é 漢", "می\u200cخواهم 👩\u200d👧 é 漢"),
    ],
)
def test_what_cannot_be_seen_is_named_and_what_can_stays(text, shown):
    assert visible(text) == shown


@given(st.text(st.characters()))
def test_a_text_comes_back_out_of_an_element_as_it_is_visible(text):
    read = Read(tag("p", text, title=text))
    assert read.text == visible(text)
    assert read.tags == [("p", {"title": visible(text)})]
    escaped(text).encode("utf-8")  # or the file could not be written


@given(
    st.recursive(
        st.text() | st.integers() | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    )
)
def test_data_comes_back_and_never_ends_its_element(value):
    block = data_block(value)
    assert json.loads(block) == value
    assert not set("<>&") & set(block)


def test_an_element_in_an_element_is_not_escaped_again():
    inner = tag("b", "<1>")
    assert tag("p", inner, " & ", [inner, None]) == "<p><b>&lt;1&gt;</b> &amp; <b>&lt;1&gt;</b></p>"
    assert together(["<", inner]) == "&lt;<b>&lt;1&gt;</b>"
    assert tag("p", str(inner) + "") == "<p>&lt;b&gt;&amp;lt;1&amp;gt;&lt;/b&gt;</p>"  # a joined string is text again


def test_attributes_are_dashed_left_out_or_bare():
    made = tag("input", class_="wide", aria_label='"', checked=True, hidden=False, form=None, min=0, step=0.5)
    assert made == '<input class="wide" aria-label="&quot;" checked min="0" step="0.50">'


def policy_of(page: str) -> str:
    return html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1])


def sha256_of(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_the_policy_names_the_one_style_and_the_one_script_and_nothing_else():
    page = document(
        title="t", body=tag("p", "x"), script="console.log('é < ö')", style="p { color: red }", facts={"a": "</script>"}
    )
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    (script,) = re.findall(r'<script type="module">(.*?)</script>', page, re.DOTALL)
    policy = policy_of(page)
    assert f"script-src {sha256_of(script)};" in policy
    assert f"style-src {sha256_of(style)};" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert (
        re.search(r'<script type="application/json" id="facts">(.*?)</script>', page)[1]
        == '{"a":"\\u003c/script\\u003e"}'
    )


def test_a_document_without_a_script_may_run_none():
    page = document(title="</title><script>alert(1)</script>", body=tag("p", "x"))
    assert "script-src" not in policy_of(page)
    assert "script" not in {name for name, _ in Read(page).tags}


def test_a_script_that_would_end_its_element_is_refused():
    with pytest.raises(ValueError, match="</script"):
        document(title="t", body="", script="'</script>'")
