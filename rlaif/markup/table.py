"""The table that our reports are made of: a heading, what it says, and rows of values with their intervals."""

from collections.abc import Iterable, Sequence

from rlaif.markup.document import scrollable
from rlaif.markup.element import Child, Html, tag


def titled_table(
    title: str,
    about: str,
    columns: Sequence[str],
    rows: Iterable[tuple[Child, Iterable[Html]]],
    more: str = "",
) -> Html:
    """A section. Each row is a name and its cells; `more` is a line below."""
    head = tag("tr", tag("td"), [tag("th", column, scope="col") for column in columns])
    body = [[tag("tr", tag("th", name, scope="row"), cells), "\n"] for name, cells in rows]
    return tag(
        "section",
        tag("h2", title),
        tag("p", about, class_="about"),
        scrollable(title, tag("table", tag("thead", head), tag("tbody", body))),
        tag("p", more) if more else None,
    )


def value_cell(value: str, interval: str, drawing: Html | None = None) -> Html:
    """A value, a drawing of it, and its interval in small letters."""
    return tag("td", value, drawing, tag("div", interval, class_="small") if interval else None)
