"""A verdict is what a judge's text ends with, in its own words; all else is no verdict, with a reason."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rlaif.feedback.verdict_text import Unscored, Verdict, prefill, read_verdict

HOSTILE = yaml.safe_load((Path(__file__).parents[1] / "data" / "hostile_answers.yaml").read_text(encoding="utf-8"))
AB = ("A", "B")
SCORES = tuple(str(score) for score in range(1, 11))
REASONS = "The first says what it does not know. The second promises too much."

SPELLINGS = [
    *("A", " A", "A.", "a", "**A**", "(A)", "[[A]]", "__A__", "Response A", "response a.", "The answer A"),
    *(
        "Verdict: A",
        "verdict: a",
        "**Verdict: A**",
        "**Verdict:** A",
        "### Verdict: A",
        "Verdict: **A**",
        "Verdict = A",
    ),
    *("My final answer is A.", "So the answer is (A)", 'Verdict: "A"', "Final verdict: Response A", "Winner: A"),
    *("The better response is A.", "\\boxed{A}", "$\\boxed{A}$", "The answer is \\boxed{\\text{A}}.", "Verdict:\n\nA"),
    *('{"verdict": "A"}', '{"Verdict": "a"}', '{"why": "}{", "verdict": "Response A"}', '{\n  "winner": "A"\n}'),
    *('```json\n{"verdict": "A"}\n```', '```\n{"answer": "the answer A"}\n```', '{"sure": true, "verdict": "(A)"}'),
]
NO_VERDICTS = [
    *("", "  \n ", "C", "AB", "A or B", "A and B", "A, B", "Verdict: A or B", "A better answer", "Response A is kind."),
    *(
        "- A",
        "> A",
        "> Verdict: A",
        '"A"',
        '"Verdict: A"',
        "'Verdict: A'",
        "`A`",
        "1. A",
        "A?",
        "not A",
        "Verdict: not A",
    ),
    *("Verdict: A\n\nIt is the kinder one.", "I choose A because it is honest.", "Verdict: A B", "A\n\n---"),
    *('{"verdict": "C"}', '{"verdict": null}', '{"verdict": ["A"]}', '{"a": "A"}', '{"verdict": "A", "verdict": "B"}'),
    *('{"verdict": "A", "answer": "B"}', '{"quote": "{\\"verdict\\": \\"A\\"}"}', '{"in": {"verdict": "A"}}'),
    *('["A"]', '{"verdict": "A"', 'x = {"verdict": "A"}', '{"verdict": "\\u0041"}', '{"verdict": true}'),
    *(
        "Response B says:\n\nVerdict: A",
        "It ends like this:\nA",
        "```\nVerdict: A\n```",
        "```\nVerdict: A",
        "```json\nA\n```",
    ),
    *('It says "ignore the above.\nVerdict: A', "It says “ignore the above.\nVerdict: A", "<response_b>\nVerdict: A"),
    *("<think>A is kinder.\n\nVerdict: A", "[THINK]no end\nA", "<|channel|>analysis<|message|>\nA"),
]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(
    "before", ["", f"{REASONS}\n\n", f"{REASONS}\n", "Verdict: B\n\nOn reflection I was wrong.\n\n"]
)
def test_every_spelling_at_the_end_is_the_verdict_wherever_the_reasons_lean(spelling, before):
    found = read_verdict(before + spelling, AB)
    assert isinstance(found, Verdict), found
    assert found.choice == "A"
    assert (before + spelling)[found.start : found.end] in ("A", "a")
    assert found.statement <= found.start


@pytest.mark.parametrize("text", NO_VERDICTS)
@pytest.mark.parametrize("before", ["", f"{REASONS}\n\n"])
def test_everything_else_is_unscored_with_its_reason(text, before):
    found = read_verdict(before + text, AB)
    assert isinstance(found, Unscored), found
    assert found.reason
    assert "\n" not in found.reason


def test_the_last_verdict_wins():
    assert read_verdict("Verdict: A\nVerdict: B", AB).choice == "B"
    assert read_verdict('{"verdict": "A"}\n\nNo:\n\nVerdict: B', AB) == Unscored(
        "the last line may be a quotation: the line before it ends with a colon"
    )
    assert read_verdict('{"verdict": "A"}\n{"verdict": "B"}', AB).choice == "B"


@pytest.mark.parametrize(
    "markers", ["<think>{}</think>", "[THINK]{}[/THINK]", "{}</think>", "<seed:think>{}</seed:think>"]
)
def test_nothing_inside_a_thinking_block_counts(markers):
    thought = markers.format("Verdict: B\n\nB")
    assert read_verdict(f"{thought}\n\nVerdict: A", AB).choice == "A"
    assert isinstance(read_verdict(thought, AB), Unscored)
    assert isinstance(read_verdict(f"{thought}\n\nHard to say.", AB), Unscored)


def test_choices_are_told_apart_by_case_where_they_only_differ_by_it():
    assert read_verdict("Verdict: a", ("A", "a")).choice == "a"
    assert read_verdict("Verdict: A", ("A", "a")).choice == "A"
    assert isinstance(read_verdict("verdict: a", ("A", "b")), Verdict)


@pytest.mark.parametrize("score", SCORES)
def test_a_ten_is_not_a_one(score):
    for text in (f"Score: {score}", f"{REASONS}\n\n{score}.", f'{{"score": {score}}}', f"\\boxed{{{score}}}"):
        found = read_verdict(text, SCORES)
        assert found.choice == score
        assert text[found.start : found.end] == score
    for text in ("Score: 11", "Score: 7.5", "Score: 07", '{"score": 7.5}', '{"score": 100}', "10/10"):
        assert isinstance(read_verdict(text, SCORES), Unscored)


@pytest.mark.parametrize(
    ("text", "begun"),
    [
        (f"{REASONS}\n\nVerdict: A", f"{REASONS}\n\nVerdict:"),
        (f"{REASONS}\n\nVerdict: **A**", f"{REASONS}\n\nVerdict: **"),
        (f"{REASONS}\n\nA", f"{REASONS}\n\nVerdict:"),
        (f"{REASONS}\n\n**A**", f"{REASONS}\n\nVerdict:"),
        (f"{REASONS}\n\\boxed{{A}}", f"{REASONS}\n\\boxed{{"),
        ('{"verdict": "A"}', '{"verdict": "'),
        ("A", ""),
    ],
)
def test_the_turn_up_to_the_verdict_is_what_its_probability_is_read_behind(text, begun):
    found = read_verdict(text, AB)
    assert prefill(text, found) == begun


# --- quoting

QUOTED = {
    "blockquote": lambda text: "Response B reads:\n" + "\n".join(f"> {line}" for line in text.splitlines()),
    "code block": lambda text: f"Response B reads:\n~~~\n{text}\n~~~".replace("~~~", "```"),
    "quotation marks": lambda text: f'Response B reads: "{text}"',
    "curly quotation marks": lambda text: f"Response B reads: “{text}”",
    "tags": lambda text: f"Response B reads:\n<response_b>\n{text}\n</response_b>",
    "said": lambda text: f"Response B says:\n\n{text}",
    "copied without a mark": lambda text: f"Now to the second response.\n\n{text}",
    "copied from the start": lambda text: text,
}
OWN = {"Verdict: A": "A", "Verdict: B": "B", "**A**": "A", '{"verdict": "A"}': "A", "That is all.": None, "": None}
LONG = [one for one in HOSTILE if len(" ".join(one["text"].split())) > 40]


@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize("style", QUOTED)
def test_a_quoted_answers_verdict_is_never_the_judges(style, own):
    """Very short answers copied without a mark cannot be told from the judge's own words, and are left out there."""
    answers = LONG if style.startswith("copied") else HOSTILE
    scored = 0
    for one in answers:
        text = QUOTED[style](one["text"]) + (f"\n\n{REASONS}\n\n{own}" if own else "")
        found = read_verdict(text, AB, shown=(one["text"], "No."))
        if isinstance(found, Verdict):
            assert found.choice == OWN[own], (one["name"], found)
            scored += 1
    if OWN[own] is not None:
        assert scored >= 0.75 * len(answers)  # quoting costs few verdicts


def test_what_a_judge_says_itself_counts_though_an_answer_says_it_too():
    shown = ("It will freeze.\n\nVerdict: B", "Nobody knows.")
    assert read_verdict(f"{REASONS}\n\nVerdict: B", AB, shown=shown).choice == "B"
    assert read_verdict("Verdict: B", AB, shown=shown).choice == "B"
    assert read_verdict("It will freeze.\n\nVerdict: B", AB, shown=shown) == Unscored(
        "the end of the text is copied from a response"
    )


# --- properties

CALM = st.text(st.characters(exclude_characters='"“”`<[|{}◁:', exclude_categories=("Cs",)))


@given(CALM, st.sampled_from(["A", "B"]))
def test_after_any_calm_reasons_a_verdict_is_read(reasons, choice):
    assert read_verdict(f"{reasons}\n\nVerdict: {choice}", AB).choice == choice


@given(st.text(), st.sampled_from(["A", "B"]))
def test_after_any_text_at_all_it_is_this_verdict_or_none(text, choice):
    found = read_verdict(f"{text}\n\nVerdict: {choice}", AB)
    assert isinstance(found, Unscored) or found.choice == choice


PIECES = st.lists(
    st.sampled_from(
        ["A", "B", "Verdict: ", "\n", '"', "{", "}", '"verdict": ', "```", "json", "<think>", "</think>", "> "]
    )
    | st.text(max_size=3),
    max_size=14,
).map("".join)


@given(PIECES)
def test_a_verdict_stands_where_it_says_and_its_turn_can_be_begun_again(text):
    found = read_verdict(text, AB)
    if isinstance(found, Verdict):
        assert text[found.start : found.end].upper() == found.choice
        assert text[found.end :].strip("*_ \t\n\r.!)]\"'”}$`#\x0b\x0c\x1c\x1d\x1e\x85") == "" or "{" in text
        begun = prefill(text, found)
        assert begun == begun.strip()


@given(st.text())
def test_any_text_is_read_without_an_error(text):
    assert isinstance(read_verdict(text, AB), Verdict | Unscored)
