"""Who may speak to a page that listens on this machine: the person who has its address, in their own browser.

Any web page a person has open can send requests to 127.0.0.1, and a name that suddenly resolves to it (DNS rebinding)
makes them look like its own. So the name in `Host` has to be this machine's, a form has to come from this page
(`Origin`), and the address holds a secret. The answers' texts are strangers' words: nothing in them may run or load.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OWN = {"127.0.0.1", "localhost", "::1"}
_ALWAYS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # no-referrer would have browsers send `Origin: null` with our own forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def refusal(method: str, headers: Headers) -> tuple[int, str] | None:
    """The status and the reason where a request is not answered."""
    host = headers.get("host", "")
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        name = None
    if name not in _OWN:
        return 403, "This page is served to 127.0.0.1 and localhost alone. From another machine: ssh -L."
    if method not in ("GET", "HEAD", "POST"):
        return 405, "There is nothing to do here with this method."
    if method == "POST":
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin not in (None, f"http://{host}") or site not in (None, "same-origin", "none"):
            return 403, "This form was sent from another page."
    return None


class Guard:
    """Refuses strangers, and tells the browser what every page may do: show text."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers[name] = value
            await send(message)

        refused = refusal(scope["method"], Headers(scope=scope))
        app = self._app if refused is None else PlainTextResponse(refused[1], status_code=refused[0])
        await app(scope, receive, send_with_headers)
