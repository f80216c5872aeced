"""A whole HTML file that stands alone: style and script inside, and a policy that lets nothing else in.

The policy names the one style and the one script by their digests: a browser runs no other, sends nothing anywhere and
loads nothing, whatever a text may have smuggled in.
"""

import hashlib
from base64 import b64encode
from functools import cache
from importlib.resources import files
from typing import Any

from rlaif.markup.element import Child, Html, tag
from rlaif.markup.text import data_block


@cache
def shipped(package: str, name: str) -> str:
    """A file that lies beside a module."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def document(*, title: str, body: Child, style: str = "", script: str = "", **data: Any) -> str:
    """The file's text, to be written as UTF-8. `style` follows what all pages share; `script` is a module that reads
    `data`, each a JSON block with its name as id."""
    looks = shipped("rlaif.markup", "base.css") + style
    for ours, end in ((looks, "</style"), (script, "</script"), (script, "<!--")):
        if end in ours:
            raise ValueError(f"a style or script of ours holds {end}, which would end or open an element")
    scripts = [tag("script", Html(data_block(value)), type="application/json", id=name) for name, value in data.items()]
    if script:
        scripts.append(tag("script", Html(script), type="module"))
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(looks, script)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Html(looks)),
    )
    return "<!doctype html>\n" + tag("html", head, "\n", tag("body", body, scripts), "\n", lang="en") + "\n"


def scrollable(label: str, *children: Child) -> Html:
    """Something wide, in a region of its own that the keyboard reaches and scrolls."""
    return tag("div", children, class_="wide", role="region", aria_label=label, tabindex=0)


def _policy(style: str, script: str) -> str:
    runs = f"script-src {_source(script)}; require-trusted-types-for 'script'; trusted-types 'none'; " if script else ""
    return f"default-src 'none'; {runs}style-src {_source(style)}; base-uri 'none'; form-action 'none'"


def _source(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
