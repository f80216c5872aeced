"""Objective checks: what counts as right, what is no number, and what may never run."""

import math
import sys
from fractions import Fraction
from importlib.metadata import entry_points

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from rlaif.checks import (
    Check,
    ExactCheck,
    JsonCheck,
    LengthCheck,
    NumberCheck,
    PythonCheck,
    RegexCheck,
    Scored,
    Unscored,
    describe,
    score,
)
from rlaif.checks.installed import GROUP, load_checker
from rlaif.checks.numerals import last_number

CHECK = TypeAdapter(Check)


def check(kind: str, **options):
    return CHECK.validate_python({"kind": kind, **options})


def passes(one, answer: str, reference: str | None = None) -> bool:
    result = score(one, answer, reference=reference)
    assert isinstance(result, Scored), result
    assert result.value in (0.0, 1.0)
    return result.value == 1.0


def complaint(kind: str, **options) -> str:
    with pytest.raises(ValidationError) as caught:
        check(kind, **options)
    return str(caught.value)


# --- numbers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The answer is 72.", Fraction(72)),
        ("First 3, then 4", Fraction(4)),
        ("#### 1,234", Fraction(1234)),
        ("$1,234,567.50 in all", Fraction(123456750, 100)),
        ("it is -3.5", Fraction(-7, 2)),
        ("it is −3", Fraction(-3)),  # a typographical minus
        ("x=-3", Fraction(-3)),
        ("5-3", Fraction(3)),  # a difference, not minus three
        ("GPT-4", Fraction(4)),
        ("about 1.5e-3", Fraction(15, 10000)),
        ("2E3", Fraction(2000)),
        (".5", Fraction(1, 2)),
        ("3/4 of it", Fraction(3, 4)),
        ("-1/2", Fraction(-1, 2)),
        (r"\boxed{72}", Fraction(72)),
        ("72%", Fraction(72)),
        ("5kg", Fraction(5)),
        ("0.1", Fraction(1, 10)),
        ("007", Fraction(7)),
        # no number, or one that could be read in two ways
        ("none at all", None),
        ("", None),
        ("it is 3,5", None),
        ("1,2,3", None),
        ("version 1.2.3", None),
        ("12/05/2024", None),
        ("1/0", None),
        ("1,23,456", None),
        ("1e99999", None),
        ("9" * 500, None),
        ("x2", None),
        ("٣", None),  # digits of other scripts are not guessed at
    ],
)
def test_the_last_number_of_a_text(text, value):
    assert last_number(text) == value


@given(st.integers(-(10**12), 10**12), st.integers(0, 6))
def test_a_number_reads_back_from_the_ways_people_write_it(whole, decimals):
    value = Fraction(whole, 10**decimals)
    plain = f"{float(value):.{decimals}f}"
    for text in (plain, f"so it is {plain}.", f"{float(value):,.{decimals}f}"):
        assert last_number(text) == Fraction(plain)


@given(st.text(max_size=40))
def test_no_text_breaks_the_reading_of_numbers(text):
    last_number(text)


def test_numbers_are_equal_within_the_tolerance_and_exactly_without():
    assert passes(check("number"), "It costs $1,200.00 in total.", "1200")
    assert passes(check("number"), "0.10", ".1")
    assert not passes(check("number"), "0.30000000000000004", "0.3")
    near = check("number", tolerance=0.3)
    assert passes(near, "2.3", "2")  # 0.3 means three tenths, whose nearest binary number is smaller
    assert not passes(near, "2.31", "2")
    share = check("number", relative_tolerance=0.01)
    assert passes(share, "-101", "-100")
    assert not passes(share, "102", "100")


def test_the_reference_may_be_a_worked_solution_and_the_check_may_bring_its_own():
    assert passes(check("number"), "It is 72", "48 + 24 = 72 clips.\n#### 72")
    assert passes(check("number", reference="5"), "5", "6")


def test_an_answer_without_a_number_is_wrong_and_a_missing_reference_is_no_verdict():
    assert not passes(check("number"), "I do not know.", "3")
    for kind in ("number", "exact"):
        assert score(check(kind), "3") == Unscored("abstained", "the prompt has no reference")
    result = score(check("number"), "3", reference="three")
    assert isinstance(result, Unscored)
    assert "no readable last number: 'three'" in result.reason


def test_a_pattern_picks_the_result_out_of_the_answer():
    boxed = check("number", extract=r"\\boxed\{([^}]*)\}")
    assert passes(boxed, r"\boxed{3}, no: \boxed{4}. I am 99 % sure.", "4")
    assert not passes(boxed, "It is 4.", "4")
    assert passes(check("exact", extract=r"(?<=Answer: )\w+"), "Answer: B", "B")


# --- the other kinds


def test_an_exact_match_forgives_white_space_and_case_only_when_asked():
    assert passes(check("exact"), " Paris\n", "Paris")
    assert passes(check("exact"), "New   York", "New York")
    assert not passes(check("exact"), "paris", "Paris")
    assert passes(check("exact", ignore_case=True), "STRASSE", "straße")
    assert not passes(check("exact"), "Paris.", "Paris")


def test_a_pattern_is_found_or_must_not_be():
    assert passes(check("regex", pattern=r"^Dear\b"), "Dear Ann,")
    assert not passes(check("regex", pattern=r"^Dear\b"), "O dear")
    assert passes(check("regex", pattern="sorry", found=False), "Here it is.")
    assert not passes(check("regex", pattern="sorry", found=False, ignore_case=True), "SORRY")


def test_a_pattern_that_runs_away_is_stopped_and_is_no_verdict(monkeypatch):
    monkeypatch.setattr("rlaif.checks.scoring.PATTERN_TIMEOUT_S", 0.05)
    result = score(check("regex", pattern=r"^(([a-z])+.)+[A-Z]([a-z])+$"), "a" * 4000)
    assert isinstance(result, Unscored)
    assert result.outcome == "failed"
    assert "took longer" in result.reason


@pytest.mark.parametrize(
    ("bounds", "answer", "is_right"),
    [
        ({"max_words": 3}, "one two  three", True),
        ({"max_words": 3}, "one two three four", False),
        ({"min_words": 1}, " ", False),
        ({"min_characters": 2, "max_characters": 4}, "abcd", True),
        ({"min_characters": 2, "max_characters": 4}, "abcde", False),
        ({"min_characters": 2, "max_characters": 4}, "a", False),
        ({"max_words": 0}, "", True),
    ],
)
def test_a_length_is_within_its_bounds(bounds, answer, is_right):
    assert passes(check("length", **bounds), answer) is is_right


@pytest.mark.parametrize(
    ("answer", "is_right"),
    [
        ('{"a": [1, 2.5, null, true]}', True),
        (" 3 ", True),
        ("{'a': 1}", False),
        ('{"a": 1} and more', False),
        ("NaN", False),
        ("[Infinity]", False),
        ("[" * 100_000, False),
        ("1" * 10_000, False),
        ("", False),
        ("```json\n{}\n```", False),
    ],
)
def test_json_is_json_and_nothing_else(answer, is_right):
    assert passes(check("json"), answer) is is_right


def test_a_fence_is_allowed_when_asked_and_only_around_all_of_it():
    fenced = check("json", allow_fence=True)
    assert passes(fenced, "```json\n{}\n```\n")
    assert passes(fenced, "{}")
    assert not passes(fenced, "Here you are:\n```json\n{}\n```")


def test_json_may_have_to_match_a_schema():
    schema = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"$ref": "#/$defs/text"}},
        "$defs": {"text": {"type": "string"}},
    }
    one = check("json", json_schema=schema)
    assert passes(one, '{"name": "x"}')
    assert not passes(one, '{"name": 3}')
    assert not passes(one, "{}")


# --- what is wrong with a check


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("regex", {"pattern": "(a"}, "is not a regular expression: missing )"),
        ("regex", {}, "Field required"),
        ("regex", {"pattern": ""}, "at least 1 character"),
        ("length", {}, "needs a bound"),
        ("length", {"min_words": 3, "max_words": 2}, "no answer could pass"),
        ("length", {"max_words": -1}, "greater than or equal to 0"),
        ("length", {"max_words": 2.5}, "valid integer"),
        ("number", {"tolerance": -1.0}, "greater than or equal to 0"),
        ("number", {"tolerance": math.nan}, "finite number"),
        ("json", {"json_schema": {"type": "objekt"}}, "json_schema is not a JSON Schema"),
        ("json", {"json_schema": {"$ref": "https://example.com/x"}}, "only references within it"),
        ("json", {"json_schema": {"items": [{"$ref": "file:///etc/passwd"}]}}, "json_schema"),
        ("exact", {"tolerance": 1.0}, "Extra inputs"),
    ],
)
def test_what_is_wrong_with_a_check_is_found_on_loading(kind, options, message):
    assert message in complaint(kind, **options)


# --- checkers of installed packages


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package with checkers, installed as an installer leaves it: a module and its entry points."""
    (tmp_path / "my_checkers.py").write_text(
        "def half(answer, *, reference, conversation, **options):\n    return 0.5\n"
        "def told(answer, *, reference, conversation, word):\n"
        "    return word in answer and conversation[0]['content'] == 'Why?' and reference == 'r'\n"
        "def silent(answer, **context):\n    return None\n"
        "def broken(answer, **context):\n    raise RuntimeError('no compiler')\n"
        "def wild(answer, **context):\n    return 7\n"
    )
    folder = tmp_path / "my_checkers-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: my-checkers\nVersion: 1.0\n")
    names = ("half", "told", "silent", "broken", "wild")
    lines = [f"{name} = my_checkers:{name}" for name in names] + ["gone = my_checkers:gone"]
    (folder / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
    monkeypatch.syspath_prepend(str(tmp_path))
    load_checker.cache_clear()
    yield {point.name for point in entry_points(group=GROUP)}
    load_checker.cache_clear()
    sys.modules.pop("my_checkers", None)


def test_a_checker_of_an_installed_package_is_called_with_all_it_may_need(installed):
    assert score(check("python", name="half"), "x") == Scored(0.5)
    told = check("python", name="told", options={"word": "because"})
    conversation = [{"role": "user", "content": "Why?"}]
    assert score(told, "because", reference="r", conversation=conversation) == Scored(1.0)
    assert score(told, "so", reference="r", conversation=conversation) == Scored(0.0)


@pytest.mark.parametrize(
    ("name", "outcome", "reason"),
    [
        ("silent", "abstained", "gave no score"),
        ("broken", "failed", "raised RuntimeError: no compiler"),
        ("wild", "failed", "returned 7, not a number from 0 to 1"),
        ("gone", "failed", "AttributeError"),
    ],
)
def test_a_checker_that_cannot_say_or_breaks_is_counted_and_stops_nothing(installed, name, outcome, reason):
    result = score(check("python", name=name), "x")
    assert isinstance(result, Unscored)
    assert result.outcome == outcome
    assert reason in result.reason


def test_a_wrong_option_of_a_checker_is_its_failure(installed):
    result = score(check("python", name="told", options={"wort": "x"}), "x")
    assert isinstance(result, Unscored)
    assert "unexpected keyword argument" in result.reason


def test_code_is_never_chosen_by_the_constitution(installed):
    """An import path is no name: only what a package registered can be called."""
    assert "no installed package brings a checker 'os:system'" in complaint("python", name="os:system")
    assert "no installed package brings a checker 'my_checkers:half'" in complaint("python", name="my_checkers:half")
    assert "(did you mean 'half'?)" in complaint("python", name="hlaf")


def test_reading_a_check_loads_none_of_its_code(installed):
    check("python", name="half")
    assert "my_checkers" not in sys.modules


def test_a_check_is_described_in_a_few_words():
    assert describe(ExactCheck(kind="exact")) == "exact"
    assert describe(NumberCheck(kind="number", tolerance=0.01)) == "number (tolerance 0.01)"
    assert describe(LengthCheck(kind="length", max_words=9)) == "length (max_words 9)"
    assert describe(RegexCheck(kind="regex", pattern="a", found=False)) == "regex (pattern a, found False)"
    assert describe(JsonCheck(kind="json")) == "json"
    assert PythonCheck.__doc__
