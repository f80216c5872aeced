"""What a report's tables are made of: cells with their intervals, tables of them, and Markdown."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Told = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    """A value as it is printed, and its interval with n, or why there is none."""

    value: str
    interval: str = ""


Row = tuple[str, tuple[Cell, ...]]
NOTHING = Cell("–")
EMPTY = Cell("")


@dataclass(frozen=True, slots=True)
class Section:
    """A table: `about` explains it, `more` says what is not in it."""

    title: str
    about: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    more: str = ""


def row(name: str, *cells: Cell) -> Row:
    return name, cells


def share(figure: Told | None) -> Cell:
    return _cell(figure, lambda value: f"{100 * value:.1f} %", lambda value: f"{100 * value:.1f}")


def points(figure: Told | None) -> Cell:
    """A difference of shares."""
    return _cell(figure, lambda value: f"{100 * value:+.1f}")


def number(figure: Told | None) -> Cell:
    return _cell(figure, lambda value: f"{value:.3f}")


def signed(figure: Told | None) -> Cell:
    return _cell(figure, lambda value: f"{value:+.3f}")


def _cell(figure: Told | None, show: Callable[[float], str], end: Callable[[float], str] | None = None) -> Cell:
    if figure is None:
        return NOTHING
    if figure["value"] is None:
        return Cell("–", f"not defined: {figure['because']}")
    n, at_end = f"n {figure['n']:,}", end or show
    if figure["low"] is None or figure["high"] is None:
        return Cell(show(figure["value"]), f"{n}; {figure['because']}")
    return Cell(show(figure["value"]), f"{at_end(figure['low'])} to {at_end(figure['high'])}; {n}")


def markdown_table(section: Section) -> Iterable[str]:
    """Its lines, heading first."""
    if section.title:
        yield from ("", f"## {plain(section.title)}")
    yield from ("", plain(section.about), "")
    yield from (_md_row(["", *section.columns]), _md_row(["---"] * (1 + len(section.columns))))
    yield from (_md_row([name, *map(_md_cell, cells)]) for name, cells in section.rows)
    if section.more:
        yield from ("", plain(section.more))


def _md_cell(cell: Cell) -> str:
    return f"{cell.value} ({cell.interval})" if cell.interval else cell.value


def _md_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(plain(cell) for cell in cells)} |"


def plain(text: str) -> str:
    """A text that cannot become a table, a tag or a line of its own."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
