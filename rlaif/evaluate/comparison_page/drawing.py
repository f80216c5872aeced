"""Charts as SVG: a line for each point with its interval, or a curve. Series differ in shape and place, not in colour
alone; title and description are read out, and the numbers stand in a table below."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor

from rlaif.evaluate.comparison_page.charts import Chart, Figure, Point, Unit, chart_table
from rlaif.markup.element import Child, Html, tag

WIDTH = 600  # pixels
_NAMES, _RIGHT, _TOP, _BOTTOM = 290, 28, 6, 40  # around the lines
_LEFT, _HIGH = 60, 260  # beside a curve, and its height
_LINE, _ASIDE = 30, 9  # of each point, and between series at one
_LONGEST_NAME = 46  # characters


@dataclass(frozen=True, slots=True)
class Scale:
    """From `low` to `high`, drawn from pixel `start` to pixel `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (self.end - self.start) * (value - self.low) / (self.high - self.low)


def drawn(chart: Chart) -> Html:
    """The chart as a figure: heading, drawing, and the numbers."""
    ids = f"{chart.name}-title", f"{chart.name}-about"
    parts, height = _curve(chart) if chart.across else _lines(chart)
    svg = tag(
        "svg",
        tag("title", chart.title, id=ids[0]),
        tag("desc", f"{chart.about} The table below has every number.", id=ids[1]),
        parts,
        role="img",
        aria_labelledby=" ".join(ids),
        viewBox=f"0 0 {WIDTH} {height}",
        class_="chart",
    )
    legend = [tag("li", one.name, class_=f"series-{number}") for number, one in enumerate(chart.series)]
    return tag(
        "figure",
        tag("figcaption", tag("h3", chart.title), tag("p", chart.about, class_="about")),
        tag("ul", legend, class_="legend") if len(legend) > 1 else None,
        svg,
        tag("details", tag("summary", f"Numbers: {chart.title}"), chart_table(chart)),
    )


def _ends(chart: Chart) -> tuple[float, float]:
    """Where the axis begins and ends: at a half or a tenth below every interval, and at 1; parts between 0, or the
    lowest, and the highest; or around 0."""
    ends = [end for one in chart.figures for end in (one["value"], one["low"], one["high"]) if end is not None]
    if chart.unit in ("points", "number"):
        most = ceil(20 * max([0.05, *map(abs, ends)])) / 20
        return -most, most
    if chart.unit == "part":
        return floor(10 * min([0.0, *ends])) / 10, ceil(10 * max([0.1, *ends])) / 10
    return min([0.5, *(floor(10 * end) / 10 for end in ends)]), 1.0


def _ticks(low: float, high: float, unit: Unit) -> list[float]:
    """Tenths, or fewer where those would crowd; five around 0."""
    if unit in ("points", "number"):
        return [low, low / 2, 0.0, high / 2, high]
    steps = round(10 * (high - low))
    return [high - place / 10 for place in range(0, steps + 1, 1 if steps <= 6 else 2)][::-1]


def _named(value: float, unit: Unit) -> str:
    if unit in ("points", "number") and value == 0:
        return "0"
    if unit == "number":
        return f"{value:+.3g}"
    return f"{100 * value:+.3g}" if unit == "points" else f"{100 * value:.0f} %"


def _lines(chart: Chart) -> tuple[list[Html], int]:
    """A line for each point, its name on the left; the pixels it takes."""
    points = chart.series[0].points
    bottom = _TOP + _LINE * len(points)
    scale = Scale(*_ends(chart), _NAMES, WIDTH - _RIGHT)
    parts = []
    for value in _ticks(scale.low, scale.high, chart.unit):
        x = scale(value)
        parts.append(tag("line", x1=x, y1=_TOP, x2=x, y2=bottom, class_="diagonal" if value == 0 else "grid"))
        parts.append(tag("text", _named(value, chart.unit), x=x, y=bottom + 15, text_anchor="middle"))
    for place, point in enumerate(points):
        middle = _TOP + _LINE * (place + 0.5)
        parts.append(tag("text", _short(point.name), x=_NAMES - 12, y=middle + 4, text_anchor="end"))
    parts.append(tag("text", chart.along, x=scale((scale.low + scale.high) / 2), y=bottom + 32, text_anchor="middle"))
    for number, one in enumerate(chart.series):
        aside = _ASIDE * (number - (len(chart.series) - 1) / 2)
        marks = [
            _across(scale, point.figure, _TOP + _LINE * (place + 0.5) + aside, number)
            for place, point in enumerate(one.points)
        ]
        parts.append(tag("g", marks, class_=f"series-{number}"))
    return parts, bottom + _BOTTOM


def _across(scale: Scale, figure: Figure, y: float, number: int) -> list[Html]:
    if figure["value"] is None:
        return []
    bar = []
    if figure["low"] is not None and figure["high"] is not None:
        bar = [tag("line", x1=scale(figure["low"]), y1=y, x2=scale(figure["high"]), y2=y)]
    return [*bar, _mark(scale(figure["value"]), y, number)]


def _mark(x: float, y: float, number: int) -> Html:
    """A dot for the first series, a diamond for the others."""
    if number == 0:
        return tag("circle", cx=x, cy=y, r=4)
    return tag("rect", x=x - 3.5, y=y - 3.5, width=7, height=7, transform=f"rotate(45 {x:.2f} {y:.2f})")


def _curve(chart: Chart) -> tuple[list[Html], int]:
    """Dots at their places from a half to 1, and where both axes are equal."""
    bottom = _TOP + _HIGH
    x, y = Scale(0.5, 1.0, _LEFT, WIDTH - _RIGHT), Scale(*_ends(chart), bottom, _TOP)
    parts = [
        *_curve_axes(chart, x, y, bottom),
        tag("line", x1=x(0.5), y1=y(0.5), x2=x(1.0), y2=y(1.0), class_="diagonal"),
    ]
    for number, one in enumerate(chart.series):
        marks = [_upright(x, y, point, number) for point in one.points if point.at is not None]
        parts.append(tag("g", marks, class_=f"series-{number}"))
    return parts, bottom + _BOTTOM


def _curve_axes(chart: Chart, x: Scale, y: Scale, bottom: int) -> Iterator[Html]:
    for value in _ticks(y.low, y.high, chart.unit):
        yield tag("line", x1=float(_LEFT), y1=y(value), x2=float(WIDTH - _RIGHT), y2=y(value), class_="grid")
        yield tag("text", _named(value, chart.unit), x=_LEFT - 8, y=y(value) + 4, text_anchor="end")
    for value in _ticks(0.5, 1.0, "share"):
        yield tag("text", _named(value, chart.unit), x=x(value), y=bottom + 15, text_anchor="middle")
    yield tag("text", chart.across, x=(_LEFT + WIDTH - _RIGHT) / 2, y=bottom + 32, text_anchor="middle")
    yield tag("text", chart.along, transform=f"translate(12 {(_TOP + bottom) / 2}) rotate(-90)", text_anchor="middle")


def _upright(x: Scale, y: Scale, point: Point, number: int) -> Child:
    figure, at = point.figure, point.at
    if figure["value"] is None or at is None:
        return None
    bar = None
    if figure["low"] is not None and figure["high"] is not None:
        bar = tag("line", x1=x(at), y1=y(figure["low"]), x2=x(at), y2=y(figure["high"]))
    return [bar, _mark(x(at), y(figure["value"]), number)]


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
