"""The card as one HTML file: nothing is fetched, nothing runs, and every text that is not ours is escaped."""

from rlaif.evaluate.judge_card.card import Card
from rlaif.evaluate.judge_card.sections import Cell, Section, sections
from rlaif.markup.document import document, scrollable
from rlaif.markup.element import Html, tag
from rlaif.markup.table import titled_table, value_cell
from rlaif.numbers.figures import Estimate

_STYLE = """
svg { display: block; margin: .15rem 0; }
svg line { stroke: var(--soft); }
svg circle { fill: var(--accent); }
"""
_WIDTH, _MIDDLE = 120, 6  # pixels
_FURTHEST = 2.0  # log-odds at either end of a bar


def html_page(card: Card) -> str:
    """A whole document, in UTF-8."""
    title = f"Judge card: {card.judge['name']}"
    source = f"{card.source}; mode {card.mode}; {card.pairs:,} pairs of {card.prompts:,} prompts."
    body = tag(
        "main",
        tag("h1", title),
        tag("p", card.sentence, class_="sentence"),
        tag("p", f"{source} Every interval is a 95 % one, clustered by prompt.", class_="about"),
        tag("ul", [tag("li", note) for note in card.notes]) if card.notes else None,
        _principles(card),
        map(_section, sections(card)),
    )
    return document(title=title, body=body, style=_STYLE)


def _principles(card: Card) -> list[Html]:
    rows = [tag("tr", tag("th", name, scope="row"), tag("td", card.texts.get(name, ""))) for name in card.principles]
    return [tag("h2", "Principles"), scrollable("Principles", tag("table", tag("tbody", rows)))]


def _section(section: Section) -> Html:
    rows = [
        (name, [value_cell(cell.value, cell.interval, _bar(cell)) for cell in cells]) for name, cells in section.rows
    ]
    return titled_table(section.title, section.about, section.columns, rows)


def _bar(cell: Cell) -> Html | None:
    """The interval as a line with a dot: shares from 0 to 1, log-odds around 0."""
    one = cell.figure
    if not isinstance(one, Estimate) or one.low is None or one.high is None:
        return None
    low, dot, high = (_place(value, cell.is_share) for value in (one.low, one.value, one.high))
    half = _WIDTH / 2
    return tag(
        "svg",
        None if cell.is_share else tag("line", x1=half, y1=0, x2=half, y2=12, stroke_dasharray="2 2"),
        tag("line", x1=low, y1=_MIDDLE, x2=high, y2=_MIDDLE, stroke_width=2),
        tag("circle", cx=dot, cy=_MIDDLE, r=3.5),
        width=_WIDTH,
        height=12,
        role="img",
        aria_label=f"{cell.value}, {cell.interval}",
    )


def _place(value: float, is_share: bool) -> float:
    along = value if is_share else (value + _FURTHEST) / (2 * _FURTHEST)
    return 4 + (_WIDTH - 8) * min(max(along, 0.0), 1.0)
