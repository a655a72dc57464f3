"""Who may use the studio: those who know the token, and nobody after too many wrong ones."""

import hmac
import re
import time
from collections.abc import Callable
from html import escape
from http.cookies import CookieError, SimpleCookie
from importlib import resources
from urllib.parse import parse_qs

from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

COOKIE = "ea_studio"
ATTEMPTS = 10
LOCK_SECONDS = 300.0
_MAX_FORM = 4096
_MAX_VISITORS = 10_000
_PORT = re.compile(r":[0-9]+$")
_LOCAL_ONLY = ("127.0.0.1", "localhost", "::1", "[::1]", "testserver")


class Access:
    """ASGI middleware: a token in a cookie or as a bearer, compared in constant time; a lock after failures.

    Without a token, only requests that address this machine by name are answered: other names are pages of
    other sites that point here.

    Args:
        app: What is guarded.
        token: The token; None when only this machine can connect.
        clock: Seconds, for tests.
    """

    def __init__(self, app: ASGIApp, token: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._token = token
        self._clock = clock
        self._failures: dict[str, tuple[int, float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if _is_foreign(headers):
            await PlainTextResponse("another site's page may not ask for this", 403)(scope, receive, send)
            return
        if self._token is None:
            host = (
                headers.get("host", "").rsplit(":", 1)[0]
                if not headers.get("host", "").endswith("]")
                else headers["host"]
            )
            if host in _LOCAL_ONLY:
                await self._app(scope, receive, send)
                return
            await PlainTextResponse("this studio answers to this machine alone", 421)(scope, receive, send)
            return
        visitor = (scope.get("client") or ("",))[0]
        if scope["type"] == "http" and scope["path"] == "/login":
            await (await self._login(scope, receive, visitor))(scope, receive, send)
            return
        if "authorization" in headers and self._locked(visitor):
            await _too_many()(scope, receive, send)
            return
        if self._known(headers):
            await self._app(scope, receive, send)
            return
        if "authorization" in headers:
            self._fail(visitor)
        await self._refusal(scope).__call__(scope, receive, send)

    def _known(self, headers: dict[str, str]) -> bool:
        given = [headers.get("authorization", "").removeprefix("Bearer ")]
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            cookies = SimpleCookie()
        if COOKIE in cookies:
            given.append(cookies[COOKIE].value)
        return any(self._same(text) for text in given)

    def _same(self, text: str) -> bool:
        assert self._token is not None
        return hmac.compare_digest(text.encode("utf-8", "replace"), self._token.encode())

    async def _login(self, scope: Scope, receive: Receive, visitor: str) -> Response:
        if self._locked(visitor):
            return _too_many()
        if scope["method"] != "POST":
            return _page("")
        body = b""
        while len(body) <= _MAX_FORM:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        token = parse_qs(body[:_MAX_FORM].decode("utf-8", "replace")).get("token", [""])[0]
        if not self._same(token):
            self._fail(visitor)
            return _page("That is not the token.", 401)
        self._failures.pop(visitor, None)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            COOKIE, token, httponly=True, samesite="strict", secure=scope.get("scheme") == "https"
        )
        return answer

    def _locked(self, visitor: str) -> bool:
        count, since = self._failures.get(visitor, (0, 0.0))
        if count and self._clock() - since > LOCK_SECONDS:
            del self._failures[visitor]
            return False
        return count >= ATTEMPTS

    def _fail(self, visitor: str) -> None:
        if len(self._failures) >= _MAX_VISITORS:
            self._failures.pop(next(iter(self._failures)))
        count, _ = self._failures.get(visitor, (0, 0.0))
        self._failures[visitor] = (count + 1, self._clock())

    def _refusal(self, scope: Scope) -> Response:
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == "/":
            return _page("", 401)
        return PlainTextResponse("sign in first", 401)


def _is_foreign(headers: dict[str, str]) -> bool:
    """Whether a browser says that a page of another site asks."""
    origin = headers.get("origin", "")
    return bool(origin) and origin.partition("://")[2] != headers.get("host", "")


def _too_many() -> Response:
    wait = {"Retry-After": f"{LOCK_SECONDS:.0f}"}
    return PlainTextResponse("too many wrong tokens; try again later", 429, wait)


def _page(message: str, status: int = 200) -> HTMLResponse:
    page = resources.files("ea_app.ui").joinpath("static", "login.html").read_text(encoding="utf-8")
    return HTMLResponse(page.replace("@message", escape(message)), status)
