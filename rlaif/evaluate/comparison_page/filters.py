"""What the disagreement browser asks, as a form. The names of its controls are those of the page's address."""

from collections.abc import Iterable, Mapping
from typing import Any

from rlaif.markup.element import Child, Html, tag

_SHOWN = {
    "against": "against each other",
    "tie": "one undecided",
    "with": "of one mind",
    "missing": "without a verdict",
    "": "all pairs",
}
_HOW = {"against": "goes against", "with": "goes with", "order": "is decided by the order", "any": "has an opinion"}
SIZES = {  # named as the report's slices are
    "": "any",
    "half": "the judge's choice is less than half as long",
    "shorter": "the judge's choice is shorter",
    "alike": "both are about as long",
    "longer": "the judge's choice is longer",
    "double": "the judge's choice is more than twice as long",
}
_SORTS = {
    "wrong": "most confident and wrong",
    "unsure": "least confident",
    "divided": "people most divided",
    "order": "orders most apart",
    "long": "longest answers",
    "short": "shortest answers",
}


def filters(index: Mapping[str, Any]) -> Html:
    """The form for the pairs of an index (packed.py)."""
    raters = {f"{kind}:{name}": name for name, kind in index["raters"]}
    people = any(kind != "judge" for _, kind in index["raters"])
    against = {"": "people together", **raters} if people else raters
    return tag(
        "form",
        _field("Rater", _select("judge", raters)),
        _field("beside", _select("against", against)),
        _field("Show", _select("show", _SHOWN)),
        _named("Tag", "tag", index["tags"]),
        _named("Source", "source", index["sources"]),
        _named("Principle", "principle", index["principles"]),
        _field("which", _select("how", _HOW)) if index["principles"] else None,
        _field("Confidence from, %", _number("from", 50)),
        _field("to, %", _number("to", 100)),
        _field("Length", _select("size", SIZES)),
        _field("Words", tag("input", type="search", name="words", value="", spellcheck="false", aria_keyshortcuts="/")),
        _field("Sort", _select("sort", _SORTS)),
        _check("diff", "Mark differences"),
        tag("button", "Start again", type="reset"),
        tag("button", "Keys", type="button", id="open-help", aria_keyshortcuts="?"),
        id="filters",
        autocomplete="off",
        aria_label="Which pairs",
    )


def keys() -> Html:
    """The dialog that names the keys. They can be switched off, for those who dictate to their browser."""
    told = {
        "j, k": "next and previous pair; in the list also ↓, ↑, Page Down, Page Up, Home, End",
        "o": "go to the pair's text; Escape goes back to the list",
        "/": "search for words",
        "d": "mark differences, or not",
        "?": "this help",
    }
    rows = [tag("tr", tag("th", tag("kbd", key), scope="row"), tag("td", does)) for key, does in told.items()]
    return tag(
        "dialog",
        tag("h2", "Keys", id="help-title"),
        tag("table", tag("tbody", rows)),
        tag("p", tag("label", _checkbox("keys", form="filters"), " Keys of one letter work")),
        tag("button", "Close", type="button", id="close-help"),
        id="help",
        aria_labelledby="help-title",
    )


def _named(title: str, name: str, values: Iterable[str]) -> Html | None:
    """A select of names, where there is anything to choose from."""
    known = [value for value in values if value]
    return _field(title, _select(name, {"": "any", **{value: value for value in known}})) if known else None


def _select(name: str, options: Mapping[str, str]) -> Html:
    return tag("select", [tag("option", text, value=value) for value, text in options.items()], name=name)


def _number(name: str, value: int) -> Html:
    return tag("input", type="number", name=name, value=value, min=50, max=100, step="any")


def _check(name: str, text: str) -> Html:
    return tag("label", _checkbox(name), f" {text}", class_="check")


def _checkbox(name: str, form: str | None = None) -> Html:
    return tag("input", type="checkbox", name=name, checked=True, form=form)


def _field(text: str, control: Child) -> Html:
    return tag("label", tag("span", text), control)
