"""Figures with their intervals as charts: what a chart is, and its numbers as a table below the drawing.

A figure is the report's dict of value, low, high, n; one without a value is in the table, with its reason, and not in
the drawing (drawing.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rlaif.markup.document import scrollable
from rlaif.markup.element import Child, Html, tag

Figure = Mapping[str, Any]
Unit = Literal["share", "part", "points", "number"]


@dataclass(frozen=True, slots=True)
class Point:
    """A line of its own, or a dot at `at`, from a half to 1, of a curve. `link` filters the pairs."""

    name: str
    figure: Figure
    at: float | None = None
    link: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    name: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Series over the same points. `name` is an id within the page.

    The axis of shares ends at 1, that of parts where they do; points of percent and numbers lie around 0. A curve has
    places `across`, and a dashed line where both axes are equal.
    """

    name: str
    title: str
    about: str
    along: str
    series: Sequence[Series]
    across: str = ""
    unit: Unit = "share"

    @property
    def figures(self) -> list[Figure]:
        """Those that can be drawn."""
        found = [point.figure for one in self.series for point in one.points]
        return [figure for figure in found if figure["value"] is not None]


def shown(value: float, unit: Unit) -> str:
    """A value as it is written, with a sign where it is one around 0, without its unit."""
    if unit == "number":
        return f"{value:+.3f}"
    return f"{100 * value:+.1f}" if unit == "points" else f"{100 * value:.1f}"


def said(figure: Figure, unit: Unit) -> tuple[str, str]:
    """The value, and its interval with n, or why there is none."""
    n, because = f"n {figure['n']:,}", figure.get("because", "")
    if figure["value"] is None:
        return "–", f"not defined: {because}"
    value = shown(figure["value"], unit) + (" %" if unit in ("share", "part") else "")
    if figure["low"] is None or figure["high"] is None:
        return value, f"{n}; {because}"
    return value, f"{shown(figure['low'], unit)} to {shown(figure['high'], unit)}; {n}"


def chart_table(chart: Chart) -> Html:
    """Every number of the chart."""
    columns = [f"{one.name}, {what}" for one in chart.series for what in (chart.along, "95 % interval")]
    head = tag("tr", tag("th", chart.across or "of", scope="col"), [tag("th", name, scope="col") for name in columns])
    rows = []
    for points in zip(*(one.points for one in chart.series), strict=True):
        name, link = points[0].name, points[0].link
        title: Child = tag("a", name, href=link) if link else name
        cells = [tag("td", text) for point in points for text in said(point.figure, chart.unit)]
        rows.append(tag("tr", tag("th", title, scope="row"), cells))
    label = f"{chart.title}, {chart.series[0].name}"  # that of another judge has the same title
    return scrollable(label, tag("table", tag("thead", head), tag("tbody", rows)))
