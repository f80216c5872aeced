"""The judge card's page in a real browser: it shows the card, and what a model said in it runs nothing."""

from dataclasses import replace

import pytest

from rlaif.evaluate.judge_card.page import html_page
from rlaif.evaluate.judge_card.sections import sections
from tests.card_kit import biased_run, card_of

HOSTILE = "</title><script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">"


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return card_of(*biased_run(tmp_path_factory.mktemp("card"), count=10))


@pytest.fixture
def write_page(tmp_path):
    def write(card):
        path = tmp_path / "card.html"
        path.write_text(html_page(card), encoding="utf-8")
        return path

    return write


def test_a_browser_shows_every_table_and_runs_nothing(card, write_page, open_page):
    texts = dict.fromkeys(card.texts, HOSTILE)
    hostile = replace(card, judge={**card.judge, "name": HOSTILE}, texts=texts, notes=[HOSTILE])
    page = open_page(write_page(hostile))
    assert page.title() == f"Judge card: {HOSTILE}"
    assert page.locator("script, img").count() == 0
    assert page.locator("section").count() == len(list(sections(card)))
    assert "0.0 %" in page.locator("main").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_card(scheme, card, write_page, open_page, violations):
    page = open_page(write_page(card), color_scheme=scheme, viewport={"width": 500, "height": 800})
    assert violations(page) == ""
