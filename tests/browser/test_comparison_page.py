"""The comparison's page in a real browser: what is listed and in which order, reading, keys, address, hostile texts."""

import json
import math
import random
import re
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import pytest

from benchmarks.compare_page import made_comparison
from rlaif.evaluate.comparison_page.packed import pack
from rlaif.evaluate.comparison_page.page import PACKAGE, html_page
from rlaif.markup.document import shipped
from rlaif.markup.text import visible

HOSTILE = (
    "</script><script>document.title='taken'</script><!-- ]]> <img src=x onerror=\"document.title='taken'\"> "
    "</div></template>\u2028\u2029\u202egnp.\u2066 \x1e\x1f\x00 &lt;b&gt; \\u003c \U000e0041 ${x} {{y}} `z` 'q' \"d\""
)
PAIRS = 150
DEFAULTS = {"judge": "judge:judge a", "against": "", "show": "against", "from": "50", "to": "100", "sort": "wrong"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_comparison(tmp_path_factory.mktemp("made"), PAIRS, longest=60)


@pytest.fixture(scope="module")
def rows(made):
    return made[1]


@pytest.fixture(scope="module")
def page_file(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("compare") / "page.html"
    report, rows = made
    short = {**report, "judges": {"judge a": report["judges"]["judge a"]}}  # axe takes its time for every table
    path.write_text(html_page(short, rows), encoding="utf-8")
    return path


@pytest.fixture
def page(page_file, open_page):
    return open_page(page_file, viewport={"width": 1200, "height": 900})


def counted(page) -> int:
    return int(re.match(r"[\d,]+", page.locator("#count").inner_text())[0].replace(",", ""))


def state_of(page, wanted: dict) -> dict:
    """What the address says; it follows a moment later, so it is waited for."""
    for _ in range(200):
        found = {name: values[0] for name, values in parse_qs(urlsplit(page.url).fragment).items()}
        if found == wanted:
            break
        page.wait_for_timeout(50)
    return found


# --- which pairs, in which order: pairs.js beside a plain Python version


def side(share: float) -> int:
    return (share > 0.5) - (share < 0.5)


def confidence(row) -> float:
    said = round(row["judge"]["probability"], 4)
    return max(said, 1 - said)


def share_of(vote) -> float | None:
    return {"first": 1.0, "second": 0.0, "tie": 0.5}.get(vote["choice"])


def relation(said, share) -> str:
    if said is None or share is None:
        return "missing"
    own, theirs = side(said), side(share)
    return "against" if own * theirs < 0 else "with" if own == theirs else "tie"


def listed(rows, *, judge="judge a", person=None, keep=lambda row, share: True, show="against") -> list[str]:
    """Ids of the pairs, most confident and wrong first."""
    found = []
    for row in rows:
        if row["judge"]["rater"] != judge:
            continue
        share = row["share"] and round(row["share"], 4)
        if person:
            share = share_of(next(vote for vote in row["people"] if vote["rater"] == person))
        if (not show or relation(row["judge"]["probability"], share) == show) and keep(row, share):
            said = row["judge"]["probability"]
            favour = round(share if said >= 0.5 else 1 - share, 6) if share is not None else 0
            rank = ("missing", "with", "tie", "against").index(relation(said, share))
            found.append((-rank, -confidence(row), favour, row["pair_id"]))
    return [name for *_, name in sorted(found)]


def mark(row, principle):
    return next(one for one in row["judge"]["marks"] if one["principle"] == principle)


def longer(row) -> float:
    """Doublings of characters, the judge's choice less the other."""
    lengths = [math.log2(1 + len(row[name])) for name in ("first", "second")]
    return side(row["judge"]["probability"]) * (lengths[0] - lengths[1])


CASES = {
    "all": ({"show": ""}, {"show": ""}),
    "disagreements": ({}, {}),
    "agreements": ({"show": "with"}, {"show": "with"}),
    "undecided": ({"show": "tie"}, {"show": "tie"}),
    "another judge": ({"judge": "judge:judge b"}, {"judge": "judge b"}),
    "beside one person": ({"against": "human:ben"}, {"person": "ben"}),
    "no vote": ({"show": "missing", "against": "human:ann"}, {"show": "missing", "person": "ann"}),
    "tag": ({"tag": "craft"}, {"keep": lambda row, share: "craft" in row["tags"]}),
    "source": ({"source": "forum"}, {"keep": lambda row, share: row["source"] == "forum"}),
    "confidence": ({"from": "70", "to": "90"}, {"keep": lambda row, share: 0.7 <= confidence(row) <= 0.9}),
    "half": ({"size": "half"}, {"keep": lambda row, share: longer(row) < -1}),
    "longer": ({"size": "longer"}, {"keep": lambda row, share: 0.3 <= longer(row) < 1}),
    "alike": ({"size": "alike", "show": ""}, {"show": "", "keep": lambda row, share: -0.3 <= longer(row) < 0.3}),
    "a principle against people": (
        {"principle": "kind", "how": "against"},
        {"keep": lambda row, share: relation(mark(row, "kind")["probability"], share) == "against"},
    ),
    "a principle with people": (
        {"principle": "kind", "how": "with"},
        {"keep": lambda row, share: relation(mark(row, "kind")["probability"], share) == "with"},
    ),
    "a principle that the order decides": (
        {"principle": "safe", "how": "order", "show": ""},
        {
            "show": "",
            "keep": lambda row, share: (
                min(mark(row, "safe")["shown_first"], mark(row, "safe")["shown_second"]) < 0.45
                and max(mark(row, "safe")["shown_first"], mark(row, "safe")["shown_second"]) > 0.55
            ),
        },
    ),
}


@pytest.fixture(scope="module")
def select(browser, made):
    """`select(state)` is what pairs.js lists, as ids in order."""
    packed = pack(made[1], made[0]["terms"])
    context = browser.new_context()
    page = context.new_page()
    source = shipped(PACKAGE, "pairs.js")
    page.evaluate(
        f"([index, texts]) => {{ {source}; window.pairs = new Pairs(index, texts); }}", [packed.index, packed.texts]
    )
    yield lambda state: [
        packed.index["ids"][place] for place in page.evaluate("state => window.pairs.select(state).places", state)
    ]
    context.close()


@pytest.mark.parametrize("case", CASES)
def test_the_list_is_what_a_plain_loop_finds(case, select, rows):
    state, wanted = CASES[case]
    found = listed(rows, **wanted)
    assert found, "an empty list shows nothing"
    assert select({**DEFAULTS, **state}) == found


def orders_apart(row) -> float:
    return max(abs(mark["shown_first"] - mark["shown_second"]) for mark in row["judge"]["marks"])


SORTS = {  # what falls, or stays, from each pair to the next
    "unsure": lambda row: -confidence(row),
    "divided": lambda row: -1 if row["share"] is None else -abs(row["share"] - 0.5),
    "long": lambda row: len(row["first"]) + len(row["second"]),
    "short": lambda row: -len(row["first"]) - len(row["second"]),
}


@pytest.mark.parametrize("sort", [*SORTS, "order"])
def test_an_order_is_kept_from_pair_to_pair(sort, select, rows):
    own = {row["pair_id"]: row for row in rows if row["judge"]["rater"] == "judge a"}
    found = select({**DEFAULTS, "show": "with", "sort": sort})
    keys = [SORTS.get(sort, orders_apart)(own[name]) for name in found]
    assert len(set(keys)) > 3
    assert all(first >= second - 1e-4 for first, second in pairwise(keys))  # the page has four digits


def test_words_are_found_in_every_text_of_a_pair(select, rows):
    texts = {}
    for row in rows:
        texts[row["pair_id"]] = texts.get(row["pair_id"], "") + json.dumps(row).lower()
    wanted = {name for name, text in texts.items() if "better answer" in text}
    assert 5 < len(wanted) < PAIRS - 5
    assert set(select({**DEFAULTS, "show": "", "words": "Better ANSWER"})) == wanted


def test_a_person_is_compared_with_the_other_people(select, rows):
    wanted = set()
    for row in rows:
        votes = {vote["rater"]: share_of(vote) for vote in row["people"]}
        others = [share for name, share in votes.items() if name != "ann" and share is not None]
        if votes["ann"] is not None and others and relation(votes["ann"], sum(others) / len(others)) == "against":
            wanted.add(row["pair_id"])
    assert set(select({**DEFAULTS, "judge": "human:ann"})) == wanted


# --- differences: words.js beside a plain table


def longest_common(a: list[str], b: list[str]) -> int:
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, word in enumerate(a):
        for j, other in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if word == other else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def test_what_is_not_marked_is_a_longest_common_sequence_of_words(browser):
    chance = random.Random(4)
    texts = [[" ".join(chance.choices("abcde", k=chance.randint(0, 30))) for _ in range(2)] for _ in range(150)]
    texts += [["", ""], ["same words", "same words"], [" a\n\nb ", "b a"], ["one", "two"], ["isn’t it", "is it"]]
    context = browser.new_context()
    page = context.new_page()
    source = shipped(PACKAGE, "words.js")
    found = page.evaluate(f"texts => {{ {source}; return texts.map(([a, b]) => compareWords(a, b)); }}", texts)
    context.close()
    for (left, right), compared in zip(texts, found, strict=True):
        assert ["".join(part for part, _ in compared[name]) for name in ("left", "right")] == [left, right]
        kept = [" ".join(part for part, is_only in compared[name] if not is_only).split() for name in ("left", "right")]
        assert kept[0] == kept[1]
        assert len(kept[0]) == longest_common(left.split(), right.split())
        assert compared["isExact"]


def test_texts_too_long_for_a_table_are_marked_by_words_the_other_lacks(browser):
    context = browser.new_context()
    page = context.new_page()
    source = shipped(PACKAGE, "words.js").replace("16_000_000", "3")
    found = page.evaluate(f"() => {{ {source}; return compareWords('a b c', 'c b x'); }}")
    context.close()
    assert found == {"left": [["a", True], [" b c", False]], "right": [["c b ", False], ["x", True]], "isExact": False}


# --- the page


def test_the_pair_that_is_read_is_shown_in_full(page, rows):
    wanted = listed(rows)[0]
    row = next(row for row in rows if row["pair_id"] == wanted and row["judge"]["rater"] == "judge a")
    pane = page.locator("#pane")
    assert pane.locator("h3").inner_text() == f"Pair 1 of {len(listed(rows))}"
    assert pane.locator(".turn .text").all_text_contents() == [row["prompt"][0]["content"]]
    assert pane.locator(".answer .text").all_text_contents() == [row["first"], row["second"]]
    assert pane.locator(".answer mark").count() > 0
    assert pane.locator(".critique").all_text_contents()[0] == row["judge"]["critique"]
    said = pane.inner_text()
    for vote in row["people"]:
        assert vote["comment"] in said
    orders = mark(row, "kind")
    cells = pane.get_by_role("region", name="By principle").locator("tr", has_text="judge a").filter(has_text="kind")
    for name in ("probability", "shown_first", "shown_second"):
        assert f"{100 * round(orders[name], 4):.1f} %" in cells.inner_text()


def test_a_filter_is_in_the_address_and_the_address_brings_it_back(page, page_file, open_page, rows):
    page.select_option("[name=tag]", "craft")
    page.fill("[name=from]", "70")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    wanted = listed(rows, keep=lambda row, share: "craft" in row["tags"] and confidence(row) >= 0.7)
    assert counted(page) == len(wanted)
    filtered = {"tag": "craft", "from": "70", "pair": wanted[1][:16]}
    assert state_of(page, filtered) == filtered
    again = open_page(f"{page_file.as_uri()}#{urlsplit(page.url).fragment}")
    assert counted(again) == len(wanted)
    assert again.locator("#pane h3").inner_text() == f"Pair 2 of {len(wanted)}"


def test_a_line_of_a_chart_leads_to_its_pairs(page, rows):
    page.get_by_text("Numbers: Agreement by tag").first.click()
    page.get_by_role("link", name="harmful").first.click()
    page.wait_for_function("document.querySelector('[name=tag]').value === 'harmful'")
    assert counted(page) == len(listed(rows, keep=lambda row, share: "harmful" in row["tags"]))
    assert page.locator("[name=tag]").input_value() == "harmful"


def test_keys_move_search_open_and_explain(page, rows):
    title = page.locator("#pane h3")
    focused = lambda: page.evaluate("document.activeElement.id || document.activeElement.name")  # noqa: E731
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert title.inner_text().startswith("Pair 2 of")
    page.keyboard.press("o")
    assert focused() == "pane"
    page.keyboard.press("Escape")
    assert focused() == "list"
    page.keyboard.press("End")
    number = len(listed(rows))
    assert title.inner_text() == f"Pair {number} of {number}"
    assert page.locator("#list [aria-selected=true]").get_attribute("aria-posinset") == str(number)
    page.keyboard.press("/")
    assert focused() == "words"
    page.keyboard.type("jo?")  # in a field they are letters
    assert page.locator("[name=words]").input_value() == "jo?"
    page.locator("[name=words]").fill("")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.locator("dialog").is_visible()
    page.get_by_label("Keys of one letter work").uncheck()
    page.get_by_role("button", name="Close").click()
    before = title.inner_text()
    page.keyboard.press("j")
    assert title.inner_text() == before


def test_the_focus_can_be_seen(page):
    page.keyboard.press("Tab")
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    style = "e => getComputedStyle(e).outlineStyle + ' ' + getComputedStyle(e).outlineWidth"
    assert page.locator("#list").evaluate(style) == "solid 3px"


def test_only_rows_in_sight_exist_and_scrolling_brings_the_others(page):
    page.select_option("[name=show]", "")
    assert counted(page) == PAIRS
    assert page.locator("#list [role=option]").count() < 40
    page.locator("#list").evaluate("list => list.scrollTo(0, list.scrollHeight)")
    page.wait_for_selector(f"#list [aria-posinset='{PAIRS}']")
    page.locator(f"#list [aria-posinset='{PAIRS}']").click()
    assert page.locator("#pane h3").inner_text() == f"Pair {PAIRS} of {PAIRS}"


def test_words_that_nothing_holds_leave_an_empty_list_and_starting_again_fills_it(page, rows):
    page.fill("[name=words]", "no such words")
    assert counted(page) == 0
    assert not page.locator("#pane").is_visible()
    page.get_by_role("button", name="Start again").click()
    page.wait_for_selector("#pane")
    assert counted(page) == len(listed(rows))


def test_axe_finds_nothing(page_file, open_page, violations):
    page = open_page(page_file, viewport={"width": 1200, "height": 900})
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert violations(page) == ""
    page.set_viewport_size({"width": 420, "height": 800})
    page.keyboard.press("?")
    assert violations(page, context="#pairs") == ""


def test_axe_finds_nothing_in_the_dark(page_file, open_page, violations):
    page = open_page(page_file, color_scheme="dark", viewport={"width": 1200, "height": 900})
    options = {"runOnly": ["color-contrast"]}
    assert violations(page, context="main > :not(#tables)", options=options) == ""  # tables look like the drawings'


def test_texts_that_attack_are_shown_and_do_nothing(made, tmp_path, open_page, violations):
    report, (row, *_) = made
    judge = {**row["judge"], "rater": HOSTILE, "critique": HOSTILE, "critique_principle": HOSTILE, "comment": HOSTILE}
    judge["marks"] = [{**mark, "principle": HOSTILE + str(place)} for place, mark in enumerate(judge["marks"])]
    people = [{**vote, "rater": HOSTILE + vote["rater"], "comment": HOSTILE} for vote in row["people"]]
    turns = [{"role": role, "content": HOSTILE} for role in ("system", "user", "assistant", "user")]
    texts = dict.fromkeys(("first", "second", "first_model", "second_model", "source"), HOSTILE)
    hostile = {**row, **texts, "judge": judge, "people": people, "prompt": turns, "tags": [HOSTILE]}
    hostile["second"] += "!"
    path = tmp_path / "hostile.html"
    path.write_text(html_page(_renamed(report), [hostile]), encoding="utf-8")
    page = open_page(f"{path.as_uri()}#show=")
    shown = visible(HOSTILE)
    assert page.title() == " ".join(f"{shown} beside people".split())
    assert page.locator("img, iframe, object").count() == 0
    assert page.locator("script").count() == 2
    assert page.locator(".answer .text").all_text_contents() == [shown, shown + "!"]
    assert page.locator(".turn .text").all_text_contents() == [shown] * 4
    assert page.locator(".critique").text_content() == shown
    assert page.locator("[name=tag] option").all_text_contents() == ["any", shown]
    page.select_option("[name=tag]", shown)
    page.select_option("[name=principle]", shown + "1")
    page.select_option("[name=how]", "any")
    page.fill("[name=words]", "</SCRIPT><script>doc")
    assert counted(page) == 1


def _renamed(report):
    """The report of a hostile judge, hostile people and hostile tags."""
    judge = report["judges"]["judge a"]
    slices = {
        kind: [{**one, "name": HOSTILE} for one in own]
        for kind, own in judge["slices"].items()
        if kind in ("tag", "source")
    }
    pairs = [own for own in report["rater_pairs"].values() if own["raters"][1] == "judge a"]
    return {
        **report,
        "sentences": dict.fromkeys(report["sentences"], HOSTILE),
        "notes": [HOSTILE],
        "raters": [{**one, "name": HOSTILE} for one in report["raters"]],
        "rater_pairs": {
            f"{place} {HOSTILE}": {**own, "raters": [HOSTILE + "x", HOSTILE]} for place, own in enumerate(pairs)
        },
        "judges": {HOSTILE: {**judge, "slices": slices}},
    }


def test_what_slips_in_is_not_run(page_file, browser):
    """The policy alone: what would happen if escaping failed. Not of `open_page`, for the browser complains."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.evaluate(
        "() => { const s = document.createElement('script');"
        " try { s.append('document.title = 1'); document.body.append(s) } catch { }"
        " try { document.body.innerHTML = '<img src=x>' } catch (refused) { window.refused = refused.name } }"
    )
    assert page.evaluate("window.refused") == "TypeError"
    assert page.title() != "1"
    context.close()


def test_without_scripts_the_report_can_be_read(page_file, open_page):
    page = open_page(page_file, java_script_enabled=False)
    assert page.get_by_text("The list of pairs needs JavaScript").is_visible()
    assert page.locator("svg.chart").count() >= 4


def test_on_paper_there_are_the_report_and_the_pair_that_is_read(page):
    page.emulate_media(media="print")
    assert not page.locator("#filters").is_visible()
    assert not page.locator("#list").is_visible()
    assert page.locator("#pane .answers").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
