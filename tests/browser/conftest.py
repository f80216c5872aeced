"""One headless Chromium for the tests of our pages, and what every page owes: no error, no address but its own, no
violation that axe finds.

The browser lives as long as this folder's tests, not as long as the session: Playwright keeps an event loop running in
its thread, and `asyncio.run` elsewhere would find it. All tests here share one worker, so there is one browser.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LOCAL = ("", "127.0.0.1", "localhost")
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("browser"))
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="package")
def browser() -> Iterator:
    """A running Chromium; the tests that want it are skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    reason = "no Playwright here: make setup"
    playwright = pytest.importorskip("playwright.sync_api", reason=reason).sync_playwright().start()
    try:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()
    finally:
        playwright.stop()


@pytest.fixture
def open_page(browser) -> Iterator[Callable]:
    """`open_page(path or address, color_scheme="dark", …)` gives a Playwright page in a fresh profile.

    When the test is over, no page may have logged an error, thrown one, or asked any other machine for anything.
    """
    faults: list[str] = []
    contexts = []

    def opened(place: Path | str, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)  # the machine may be busy
        page.on("pageerror", lambda error: faults.append(f"thrown: {error}"))
        page.on("console", lambda said: faults.append(f"logged: {said.text}") if said.type == "error" else None)
        page.on("request", lambda asked: faults.extend(_elsewhere(asked.url)))
        page.goto(place.as_uri() if isinstance(place, Path) else place)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def _elsewhere(address: str) -> list[str]:
    parts = urlsplit(address)
    is_ours = parts.scheme in ("file", "data", "blob", "about") or parts.hostname in LOCAL
    return [] if is_ours else [f"asked for: {address}"]


@pytest.fixture
def violations() -> Callable[..., str]:
    """`violations(page)` is what axe holds against the page as it is now, "" where nothing; `context="#list"` looks at
    one part, `options={"runOnly": ["color-contrast"]}` at one rule. The whole of a long page takes seconds."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def found(page, context=None, options=None) -> str:
        results = axe.run(page, context, options)
        return results.generate_report() if results.violations_count else ""

    return found
