"""Who may ask: this machine, or those who know a token, and nobody after too many wrong ones."""

import hashlib
import hmac
import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException

from ea_app.options import InputError

SHORTEST_TOKEN: Final = 16
FAILURES: Final = 10
"""Wrong tokens of an address before it is locked out."""

LOCK_SECONDS: Final = 300.0

_ADDRESSES: Final = 10_000
_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class RefusedError(HTTPException):
    """A request that is not let in.

    Args:
        status: HTTP status.
        message: One line.
        code: A word for programs; that of the status if None.
        headers: More headers of the answer.
    """

    def __init__(
        self, status: int, message: str, *, code: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.code = code


def check_listening(host: str, port: int, token: str | None) -> None:
    """Refuse an open door, and what cannot be listened at.

    Raises:
        InputError: Naming the option.
    """
    if not 0 <= port <= 65535:
        raise InputError("port", f"must be from 0 to 65535, got {port}")
    if token is None:
        if not is_local(host):
            raise InputError(
                "token",
                f"is missing: others can reach {host}; give --token or EA_TOKEN, or listen at 127.0.0.1",
            )
    elif len(token) < SHORTEST_TOKEN or not (token.isascii() and token.isprintable()):
        raise InputError("token", f"must be at least {SHORTEST_TOKEN} printable ASCII characters")
    elif " " in token:
        raise InputError("token", "must not contain spaces")


def is_local(host: str) -> bool:
    """Whether an address to listen at can be reached by this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Lockout:
    """Counts wrong tokens by address, and locks an address out after some.

    Args:
        failures: How many.
        seconds: For how long; failures that are older than that are forgotten.
        clock: Seconds, for tests.
    """

    def __init__(
        self,
        failures: int = FAILURES,
        seconds: float = LOCK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures, self._seconds, self._clock = failures, seconds, clock
        self._seen: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def remaining(self, address: str) -> float:
        """Seconds for which an address is still locked out, 0 if it is not."""
        with self._lock:
            count, since = self._seen.get(_network(address), (0, 0.0))
            left = since + self._seconds - self._clock()
            return left if count >= self._failures and left > 0 else 0.0

    def failed(self, address: str) -> None:
        """A wrong token came from there."""
        key, now = _network(address), self._clock()
        with self._lock:
            count, since = self._seen.pop(key, (0, now))
            self._seen[key] = (1 if now - since > self._seconds else count + 1, now)
            while len(self._seen) > _ADDRESSES:
                self._seen.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """The right token came from there."""
        with self._lock:
            self._seen.pop(_network(address), None)


class Door:
    """Decides who is let in.

    Args:
        token: What visitors have to know; None where only this machine can connect.
        lockout: Counts wrong ones.
    """

    def __init__(self, token: str | None, lockout: Lockout | None = None) -> None:
        self._token = None if token is None else _digest(token)
        self._pass = None if token is None else _pass_of(token)
        self._lockout = lockout or Lockout()

    @property
    def is_open(self) -> bool:
        """Whether no token is asked for."""
        return self._token is None

    @property
    def session(self) -> str:
        """What a browser keeps once its visitor has given the token: 256 bits that tell nothing of it."""
        assert self._pass is not None
        return self._pass

    def check_place(self, headers: Mapping[str, str]) -> None:
        """A page of another site may not use a visitor's browser to ask.

        Without a token only names of this machine are answered to, so that no other name can be pointed here.

        Raises:
            RefusedError: 403.
        """
        host = headers.get("host", "")
        if self.is_open and _hostname(host) not in _LOCAL_NAMES:
            raise RefusedError(403, "the Host header must name this machine: localhost or 127.0.0.1")
        origin = headers.get("origin")
        if origin is not None and _netloc(origin) != host:
            raise RefusedError(403, "requests of pages of other sites are not answered")

    def check_token(self, given: str, address: str) -> None:
        """Let in who knows the token; none at all is no guess.

        Raises:
            RefusedError: 401, or 429 while the address is locked out.
        """
        if self._token is None:
            return
        if (left := self._lockout.remaining(address)) > 0:
            wait = {"Retry-After": str(int(left) + 1)}
            raise RefusedError(429, "too many wrong tokens; try again later", code="locked_out", headers=wait)
        if given and hmac.compare_digest(_digest(given), self._token):
            self._lockout.succeeded(address)
            return
        if given:
            self._lockout.failed(address)
        message = "the token is wrong" if given else "a token is needed: Authorization: Bearer TOKEN"
        raise RefusedError(401, message, headers={"WWW-Authenticate": "Bearer"})

    def knows_session(self, given: str) -> bool:
        """Whether a browser may go on. Too long to be guessed, so that wrong ones need not be counted."""
        return self._pass is not None and hmac.compare_digest(_digest(given), _digest(self._pass))


def bearer(headers: Mapping[str, str]) -> str:
    """The token of the header `Authorization: Bearer TOKEN`; empty without it."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _digest(text: str) -> bytes:
    """Of one length, so that a comparison tells nothing of the length either."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _pass_of(token: str) -> str:
    return hmac.new(_digest(token), b"ea-app session", hashlib.sha256).hexdigest()


def _network(address: str) -> str:
    """An address, or the network of which one customer has all addresses."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else address


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None
