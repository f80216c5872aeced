"""The labelling page in a real browser, served by the real command: keys, buttons, time, hostile texts, axe."""

import json
import re
import time

import pytest

from rlaif.constitution import Constitution, Principle, dump_constitution
from rlaif.labels.blind.folder import VotesFolder
from rlaif.labels.file import write_votes
from rlaif.labels.votes import Found, make_vote
from rlaif.records import Message
from tests.label_page_kit import SECRETS, judged, serve, write_data

HOSTILE = "</div><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"> &lt;b&gt;"
LONG = "\n\n".join(f"Paragraph {n}: " + "words that go on and on, " * 30 for n in range(60))
SOON_MS = 400  # keys sooner than this after a page opens are not votes


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Three raters, each with 12 questions, with principles."""
    folder = tmp_path_factory.mktemp("label")
    constitution = Constitution(
        name="small",
        principles=(
            Principle(id="kind", text="It is kind.", question="Which is kinder, A or B?"),
            Principle(id="short", text="It is short.", question="Which is shorter, A or B?"),
        ),
    )
    (folder / "principles.yaml").write_text(dump_constitution(constitution))
    more = ("--principles", str(folder / "principles.yaml"), "--repeats", "0")
    one = serve(write_data(folder / "data.jsonl", 12), folder / "labels.jsonl", "ann", "bob", "cid", "dot", more=more)
    one.folder = VotesFolder(folder / "labels.jsonl")
    yield one
    said = json.loads(one.stop())
    assert {sat["rater"] for sat in said["sittings"]} == {"ann", "bob", "cid", "dot"}


def rows_of(served, rater):
    return [entry.row for entry in served.folder.journals()[rater].entries]


def press(page, key, done):
    """A key, and the page that follows, with its script."""
    page.wait_for_timeout(SOON_MS)
    page.keyboard.press(key)
    page.locator("body").filter(has_text=re.compile(rf"\b{done} of ")).wait_for()  # no code in a page that forbids it
    page.wait_for_load_state()


def click(page, name):
    """A button, and the page that follows."""
    with page.expect_navigation():
        page.get_by_role("button", name=name).click()


def test_a_person_votes_with_keys_alone(served, open_page):
    page = open_page(served.urls["ann"])
    for number, key in enumerate("12tbs", 1):
        press(page, key, number)
    press(page, "u", 4)
    assert "both are bad" in page.get_by_role("status").inner_text()
    page.wait_for_timeout(SOON_MS)
    page.keyboard.press("r")
    page.keyboard.type("1 2 tub")  # typed, not voted
    page.keyboard.press("Escape")
    press(page, "2", 5)
    page.get_by_label("Use the keys shown").uncheck()
    page.wait_for_timeout(SOON_MS)
    page.keyboard.press("1")
    page.wait_for_timeout(100)
    assert "5 of 12" in page.inner_text("header")
    rows = rows_of(served, "ann")
    assert [row and row["choice"] for row in rows] == ["first", "second", "tie", "both_bad", "skipped", None, "second"]
    assert rows[-1]["comment"] == "1 2 tub"


def test_a_person_votes_with_the_mouse_and_marks_principles(served, open_page):
    begun = time.monotonic()
    page = open_page(served.urls["bob"])
    shown = [
        page.locator("[aria-labelledby=first]").inner_text(),
        page.locator("[aria-labelledby=second]").inner_text(),
    ]
    page.get_by_role("group", name="It is short.").get_by_label("Second").check()
    page.get_by_label("Reason").fill("because")
    page.wait_for_timeout(700)
    click(page, "First is better")
    assert "1 of 12" in page.inner_text("header")
    taken = time.monotonic() - begun
    (row,) = rows_of(served, "bob")
    assert [row["first"], row["second"]] == shown
    assert (row["choice"], row["comment"]) == ("first", "because")
    assert [(mark["principle"], mark["choice"]) for mark in row["marks"]] == [("short", "second")]
    assert 0.7 <= row["seconds"] <= taken + 0.01


def test_only_the_time_a_page_is_visible_counts(served, open_page):
    begun = time.monotonic()
    page = open_page(served.urls["cid"])
    hide = "(state) => { Object.defineProperty(document, 'visibilityState', {value: state, configurable: true});"
    hide += " document.dispatchEvent(new Event('visibilitychange')); }"
    page.evaluate(hide, "hidden")
    since = time.monotonic()
    page.wait_for_timeout(1500)
    hidden = time.monotonic() - since
    page.evaluate(hide, "visible")
    press(page, "1", 1)
    taken = time.monotonic() - begun
    assert SOON_MS / 1000 <= rows_of(served, "cid")[0]["seconds"] <= taken - hidden + 0.01


def test_without_javascript_votes_are_taken_and_no_time_is_made_up(served, open_page):
    page = open_page(served.urls["dot"], java_script_enabled=False)
    click(page, "Equally good")
    click(page, "Undo")
    click(page, "Second is better")
    assert "1 of 12" in page.inner_text("header")
    rows = rows_of(served, "dot")
    assert [row and row["choice"] for row in rows] == ["tie", None, "second"]
    assert rows[0]["seconds"] is None


@pytest.mark.parametrize("has_script", [True, False])
def test_enter_in_a_form_votes_for_nothing(served, open_page, has_script):
    page = open_page(served.urls["cid"], java_script_enabled=has_script)
    before = page.inner_text("header")
    page.get_by_role("group", name="It is kind.").get_by_label("First").check()
    page.keyboard.press("Enter")
    page.wait_for_timeout(200)
    assert page.inner_text("header") == before
    click(page, "Skip")  # and votes are still taken
    assert page.inner_text("header") != before


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Two pairs of strangers' texts: markup, and very long ones."""
    folder = tmp_path_factory.mktemp("hostile")
    texts = [(HOSTILE, HOSTILE, HOSTILE + " twice"), ("A long one?\n" * 80, LONG, LONG[::-1])]
    votes = [
        make_vote(
            Found(prompt=(Message("user", prompt),), first=one, second=two, rater="j", kind="judge", probability=0.5),
            source="",
        )
        for prompt, one, two in texts
    ]
    write_votes(folder / "data.jsonl", votes)
    served = serve(folder / "data.jsonl", folder / "labels.jsonl", "ann", more=("--repeats", "0"))
    yield served
    served.stop()


def test_hostile_texts_are_shown_as_they_are_and_long_ones_scroll(hostile, open_page, violations):
    page = open_page(hostile.urls["ann"], viewport={"width": 1200, "height": 800})
    seen = []
    for number in (1, 2):
        seen.append(page.locator(".answers .text").all_inner_texts())
        assert violations(page) == ""
        if "Paragraph 3" in seen[-1][0]:
            boxes = page.locator(".answers .text")
            assert all(boxes.nth(i).evaluate("box => box.scrollHeight > box.clientHeight * 3") for i in (0, 1))
            assert page.get_by_role("button", name="First is better").is_visible()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        press(page, "1", number)
    assert sorted(map(sorted, seen)) == sorted([sorted([HOSTILE, HOSTILE + " twice"]), sorted([LONG, LONG[::-1]])])
    assert page.title().startswith("All done")
    assert violations(page) == ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_either_scheme(served, open_page, violations, scheme):
    page = open_page(served.urls["bob"], color_scheme=scheme)
    assert violations(page) == ""
    page.set_viewport_size({"width": 400, "height": 800})
    assert violations(page) == ""


def test_what_the_browser_receives_says_nothing_of_the_judge(tmp_path, browser):
    served = serve(write_data(tmp_path / "data.jsonl", 3), tmp_path / "labels.jsonl", "ann")
    context = browser.new_context()
    page, bodies = context.new_page(), []
    page.on("response", lambda one: bodies.append(one.body() if one.status == 200 else b""))
    page.goto(served.urls["ann"])
    for done in range(1, 5):
        press(page, "1", done)
    context.close()
    served.stop()
    sent = b"".join(bodies).decode()
    assert len(bodies) >= 10
    assert re.search(r"Left answer \d", sent)
    assert [secret for secret in SECRETS if secret in sent] == []
    assert judged(0).pair.id not in sent
