"""Constitutions: strictly read, merged by id, compared by what a judge sees."""

import json

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.checks import LengthCheck, NumberCheck
from rlaif.constitution import (
    Constitution,
    Example,
    Principle,
    diff,
    dump_constitution,
    json_schema,
    lint,
    load_constitution,
    principles_to_judge,
    principles_to_score,
    read_constitution,
    source_files,
)
from rlaif.errors import ConstitutionError

BASE = """\
name: base
version: "2"
principles:
  - id: kind
    text: A good answer is kind.
    question: Which answer is kinder?
    weight: 2
  - id: honest
    text: A good answer is honest.
    question: Which answer is more honest?
    tags: [facts]
    examples:
      - {conversation: Hi, response_a: Yes., response_b: No., better: B}
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "x"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        return path

    return write


def complaint(path) -> str:
    with pytest.raises(ConstitutionError) as caught:
        load_constitution(path)
    return str(caught.value)


def principle(name: str, **more) -> Principle:
    return Principle(**({"id": name, "text": f"Be {name}.", "question": f"Which is more {name}?"} | more))


def constitution(*principles: Principle, **more) -> Constitution:
    return Constitution(**({"name": "c", "principles": principles} | more))


def test_a_constitution_is_read_with_its_defaults(write):
    read = load_constitution(write(BASE))
    kind, honest = read.principles
    assert (read.name, read.version, read.description) == ("base", "2", "")
    assert (kind.weight, kind.tags, kind.examples, kind.enabled) == (2.0, frozenset(), (), True)
    assert honest.examples == (Example(conversation="Hi", response_a="Yes.", response_b="No.", better="B"),)


def test_a_missing_question_is_reported_where_the_principle_stands(write):
    path = write("name: n\nprinciples:\n  - id: honest\n    text: Be honest.\n")
    assert complaint(path) == (
        f'{path}:3:5: principle "honest" has no `question`.\nAdd `question`: A question for the judge to answer, '
        "which asks for a choice of two answers. See constitution/README.md."
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: base", "title: base", ":1:1: the constitution has an unknown key 'title'."),
        (
            "name: base",
            "name: base\nextend: default",
            ":2:1: the constitution has an unknown key 'extend' (did you mean",
        ),
        ("weight: 2", "weigth: 2", ":7:5: principle \"kind\" has an unknown key 'weigth' (did you mean 'weight'?)."),
        ("weight: 2", "weight: -1", ':7:13: `weight` of principle "kind" is the number -1.\nIt should be greater'),
        ("weight: 2", "weight: .nan", ':7:13: `weight` of principle "kind" is the number nan.\nWrite a finite number'),
        ("weight: 2", "weight: .inf", ':7:13: `weight` of principle "kind" is the number inf.\nWrite a finite number'),
        ("weight: 2", "weight: '2'", ":7:13: `weight` of principle \"kind\" is the text '2'."),
        ("weight: 2", "weight: true", ':7:13: `weight` of principle "kind" is true.'),
        ("weight: 2", "enabled: 1", ':7:14: `enabled` of principle "kind" is the number 1.\nWrite true or false.'),
        ("A good answer is kind.", "' '", ':5:11: `text` of principle "kind" is an empty text.\nWrite a text.'),
        ("A good answer is kind.", "", ':5:10: `text` of principle "kind" is empty.'),
        ("id: kind", "id: Kind!", ":4:9: `principles[0].id` is the text 'Kind!'."),
        ("id: kind", "id: honest", ':8:9: the id "honest" is used twice; the first is at'),
        ("answer is honest.", "ANSWER  is kind.", ":9:11: the text 'a good answer is kind.' is used twice; the first"),
        ('"2"', "1.10", ":2:10: `version` is the number 1.1.\nIt should be text: put it in quotes."),
        ("tags: [facts]", "tags: [no good]", ":11:12: `tags[0]` of principle \"honest\" is the text 'no good'."),
        ("better: B", "better: C", ":13:71: `examples[0].better` of principle \"honest\" is the text 'C'."),
        ("better: B", "beter: B", ":13:63: `examples[0]` of principle \"honest\" has an unknown key 'beter'"),
        ("principles:", "description: |", ":1:1: the constitution has no `principles`."),
    ],
)
def test_what_is_wrong_is_named_with_its_place(write, old, new, message):
    assert BASE.count(old) == 1
    path = write(BASE.replace(old, new))
    assert f"{path}{message}" in complaint(path)


def test_a_whole_number_is_a_version_and_text_is_stripped(write):
    read = load_constitution(
        write(BASE.replace('"2"', "2").replace("text: A good answer is kind.", "text: >\n      Kind."))
    )
    assert (read.version, read.principles[0].text) == ("2", "Kind.")


def test_something_must_be_enabled_and_something_must_weigh(write):
    off = BASE.replace("    question", "    enabled: false\n    question")
    assert "x.yaml:4:3: no principle is enabled" in complaint(write(off))
    weightless = BASE.replace("weight: 2", "weight: 0").replace("tags:", "weight: 0\n    tags:")
    assert "every enabled principle has weight 0" in complaint(write(weightless))


def test_tags_choose_the_prompts_a_principle_applies_to(write):
    read = load_constitution(write(BASE))
    assert [p.id for p in read.for_tags([])] == ["kind"]
    assert [p.id for p in read.for_tags({"facts", "other"})] == ["kind", "honest"]


# extends


def test_extending_changes_by_id_appends_and_disables(write):
    write(BASE, "base")
    child = "name: child\nextends: base.yaml\nprinciples:\n  - {id: new, text: New., question: Which is newer}\n"
    child += "  - {id: honest, weight: 3, examples: []}\n  - {id: kind, enabled: false}\n"
    read = load_constitution(write(child))
    assert [p.id for p in read.principles] == ["kind", "honest", "new"]
    kind, honest, _ = read.principles
    assert (kind.enabled, kind.weight, kind.text) == (False, 2.0, "A good answer is kind.")
    assert (honest.weight, honest.examples, honest.tags) == (3.0, (), {"facts"})
    assert (read.name, read.version) == ("child", ""), "only principles are inherited"


def test_extends_alone_is_enough_and_goes_through_several_documents(write, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "base.yaml").write_text(BASE)
    write("name: middle\nextends: sub/base.yaml\nprinciples: [{id: kind, weight: 5}]\n", "middle")
    read = load_constitution(write("name: top\nextends: middle.yaml\n"))
    assert [(p.id, p.weight) for p in read.principles] == [("kind", 5.0), ("honest", 1.0)]


def test_a_shipped_constitution_is_extended_and_loaded_by_its_name(write):
    read = load_constitution(write("name: mine\nextends: default\nprinciples: [{id: concise, enabled: false}]\n"))
    default = load_constitution("default")
    assert {p.id for p in default.enabled} - {p.id for p in read.enabled} == {"concise"}


def test_a_relative_path_counts_from_the_base_and_a_shipped_name_does_not(write, tmp_path):
    write(BASE)
    assert load_constitution("x.yaml", base=tmp_path).name == "base"
    assert load_constitution("default", base=tmp_path).name == "default"


def test_a_circle_of_extends_is_shown_whole(write):
    a, b = write("name: a\nextends: b.yaml\n", "a"), write("name: b\nextends: c.yaml\n", "b")
    c = write("name: c\nextends: a.yaml\n", "c")
    assert f"{c}:2:10: `extends` goes round in a circle: {a} → {b} → {c} → {a}." in complaint(a)
    own = write("name: d\nextends: d.yaml\n", "d")
    assert f"{own}:2:10: `extends` goes round in a circle: {own} → {own}." in complaint(own)


def test_the_files_a_constitution_is_made_of_are_named_as_far_as_they_lead(write, tmp_path):
    a, b = write("name: a\nextends: b.yaml\n", "a"), write("name: b\nextends: gone.yaml\n", "b")
    assert source_files("a.yaml", base=tmp_path) == (a, b, tmp_path / "gone.yaml")
    write("name: [", "gone")
    assert source_files(a) == (a, b, tmp_path / "gone.yaml")
    write("name: c\nextends: ../" + tmp_path.name + "/a.yaml\n", "gone")  # a circle, by another path
    assert source_files(a) == (a, b, tmp_path / "gone.yaml")
    shipped = source_files(write("name: own\nextends: small\n", "own"))
    assert [path.name for path in shipped] == ["own.yaml", "small.yaml"]


def test_extending_something_that_is_not_there_is_reported_at_extends(write):
    assert "x.yaml:2:10: `extends` names 'nope.yaml', but there is no file" in complaint(
        write("name: n\nextends: nope.yaml\n")
    )


def test_an_override_with_a_mistyped_id_offers_the_nearest(write):
    write(BASE, "base")
    message = complaint(write("name: n\nextends: base.yaml\nprinciples:\n  - {id: honset, weight: 3}\n"))
    assert 'x.yaml:4:5: principle "honset" has no `text` and no `question`' in message
    assert "(did you mean 'honest'?)" in message


def test_a_problem_is_reported_in_the_file_it_was_written_in(write):
    base = write(BASE.replace("weight: 2", "wait: 2"), "base")
    child = write("name: n\nextends: base.yaml\nprinciples:\n  - {id: honest, weight: -3}\n")
    message = complaint(child)
    assert f"{base}:7:5: principle \"kind\" has an unknown key 'wait'" in message
    assert f'{child}:4:26: `weight` of principle "honest" is the number -3.' in message


@pytest.mark.parametrize("principles", ["3", "[3]", "[{id: [1]}]", "[{}]", "{a: 1}", "[null]"])
@pytest.mark.parametrize("extends", ["", "extends: base.yaml\n"])
def test_nonsense_for_principles_is_an_error_and_never_a_crash(write, principles, extends):
    write(BASE, "base")
    assert "x.yaml:" in complaint(write(f"name: n\n{extends}principles: {principles}\n"))


def test_nonsense_in_an_extended_document_is_reported_there(write):
    base = write("name: b\nprinciples: 3\n", "base")
    assert f"{base}:2:13" in complaint(write("name: n\nextends: base.yaml\nprinciples: [{id: a, weight: 1}]\n"))


# checks in the place of a judge

CHECKED = """\
name: n
principles:
  - id: right
    text: The last number is right.
    check: {kind: number, tolerance: 0.01}
  - id: kind
    text: A good answer is kind.
    question: Which answer is kinder?
"""


def test_a_principle_may_name_a_check_instead_of_a_question(write):
    read = load_constitution(write(CHECKED))
    right, kind = read.principles
    assert (right.question, right.check) == (None, NumberCheck(kind="number", tolerance=0.01))
    assert read.judged_for_tags([]) == (kind,)
    assert read.checked_for_tags([]) == (right,)
    assert read.for_tags([]) == read.principles
    assert lint(read) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "kind: number",
            "kind: nmber",
            ":5:19: `check` of principle \"right\" has an unknown kind 'nmber' (did you mean 'number'?).\n"
            "Known: exact, number, regex, length, json, python.",
        ),
        ("kind: number, ", "", ':5:12: `check` of principle "right" has no `kind`.\nAdd `kind`: exact, number, regex,'),
        (
            "tolerance",
            "tolerence",
            ":5:27: `check` of principle \"right\" has an unknown key 'tolerence' (did you mean 'tolerance'?).\n"
            "Known keys: extract, kind, reference, relative_tolerance, tolerance.",
        ),
        ("0.01", "-1", ':5:38: `check.tolerance` of principle "right" is the number -1.'),
        ("{kind: number, tolerance: 0.01}", "number", ':5:12: `check` of principle "right"'),
        ("{kind: number, tolerance: 0.01}", "{kind: regex, pattern: '(a'}", "is not a regular expression: missing )"),
        ("{kind: number, tolerance: 0.01}", "{kind: length}", "a length check needs a bound"),
        (
            "{kind: number, tolerance: 0.01}",
            "{kind: python, name: 'os:system'}",
            "no installed package brings a checker",
        ),
        (
            "    check:",
            "    question: Which is right?\n    check:",
            ':3:5: principle "right": it has a `check`, so no judge reads its `question`: remove one or the other.',
        ),
        ("    check: {kind: number, tolerance: 0.01}\n", "", ':3:5: principle "right" has no `question`.'),
        (
            "check: {kind: number, tolerance: 0.01}",
            "question: null",
            "neither a `question` for the judge nor a `check`",
        ),
    ],
)
def test_what_is_wrong_with_a_check_is_named_with_its_place(write, old, new, message):
    assert CHECKED.count(old) == 1
    path = write(CHECKED.replace(old, new))
    found = complaint(path)
    assert str(path) in found
    assert message in found


def test_a_check_survives_a_dump_and_is_in_the_schema(write, tmp_path):
    read = load_constitution(write(CHECKED))
    path = tmp_path / "dumped.yaml"
    path.write_text(dump_constitution(read))
    assert "question: null" not in path.read_text()
    assert load_constitution(path) == read
    kinds = json_schema()["$defs"]["Principle"]["properties"]["check"]["anyOf"][0]["discriminator"]["mapping"]
    assert set(kinds) == {"exact", "number", "regex", "length", "json", "python"}
    validator = jsonschema.Draft202012Validator(json_schema())
    assert validator.is_valid(yaml.safe_load(CHECKED))
    assert not validator.is_valid(yaml.safe_load(CHECKED.replace("question", "comment")))


def test_an_extending_document_adds_a_check_and_changes_one(write):
    write(CHECKED, "base")
    child = (
        "name: n\nextends: base.yaml\nprinciples:\n  - {id: brief, text: Brief., check: {kind: length, max_words: 9}}\n"
    )
    child += "  - {id: right, check: {kind: exact}}\n"
    read = load_constitution(write(child))
    assert [(p.id, p.check and p.check.kind) for p in read.principles] == [
        ("right", "exact"),
        ("kind", None),
        ("brief", "length"),
    ]


def test_checks_ask_no_judge_whatever_is_edited():
    check = {"kind": "length", "max_words": 9}
    brief = Principle(id="brief", text="Be brief.", check=check)
    before = constitution(brief, principle("a"))
    edits = {"check": LengthCheck(kind="length", max_words=5), "text": "Be short.", "tags": frozenset("x")}
    for key, value in edits.items():
        after = constitution(brief.model_copy(update={key: value}), principle("a"))
        (change,) = diff(before, after)
        assert (change.kind, change.cost) == (key, "nothing")
        assert principles_to_judge(before, after) == ()
    (added,) = diff(constitution(principle("a")), constitution(principle("a"), brief))
    assert (added.kind, added.cost) == ("added", "nothing")
    assert [c.before for c in diff(before, after) if c.kind == "check"] == []
    judged = constitution(principle("brief", text="Be brief."), principle("a"))
    changes = {c.kind: (c.cost, c.before, c.after) for c in diff(before, judged)}
    assert changes["check"] == ("nothing", "length (max_words 9)", "")
    assert changes["question"][0] == "judgments"
    assert [p.id for p in principles_to_judge(before, judged)] == ["brief"]
    assert {c.cost for c in diff(judged, before)} == {"nothing"}


# what is stored, and what an edit costs

words = st.text("abe 10xyzé.:#-'\"[]{}?", min_size=1, max_size=30).filter(str.strip)
principles = st.builds(
    Principle,
    id=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True),
    text=words,
    question=words,
    critique_request=st.none() | words,
    weight=st.floats(0.1, 1e9),
    tags=st.frozensets(st.sampled_from(["a", "no", "1"])),
    examples=st.lists(
        st.builds(Example, conversation=words, response_a=words, response_b=words, better=st.sampled_from("AB")),
        max_size=2,
    ).map(tuple),
)


@settings(deadline=None, max_examples=60)  # the machine may be busy
@given(st.lists(principles, min_size=1, max_size=4, unique_by=(lambda p: p.id, lambda p: p.text.casefold())))
def test_a_dumped_constitution_reads_back_the_same(tmp_path_factory, listed):
    texts = [" ".join(p.text.casefold().split()) for p in listed]
    if len(set(texts)) < len(texts):
        return
    written = constitution(*listed, name="n")
    path = tmp_path_factory.mktemp("dump") / "c.yaml"
    path.write_text(dump_constitution(written))
    assert load_constitution(path) == written


def test_a_dump_needs_no_other_file(write, tmp_path):
    write(BASE, "base")
    read = load_constitution(write("name: n\nextends: base.yaml\nprinciples: [{id: kind, weight: 7}]\n"))
    (tmp_path / "run").mkdir()
    dumped = tmp_path / "run" / "constitution.yaml"
    dumped.write_text(dump_constitution(read))
    assert load_constitution(dumped).principles == read.principles


def test_a_judge_sees_text_question_and_examples_and_nothing_else():
    one = principle("a", weight=2, tags={"x"}, critique_request="Criticise.")
    two = one.model_copy(update={"id": "b", "weight": 1.0, "tags": frozenset(), "critique_request": None})
    assert one.judging_content() == two.judging_content()
    assert set(one.judging_content()) == {"text", "question", "examples"}
    json.dumps(one.judging_content())  # it is digested as JSON


def test_equal_constitutions_do_not_differ():
    assert diff(constitution(principle("a")), constitution(principle("a"))) == []


@pytest.mark.parametrize(
    ("edit", "kind", "cost"),
    [
        ({"text": "Other."}, "text", "judgments"),
        ({"question": "Which other?"}, "question", "judgments"),
        (
            {"examples": (Example(conversation="x", response_a="a", response_b="b", better="A"),)},
            "examples",
            "judgments",
        ),
        ({"weight": 3.0}, "weight", "nothing"),
        ({"tags": frozenset("x")}, "tags", "nothing"),
        ({"tags": frozenset()}, "tags", "judgments"),
        ({"tags": frozenset("xyz")}, "tags", "judgments"),
        ({"enabled": False}, "enabled", "nothing"),
        ({"anchors": {1: "rude", 5: "kind"}}, "anchors", "scores"),
        ({"critique_request": "Criticise."}, "critique_request", "revisions"),
        ({"revision_request": "Revise."}, "revision_request", "revisions"),
        ({"id": "c"}, "renamed", "nothing"),
    ],
)
def test_an_edit_is_named_and_costs_what_it_changes(edit, kind, cost):
    before = constitution(principle("a", tags={"x", "y"}), principle("b"))
    after = constitution(before.principles[0].model_copy(update=edit), principle("b"))
    (change,) = diff(before, after)
    assert (change.kind, change.principle_id, change.cost) == (kind, edit.get("id", "a"), cost)
    assert [p.id for p in principles_to_judge(before, after)] == (["a"] if cost == "judgments" else [])
    scored = cost == "scores" or (cost == "judgments" and kind not in ("question", "examples"))
    assert [p.id for p in principles_to_score(before, after)] == (["a"] if scored else [])


def test_anchors_of_what_is_off_or_checked_cost_nothing():
    off = principle("a", enabled=False)
    checked = Principle(id="b", text="Be brief.", check={"kind": "length", "max_words": 9})
    before = constitution(off, checked, principle("c"))
    anchored = [one.model_copy(update={"anchors": {1: "bad", 2: "good"}}) for one in (off, checked)]
    after = constitution(*anchored, principle("c"))
    assert [(c.kind, c.cost) for c in diff(before, after)] == [("anchors", "nothing")] * 2
    assert principles_to_score(before, after) == ()


def test_turning_on_adding_removing_and_reordering():
    before = constitution(principle("a", enabled=False), principle("b"), principle("c"))
    after = constitution(principle("c"), principle("a"), principle("d"), name="new")
    assert [(c.kind, c.principle_id, c.cost) for c in diff(before, after)] == [
        ("name", "", "nothing"),
        ("enabled", "a", "judgments"),
        ("added", "d", "judgments"),
        ("removed", "b", "nothing"),
        ("order", "", "nothing"),
    ]
    assert [p.id for p in principles_to_judge(before, after)] == ["a", "d"]


def test_a_renamed_principle_is_still_compared():
    kinds = diff(
        constitution(principle("a")), constitution(principle("a").model_copy(update={"id": "b", "weight": 2.0}))
    )
    assert [c.kind for c in kinds] == ["renamed", "weight"]


# lint


def test_a_sound_constitution_has_no_warnings():
    assert lint(constitution(principle("kind"), principle("brief"))) == []


@pytest.mark.parametrize(
    ("question", "rules"),
    [
        ("Which answer is kinder?", []),
        ("Is answer A or B kinder?", []),
        ("Is the first answer more polite than the second?", []),
        ("Is the answer kind?", ["no-choice"]),
        ("Rate the answer from 1 to 10.", ["no-choice"]),
        ("Which answer is the worse one?", ["asks-for-worse"]),
    ],
)
def test_a_question_should_ask_for_a_choice_and_for_the_better_one(question, rules):
    assert [f.rule for f in lint(constitution(principle("a", question=question)))] == rules


def test_near_duplicates_are_found_in_paraphrase_and_not_across_opposites():
    one = principle("a", text="A good answer never invents sources, names or quotations.")
    two = principle("b", text="Names, quotations and sources should never be what the answer invents.")
    (finding,) = lint(constitution(one, principle("x"), two))
    assert (finding.rule, finding.principle_id, finding.key_path) == ("near-duplicate", "b", ("principles", 2, "text"))
    shorter = principle("a", text="Prefer the answer that is short.")
    longer = principle("b", text="Prefer the answer that is long.")
    assert lint(constitution(shorter, longer)) == []


def test_long_principles_and_constitutions_without_a_general_one_are_named():
    long = constitution(principle("a", text="word " * 121))
    assert [f.rule for f in lint(long)] == ["too-long"]
    assert lint(long, max_words=200) == []
    assert [f.rule for f in lint(constitution(principle("a", tags={"x"})))] == ["no-general"]


def test_disabled_principles_are_not_linted():
    assert lint(constitution(principle("a"), principle("b", question="Is it?", enabled=False))) == []


def test_a_finding_has_its_place_in_the_document(write):
    read, document = read_constitution(write(BASE.replace("Which answer is kinder?", "Is it kind?")))
    (finding,) = lint(read)
    assert str(document.where(finding.key_path)).endswith("x.yaml:6:15")


def test_the_schema_requires_whole_principles_only_without_extends():
    schema = json_schema()
    assert schema["$defs"]["Principle"]["required"] == ["id"]
    assert schema["if"] == {"not": {"required": ["extends"]}}
    whole = schema["then"]["properties"]["principles"]["items"]
    assert set(whole["required"]) == {"id", "text"}
    assert whole["anyOf"] == [{"required": ["question"]}, {"required": ["check"]}]
    assert schema["additionalProperties"] is False
