"""The judge card's page in a real browser: it shows the card, and what a model said in it runs nothing."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from rlaif.evaluate.judge_card.page import html_page
from rlaif.evaluate.judge_card.sections import sections
from tests.card_kit import biased_run, card_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = "</title><script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
]


def test_a_browser_shows_every_table_and_runs_nothing(tmp_path):
    card = card_of(*biased_run(tmp_path, count=10))
    card = replace(
        card, judge={**card.judge, "name": HOSTILE}, texts=dict.fromkeys(card.texts, HOSTILE), notes=[HOSTILE]
    )
    page = tmp_path / "card.html"
    page.write_text(html_page(card), encoding="utf-8")
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--dump-dom",
        f"--user-data-dir={tmp_path}/profile",
    ]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)[1]
    assert title.startswith("Judge card: ")
    assert "<script" not in done.stdout
    assert "<img" not in done.stdout
    assert done.stdout.count("<section>") == len(list(sections(card)))
    assert "0.0 %" in done.stdout
