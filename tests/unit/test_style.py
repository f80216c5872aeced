"""What an answer looks like, by hand; and a scripted judge that likes it by known amounts."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif import style
from rlaif.engines.base import Request, Sampling
from rlaif.engines.leaning import Bias, drawn_worth, leaning
from rlaif.engines.scripted import ScriptedEngine
from rlaif.records import Message
from rlaif.style import STYLES, style_of

MARKED = """## Title
**bold** and *slanted* and `code` and [a link](http://x)
> quoted
| a | b |
---
```
x = 2 * 3 * 4
```
snake_case_name, 2*3*4"""


@pytest.mark.parametrize(
    ("text", "style", "value"),
    [
        ("", "length", 0.0),
        ("x" * 7, "length", 3.0),
        ("", "verbosity", 0.0),
        ("One two, three.", "verbosity", 0.0),
        ("The cat and the dog and THE bird", "verbosity", 3 / 8),
        ("plain text, 2 * 3, a_b_c", "markdown", 0.0),
        (MARKED, "markdown", math.log2(1 + 10)),
        ("- one\n* two\n  3. three\n4) four\n• five", "lists", math.log2(6)),
        ("-not a list\n1.5 litres\n**bold**", "lists", 0.0),
    ],
)
def test_styles_by_hand(text, style, value):
    assert style_of(text)[style] == pytest.approx(value)


@given(st.text("-*+#>|_`[]()•. \t\n1x"))
def test_shortcuts_find_what_a_search_of_the_whole_text_finds(text):
    items = re.findall(r"^[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+\S", text, re.MULTILINE)
    assert style_of(text)["lists"] == pytest.approx(math.log2(1 + len(items)))
    assert style_of(text)["markdown"] == pytest.approx(math.log2(1 + len(style._MARK.findall(text))))


def test_every_style_has_a_value():
    assert tuple(style_of("some text")) == STYLES


def judged(rule, first, second):
    text = f"<response_a>\n{first}\n</response_a>\n<response_b>\n{second}\n</response_b>"
    request = Request(id="r", messages=(Message("user", text),), sampling=Sampling(max_tokens=1), choices=("A", "B"))
    (answer,) = ScriptedEngine(rules=[rule]).complete([request])
    return answer.choice_logprobs[0] - answer.choice_logprobs[1]


def test_a_leaning_judge_leans_by_what_it_is_told():
    short, long = "abc", "a" * 15  # 2 and 4 doublings
    assert judged(leaning(Bias(position=0.5)), short, long) == pytest.approx(0.5)
    assert judged(leaning(Bias(length=0.3)), long, short) == pytest.approx(0.6)
    assert judged(leaning(Bias(lists=1.0, markdown=-1.0)), "- x\n- y\n- z", "**a** **b** **c**") == pytest.approx(4.0)
    own = leaning(Bias(own=0.7), is_own=lambda text: "mine" in text)
    assert judged(own, "x", "mine") == pytest.approx(-0.7)
    assert judged(leaning(Bias(position=0.2), worth=len), "abcd", "ab") == pytest.approx(2.2)
    assert (
        leaning(Bias())(Request(id="r", messages=(Message("user", "hello"),), sampling=Sampling(max_tokens=9))) is None
    )


def test_arrays_are_leaned_to_as_texts_are():
    bias = Bias(position=0.5, length=0.3, verbosity=2.0, markdown=-0.4, lists=0.1)
    texts = ["abc abc", "**a** b c d e", "- one\n- two", "plain words and plain words"]
    styles = {name: np.array([style_of(text)[name] for text in texts]) for name in STYLES}
    difference = {name: values - values[::-1] for name, values in styles.items()}
    one_by_one = [judged(leaning(bias), *pair) for pair in zip(texts, texts[::-1], strict=True)]
    assert bias.log_odds(difference) == pytest.approx(one_by_one)


def test_drawn_worths_are_normal_and_follow_from_the_text():
    worth = drawn_worth(1.5)
    values = [worth(f"text {n}") for n in range(4000)]
    assert np.mean(values) == pytest.approx(0.0, abs=0.08)
    assert np.std(values) == pytest.approx(1.5, rel=0.04)
    assert worth("text 1") == values[1]
