"""The card as one HTML file: nothing is fetched, nothing runs, and every text that is not ours is escaped."""

from html import escape

from rlaif.evaluate.judge_card.card import Card
from rlaif.evaluate.judge_card.sections import Cell, Section, sections
from rlaif.numbers.figures import Estimate

_STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #777; --dot: #1767c2; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .3rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .2rem; }
.sentence { font-size: 1.15rem; margin: .5rem 0 1rem; } .about, .small { color: var(--soft); }
.wide { overflow-x: auto; } table { border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); }
thead th { font-weight: 600; } tbody th { font-weight: 500; } .small { font-size: .8rem; max-width: 16rem; }
svg { display: block; margin: .15rem 0; } svg line { stroke: var(--soft); } svg circle { fill: var(--dot); }
@media (prefers-color-scheme: dark) { :root { --dot: #6db1ff; --soft: #aaa; } }
"""
_WIDTH, _MIDDLE = 120, 6  # pixels
_FURTHEST = 2.0  # log-odds at either end of a bar
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def html_page(card: Card) -> str:
    """A whole document, in UTF-8."""
    name = escape(card.judge["name"])
    source = f"{escape(card.source)}; mode {escape(card.mode)}; {card.pairs:,} pairs of {card.prompts:,} prompts."
    notes = "".join(f"<li>{escape(note)}</li>" for note in card.notes)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Judge card: {name}</title><style>{_STYLE}</style></head>\n<body><main>"
        f'<h1>Judge card: {name}</h1>\n<p class="sentence">{escape(card.sentence)}</p>\n'
        f'<p class="about">{source} Every interval is a 95 % one, clustered by prompt.</p>\n'
        f"{f'<ul>{notes}</ul>' if notes else ''}\n{_principles(card)}\n"
        f"{''.join(map(_section, sections(card)))}</main></body></html>\n"
    )


def _principles(card: Card) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(card.texts.get(name, ""))}</td></tr>'
        for name in card.principles
    )
    return f'<h2>Principles</h2><div class="wide"><table><tbody>{rows}</tbody></table></div>'


def _section(section: Section) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in section.columns)
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(map(_cell, cells))}</tr>\n' for name, cells in section.rows
    )
    return (
        f'<section><h2>{escape(section.title)}</h2><p class="about">{escape(section.about)}</p>\n'
        f'<div class="wide"><table>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div></section>\n"
    )


def _cell(cell: Cell) -> str:
    return f'<td>{escape(cell.value)}{_bar(cell)}<div class="small">{escape(cell.interval)}</div></td>'


def _bar(cell: Cell) -> str:
    """The interval as a line with a dot: shares from 0 to 1, log-odds around 0."""
    one = cell.figure
    if not isinstance(one, Estimate) or one.low is None or one.high is None:
        return ""
    low, dot, high = (_place(value, cell.is_share) for value in (one.low, one.value, one.high))
    zero = "" if cell.is_share else f'<line x1="{_WIDTH / 2}" y1="0" x2="{_WIDTH / 2}" y2="12" stroke-dasharray="2 2"/>'
    label = escape(f"{cell.value}, {cell.interval}")
    return (
        f'<svg width="{_WIDTH}" height="12" role="img" aria-label="{label}">{zero}'
        f'<line x1="{low:.1f}" y1="{_MIDDLE}" x2="{high:.1f}" y2="{_MIDDLE}" stroke-width="2"/>'
        f'<circle cx="{dot:.1f}" cy="{_MIDDLE}" r="3.5"/></svg>'
    )


def _place(value: float, is_share: bool) -> float:
    along = value if is_share else (value + _FURTHEST) / (2 * _FURTHEST)
    return 4 + (_WIDTH - 8) * min(max(along, 0.0), 1.0)
