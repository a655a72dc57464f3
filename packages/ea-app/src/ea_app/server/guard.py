"""What stands before every handler: who may ask, from where, and how much may be sent."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ea_app.server.errors import response_of
from ea_app.server.settings import ServerSettings
from ea_app.web.access import Door, Lockout, RefusedError, bearer
from ea_app.web.limits import HEADERS, check_length, limited, with_headers

OPEN_PATHS = frozenset({"/health"})
"""Answered without a token: they tell nothing but that somebody listens."""

_HEADERS = {
    **HEADERS,
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "cache-control": "no-store",
}


class Guard:
    """Lets requests through that may come, and no more of their bodies than is allowed.

    Args:
        app: What is guarded.
        settings: See `ServerSettings`.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app, self._settings = app, settings
        self._door = Door(settings.token, Lockout(settings.failures, settings.lock_seconds))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            self._check(scope)
        except RefusedError as error:
            await response_of(error)(scope, receive, with_headers(send, _HEADERS, close=True))
            return
        most = self._settings.max_body
        await self._app(scope, limited(receive, most), with_headers(send, _HEADERS))

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        self._door.check_place(headers)
        if scope["path"] not in OPEN_PATHS:
            self._door.check_token(bearer(headers), (scope.get("client") or ("unknown", 0))[0])
        check_length(headers, self._settings.max_body)
