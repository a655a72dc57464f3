"""What stands before every handler: who may ask, from where, and how much may be sent."""

import hashlib
import hmac
import ipaddress
import threading
import time
from collections import OrderedDict
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ea_app.server.errors import ApiError, response_of
from ea_app.server.settings import ServerSettings

OPEN_PATHS = frozenset({"/health"})
"""Answered without a token: they tell nothing but that somebody listens."""

_ADDRESSES = 10_000
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "cache-control": "no-store",
}


class Lockout:
    """Counts wrong tokens by address, and locks an address out after some.

    Args:
        failures: How many.
        seconds: For how long; failures that are older than that are forgotten.
    """

    def __init__(self, failures: int, seconds: float) -> None:
        self._failures, self._seconds = failures, seconds
        self._seen: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def remaining(self, address: str) -> float:
        """Seconds for which an address is still locked out, 0 if it is not."""
        with self._lock:
            count, since = self._seen.get(_network(address), (0, 0.0))
            left = since + self._seconds - time.monotonic()
            return left if count >= self._failures and left > 0 else 0.0

    def failed(self, address: str) -> None:
        """A wrong token came from there."""
        key, now = _network(address), time.monotonic()
        with self._lock:
            count, since = self._seen.pop(key, (0, now))
            self._seen[key] = (1 if now - since > self._seconds else count + 1, now)
            while len(self._seen) > _ADDRESSES:
                self._seen.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """The right token came from there."""
        with self._lock:
            self._seen.pop(_network(address), None)


def _network(address: str) -> str:
    """An address, or the network of which one customer has all addresses."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else address


class Guard:
    """Lets requests through that may come, and no more of their bodies than is allowed.

    Args:
        app: What is guarded.
        settings: See `ServerSettings`.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app, self._settings = app, settings
        self._token = None if settings.token is None else _digest(settings.token)
        self._lockout = Lockout(settings.failures, settings.lock_seconds)

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
        except ApiError as error:
            await response_of(error)(scope, receive, _with_headers(send, close=True))
            return
        await self._app(scope, self._limited(receive), _with_headers(send))

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        self._check_place(headers)
        if self._token is not None and scope["path"] not in OPEN_PATHS:
            self._check_token(headers, (scope.get("client") or ("unknown", 0))[0])
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit() and len(length) < 20):
            raise ApiError(400, "Content-Length is no number")
        if int(length) > self._settings.max_body:
            raise self._too_large()

    def _check_place(self, headers: Headers) -> None:
        """A page of another site may not use a visitor's browser to ask.

        Without a token only names of this machine are answered to, so that no other name can be pointed here.
        """
        host = headers.get("host", "")
        if self._token is None and urlsplit(f"//{host}").hostname not in _LOCAL_NAMES:
            raise ApiError(403, "the Host header must name this machine: localhost or 127.0.0.1")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise ApiError(403, "requests of pages of other sites are not answered")

    def _check_token(self, headers: Headers, address: str) -> None:
        assert self._token is not None
        if (left := self._lockout.remaining(address)) > 0:
            wait = {"Retry-After": str(int(left) + 1)}
            raise ApiError(429, "too many wrong tokens; try again later", code="locked_out", headers=wait)
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(_digest(given.strip()), self._token):
            self._lockout.succeeded(address)
            return
        if given:  # none at all is no guess
            self._lockout.failed(address)
        message = "the token is wrong" if given else "a token is needed: Authorization: Bearer TOKEN"
        raise ApiError(401, message, headers={"WWW-Authenticate": "Bearer"})

    def _limited(self, receive: Receive) -> Receive:
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._settings.max_body:
                raise self._too_large()
            return message

        return limited

    def _too_large(self) -> ApiError:
        return ApiError(413, f"the request is too large; allowed: at most {self._settings.max_body} bytes")


def _digest(text: str) -> bytes:
    """Of one length, so that a comparison tells nothing of the length either."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _with_headers(send: Send, *, close: bool = False) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if close:  # what was sent is not read
                headers["connection"] = "close"
        await send(message)

    return sender
