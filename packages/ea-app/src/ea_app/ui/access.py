"""The door of the studio: a page that asks for the token, and a cookie for who gave it."""

from collections.abc import Callable
from html import escape
from http.cookies import CookieError, SimpleCookie
from importlib import resources
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ea_app.web.access import Door, RefusedError, bearer
from ea_app.web.limits import check_length, limited, with_headers

COOKIE = "ea_studio"
MAX_REQUEST = 16 * 2**20
"""Bytes of a request that is no upload: drawn masks and trajectories are the largest."""

_MAX_FORM = 4096
_UPLOAD = "/gradio_api/upload"


class Access:
    """ASGI middleware: the token as a bearer, or a session in a cookie; and bounds of what is sent.

    Args:
        app: What is guarded.
        door: Decides.
        upload_bytes: Of one request that uploads files.
        has_room: Whether more files may be uploaded.
    """

    def __init__(
        self,
        app: ASGIApp,
        door: Door,
        upload_bytes: int = MAX_REQUEST,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self._app, self._door = app, door
        self._upload_bytes, self._has_room = upload_bytes, has_room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        visitor = (scope.get("client") or ("unknown", 0))[0]
        most = MAX_REQUEST if scope["path"] != _UPLOAD else self._upload_bytes
        try:
            self._door.check_place(headers)
            if scope["path"] == "/login" and not self._door.is_open:
                await (await self._login(scope, receive, visitor))(scope, receive, with_headers(send))
                return
            if not self._door.knows_session(_cookie(headers)):
                self._door.check_token(bearer(headers), visitor)
            check_length(headers, most)
            if scope["path"] == _UPLOAD and not self._has_room():
                raise RefusedError(507, "there is no room for files now; try again later")
        except RefusedError as error:
            await self._refusal(scope, error)(scope, receive, with_headers(send, close=True))
            return
        await self._app(scope, limited(receive, most), with_headers(send))

    async def _login(self, scope: Scope, receive: Receive, visitor: str) -> Response:
        if scope["method"] != "POST":
            return _page("")
        body = b""
        while len(body) <= _MAX_FORM:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        token = parse_qs(body[:_MAX_FORM].decode("utf-8", "replace")).get("token", [""])[0]
        try:
            self._door.check_token(token, visitor)
        except RefusedError as error:
            if error.status_code == 429:
                raise
            return _page("That is not the token.", 401)
        answer = RedirectResponse("/", 303)
        secure = scope.get("scheme") == "https"
        answer.set_cookie(COOKIE, self._door.session, httponly=True, samesite="strict", secure=secure)
        return answer

    def _refusal(self, scope: Scope, error: RefusedError) -> Response:
        if error.status_code == 401 and scope["method"] == "GET" and scope["path"] == "/":
            return _page("", 401)
        return PlainTextResponse(error.detail, error.status_code, error.headers)


def _cookie(headers: Headers) -> str:
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def _page(message: str, status: int = 200) -> HTMLResponse:
    page = resources.files("ea_app.ui").joinpath("static", "login.html").read_text(encoding="utf-8")
    return HTMLResponse(page.replace("@message", escape(message)), status)
