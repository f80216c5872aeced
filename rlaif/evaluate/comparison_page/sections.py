"""The report's part of the page: the plain sentences, what is drawn of each judge, and every table of the terminal.

Nothing is computed here. docs/compare.md explains the figures.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from rlaif.evaluate.comparison.sections import sections
from rlaif.evaluate.comparison.sentences import QUESTIONS
from rlaif.evaluate.comparison_page.charts import Chart, Point, Series, Unit
from rlaif.evaluate.comparison_page.drawing import drawn
from rlaif.evaluate.comparison_page.filters import SIZES
from rlaif.markup.element import Html, tag
from rlaif.markup.table import titled_table, value_cell
from rlaif.markup.text import visible

Report = Mapping[str, Any]
_SLICES = {
    "confidence": ("Agreement by confidence", "By the probability that the judge gives its favourite."),
    "length": ("Agreement by difference in length", "By how much longer the answer is that the judge prefers."),
    "tag": ("Agreement by tag", "By the prompts' tags."),
    "source": ("Agreement by source", "By where the pairs are from."),
}
_PEOPLE = "People with each other on the same pairs stand beside it: they too agree less on some things."
_PRINCIPLES: Sequence[tuple[str, str, str, Unit, Mapping[str, str]]] = (
    (
        "Which principle makes the disagreements",
        "How much of the label each principle makes, over all pairs and over those on which people say otherwise. Where"
        " ◇ lies right of ●, it makes more of the disagreements than of the labels.",
        "share",
        "part",
        {"label_share": "of all labels", "disagreement_share": "of the disagreements"},
    ),
    (
        "Agreement without it",
        "What the label's agreement with people becomes when one principle is left out: right of 0, people agree better"
        " without it.",
        "change, points of percent",
        "points",
        {"drop_one": "without the principle"},
    ),
    (
        "Agreement of each principle with people",
        "Cohen's κ of the principle's own verdicts, where it names an answer: 0 is chance.",
        "κ",
        "number",
        {"kappa": "{judge} by this principle alone"},
    ),
    (
        "What each principle weighs",
        "In a regression of the labels on all principles at once: in the judge's labels, and in people's. People"
        " decide less exactly than a weighted sum, so theirs are smaller throughout: compare proportions.",
        "log-odds",
        "number",
        {"judge_weight": "in the labels of {judge}", "people_weight": "in people's labels"},
    ),
)
NO_SOURCE = "(none)"
_MOST_POINTS = 24  # of a chart; the tables have all


def answers(report: Report) -> Html:
    """A question and a sentence each."""
    told = [(tag("dt", QUESTIONS[name]), tag("dd", sentence)) for name, sentence in report["sentences"].items()]
    notes = [tag("li", note) for note in report["notes"]]
    return tag("section", tag("dl", told, class_="told"), tag("ul", notes) if notes else None)


def drawings(report: Report) -> Iterator[Html]:
    """A section for each judge."""
    for number, (name, judge) in enumerate(report["judges"].items()):
        charts = [drawn(chart) for chart in charts_of(f"judge-{number}", name, judge)]
        if charts:
            yield tag("section", tag("h2", f"{name} beside people"), tag("div", charts, class_="charts"))


def tables(report: Report) -> Iterator[Html]:
    """What the terminal shows, whole."""
    for section in sections(report):
        rows = [(name, [value_cell(cell.value, cell.interval) for cell in cells]) for name, cells in section.rows]
        yield titled_table(section.title, section.about, section.columns, rows, section.more)


def charts_of(place: str, name: str, judge: Report) -> Iterator[Chart]:
    """Reliability, slices, principles: those that the report has."""
    bins = [one for one in judge["calibration"].get("bins", ()) if one["said"]["value"] is not None]
    if bins:
        yield _reliability(f"{place}-reliability", name, bins)
    for kind in _SLICES:
        if kind in judge["slices"]:
            yield _slices(f"{place}-{kind}", kind, name, judge["slices"][kind])
    if judge["principles"]:
        yield from _principles(place, name, judge["principles"])


def _reliability(place: str, name: str, bins: Sequence[Report]) -> Chart:
    points = [
        Point(f"{100 * one['said']['value']:.1f} %", one["came"], at=one["said"]["value"])
        for one in sorted(bins, key=lambda one: one["said"]["value"])
    ]
    return Chart(
        name=place,
        title="Do its probabilities mean what they say?",
        about="Where the judge gives its favourite this probability, so many people share it. On the dashed line both"
        " are equal; below it the judge is too sure.",
        across="its probability for its favourite",
        along="people who share it",
        series=[Series(name, points)],
    )


def _slices(place: str, kind: str, name: str, slices: Sequence[Report]) -> Chart:
    title, about = _SLICES[kind]
    shown = slices[:_MOST_POINTS]
    links = [_link(name, **_filter(kind, one["name"], number)) for number, one in enumerate(shown)]

    def points(key: str) -> list[Point]:
        return [Point(one["name"], one[key], link=link) for one, link in zip(shown, links, strict=True)]

    series = [Series(f"{name} with most people", points("agreement"))]
    if any(one["human"]["value"] is not None for one in shown):
        series.append(Series("a person with most others", points("human")))
        about = f"{about} {_PEOPLE}"
    return Chart(name=place, title=title, about=about, along="agreement", series=series)


def _filter(kind: str, name: str, number: int) -> dict[str, str]:
    """The filters of the pairs behind a slice."""
    if kind == "confidence":
        low, _, high = name.partition(" to ")
        return {"from": f"{100 * float(low):g}", "to": f"{100 * float(high):g}"}
    if kind == "length":
        return {"size": next((size for size, text in SIZES.items() if text == name), "")}
    return {} if name == NO_SOURCE else {kind: name}


def _principles(place: str, name: str, found: Report) -> Iterator[Chart]:
    """Those of _PRINCIPLES whose figures the report has; the principle that costs the label most agreement is first."""
    rows = found["principles"]
    order = [principle for principle in found["order"] if principle in rows][:_MOST_POINTS]
    for number, (title, about, along, unit, series) in enumerate(_PRINCIPLES):
        if order and all(key in rows[principle] for key in series for principle in order):
            lines = [
                Series(
                    text.format(judge=name),
                    [Point(one, rows[one][key], link=_link(name, principle=one, how="against")) for one in order],
                )
                for key, text in series.items()
            ]
            yield Chart(
                name=f"{place}-principles-{number}", title=title, about=about, along=along, series=lines, unit=unit
            )


def _link(judge: str, **filters: str) -> str:
    """To the pairs on which this judge and people are against each other."""
    if not any(filters.values()):
        return ""
    named = {name: visible(value) for name, value in {"judge": f"judge:{judge}", **filters}.items()}
    return f"#{urlencode(named)}"
