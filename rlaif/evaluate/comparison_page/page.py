"""The comparison's page, whole: `html_page(report, rows)` is the text of one file that needs nothing else.

Same report and rows, same bytes; the order of rows does not matter.
"""

from collections.abc import Iterable
from html import escape

from rlaif.evaluate.comparison.sections import counted
from rlaif.evaluate.comparison_page.filters import filters, keys
from rlaif.evaluate.comparison_page.packed import MOST_PAIRS, Packed, Row, pack
from rlaif.evaluate.comparison_page.sections import Report, answers, drawings, tables
from rlaif.markup.document import document, shipped
from rlaif.markup.element import Html, tag

PACKAGE = "rlaif.evaluate.comparison_page"
_PLACES = {"drawings": "Drawings", "pairs": "Pairs, one by one", "tables": "All figures"}
_UNSCRIPTED = "The list of pairs needs JavaScript; this file holds its own and fetches nothing."
SCRIPTS = ("words.js", "pairs.js", "reading.js", "browser.js")


def html_page(report: Report, rows: Iterable[Row], most_pairs: int = MOST_PAIRS) -> str:
    """A whole document, in UTF-8. `report` is that of `comparison/report.py`, `rows` those of `comparison/rows.py`."""
    packed = pack(rows, report["terms"], most_pairs)
    title = _title(report)
    body = [
        tag("a", "To the pairs", href="#pairs", class_="skip"),
        tag(
            "main",
            tag("h1", title),
            tag("p", counted(report), class_="about"),
            tag("nav", [tag("a", text, href=f"#{place}") for place, text in _PLACES.items()], aria_label="This page"),
            answers(report),
            tag("div", drawings(report), id="drawings"),
            _browser(packed),
            tag("div", tables(report), id="tables"),
        ),
    ]
    script = "\n".join(shipped(PACKAGE, name) for name in SCRIPTS) if packed.num_listed else ""
    style = shipped(PACKAGE, "page.css")
    return document(title=title, body=body, style=style, script=script, index=packed.index)


def _title(report: Report) -> str:
    judges = ", ".join(report["judges"])
    return f"{judges} beside people" if judges else "People beside people"


def _browser(packed: Packed) -> Html:
    listed, given = packed.num_listed, packed.num_pairs
    left = "" if listed == given else f" Of {given:,}, the {listed:,} on which a judge is furthest from people."
    if not listed:
        return tag("section", tag("h2", "Pairs"), tag("p", "There is no pair to show."), id="pairs")
    return tag(
        "section",
        tag("h2", "Pairs, one by one"),
        tag("p", f"What everybody said, and about what.{left}", class_="about"),
        tag("p", _UNSCRIPTED, id="unscripted"),
        filters(packed.index),
        tag("p", id="count", role="status"),
        tag(
            "div",
            tag(
                "div",
                tag("div", id="rows", role="presentation"),
                id="list",
                role="listbox",
                tabindex=0,
                aria_label="Pairs",
            ),
            tag("article", id="pane", tabindex=0, aria_labelledby="pane-title"),
            class_="split",
        ),
        keys(),
        tag("div", Html(escape(packed.texts, quote=False)), id="texts", hidden=True),
        id="pairs",
    )
