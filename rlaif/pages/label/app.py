"""Three requests: show the next question, keep a vote, take the last one back.

Only what `_shown` names reaches the browser: texts, principles, progress, and a question's name, which tells nothing.
"""

import hmac
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from rlaif.constitution import Constitution, Principle
from rlaif.errors import RlaifError
from rlaif.labels.blind.questions import Question
from rlaif.labels.blind.sitting import Answer, Sitting
from rlaif.labels.label import CHOICES, Choice
from rlaif.pages.label.guard import Guard

_HERE = Path(__file__).parent
_STATIC = {"style.css": "text/css", "page.js": "text/javascript"}
_LONGEST_FORM = 200_000  # bytes; a reason is a few sentences
_LONGEST_SITTING_S = 86_400.0
_MARKS: dict[str, Choice] = {"first": "first", "second": "second", "tie": "tie"}
SAID: dict[Choice, str] = {
    "first": "the first answer is better",
    "second": "the second answer is better",
    "tie": "equally good",
    "both_bad": "both are bad",
    "skipped": "skipped",
}


def label_app(
    sittings: Mapping[str, Sitting], constitution: Constitution | None, kept: Callable[[], object]
) -> ASGIApp:
    """The page for several raters, each under the secret part of their address. `kept` is called after every vote, when
    the answer is sent already."""
    pages = LabelPages(sittings, constitution, kept)
    routes = [
        Route("/static/{name}", _static, methods=["GET"]),
        Route("/{token}/", pages.show, methods=["GET"]),
        Route("/{token}/vote", pages.vote, methods=["POST"]),
        Route("/{token}/undo", pages.undo, methods=["POST"]),
    ]
    return Guard(Starlette(routes=routes))


class LabelPages:
    def __init__(
        self, sittings: Mapping[str, Sitting], constitution: Constitution | None, kept: Callable[[], object]
    ) -> None:
        self._sittings, self._constitution, self._kept = dict(sittings), constitution, kept
        environment = Environment(
            loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        self._template = environment.get_template("page.html")

    async def show(self, request: Request) -> Response:
        sitting = self._sitting(request)
        if sitting is None:
            return _nothing_here()
        return HTMLResponse(self._template.render(self._shown(sitting)))

    async def vote(self, request: Request) -> Response:
        sitting = self._sitting(request)
        if sitting is None:
            return _nothing_here()
        form = await _form(request)
        question = None if form is None else sitting.find(form.get("question", ""))
        if form is None or question is None or form.get("choice") not in CHOICES:
            return _not_kept("This vote is for no question of yours; go back to the page's address.", 400)
        answer = read_answer(form, self._principles(question))
        return await self._keep(request, lambda: sitting.vote(question.id, answer))

    async def undo(self, request: Request) -> Response:
        sitting = self._sitting(request)
        return _nothing_here() if sitting is None else await self._keep(request, sitting.undo)

    async def _keep(self, request: Request, keep: Callable[[], object]) -> Response:
        """Keep it on disk, and only then say so: by sending the browser to the next question."""
        try:
            await run_in_threadpool(keep)
        except RlaifError as failure:
            return _not_kept(str(failure), 503)
        place = f"/{request.path_params['token']}/"
        return RedirectResponse(place, status_code=303, background=BackgroundTask(self._kept))

    def _sitting(self, request: Request) -> Sitting | None:
        given = str(request.path_params["token"]).encode()
        found = None
        for token, sitting in self._sittings.items():  # all of them: how long it takes says nothing
            if hmac.compare_digest(token.encode(), given):
                found = sitting
        return found

    def _principles(self, question: Question) -> Sequence[Principle]:
        return self._constitution.for_tags(question.pair.prompt.tags) if self._constitution else ()

    def _shown(self, sitting: Sitting) -> dict[str, Any]:
        """All that a page is made of."""
        question, last = sitting.current, sitting.last
        shown: dict[str, Any] = {
            "rater": sitting.rater,
            "done": sitting.num_done,
            "total": len(sitting.questions),
            "last": SAID[sitting.choice_on(last)] if last else "",
            "question": None,
        }
        if question is None:
            return shown
        before = sitting.said_before(question)
        marks = {mark["principle"]: mark["choice"] for mark in before.get("marks", ())}
        principles = self._principles(question)
        return shown | {
            "question": question.id,
            "turns": [message.as_dict() for message in question.pair.prompt.messages],
            "first": question.first,
            "second": question.second,
            "principles": [{"text": one.text, "marked": marks.get(one.id, "")} for one in principles],
            "comment": before.get("comment", ""),
        }


def read_answer(form: Mapping[str, str], principles: Sequence[Principle]) -> Answer:
    """A form that was found to hold a choice."""
    marks = {
        principle.id: _MARKS[said]
        for number, principle in enumerate(principles)
        if (said := form.get(f"mark-{number}", "")) in _MARKS
    }
    return Answer(
        choice=form["choice"],  # type: ignore[arg-type]  # one of CHOICES
        comment=form.get("comment", "").replace("\r\n", "\n").strip(),
        marks=marks,
        seconds=_seconds(form.get("seconds", "")),
    )


def _seconds(text: str) -> float | None:
    """What the page measured; None where it could not, and for what cannot be."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and 0.0 <= seconds <= _LONGEST_SITTING_S else None


async def _form(request: Request) -> dict[str, str] | None:
    """The fields of a form; None for what is none, or too long."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST_FORM:
            return None
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=1000, errors="replace")
    except ValueError:
        return None
    return {name: values[-1] for name, values in fields.items()}


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        return _nothing_here()
    return Response((_HERE / name).read_bytes(), media_type=_STATIC[name])


def _nothing_here() -> Response:
    return PlainTextResponse("There is nothing here. Use the whole address that `rlaif label` printed.", 404)


def _not_kept(reason: str, status: int) -> Response:
    return PlainTextResponse(f"The vote was not kept. {reason}", status)
