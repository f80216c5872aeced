"""Elements of HTML and SVG as strings. What is put into one is escaped unless it is an element itself, so forgetting
cannot happen.

    tag("td", tag("b", name), " and more", class_="wide")
"""

from collections.abc import Iterable

from rlaif.markup.text import escaped

_VOID = frozenset({"br", "col", "hr", "input", "link", "meta"})


class Html(str):
    """Markup. Only this package makes it from text."""

    __slots__ = ()


Child = str | Iterable["Child"] | None
Attribute = str | float | bool | None


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Html:
    """One element. Underscores in attributes are dashes (`aria_label`), one at the end is nothing (`class_`). True is
    an attribute without a value; False and None are no attribute, and no child."""
    head = "".join(map(_attribute, attributes, attributes.values()))
    return Html(f"<{name}{head}>" if name in _VOID else f"<{name}{head}>{together(children)}</{name}>")


def together(children: Child) -> Html:
    """Texts and elements one after the other."""
    if children is None:
        return Html()
    if isinstance(children, Html):
        return children
    return Html(escaped(children) if isinstance(children, str) else "".join(map(together, children)))


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    dashed = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {dashed}"
    return f' {dashed}="{value:.2f}"' if isinstance(value, float) else f' {dashed}="{escaped(str(value))}"'
